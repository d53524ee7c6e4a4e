#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# command.sh VFIO-MIGRATE: what the command does before any subcommand begins, its exit codes, and
# probe's output. TAP.
set -u
command=$1
scratch=$(mktemp -d)
server=
# shellcheck disable=SC2317 # called by the trap
clean_up() {
    [ -n "$server" ] && kill "$server" 2>/dev/null
    rm -rf "$scratch"
}
trap clean_up EXIT

number=0
failed=0
check() # NAME COMMAND...
{
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$scratch/check" 2>&1; then
        echo "ok $number - $name"
    else
        failed=1
        echo "not ok $number - $name"
        sed 's/^/# /' "$scratch/check" "$scratch/out" "$scratch/err"
    fi
}
# exits STATUS ARGUMENT...: the command ends so; its output goes to $scratch/out and $scratch/err.
exits() {
    local expected=$1 status=0
    shift
    "$command" "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    [ "$status" = "$expected" ] || ! echo "exit status $status, expected $expected: $*"
}
out() { grep -qF -- "$1" "$scratch/out"; }
err() { grep -qF -- "$1" "$scratch/err"; }

no_subcommand() { exits 2 && err Usage: && [ ! -s "$scratch/out" ]; }
help() { exits 0 --help && out '  probe ' && out 'Exit codes' && [ ! -s "$scratch/err" ]; }
version() { exits 0 --version && grep -qE '^vfio-migrate [0-9]+\.[0-9]+' "$scratch/out"; }
suggestion() { exits 2 porbe && err "did you mean 'probe'?"; }
unknown() { exits 2 xyzzy && err "unknown subcommand 'xyzzy'" && ! err 'did you mean'; }
unknown_option() { exits 2 --frobnicate && err "unknown option '--frobnicate'"; }
usage_error() { exits 2 save && err 'vfio-migrate save: '; }
bad_tracking() {
    local how
    for how in nobody device0=nobody =iommu device0=; do
        exits 2 send --dirty-tracking "$how" -d vfio-user:x tcp:h:1 && err "not '$how'" || return
    done
}
bad_option() { exits 2 probe --frobnicate x && err 'vfio-migrate probe'; }
every_subcommand_has_help() {
    local name names
    names=$("$command" --help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p' | grep -vx UUID)
    for name in $names; do
        exits 0 "$name" --help && out "Usage: vfio-migrate $name" || return
    done
    [ "$(echo "$names" | wc -w)" -ge 7 ]
}
full_disk() {
    local status=0
    "$command" probe --help >/dev/null
    "$command" probe --json "vfio-user:$scratch/socket" >/dev/full 2>"$scratch/err" || status=$?
    [ $status = 1 ] && err 'No space left'
}
list_options_with_a_device() {
    exits 2 probe --all "vfio-user:$scratch/none" && err 'for the list' &&
        exits 2 probe --open "vfio-user:$scratch/none" && err 'for the list'
}
# Whatever this host has: a table and exit code 0 or 3, or the reason why there is none.
list() {
    local status=0
    "$command" probe --all >"$scratch/out" 2>"$scratch/err" || status=$?
    if [ -s "$scratch/out" ]; then
        [ $status = 0 ] || [ $status = 3 ] || return
        head -1 "$scratch/out" | grep -qx 'DEVICE  *DRIVER  *GROUP  *CDEV  *MIGRATION' &&
            ! awk 'NF != 5' "$scratch/out" | grep .
    else
        err 'vfio-migrate probe: '
    fi
}
list_in_json() {
    "$command" probe --all --json >"$scratch/out" 2>"$scratch/err"
    [ ! -s "$scratch/err" ] && json '
j["devices"] and all(d["migration"]["verdict"] in ("likely", "unknown", "no") for d in j["devices"])
or j["error"]["reason"] and j["error"]["message"] and j["status"] in ("refused", "failed")'
}
bad_backend() {
    local args
    for args in "probe x" "save x --to y" "restore x --from y" "send -d x tcp:a:1" "receive -d x tcp:a:1" \
        "workload -d x" "demo --source-device x --target-device y"; do
        # shellcheck disable=SC2086 # several words
        exits 2 $args --backend cdv && err "must be auto, cdev or group; did you mean 'cdev'?" || return
    done
}
backend_of_nothing() { exits 2 demo --backend cdev && exits 2 probe --backend cdev; }
no_such_device() {
    local backend
    for backend in auto cdev group; do
        exits 1 probe --json --backend "$backend" ffff:ff:1f.7 && json '
            j["devices"][0]["error"]["reason"] == "no-such-device"' || return
    done
}
bad_address() { exits 1 probe eth0 && err "'eth0' is no device address"; }
nothing_there() { exits 1 probe "vfio-user:$scratch/none" && err "$scratch/none"; }
gone() { exits 1 probe "vfio-user:$scratch/socket" && err "$scratch/socket"; }
nothing_there_in_json() {
    exits 1 probe --json "vfio-user:$scratch/none" && [ ! -s "$scratch/err" ] && json '
j["status"] == "failed" and j["error"]["code"] == "ENOENT" and j["error"]["stage"] == "open"
and j["error"]["device"] and j["error"]["message"] and len(j["devices"]) == 1'
}
json() { python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); assert eval(sys.argv[2].replace("\n", " "))' "$scratch/out" "$1"; }
probe_tells() {
    exits 0 probe "vfio-user:$scratch/socket" && out 'yes: STOP_COPY, P2P, PRE_COPY' &&
        out 'in pages of 4 KiB' && out 'vfio-user'
}
probe_tells_in_json() {
    exits 0 probe --json "vfio-user:$scratch/socket" && json '
(d := j["devices"][0]) and j["status"] == "completed" and d["backend"] == "vfio-user"
and d["migration"]["supported"] and d["migration"]["state"] == "RUNNING"
and d["migration"]["stop_copy_bytes"] >= 1 << 20 and d["dma_logging"]["pgsize"] == 4096'
}
one_bad_device_does_not_hide_the_others() {
    exits 1 probe "vfio-user:$scratch/none" "vfio-user:$scratch/socket" && err "$scratch/none" &&
        out 'yes: STOP_COPY'
}

check "without a subcommand it prints its usage and exits with 2" no_subcommand
check "--help lists the subcommands on standard output" help
check "--version prints a version" version
check "a mistyped subcommand gets a suggestion and exit code 2" suggestion
check "an unknown subcommand like no other gets none" unknown
check "an unknown option before the subcommand exits with 2" unknown_option
check "a missing argument exits with 2, not argp's 64" usage_error
check "--dirty-tracking takes auto, device, iommu and none, for a device or for all" bad_tracking
check "an unknown option exits with 2, under the subcommand's name" bad_option
check "every subcommand has --help under its own name" every_subcommand_has_help
check "options of the list are refused beside a device" list_options_with_a_device
check "without a device probe lists what there is, five words a line" list
check "the list is one JSON object with --json" list_in_json
check "what is no address is refused with the forms of addresses" bad_address
check "a server that is not there is named" nothing_there
check "a failure is one JSON object with --json" nothing_there_in_json

"$command" refdev --socket-path "$scratch/socket" --state-size 1M >/dev/null 2>&1 &
server=$!
for _ in $(seq 100); do
    [ -S "$scratch/socket" ] && break
    sleep 0.05
done
check "a misspelt --backend is answered with what there is" bad_backend
check "--backend without a device that it is about is refused" backend_of_nothing
check "a PCI device that is not there is named so, whichever way it is asked for" no_such_device
check "probe tells what a device can" probe_tells
check "probe tells it in JSON" probe_tells_in_json
check "probe twice gives the same" cmp "$scratch/out" <("$command" probe --json "vfio-user:$scratch/socket")
check "a device that cannot be opened does not hide the others" one_bad_device_does_not_hide_the_others
check "a report that cannot be written is a failure" full_disk
kill "$server"
wait "$server" 2>/dev/null
server=
check "a server that has gone is named" gone
echo "1..$number"
exit $failed
