#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The commands on every kind of kernel device: mtty and the project's module, by group and by
# character device.
. "$(dirname "$0")/lib.sh"
file=$scratch/state
receiver=

probe_tells() { # DEVICE BACKEND
    exits 0 "$VFIO_MIGRATE" probe --json --backend "$2" "$1" && json "
(d := j['devices'][0])['backend'] == '$2' and d['migration']['state'] == 'RUNNING'
and d['migration']['flags'] == ['STOP_COPY', 'P2P', 'PRE_COPY'] and d['dma_logging']['supported']"
}
saves_and_restores() { # SOURCE TARGET BACKEND
    rm -f "$file" && exits 0 "$VFIO_MIGRATE" save "$1" --backend "$3" --to "$file" &&
        exits 0 "$VFIO_MIGRATE" restore "$2" --backend "$3" --from "$file"
}
# Both devices live, and the target holds them until it is told to let go.
move_live() { # BACKEND SOURCE SOURCE2 TARGET TARGET2
    local address
    : >"$scratch/received"
    "$VFIO_MIGRATE" receive --backend "$1" --device "$4" --device "$5" tcp:127.0.0.1:0 \
        >"$scratch/report" 2>"$scratch/received" &
    receiver=$!
    wait_for grep -q 'listening on' "$scratch/received" || return
    address=$(sed -n 's/.*listening on //p' "$scratch/received")
    exits 0 "$VFIO_MIGRATE" send --downtime-limit 100s --json --backend "$1" --device "$2" --device "$3" "$address" &&
        json 'j["status"] == "completed" and all(
d["precopy_bytes"] > 0 and d["stop_copy_bytes"] > 0 for d in j["devices"]) and len(j["devices"]) == 2' &&
        kill $receiver && wait $receiver
}

for backend in $(backends); do
    for kind in 'mtty mtty-2' 'module default'; do
        name="${kind%% *}, $backend"
        devices=()
        for _ in 1 2 3 4; do devices+=("$($kind)"); done
        check "probe tells what it is ($name)" probe_tells "${devices[0]}" $backend
        check "its state is saved and restored into another ($name)" \
            saves_and_restores "${devices[0]}" "${devices[2]}" $backend
        check "two of them move live ($name)" move_live $backend "${devices[@]}"
        [ -z "$receiver" ] || { kill -9 $receiver && wait $receiver; } 2>/dev/null
        mdev_remove "${devices[@]}"
    done
done
finish
