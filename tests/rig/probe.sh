#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfio-migrate probe on kernel devices: one that can migrate and one that cannot.
. "$(dirname "$0")/lib.sh"
probe=("$VFIO_MIGRATE" probe)
edu=0000:00:10.0

of_an_mtty() {
    exits 0 "${probe[@]}" "$mtty" &&
        grep -q 'yes: STOP_COPY, P2P, PRE_COPY' "$scratch/out" && grep -q '96 B' "$scratch/out" &&
        grep -q 'driver *mtty' "$scratch/out" && grep -q '/dev/vfio/devices/vfio' "$scratch/out"
}
of_an_mtty_in_json() {
    exits 0 "${probe[@]}" --json "$mtty" && json '
(d := j["devices"][0]) and j["status"] == "completed" and d["backend"] == "cdev"
and d["pci"]["vendor_id"] == "4348" and d["pci"]["device_id"] == "3253"
and d["migration"]["flags"] == ["STOP_COPY", "P2P", "PRE_COPY"]
and d["migration"]["state"] == "RUNNING" and d["migration"]["stop_copy_bytes"] == 96
and d["dma_logging"] == {"supported": True, "pgsize": 4096, "message": None}
and d["driver"] == "mtty" and d["group_node"] == "/dev/vfio/%d" % d["group"]
and d["cdev_node"].startswith("/dev/vfio/devices/vfio") and not d["migration"]["reinit"]
and d["iommu_logging"] in ("none", "true")'
}
of_two_devices() {
    exits 0 "${probe[@]}" --json "$mtty" "$one_port" &&
        json '[d["migration"]["stop_copy_bytes"] for d in j["devices"]] == [96, 60]'
}
changes_nothing() {
    set_register "$mtty" 0x42 && exits 0 "${probe[@]}" "$mtty" && register_is "$mtty" 0x42
}
is_refused_by_a_pci_device_that_cannot_migrate() {
    exits 3 "${probe[@]}" --json $edu && json '
(d := j["devices"][0]) and j["status"] == "refused" and d["pci"]["vendor_id"] == "1234"
and d["migration"]["reason"] == "vfio-no-kernel-support" and d["migration"]["remedy"]
and d["driver"] == "vfio-pci" and d["hot_reset"] is None'
}
tells_that_no_hot_reset_is_possible() { # on the root bus
    exits 3 "${probe[@]}" $edu && grep -q 'hot reset *no: ' "$scratch/out"
}
of_a_busy_device() {
    exec 8<>"/dev/vfio/$(basename "$(readlink "/sys/bus/mdev/devices/$mtty/iommu_group")")" || return
    local status=0
    exits 1 "${probe[@]}" "$mtty" && says 'in use' || status=1
    exec 8>&-
    return $status
}
names() { exits 1 "${probe[@]}" "$1" && says "$2"; }

mtty=$(mtty mtty-2)
one_port=$(mtty mtty-1)
check "probe tells an mtty's flags and size" of_an_mtty
check "probe tells an mtty's facts in JSON" of_an_mtty_in_json
check "probe tells the facts of two devices" of_two_devices
check "probe leaves the device as it was" changes_nothing
check "a device that somebody else holds is named as in use" of_a_busy_device
check "a mediated device that is not there is named" \
    names 00000000-0000-4000-8000-000000000000 'no such mediated device'
check "a PCI device without a VFIO driver is named with the remedy" names $edu 'bind it'
echo vfio-pci >/sys/bus/pci/devices/$edu/driver_override
echo $edu >/sys/bus/pci/drivers_probe
check "a PCI device whose driver cannot migrate it is refused with reason and remedy" \
    is_refused_by_a_pci_device_that_cannot_migrate
check "a PCI device that cannot be hot-reset is told so" tells_that_no_hot_reset_is_possible
mtty_remove "$mtty" "$one_port"
finish
