#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# VFIO devices in the machine, driven by the built-in guest: registers, DMA, interrupts.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires_kvm
each_alone

small="pages=16 lanes=2 report=50 steps=100 copies=5"
with() { # ADDRESS... -- OPTIONS
    local devices=()
    while [ "$1" != -- ]; do devices+=(--device "$1") && shift; done
    exits 0 "$VFIO_VMM" --guest pattern --cpus 2 "${devices[@]}" --append "$small $2" </dev/null || return
    grep -q '^verified: .*: good$' "$scratch/out" && return
    cat "$scratch/out"
    return 1
}
# What the guest counted of device N in its verification.
counted() { sed -n "s/^verified: .*; device $1: [^;:]*$2 \([0-9]*\).*/\1/p" "$scratch/out"; }
# Every copy that was asked for was told by its interrupt, and there were some.
all_told() {
    local copies
    copies=$(counted "$1" copies)
    [ "$copies" -ge 5 ] && [ "$(counted "$1" interrupts)" = "$copies" ] && [ "$(counted "$1" lost)" = 0 ] &&
        [ "$(counted "$1" slots)" -gt 0 ]
}

server one --state-size 1M
msix() { with "vfio-user:$scratch/one" -- "" && grep -q '^device 0: MSI-X' "$scratch/out" && all_told 0; }
check "the guest drives a device: registers, DMA, MSI-X, and nothing is lost" msix

intx() { with "vfio-user:$scratch/one" -- "intx=1" && grep -q '^device 0: INTx' "$scratch/out" && all_told 0; }
check "so it does with INTx, which comes again when it was handled" intx

masking() { with "vfio-user:$scratch/one" -- "mask=1" && grep -q '^device 0: MSI-X' "$scratch/out" && all_told 0; }
check "and with MSI-X vectors that it masks and unmasks all the time" masking

server two --state-size 1M --profile mlx5
two() { with "vfio-user:$scratch/one" "vfio-user:$scratch/two" -- "$1" && all_told 0 && all_told 1; }
check "two devices do not get in each other's way" two ""
check "nor do two with INTx" two "intx=1"

above_4g() {
    exits 0 "$VFIO_VMM" --guest pattern --memory 5G --device "vfio-user:$scratch/one" \
        --append "pages=16 lanes=1 steps=30" </dev/null && grep -q 'good$' "$scratch/out"
}
check "with memory above 4 GiB, too" above_4g

server serial --profile mtty
foreign() { with "vfio-user:$scratch/serial" -- "" && ! grep -q '^device' "$scratch/out"; }
check "a device that the guest has no driver for does no harm" foreign

refused() { # WORDS ARGUMENT...
    local words=$1
    shift
    exits 1 "$VFIO_VMM" --guest pattern --serial none "$@" </dev/null && says "$words"
}
check "a device that is not there is named" refused "nic: " --device "vfio-user:$scratch/nobody,id=nic"
held() {
    vmm holder --guest pattern --device "vfio-user:$scratch/one" --append "pages=16 lanes=2"
    wait_for said holder "device 0" || return
    refused "device0: " --device "vfio-user:$scratch/one" || return
    kill -TERM "$(pid_of holder)"
    ends holder 0
}
check "a device that another machine has is refused" held

usage() {
    exits 2 "$VFIO_VMM" --guest pattern --device "$1" && says "--device $1"
}
check "a device without address is refused" usage ",id=x"
check "a device with an empty id is refused" usage "vfio-user:/x,id="
many() {
    local devices=()
    for i in $(seq 17); do devices+=(--device "vfio-user:/$i"); done
    exits 2 "$VFIO_VMM" --guest pattern "${devices[@]}" && says "more than 16"
}
check "a seventeenth device is refused" many

# The guest goes on with a device that is gone: it reads ones there, and neither crashes.
lost() {
    server mortal --state-size 1M
    machine l --guest pattern --cpus 2 --append "pages=16 lanes=2 report=20" --device "vfio-user:$scratch/mortal,id=nic"
    wait_for said l "report 1 " && kill -9 "$(pid_of mortal)" && wait_for grep -q "^vfio-vmm: nic is lost: .*reads ones.*cannot move" "$scratch/l.err" || return
    local before
    before=$(grep -c '^report' "$scratch/l.out")
    wait_for said l "report $((before + 2)) " || return
    qmp l "migrate uri=tcp:127.0.0.1:1" >"$scratch/answer" 2>&1 && return 1
    grep -q "nic is lost" "$scratch/answer" && qmp l query-migrate | grep -q '"blocked-reasons":.*nic is lost' &&
        [ "$(grep -c "reads ones" "$scratch/l.err")" = 1 ] && qmp l quit >/dev/null && ends l 0
}
check "a device whose server dies is told of once, and keeps the machine from moving" lost

lost_on_the_way() {
    server mortal2 --state-size 1M
    machine m --guest pattern --append "pages=16 lanes=2 report=20" --device "vfio-user:$scratch/mortal2,id=nic" &&
        target n --device "vfio-user:$scratch/one,id=nic" || return
    wait_for said m "report 1 " && qmp m "migrate-set-parameters max-bandwidth=2000" >/dev/null &&
        qmp m "migrate uri=$address" >/dev/null && wait_for status_is m active && kill -9 "$(pid_of mortal2)" &&
        wait_for grep -q "^vfio-vmm: nic is lost" "$scratch/m.err" && qmp m "migrate-set-parameters max-bandwidth=0" >/dev/null &&
        wait_for status_is m failed && ends n 1 && qmp m query-migrate | grep -q "nic"
}
check "one whose server dies during a migration ends that, and the machine is there" lost_on_the_way

for name in one two serial; do stop_server $name; done
finish
