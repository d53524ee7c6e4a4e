#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Who tells what a device writes to memory, on kernels that answer differently: Debian's starts mtty's
# DMA log and cannot read it, so the pages that mtty pins (none) count; the rig's reads it.
. "${BASH_SOURCE[0]%/*}/lib.sh"

source=$(mtty mtty-2)
head -c $((1 << 20)) /dev/urandom >/dev/shm/source

# sends STATUS OPTION...: into a file, by the group.
sends() {
    local status=$1
    shift
    rm -f "$scratch/stream"
    exits "$status" "$VFIO_MIGRATE" send --json --backend group --device "$source" \
        --ram-file /dev/shm/source@0x100000 "$@" "file:$scratch/stream"
}
was_tracked_by() { json 'j["devices"][0]["dirty_tracking"] == "'"$1"'"'; }

by_itself() {
    sends 0 || return
    if [ "$RIG_KERNEL" = debian ]; then
        was_tracked_by iommu && says "its IOMMU tells what it writes to memory (device: the DMA log starts"
    else
        was_tracked_by device && says "its own log tells what it writes to memory"
    fi
}
by_its_own_log() {
    if [ "$RIG_KERNEL" = debian ]; then
        sends 3 --dirty-tracking device && json 'j["error"]["reason"] == "vfio-no-dirty-tracking"
and "the DMA log starts" in j["error"]["message"]' && [ ! -e "$scratch/stream" ]
    else
        sends 0 --dirty-tracking device && was_tracked_by device
    fi
}
by_its_container() { sends 0 --dirty-tracking device0=iommu && was_tracked_by iommu; }
by_nobody() { sends 0 --dirty-tracking none && was_tracked_by none && says "all memory goes again"; }
by_what_is_left() {
    sends 0 --dirty-tracking device --all-dirty || return
    if [ "$RIG_KERNEL" = debian ]; then was_tracked_by none; else was_tracked_by device; fi
}

check "the device's log is taken where it can be read, else its container" by_itself
check "a log that cannot be read is refused with that reason when nobody else may tell" by_its_own_log
check "a type1 container tells what it is asked for" by_its_container
check "nobody tells when the user says so" by_nobody
check "with --all-dirty everything counts as dirty where nobody can tell" by_what_is_left
mtty_remove "$source"
finish
