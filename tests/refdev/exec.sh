#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfio-migrate receive --exec: a program goes on with devices that have moved. TAP.
#   tests/refdev/exec.sh PATH-OF-VFIO-MIGRATE
set -u
program=$1
export program
folder=$(mktemp -d)
export folder
number=0
status=0
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT

check() { # NAME: a test by the exit status of the command before
    local rc=$?
    number=$((number + 1))
    [ $rc -eq 0 ] || { echo -n "not "; status=1; }
    echo "ok $number - $1"
    [ $rc -eq 0 ] || sed 's/^/# /' "$folder"/*.log "$folder/out"
}
wait_for() {
    local end=$((SECONDS + 30))
    until "$@" 2>/dev/null; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.02
    done
}

# serve PAIR: two devices, the source's with a workload, and memory for both.
serve() {
    local side
    local -a knobs
    for side in source target; do
        truncate -s 16M "$folder/$side$1.ram"
        knobs=()
        [ $side = source ] && knobs=(--dma-rate 2000 --dma-slots 1024@0x100000)
        "$program" refdev --socket-path "$folder/$side$1.sock" --state-size 1M "${knobs[@]}" \
            2>"$folder/$side$1.log" >&2 &
    done
    wait_for [ -S "$folder/source$1.sock" ] && wait_for [ -S "$folder/target$1.sock" ]
}
# receive PAIR COMMAND, send PAIR: the two ends; the target is $receiver.
receive() {
    "$program" receive --device "vfio-user:$folder/target$1.sock,id=card" \
        --ram-file "$folder/target$1.ram@0x100000" --exec "$2" "unix:$folder/link$1" \
        >"$folder/out" 2>"$folder/receive$1.log" &
    receiver=$!
    wait_for [ -S "$folder/link$1" ]
}
send() {
    "$program" send --device "vfio-user:$folder/source$1.sock,id=card" \
        --ram-file "$folder/source$1.ram@0x100000" "unix:$folder/link$1" >"$folder/send$1.log" 2>&1
}
memory_changed() { ! cmp -s "$folder/target$1.ram" "$folder/before"; }
# Somebody writes into the target's memory.
memory_changes() {
    cp "$folder/target$1.ram" "$folder/before" && wait_for memory_changed "$1"
}

echo 1..8
cat >"$folder/next" <<'END'
echo "$$" >"$folder/pid"
echo "$VFIO_MIGRATE_DEVICES" >"$folder/devices"
cp "$folder/target1.ram" "$folder/before"
while cmp -s "$folder/target1.ram" "$folder/before"; do sleep 0.02; done
touch "$folder/grew"
"$program" probe --json "${VFIO_MIGRATE_DEVICES#card=}" >"$folder/probe"
touch "$folder/done"
END
serve 1 && receive 1 '. "$folder/next"' && send 1
check 'a device with a workload moves to a receive with --exec'
wait_for [ -e "$folder/pid" ] && [ "$(cat "$folder/pid")" = $receiver ]
check 'the command runs in the same process'
wait_for [ -s "$folder/devices" ] &&
    grep -q '^card=vfio-user:fd:[0-9]*,established=1,' "$folder/devices"
check 'it is told the device and its address'
wait_for [ -e "$folder/grew" ]
check 'the device goes on writing into its memory while nobody talks to it'
wait_for [ -e "$folder/done" ] && grep -q '"state": *"RUNNING"' "$folder/probe"
check 'a program that opens the address finds it RUNNING'

# exec is refused: arguments and environment have 160 KB, the kernel takes a quarter of the stack's
# limit, and that is 128 KB once the target runs.
padding=$(printf '%080d' 0) && padding=$(printf "$padding%.0s" {1..1000})
serve 2 && PADDING=$padding receive 2 ": $padding; touch '$folder/executed'" &&
    prlimit --pid $receiver --stack=524288: && send 2 &&
    wait_for grep -q 'cannot be handed on: Argument list too long; holding' "$folder/receive2.log"
check 'a command that cannot be executed is reported'
kill -0 $receiver && memory_changes 2
check 'the devices are held then, and go on'
kill -TERM $receiver
wait $receiver
[ $? -eq 1 ] && ! [ -e "$folder/executed" ]
check 'until SIGTERM, and the exit status says that it failed'
exit $status
