#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A Linux guest with a kernel VFIO device is moved live between two processes, ten times, to and fro
# between two devices; then stopped, moved and continued; then into a file and from it: see tests/vmm/linux-guest.c
# for what it does meanwhile. What its pauses were made of is remembered from move to move, and predicted.
. "$(dirname "$0")/../vmm/lib.sh"
requires_kvm
moves=10

# QEMU's emulation of SVM now and then interrupts a processor that must not be (scripts/rig/run), and not only the rig's kernel
# can die of that: a guest may, wherever it is. One that dies or stands still proves nothing, so all of it is done once more then, and
# shown. One that lost a line, an interrupt, a page or time is never given a second chance.
emulation_failed() { grep -qE 'vCPU [0-9]+: (triple fault|KVM cannot go on)|the guest stands still' "$scratch/attempt"; }
if [ -z "${ATTEMPT-}" ]; then
    for ATTEMPT in 1 2 3; do
        export ATTEMPT
        status=0
        "$0" >"$scratch/attempt" || status=$?
        if [ $status = 0 ] || [ $ATTEMPT = 3 ] || ! emulation_failed; then
            cat "$scratch/attempt"
            exit $status
        fi
        sed "s/^/# attempt $ATTEMPT, in which the guest died: /" "$scratch/attempt"
    done
fi

initrd <<'END'
echo 4 >/proc/sys/vm/nr_hugepages
echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
echo vfio-pci >/sys/bus/pci/devices/0000:00:01.0/driver_override
echo 0000:00:01.0 >/sys/bus/pci/drivers_probe
/linux-guest 0000:00:01.0
END
add_to_initrd "$RIG_BUILD/../vmm/vmm-linux-guest" linux-guest

devices=("$(module default)" "$(module default)")
same=(--cpus 1 --memory 192M --history "$scratch/history")
guest=(--kernel "$RIG_BZIMAGE" --initrd "$scratch/initrd" --append "console=ttyS0 quiet panic=-1 no_timer_check")
last=0

# The consoles of all processes, one after the other: each line of the guest's whole, once, and in order.
ticks() {
    cat "$@" | tr -d '\r' | /usr/bin/python3 -c 'import sys
lines = sys.stdin.buffer.read().split(b"\n")
first = next(i for i, line in enumerate(lines) if line.startswith(b"tick 1 "))
end = next(i for i, line in enumerate(lines) if i > first and b"q" in line) # that was typed, and none of theirs
for number, line in enumerate(lines[first:end], 1):
    text, _, total = line.rpartition(b" sum ")
    if not text.startswith(b"tick %d " % number) or total != b"%d" % sum(text):
        sys.exit(f"line {number} is {line}")
print(end - first, "ticks")'
}
tick_count() { grep -c "^tick " "$scratch/$1.out" || true; } # none is no failure
# Interrupts that the guest has seen, as its last whole line has it.
told() { sed -n 's/^tick .* told \([0-9]*\) device-wrong .*/\1/p' "$scratch/$1.out" | tail -n 1; }
drives_more() { [ "$(told "$1")" -gt "$2" ] 2>/dev/null; }

# When lines of a machine's console come.
note_times() {
    tail -n +1 -f --pid="$(pid_of "$1")" "$scratch/$1.out" 2>/dev/null |
        while IFS= read -r line; do echo "$EPOCHREALTIME $line"; done >"$scratch/$1.times" &
}
begins() {
    machine v0 "${guest[@]}" "${same[@]}" --device "${devices[0]},id=nic" && note_times v0 && wait_for said v0 "tick 3 "
}

# The next place is v$last, with the other device.
next() { # ADDRESS-TO-COME-FROM
    last=$((last + 1))
    machine "v$last" "${same[@]}" --device "${devices[$((last % 2))]},id=nic" --incoming "$1" && note_times "v$last"
}
listens() {
    wait_for grep -q 'listening on' "$scratch/v$last.err" && address=$(sed -n 's/.*listening on //p' "$scratch/v$last.err")
}
leaves() { kill "$(pid_of "$1")" && ends "$1" 0; }
tells_whether_it_stands() {
    local before
    before=$(tick_count "v$last")
    sleep 20
    [ "$(tick_count "v$last")" != "$before" ] || echo "the guest stands still"
}
one_move() {
    local from=v$last before
    before=$(told "$from")
    next tcp:127.0.0.1:0 && listens && send "$from" "$address" completed || return
    wait_for drives_more "v$last" "$before" || { tells_whether_it_stands && return 1; }
    qmp "$from" query-migrate >"$scratch/move$last"
    leaves "$from"
}
stands_still() {
    local before
    qmp "$1" query-status | grep -q '"paused"' && before=$(tick_count "$1") && sleep 0.5 && [ "$(tick_count "$1")" = "$before" ]
}
one_stopped() {
    local from=v$last before
    qmp "$from" stop >/dev/null && stands_still "$from" && before=$(told "$from") || return
    next tcp:127.0.0.1:0 && listens && send "$from" "$address" completed && wait_for grep -q 'migration completed' "$scratch/v$last.err" &&
        stands_still "v$last" && qmp "v$last" cont >/dev/null && wait_for drives_more "v$last" "$before" && leaves "$from"
}
one_file() {
    local from=v$last before
    send "$from" "file:$scratch/snapshot" completed && leaves "$from" && before=$(told "$from") &&
        next "file:$scratch/snapshot" && wait_for drives_more "v$last" "$before"
}
comes_to_its_end() {
    type_to "v$last" $'q\n'
    ends "v$last" 0 && said "v$last" "end: good" && return
    tail -n 5 "$scratch/v$last.out"
    return 1
}
all_ticks() {
    local outputs=() n
    for n in $(seq 0 "$last"); do outputs+=("$scratch/v$n.out"); done
    ticks "${outputs[@]}"
}

give_up() {
    kill -9 "${machines[@]}" 2>/dev/null
    wait
    mdev_remove "${devices[@]}"
    finish
}

check "the guest boots and drives its device" begins
for move in $(seq "$moves"); do
    check "it moves, number $move" one_move
    [ "$tap_failures" -eq 0 ] || give_up
done
check "stopped by its monitor it moves as well, and is continued there" one_stopped
check "into a file, and from there" one_file
check "every checksum is right, every interrupt came, time never went back" comes_to_its_end
check "no line of its console is lost, none came twice" all_ticks
tail -n 3 "$scratch/v$last.out" | tr -d '\r' | sed 's/^/# /'
check "pauses are no longer than predicted" pauses_predicted "$moves" $((moves * 4 / 5))
sed 's/^/# /' "$scratch/pauses"
mdev_remove "${devices[@]}"
finish
