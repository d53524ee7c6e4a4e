#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfio-vmm on a KVM that runs real guests: Linux in it, and kernel VFIO devices.
. "$(dirname "$0")/../vmm/lib.sh"
requires_kvm

linux() { "$VFIO_VMM" --kernel "$RIG_BZIMAGE" --initrd "$scratch/initrd" --append "console=ttyS0 quiet panic=-1 no_timer_check" "$@" </dev/null; }
wrote() {
    grep -q "$1" "$scratch/out" && return
    echo "the guest did not write '$1':"
    tail -n 30 "$scratch/out"
    return 1
}

boots() {
    initrd <<'END'
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
echo "memory $(($(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 > 400))"
usleep 300000
echo "command line $(cat /proc/cmdline)"
echo "fw_cfg $(cat /sys/bus/acpi/devices/QEMU0002:00/status) $(grep QEMU0002 /proc/ioports)"
dmesg | grep -i "ecam\|oops\|acpi error"
echo done
END
    exits 0 linux --cpus 2 --memory 512M && wrote '^cpus 2' && wrote '^memory 1' && wrote '^command line console=ttyS0 quiet' &&
        wrote '^fw_cfg 11 *0510-051b' && wrote 'ECAM .*0xe0000000' && wrote '^done' && ! grep -qi 'oops\|acpi error' "$scratch/out"
}
check "Linux boots with two CPUs, keeps time and switches the machine off" boots

default=$(module default)
sees_device() {
    initrd <<'END'
cd /sys/bus/pci/devices/0000:00:01.0
echo "id $(cat vendor) $(cat device)"
echo 1 >enable
echo "registers $(head -n 1 resource) shared $(sed -n 3p resource)"
END
    exits 0 linux --device "$default" && wrote '^id 0x' && wrote '^registers 0x00000000c0' && wrote 'shared 0x00000008'
}
check "a Linux guest finds a kernel VFIO device, its BARs in the windows" sees_device

driven() { # OPTIONS DEVICE...
    local options=$1 devices=()
    shift
    for device in "$@"; do devices+=(--device "$device"); done
    exits 0 "$VFIO_VMM" --guest pattern --cpus 2 "${devices[@]}" --append "pages=64 steps=2000 report=1000 copies=10 $options" </dev/null &&
        wrote '^verified: .*: good'
}
check "the built-in guest drives a kernel VFIO device, with MSI-X" driven "" "$default"
check "and with INTx" driven "intx=1" "$default"
second=$(module default)
check "and two of them" driven "" "$default" "$second"

card=$(mtty mtty-2)
check "a serial card does no harm" exits 0 "$VFIO_VMM" --guest pattern --device "$card" --append "steps=10 pages=4" --serial none

no_bzimage() { # FILE WORDS
    exits 1 "$VFIO_VMM" --kernel "$1" && says "$2"
}
check "what is no kernel is refused" no_bzimage "$VFIO_VMM" "is no bzImage"
check "a kernel that is not there is named" no_bzimage "$scratch/vmlinuz" "$scratch/vmlinuz"
check "a kernel that is too big for the memory is refused" exits 1 "$VFIO_VMM" --kernel "$RIG_BZIMAGE" --memory 16M
too_big_initrd() {
    truncate -s 300M "$scratch/big"
    exits 1 "$VFIO_VMM" --kernel "$RIG_BZIMAGE" --initrd "$scratch/big" && says "300 MiB do not fit"
}
check "an initial file system that does not fit is refused" too_big_initrd

mdev_remove "$default" "$second" "$card"
finish
