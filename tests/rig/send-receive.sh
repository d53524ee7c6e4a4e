#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfio-migrate send and receive with kernel devices: live, between two processes.
. "$(dirname "$0")/lib.sh"
receiver=
received=$scratch/received

# receive ADDRESS OPTION...: start a target in the background; $address is where it listens.
receive() {
    local listen=$1
    shift
    : >"$received"
    "$VFIO_MIGRATE" receive --json "$@" "$listen" >"$scratch/report" 2>"$received" &
    receiver=$!
    wait_for grep -q 'listening on' "$received" || return
    address=$(sed -n 's/.*listening on //p' "$received")
}
# ends STATUS: the target ends with it.
ends() {
    local status=0
    wait "$receiver" || status=$?
    receiver=
    [ "$status" = "$1" ] && return
    echo "the target's exit status is $status, expected $1"
    cat "$received"
    return 1
}
# The target runs until it is told to let go: it must be there still.
let_go() {
    kill "$receiver" || { echo "the target has ended by itself" && return 1; }
    ends 0
}
end_receiver() {
    [ -n "$receiver" ] && kill -9 "$receiver" 2>/dev/null
    wait "$receiver" 2>/dev/null
    receiver=
}
is_running() { # DEVICE VALUE: usable, RUNNING, with VALUE in its register
    exits 0 "$VFIO_MIGRATE" probe --json "$1" &&
        json 'j["devices"][0]["migration"]["state"] == "RUNNING"' && register_is "$1" "$2"
}

one_device_over() {
    set_register "$source" "$2" && set_register "$target" 0 &&
        receive "$1" --device "$target" &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --json --device "$source" "$address" && json '
j["status"] == "completed" and j["devices"][0]["precopy_bytes"] == 24
and j["devices"][0]["stop_copy_bytes"] == 72' &&
        let_go && register_is "$target" "$2"
}
one_device_without_precopy() {
    set_register "$source" 0x33 && receive tcp:127.0.0.1:0 --device "$target" &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --json --no-pre-copy --device "$source" "$address" && json '
j["devices"][0]["precopy_bytes"] == 0 and j["devices"][0]["stop_copy_bytes"] == 96' &&
        let_go && register_is "$target" 0x33
}
two_devices() { # HOW HOW: how those of the source, and of the target, are opened
    set_register "$source" 0x41 && set_register "$source2" 0x42 &&
        receive tcp:127.0.0.1:0 --backend "$2" --device "$target" --device "$target2" &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --backend "$1" --device "$source" --device "$source2" "$address" &&
        let_go && register_is "$target" 0x41 && register_is "$target2" 0x42
}
there_and_back() {
    set_register "$source" 0x51 && receive tcp:127.0.0.1:0 --device "$target" &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --device "$source" "$address" && let_go &&
        set_register "$source" 0 && receive tcp:127.0.0.1:0 --device "$source" &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --device "$target" "$address" && let_go &&
        register_is "$source" 0x51
}
without_iommu() { # through its character device
    head -c 4096 /dev/urandom >/dev/shm/source
    exits 3 "$VFIO_MIGRATE" send --downtime-limit 100s --dirty-tracking iommu --device "$source" \
        --ram-file /dev/shm/source@0x100000 "file:$scratch/stream" &&
        says "(iommu: an emulated device has no IOMMU that could tell; the container of its group can" &&
        [ ! -e "$scratch/stream" ]
}
with_memory() { # HOW CHOSEN: who tells what the device writes
    local size=$((4 << 20))
    head -c $size /dev/urandom >/dev/shm/source
    rm -f /dev/shm/target && truncate -s $size /dev/shm/target
    set_register "$source" 0x61 &&
        receive tcp:127.0.0.1:0 --device "$target" --ram-file /dev/shm/target@0x100000 &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --json --dirty-tracking "device0=$1" --device "$source" \
            --ram-file /dev/shm/source@0x100000 "$address" &&
        json 'j["devices"][0]["dirty_tracking"] == "'"$2"'"' && says "device0: " &&
        let_go && register_is "$target" 0x61 && cmp /dev/shm/source /dev/shm/target
}
through_a_file() {
    set_register "$source" 0x71 && set_register "$target" 0 &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --device "$source" "file:$scratch/stream" &&
        { "$VFIO_MIGRATE" receive --json --device "$target" "file:$scratch/stream" \
            >"$scratch/report" 2>"$received" & receiver=$!; } &&
        wait_for grep -q completed "$scratch/report" && let_go && register_is "$target" 0x71
}
# The device lives on in the program that the target becomes.
handed_on() { # HOW it is opened
    set_register "$source" 0x62 && set_register "$target" 0 &&
        receive tcp:127.0.0.1:0 --backend "$1" --device "$target,id=uart" --exec \
            '"$RIG_BUILD/rig-region" "${VFIO_MIGRATE_DEVICES#uart=}" 0 7' &&
        exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --device "$source,id=uart" "$address" && ends 0 &&
        wait_for grep -q '^0x62$' "$scratch/report"
}

target_has_memory() { [ "$(stat -c %b /dev/shm/target)" != 0 ]; }

# A migration that takes long: memory at a crawl. $1: who dies in the middle of it.
slow_migration_where_dies() {
    local sender survivor=0
    truncate -s 0 /dev/shm/target
    truncate -s 32M /dev/shm/target
    yes memory | head -c 32M >/dev/shm/source
    set_register "$source" 0x21 && set_register "$target" 0x22 &&
        receive tcp:127.0.0.1:0 --device "$target" --ram-file /dev/shm/target@0x100000 || return
    "$VFIO_MIGRATE" send --downtime-limit 100s --max-bandwidth 1M --device "$source" \
        --ram-file /dev/shm/source@0x100000 "$address" >"$scratch/sent" 2>&1 &
    sender=$!
    # Memory arrives: both devices are in the middle of it.
    wait_for target_has_memory || return
    if [ "$1" = source ]; then
        kill -9 $sender
        wait $sender 2>/dev/null
        ends 1 || return
    else
        end_receiver
        wait $sender || survivor=$?
        [ $survivor = 1 ] || { echo "the source's exit status is $survivor" && return 1; }
    fi
    is_running "$source" 0x21 && is_running "$target" 0x22
}

# Peers that break off: whatever they do before, the source runs on.
is_left_alone_by() { # BYTES: a peer that takes so many and hangs up
    local port
    /usr/bin/python3 -c 'import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
peer = listener.accept()[0]
count = int(sys.argv[1])
while count > 0 and (got := peer.recv(count)):
    count -= len(got)' "$1" >"$scratch/port" &
    wait_for grep -q . "$scratch/port" || return
    port=$(cat "$scratch/port")
    set_register "$source" 0x23 &&
        exits 1 "$VFIO_MIGRATE" send --downtime-limit 100s --device "$source" "tcp:127.0.0.1:$port" &&
        is_running "$source" 0x23
}

source=$(mtty mtty-2)
target=$(mtty mtty-2)
source2=$(mtty mtty-2)
target2=$(mtty mtty-2)
check "a device moves live over TCP, its header in pre-copy" one_device_over tcp:127.0.0.1:0 0x77
check "a device moves live over a UNIX socket" one_device_over "unix:$scratch/socket" 0x78
check "a device moves all in the pause without pre-copy" one_device_without_precopy
check "two devices move together" two_devices auto auto
check "two devices move together by their groups" two_devices group group
check "two devices move from their groups to character devices" two_devices group cdev
check "a device moves there and back" there_and_back
check "a device moves with the memory it reaches" with_memory auto device
check "an emulated device has no IOMMU that tells what it writes to memory" without_iommu
check "memory moves although nobody tells what the device writes" with_memory none none
check "a device moves through a file" through_a_file
check "a device is handed on with what is in its registers" handed_on cdev
check "a device of a group is handed on" handed_on group
check "the source is killed: both devices are usable with what they had" \
    slow_migration_where_dies source
end_receiver
check "the target is killed: the source runs on, both devices are usable" \
    slow_migration_where_dies target
check "a peer that hangs up at once leaves the source running" is_left_alone_by 0
check "a peer that hangs up in the middle leaves the source running" is_left_alone_by 60
mtty_remove "$source" "$target" "$source2" "$target2"
finish
