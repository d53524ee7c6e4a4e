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

echo 1..5
truncate -s 16M "$folder/source.ram" "$folder/target.ram"
for side in source target; do
    knobs=()
    [ $side = source ] && knobs=(--dma-rate 2000 --dma-slots 1024@0x100000)
    "$program" refdev --socket-path "$folder/$side.sock" --state-size 1M "${knobs[@]}" \
        2>"$folder/$side.log" >&2 &
done
wait_for [ -S "$folder/source.sock" ] && wait_for [ -S "$folder/target.sock" ]

cat >"$folder/next" <<'END'
echo "$$" >"$folder/pid"
echo "$VFIO_MIGRATE_DEVICES" >"$folder/devices"
cp "$folder/target.ram" "$folder/before"
while cmp -s "$folder/target.ram" "$folder/before"; do sleep 0.02; done
touch "$folder/grew"
"$program" probe --json "${VFIO_MIGRATE_DEVICES#card=}" >"$folder/probe"
touch "$folder/done"
END
"$program" receive --device "vfio-user:$folder/target.sock,id=card" \
    --ram-file "$folder/target.ram@0x100000" --exec '. "$folder/next"' unix:"$folder/link" \
    >"$folder/out" 2>"$folder/receive.log" &
receiver=$!
wait_for [ -S "$folder/link" ]
"$program" send --device "vfio-user:$folder/source.sock,id=card" \
    --ram-file "$folder/source.ram@0x100000" "unix:$folder/link" >"$folder/send.log" 2>&1
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
exit $status
