#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# scripts/rig/run itself: what a program in the rig says comes out, and every way to fail is told
# apart. Runs on the host.
set -u
rig=$(cd "$(dirname "$0")/../../../scripts/rig" && pwd)
. "$rig/requirements.sh"
missing=$(rig_missing)
if [ -n "$missing" ] && [ -z "${CI:-}" ]; then
    echo "1..0 # SKIP apt-get install $missing"
    exit 0
fi
# Made here, because who makes something says so.
"$rig/build-module" >/dev/null || { echo "Bail out! no kernel, or no module for it"; exit 1; }

# Its own place for temporary files, to see that nothing stays there.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
out=$TMPDIR/out
err=$TMPDIR/err
count=0
failures=0

check() { # name, then a command
    local name=$1
    shift
    count=$((count + 1))
    if "$@"; then
        echo "ok $count - $name"
    else
        failures=$((failures + 1))
        echo "not ok $count - $name"
        tail -n 20 "$out" "$err" | sed 's/^/# /'
    fi
}

in_rig() { # expected exit status, then arguments of run
    local expected=$1 status=0
    shift
    "$rig/run" "$@" >"$out" 2>"$err" || status=$?
    [ "$status" = "$expected" ] || { echo "# exit status $status"; return 1; }
}

says() { [ "$(cat "$out")" = "$1" ] && [ "$(cat "$err")" = "$2" ]; }
# Processes of a run have its temporary folder in their arguments.
leaves_nothing() {
    [ -z "$(ls -d "$TMPDIR"/rig-* 2>/dev/null)" ] && ! pgrep -f "$TMPDIR/rig-" >/dev/null
}

# Start a long run, wait until its program runs, kill run with signal $1: status $2 is expected.
killed_by() {
    local status=0 run
    : >"$out"
    "$rig/run" -- sh -c 'echo started; sleep 1000' >"$out" 2>"$err" &
    run=$!
    timeout 60 sh -c "until grep -q started '$out'; do sleep 0.1; done" || return 1
    kill -"$1" $run
    wait $run || status=$?
    [ "$status" = "$2" ] || { echo "# exit status $status"; return 1; }
}
# Death by SIGKILL cannot be tidied up after by the dead one: QEMU ends by itself, files stay.
qemu_is_gone() {
    timeout 20 sh -c "while pgrep -f '$TMPDIR/rig-' >/dev/null; do sleep 0.1; done"
    rm -rf "$TMPDIR"/rig-*
}

speaks_and_exits() { in_rig 7 -- sh -c 'echo out; echo err >&2; exit 7' && says out err; }
# shellcheck disable=SC2016 # one of the arguments is a dollar sign and a name
keeps_arguments() { in_rig 0 -- printf '%s|' 'a b' "it's" '$HOME' '' && says "a b|it's|\$HOME||" ""; }
host_is_read_only() { in_rig 0 -- sh -c "! touch /var/lib/rig-was-here && touch /tmp/here"; }
panic_is_told() {
    in_rig 125 -- sh -c 'echo c >/proc/sysrq-trigger; sleep 100' &&
        tail -n 5 "$err" | grep -q 'it said:.*Kernel panic'
}
death_is_told_apart() { in_rig 123 -- sh -c 'echo b >/proc/sysrq-trigger; sleep 100'; }
emulators_fault_is_told_apart() {
    in_rig 123 -- sh -c 'for frame in asm_sysvec_reschedule_ipi+0x1a/0x20 __svm_vcpu_run+0xa0/0x1f0; do
        echo "<0> ? $frame" >/dev/kmsg
    done; echo c >/proc/sysrq-trigger; sleep 100'
}
hang_is_told() { in_rig 124 --timeout 8 -- sleep 100 && grep -q 'no end after 8 s' "$err"; }
much_output_is_whole() {
    in_rig 0 -- seq 200000 && [ "$(sha256sum <"$out")" = "$(seq 200000 | sha256sum)" ]
}
# script(1) is the terminal; a command goes in only when the prompt is there to take it.
shell_takes_commands() {
    local status=0
    mkfifo "$TMPDIR/keys"
    : >"$out"
    {
        timeout 60 sh -c "until grep -q 'rig:' '$out'; do sleep 0.1; done"
        printf 'ls /sys/class/mdev_bus; exit 3\n'
    } >"$TMPDIR/keys" &
    script -qefc "$rig/run --shell --timeout 90" /dev/null <"$TMPDIR/keys" >"$out" 2>"$err" ||
        status=$?
    [ "$status" = 3 ] && grep -q mtty "$out"
}
a_shell_wants_a_terminal() { in_rig 2 --shell && grep -q 'needs a terminal' "$err"; }

check "output, errors and exit status of the program are those of run" speaks_and_exits
check "arguments arrive as they were given" keeps_arguments
check "much output comes out whole" much_output_is_whole
check "the host's files cannot be written, /tmp can" host_is_read_only
check "a kernel panic is told with its console, status 125" panic_is_told
check "a machine that dies without a word ends with 123" death_is_told_apart
check "so does one whose emulator interrupts a processor that must not be" emulators_fault_is_told_apart
check "a hang ends after the timeout, status 124" hang_is_told
check "a shell takes commands from a terminal" shell_takes_commands
check "a shell without a terminal is refused" a_shell_wants_a_terminal
check "an interrupted run ends with 143" killed_by TERM 143
check "nothing is left behind" leaves_nothing
check "a killed run takes QEMU with it" killed_by KILL 137
check "no process of it stays" qemu_is_gone
echo "1..$count"
[ "$failures" -eq 0 ]
