#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A process that holds a device is killed in the middle of a migration: the next one can use it.
. "$(dirname "$0")/lib.sh"

# hold DEVICE STATE: leave the device in STATE by a process that ends with SIGKILL.
leave_in() {
    local holder
    : >"$scratch/held"
    "$RIG_BUILD/rig-hold" "$1" "$2" >"$scratch/held" &
    holder=$!
    wait_for grep -q "$2" "$scratch/held" || return
    kill -9 $holder
    wait $holder 2>/dev/null
    true
}

is_usable_after() {
    set_register "$mtty" "$2" && leave_in "$mtty" "$1" &&
        exits 0 "$VFIO_MIGRATE" probe --json "$mtty" &&
        json 'j["devices"][0]["migration"]["state"] == "RUNNING"' && register_is "$mtty" "$2"
}

mtty=$(mtty mtty-2)
value=16
for state in STOP STOP_COPY PRE_COPY PRE_COPY_P2P RUNNING_P2P RESUMING; do
    value=$((value + 1))
    check "a device whose holder was killed in $state is usable, with its registers" \
        is_usable_after $state "$(printf 0x%02x $value)"
done
mtty_remove "$mtty"
finish
