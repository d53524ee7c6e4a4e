#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfio-migrate save and restore with kernel devices.
. "$(dirname "$0")/lib.sh"
file=$scratch/state
damaged=$scratch/damaged

# saves VALUE OPTION...: a device with VALUE in its register is saved and goes on with it.
saves() {
    local value=$1
    shift
    set_register "$source" "$value" && rm -f "$file" &&
        exits 0 "$VFIO_MIGRATE" save "$source" --to "$file" "$@" && register_is "$source" "$value"
}
restores() { # VALUE OPTION...
    local value=$1
    shift
    exits 0 "$VFIO_MIGRATE" restore "$target" --from "$file" "$@" && register_is "$target" "$value"
}

moves_the_register() { saves 0x5a && set_register "$target" 0 && restores 0x5a; }
goes_by_its_group() {
    saves 0x5c --backend group && set_register "$target" 0 && restores 0x5c --backend group
}
keeps_the_source_stopped() { saves 0x5b --keep-stopped && restores 0x5b; }
loads_again() { restores 0x5b --again; }
is_refused_a_second_time() {
    exits 3 "$VFIO_MIGRATE" restore "$target" --from "$file" && says '--again'
}
tells_sizes() {
    exits 0 "$VFIO_MIGRATE" save "$source" --to "$file" --json && json '
j["status"] == "completed"
and [d["precopy_bytes"] + d["stop_copy_bytes"] for d in j["devices"]] == [96]'
}

# refused WORDS: a bad file does nothing to the device, and a good one is taken afterwards.
refused() {
    local file=$damaged
    set_register "$target" 0x11 &&
        exits 1 "$VFIO_MIGRATE" restore "$target" --from "$file" --again && says "$1" &&
        exits 0 "$VFIO_MIGRATE" probe --json "$target" &&
        json 'j["devices"][0]["migration"]["state"] == "RUNNING"' && register_is "$target" 0x11
}
truncated_is_refused() {
    local size length
    size=$(stat -c %s "$file")
    for length in 0 1 $((size / 3)) $((size / 2)) $((size - 1)); do
        head -c "$length" "$file" >"$damaged"
        refused "" || return
    done
}
flip() { # OFFSET: one bit of that byte
    local byte
    byte=$(od -An -tu1 -j "$1" -N 1 "$file")
    cp "$file" "$damaged"
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$damaged" bs=1 seek="$1" conv=notrunc status=none
}
# The register's copy in the file: 31 bytes behind the start of the state, which begins with mtty's
# magic number.
flipped_register_is_refused() {
    local at
    at=$(LC_ALL=C grep -obUaP '\x4e\x2c\x3e\x8c\x89\x09\x9d\x7e' "$file" | head -n 1 | cut -d: -f1)
    [ -n "$at" ] && flip $((at + 31)) && refused device0
}
flipped_magic_is_refused() { flip 0 && refused 'offset 0'; }
another_model_is_refused() {
    exits 1 "$VFIO_MIGRATE" restore "$one_port" --from "$file" --again && says device0 &&
        exits 0 "$VFIO_MIGRATE" probe --json "$one_port" &&
        json 'j["devices"][0]["migration"]["state"] == "RUNNING"'
}
leaves_no_file_when_it_fails() {
    rm -f "$file.2"
    exits 1 "$VFIO_MIGRATE" save 00000000-0000-4000-8000-000000000000 --to "$file.2" &&
        says 'no such mediated device' && [ ! -e "$file.2" ]
}

source=$(mtty mtty-2)
target=$(mtty mtty-2)
one_port=$(mtty mtty-1)
check "a register's value moves with save and restore, and the source keeps it" moves_the_register
check "it moves when the devices are opened by their groups" goes_by_its_group
check "save --keep-stopped writes the same state" keeps_the_source_stopped
check "a file that was restored is refused a second time" is_refused_a_second_time
check "restore --again takes it" loads_again
check "save tells the 96 bytes in JSON" tells_sizes
check "a truncated file is refused and the device is RUNNING as it was" truncated_is_refused
check "a file with a flipped bit in the device's state is refused" flipped_register_is_refused
check "a file that is no stream is refused at offset 0" flipped_magic_is_refused
check "the state of another model is refused and the device is RUNNING" another_model_is_refused
check "a save that fails leaves no file" leaves_no_file_when_it_fails
mtty_remove "$source" "$target" "$one_port"
finish
