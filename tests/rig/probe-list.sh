#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfio-migrate probe without a device: the list of what the kernel has, seen by root, by somebody else,
# and from a container that sees little.
. "$(dirname "$0")/lib.sh"
probe=("$VFIO_MIGRATE" probe)
somebody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
edu=0000:00:10.0
disk=0000:00:1f.2
neighbour=0000:00:1f.3

out() {
    grep -qE -- "$1" "$scratch/out" && return
    echo "standard output does not say '$1':"
    cat "$scratch/out"
    return 1
}
# of ADDRESS EXPRESSION: true of d, that device's part of the JSON object.
of() { json "(d := [d for d in j['devices'] if d['address'] == '$1'][0]) and $2"; }
group_of() { basename "$(readlink "/sys/bus/$1/devices/$2/iommu_group")"; }

lists_mediated_devices() {
    exits 0 "${probe[@]}" && out "^$mtty +mtty +$(group_of mdev "$mtty") +vfio[0-9]+ +likely$" &&
        says 'probe DEVICE'
}
lists_them_in_json() {
    exits 0 "${probe[@]}" --json && of "$mtty" "
d['kind'] == 'mdev' and d['driver'] == 'mtty' and d['group_node'] == '/dev/vfio/$(group_of mdev "$mtty")'
and d['cdev_node'].startswith('/dev/vfio/devices/vfio') and d['migration']['verdict'] == 'likely'
and d['blocked'] is None and d['error'] is None" && [ ! -s "$scratch/err" ]
}
hides_what_vfio_does_not_have() {
    exits 0 "${probe[@]}" && ! grep $edu "$scratch/out" &&
        exits 0 "${probe[@]}" --all && out "^$edu +- +$(group_of pci $edu) +- +no-vfio-driver$"
}
tells_of_a_function_that_vfio_pci_holds() {
    exits 0 "${probe[@]}" && out "^$edu +vfio-pci +$(group_of pci $edu) +vfio[0-9]+ +vfio-no-kernel-support$" &&
        says 'its vendor may have one'
}
first_comes_what_is_bound() {
    exits 0 "${probe[@]}" --all && [ "$(awk 'NR == 2 { print $1 }' "$scratch/out")" = $edu ]
}
nothing_that_migrates() { exits 3 "${probe[@]}" --json && json 'j["status"] == "refused" and j["devices"]'; }
opens_nothing() {
    set_register "$mtty" 0x42 && exits 0 "${probe[@]}" && register_is "$mtty" 0x42 &&
        exec 8<>"/dev/vfio/$(group_of mdev "$mtty")" || return
    local status=0
    exits 0 "${probe[@]}" && out "^$mtty .* likely$" || status=1
    exec 8>&-
    return $status
}
opens_when_it_is_told_to() {
    exits 0 "${probe[@]}" --open --json && of "$mtty" "
d['migration']['verdict'] == 'yes' and d['migration']['flags'] == ['STOP_COPY', 'P2P', 'PRE_COPY']" &&
        of $edu "d['migration']['verdict'] == 'no' and d['migration']['flags'] is None"
}
leaves_a_busy_device_alone() {
    exec 8<>"/dev/vfio/$(group_of mdev "$mtty")" || return
    local status=0
    exits 0 "${probe[@]}" --open && out "^$mtty .* likely$" && says 'in use' || status=1
    exec 8>&-
    return $status
}
tells_what_somebody_may_not_open() {
    exits 0 "${somebody[@]}" "${probe[@]}" && out "^$mtty .* likely$" && out "^$edu " &&
        says "$mtty: opening it needs permission" && says "/dev/vfio/$(group_of mdev "$mtty")" &&
        exits 0 "${somebody[@]}" "${probe[@]}" --json &&
        of "$mtty" 'd["blocked"]["reason"] == "no-permission"'
}
tells_nodes_that_a_container_lacks() {
    # shellcheck disable=SC2016 # for the inner shell
    exits 0 unshare -m sh -c 'mount -t tmpfs none /dev/vfio && exec "$@"' - "${probe[@]}" --json &&
        of "$mtty" 'd["blocked"]["reason"] == "no-device-node"'
}
tells_that_there_is_no_sysfs() {
    # shellcheck disable=SC2016 # for the inner shell
    exits 1 unshare -m sh -c 'mount -t tmpfs none /sys && exec "$@"' - "${probe[@]}" &&
        says 'sysfs is not mounted'
}
tells_that_nothing_is_bound() {
    exits 3 "${probe[@]}" && [ ! -s "$scratch/out" ] && says 'no device is bound' && says 'probe --all'
}

# Another function of the disk controller's IOMMU group gets a driver: `serial` takes any.
share_a_group() {
    echo '8086 2930 ffffffff ffffffff 0 0 2' >/sys/bus/pci/drivers/serial/new_id
    echo serial >/sys/bus/pci/devices/$neighbour/driver_override
    echo vfio-pci >/sys/bus/pci/devices/$disk/driver_override
    echo $neighbour >/sys/bus/pci/drivers_probe
    echo $disk >/sys/bus/pci/drivers_probe
}
release() {
    local address
    for address in "$@"; do
        echo "$address" >/sys/bus/pci/devices/"$address"/driver/unbind
        echo >/sys/bus/pci/devices/"$address"/driver_override
    done
}
lists_who_shares_its_group() {
    exits 3 "${probe[@]}" --json &&
        of $disk "d['blocked']['reason'] == 'group-not-viable' and '$neighbour (serial)' in d['blocked']['message']"
}
is_refused_with_who_shares_its_group() { # backend
    exits 1 "${probe[@]}" --json --backend "$1" $disk &&
        json "j['error']['reason'] == 'group-not-viable' and '$neighbour (serial)' in j['error']['message']"
}

check "a host where nothing is bound to VFIO is told so" tells_that_nothing_is_bound
mtty=$(mtty mtty-2)
check "the list has mediated devices with driver, group and node" lists_mediated_devices
check "the list has them in JSON" lists_them_in_json
check "the list has functions that VFIO does not have only with --all" hides_what_vfio_does_not_have
echo vfio-pci >/sys/bus/pci/devices/$edu/driver_override
echo $edu >/sys/bus/pci/drivers_probe
check "a function that vfio-pci holds has the reason why it does not migrate" \
    tells_of_a_function_that_vfio_pci_holds
check "first comes what VFIO has" first_comes_what_is_bound
check "listing opens nothing: it goes on beside who has a device, and leaves it as it is" opens_nothing
check "with --open the devices that may migrate are asked" opens_when_it_is_told_to
check "with --open a device in use is left alone" leaves_a_busy_device_alone
check "who has no permission sees the list and what could not be opened" tells_what_somebody_may_not_open
check "nodes that a container lacks are told" tells_nodes_that_a_container_lacks
check "a container without sysfs is told so" tells_that_there_is_no_sysfs
mtty_remove "$mtty"
check "a list of what cannot migrate ends with 3" nothing_that_migrates
release $edu
share_a_group
check "the list names who shares a device's IOMMU group" lists_who_shares_its_group
for backend in cdev group; do
    check "$backend: opening a device names who shares its IOMMU group" \
        is_refused_with_who_shares_its_group $backend
done
release $disk $neighbour
finish
