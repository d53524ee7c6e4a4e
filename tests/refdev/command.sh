#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfio-migrate refdev as a program: options, the socket file, signals. TAP.
#   tests/refdev/command.sh PATH-OF-VFIO-MIGRATE
set -u
program=$1
folder=$(mktemp -d)
socket=$folder/device.sock
server=
number=0
status=0
trap '[ -n "$server" ] && kill -9 "$server" 2>/dev/null; rm -rf "$folder"' EXIT

# check NAME: a test by the exit status of the command before
check() {
    local rc=$?
    number=$((number + 1))
    [ $rc -eq 0 ] || { echo -n "not "; status=1; }
    echo "ok $number - $1"
    [ $rc -eq 0 ] || sed 's/^/# /' "$folder/out"
}

refdev() {
    "$program" refdev "$@" >"$folder/out" 2>&1
}

# exits_with CODE TEXT OPTION...: ends by itself, with that code and that text
exits_with() {
    local code=$1 text=$2
    shift 2
    refdev "$@"
    [ $? -eq "$code" ] && grep -q -- "$text" "$folder/out"
}

# Start a server in the background; returns when it listens.
start() {
    : >"$folder/log"
    "$program" refdev --socket-path "$socket" "$@" >"$folder/out" 2>"$folder/log" &
    server=$!
    until grep -q 'listening on' "$folder/log"; do
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.01
    done
}

finish() {
    kill -"$1" "$server"
    wait "$server" 2>/dev/null
    local rc=$?
    server=
    return $rc
}

echo 1..22
exits_with 0 hisi_acc --profile list
check 'profile list names the profiles'
exits_with 0 '"migration_flags"' --profile list --json
check 'profile list can be JSON'
exits_with 2 "did you mean 'mtty'" --profile mty --socket-path "$socket"
check 'an unknown profile is a usage error that names the nearest'
exits_with 2 'exactly one of'
check 'neither socket path nor fd is a usage error'
exits_with 2 'exactly one of' --fd 3 --socket-path "$socket"
check 'both socket path and fd are a usage error'
exits_with 2 'multiples of 4K' --state-size 5000 --socket-path "$socket"
check 'state size that is not whole pages is a usage error'
exits_with 2 'takes at most' --profile pds --state-size 64M --socket-path "$socket"
check 'state size beyond the profile is a usage error'
exits_with 2 'does no DMA' --profile mtty --dma-rate 5 --socket-path "$socket"
check 'DMA of a profile without DMA is a usage error'
exits_with 2 'COUNT@IOVA' --dma-slots 5 --socket-path "$socket"
check 'slots without an address are a usage error'
exits_with 0 'STOP_COPY' --fault list
check 'fault list explains the faults'
exits_with 2 "did you mean 'STOP_COPY'" --fault fail@arc/STOPCOPY --socket-path "$socket"
check 'a misspelt fault is a usage error that names the nearest'
exits_with 2 'a write is taken whole' --fault short@write --socket-path "$socket"
check 'a fault that makes no sense is a usage error that says why'
f='--fault fail@arc'
exits_with 2 'at most 8' $f $f $f $f $f $f $f $f $f --socket-path "$socket"
check 'a ninth fault is a usage error'
exits_with 1 "$folder/none" --socket-path "$folder/none/x"
check 'a folder that does not exist is named'

start --state-size 1M && [ -S "$socket" ]
check 'a server says that it listens'
exits_with 1 'a server is listening there' --socket-path "$socket"
check 'a path where a server answers is refused'
finish TERM && [ ! -e "$socket" ]
check 'SIGTERM ends it with 0 and removes the socket file'
start --state-size 1M --json && grep -q '"listening"' "$folder/out" && finish INT && [ ! -e "$socket" ]
check 'SIGINT does the same'
start --state-size 1M && { finish KILL; [ -S "$socket" ]; }
check 'a killed server leaves its socket file'
start --state-size 1M && "$program" probe "vfio-user:$socket" >"$folder/out" 2>&1 && finish TERM
check 'which the next one replaces'
start --no-extensions --state-size 1M && "$program" probe "vfio-user:$socket" >"$folder/out" 2>&1 &&
    ! grep -q P2P "$folder/out" && finish TERM
check 'without extensions there is no P2P'
start $f $f $f $f $f $f $f $f --state-size 1M && finish TERM
check 'eight faults are taken'
exit $status
