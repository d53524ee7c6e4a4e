#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Who tells what a kernel device writes to memory, and that it is the truth: a workload that a device
# writes into is moved and every page of it verified. Over a group the bitmap of pinned pages tells
# where the device's own log does not work; Debian's kernel cannot report any log.
. "$(dirname "$0")/lib.sh"
log=device
[ "$RIG_KERNEL" != debian ] || log=iommu

# moves BACKEND OPTION...: a demo that must lose nothing.
moves() {
    local backend=$1
    shift
    exits 0 "$VFIO_MIGRATE" demo --json --backend "$backend" --ram 32M --dirty-rate 1M --dma-rate 500 \
        --downtime-limit 100s --history none "$@" &&
        json 'j["verified"] and j["verification"]["device_steps"] > 0'
}
told_by() { # WHO BACKEND SOURCE TARGET
    moves "$2" --source-device "$3" --target-device "$4" &&
        json "j['devices'][0]['dirty_tracking'] == '$1'"
}
is_refused() { # BACKEND SOURCE TARGET
    exits 3 "$VFIO_MIGRATE" demo --json --backend "$1" --ram 32M --source-device "$2" \
        --target-device "$3" && grep -q vfio-no-dirty-tracking "$scratch/out"
}
probe_says_why() {
    exits 0 "$VFIO_MIGRATE" probe "$source" && grep -q CONFIG_IOMMUFD_DRIVER "$scratch/out"
}

source=$(module default)
target=$(module default)
source_without=$(module qat)
target_without=$(module qat)
check "a device's writes are told over group ($log), and none is lost" \
    told_by $log group "$source" "$target"
check "writes of a device without a log are told by type1, and none is lost" \
    told_by iommu group "$source_without" "$target_without"
if [ -c /dev/iommu ]; then
    check "a device's writes are told over cdev, and none is lost" \
        told_by device cdev "$source" "$target"
    check "a device without a log is refused over cdev: nobody knows" \
        is_refused cdev "$source_without" "$target_without"
    check "it moves when all memory counts as dirty" \
        moves cdev --all-dirty --source-device "$source_without" --target-device "$target_without"
else
    check "probe says why the log of this kernel cannot be used" probe_says_why
fi
mdev_remove "$source" "$target" "$source_without" "$target_without"
finish
