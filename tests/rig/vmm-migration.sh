#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A Linux guest with a kernel VFIO device is moved live between two processes, ten times: see
# tests/vmm/linux-guest.c for what it does meanwhile.
. "$(dirname "$0")/../vmm/lib.sh"
requires_kvm
hops=${VMM_HOPS:-10}

initrd <<'END'
echo 4 >/proc/sys/vm/nr_hugepages
echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
echo vfio-pci >/sys/bus/pci/devices/0000:00:01.0/driver_override
echo 0000:00:01.0 >/sys/bus/pci/drivers_probe
/linux-guest 0000:00:01.0
END
add_to_initrd "$RIG_BUILD/../vmm/vmm-linux-guest" linux-guest

devices=("$(module default)" "$(module default)")
same=(--memory 192M)
guest=(--kernel "$RIG_BZIMAGE" --initrd "$scratch/initrd" --append "console=ttyS0 quiet panic=-1 no_timer_check")

# The consoles of all processes, one after the other: each line of the guest's once, and in order.
ticks() {
    cat "$@" | tr -d '\r' | awk '/^tick / { if ($2 != ++n) { print "tick " $2 " comes as number " n; bad = 1 } }
        END { print n " ticks"; exit bad }'
}
tick_count() { grep -c '^tick ' "$scratch/$1.out"; }
ticked_more() { [ "$(tick_count "$1")" -gt "$2" ]; }
ticks_on() { wait_for ticked_more "$1" "$(tick_count "$1")"; }

outputs=("$scratch/v0.out")
begins() {
    machine v0 "${guest[@]}" "${same[@]}" --device "${devices[0]},id=nic"
    wait_for said v0 "tick 3 "
}
check "the guest boots and drives its device" begins
one_hop() { # NUMBER
    target "v$1" "${same[@]}" --device "${devices[$(($1 % 2))]},id=nic" && send "v$(($1 - 1))" "$address" completed &&
        ticks_on "v$1" || return
    qmp "v$(($1 - 1))" query-migrate | sed 's/.*"downtime":/downtime /; s/^/# hop '"$1"': /' >&3
    gone "v$(($1 - 1))"
}
exec 3>&1
for hop in $(seq "$hops"); do
    check "it moves, number $hop" one_hop "$hop"
    outputs+=("$scratch/v$hop.out")
done
comes_to_its_end() {
    type_to "v$hops" $'q\n'
    ends "v$hops" 0 && said "v$hops" "end: good" && return
    tail -n 5 "$scratch/v$hops.out"
    return 1
}
check "every checksum is right, every interrupt came, time never went back" comes_to_its_end
check "no line of its console is lost, none came twice" ticks "${outputs[@]}"
echo "# $(tail -n 4 "$scratch/v$hops.out" | grep '^tick' | tail -n 1)"
mdev_remove "${devices[@]}"
finish
