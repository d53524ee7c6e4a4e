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

is_running() { # DEVICE
    exits 0 "$VFIO_MIGRATE" probe --json --backend "$RIG_BACKEND" "$1" &&
        json 'j["devices"][0]["migration"]["state"] == "RUNNING"'
}
keeps_its_register() { # STATE VALUE
    set_register "$mtty" "$2" && leave_in "$mtty" "$1" && is_running "$mtty" &&
        register_is "$mtty" "$2"
}
is_saved_afterwards() { # STATE
    leave_in "$module" "$1" && is_running "$module" &&
        exits 0 "$VFIO_MIGRATE" save "$module" --backend "$RIG_BACKEND" --to "$scratch/state"
}

mtty=$(mtty mtty-2)
module=$(module default)
value=16
for RIG_BACKEND in $(backends); do
    export RIG_BACKEND
    for state in STOP STOP_COPY PRE_COPY PRE_COPY_P2P RUNNING_P2P RESUMING; do
        value=$((value + 1))
        check "an mtty whose holder was killed in $state is usable, with its registers ($RIG_BACKEND)" \
            keeps_its_register $state "$(printf 0x%02x $value)"
        check "a device of the module whose holder was killed in $state is saved ($RIG_BACKEND)" \
            is_saved_afterwards $state
    done
done
mdev_remove "$mtty" "$module"
finish
