#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is said where there is no /dev/kvm, or none that can be used.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if ! unshare --user --map-root-user --mount true 2>/dev/null; then
    echo "1..0 # SKIP this user may not make name spaces, in which /dev/kvm could be hidden"
    exit 0
fi
hidden() { # HOW
    unshare --user --map-root-user --mount sh -c "$1"' && exec "$0" --guest pattern --serial none' "$VFIO_VMM" </dev/null
}

no_node() { exits 6 hidden 'mount -t tmpfs none /dev' && says "/dev/kvm" && says "kvm_intel or kvm_amd"; }
check "without /dev/kvm the exit status is 6 and it is said what to do" no_node

# The demo says why it takes a process, and takes one.
demo() { # OPTION
    unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none /dev && mkdir /dev/shm && exec "$0" "$@"' \
        "$VFIO_MIGRATE" demo --ram 32M --state-size 1M --downtime-limit 100s "$@" </dev/null
}
demo_falls_back() { exits 0 demo && grep -q "no virtual machine: /dev/kvm: No such file" "$scratch/out"; }
check "the demo moves a process there, and says why" demo_falls_back
demo_vm() { exits 1 demo --vm && says "--vm: /dev/kvm: No such file"; }
check "with --vm it fails, and says why" demo_vm

no_permission() {
    exits 6 unshare --user --mount sh -c 'exec "$0" --guest pattern --serial none' "$VFIO_VMM" && says "group"
}
if [ -w /dev/kvm ] && ! unshare --user test -w /dev/kvm; then
    check "without permission the group is named" no_permission
fi

other_device() {
    [ -e /dev/kvm ] || return 0
    exits 6 hidden 'mount --bind /dev/null /dev/kvm' && says "API version"
}
check "another device in its place is not taken for it" other_device

finish
