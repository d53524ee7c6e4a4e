#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The machine and its built-in guest, without devices. The guest counts steps, so nothing here depends on time.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires_kvm
each_alone

pattern() { "$VFIO_VMM" --guest pattern "$@" </dev/null; }

runs_to_its_end() { # CPUS
    exits 0 pattern --cpus "$1" --append "steps=120 report=40 pages=64 lanes=2" || return
    [ "$(grep -c '^report ' "$scratch/out")" = 3 ] &&
        grep -q '^report 3 steps 120' "$scratch/out" && grep -q '^verified: wrong 0: good$' "$scratch/out"
}
check "one CPU rewrites its memory, reports every so many steps and switches the machine off" runs_to_its_end 1
check "so do two" runs_to_its_end 2
check "so do eight" runs_to_its_end 8

every_cpu_makes_steps() {
    exits 0 pattern --cpus 4 --append "steps=400 report=400 pages=64 lanes=2" || return
    local steps cpu
    steps=$(sed -n 's/^report 1 steps \([0-9,]*\) .*/\1/p' "$scratch/out")
    for cpu in 1 2 3 4; do
        [ "$(cut -d, -f$cpu <<<"$steps")" -gt 0 ] || { echo "steps: $steps" && return 1; }
    done
}
check "every CPU runs" every_cpu_makes_steps

memory_above_4g() {
    exits 0 pattern --memory 6G --append "steps=4 report=2 lanes=1 pages=4" || return
    exits 0 pattern --memory 16G --append "steps=4 report=2 lanes=1 pages=4"
}
check "memory may lie on both sides of the hole below 4 GiB" memory_above_4g

commands() {
    vmm console --guest pattern --append "pages=32 lanes=2 report=1000000000"
    type_to console v
    wait_for said console "verified: wrong 0: good" || return
    type_to console q
    ends console 0 && [ "$(grep -c '^verified' "$scratch/console.out")" = 2 ]
}
check "what is typed reaches the guest" commands

ended_by() {
    vmm "ended_$1" --guest pattern --cpus 2 --append "pages=32 lanes=2"
    wait_for said "ended_$1" "pattern guest" || return
    kill "-$1" "$(pid_of "ended_$1")"
    ends "ended_$1" 0
}
check "SIGTERM ends it" ended_by TERM
check "^C ends it" ended_by INT

to_a_file() {
    exits 0 pattern --serial "file:$scratch/serial" --append "steps=2 report=1 pages=2 lanes=1" &&
        grep -q '^report 2 ' "$scratch/serial" && [ ! -s "$scratch/out" ]
}
check "the console can be a file" to_a_file

nobody_reads() {
    mkfifo "$scratch/pipe"
    # A writer that never blocks, and a reader that never reads: the ring fills, and then SIGTERM still ends it.
    "$VFIO_VMM" --guest pattern --append "report=1 pages=1 lanes=1" <>"$scratch/pipe" >"$scratch/pipe" 2>/dev/null 3<"$scratch/pipe" &
    local pid=$!
    wait_for grep -q '^SigBlk:.*4002$' "/proc/$pid/status" || return # it will hear of SIGINT and SIGTERM
    sleep 0.5
    kill -TERM $pid
    wait $pid
}
check "a console that nobody reads does not keep it from ending" nobody_reads

is_refused() { # WORDS ARGUMENT...
    local words=$1
    shift
    exits 2 "$VFIO_VMM" "$@" && says "$words"
}
check "no guest is refused" is_refused "nothing to run"
check "an unknown guest is refused" is_refused "--guest dos" --guest dos
for size in 15M 17G 3000000 1M5 -1G G 99999999999999999999G 16385M; do
    check "--memory $size is refused" is_refused "--memory $size" --guest pattern --memory=$size
done
for cpus in 0 9 two; do
    check "--cpus $cpus is refused" is_refused "--cpus $cpus" --guest pattern --cpus=$cpus
done
check "--serial tape is refused" is_refused "--serial tape" --guest pattern --serial tape

options_too_long() {
    exits 1 "$VFIO_VMM" --guest pattern --append "$(printf '%600s' x)" && says "at most 511"
}
check "a command line that is too long is refused" options_too_long

no_option() {
    exits 0 pattern --append "steps=1 pages=1 page=3" && grep -q '^page=3: no option of this guest' "$scratch/out" &&
        [ "$(grep -c 'no option' "$scratch/out")" = 1 ]
}
check "the guest says which of its options is none" no_option

no_file() { exits 1 pattern --serial file:/nonexistent/x && says "/nonexistent/x"; }
check "a console that cannot be opened is named" no_file

fails() { # WORDS ARGUMENT...
    local words=$1
    shift
    exits 1 "$VFIO_VMM" --serial none "$@" </dev/null && says "$words"
}
check "a kernel that is not there is named" fails "/nonexistent/bzImage: No such file" --kernel /nonexistent/bzImage
check "what is no kernel is named" fails "$VFIO_VMM is no bzImage" --kernel "$VFIO_VMM"
check "a folder is no kernel" fails "/tmp is no bzImage" --kernel /tmp
check "a monitor's address that makes no sense is named" fails "carrier:pigeon" --guest pattern --qmp carrier:pigeon
long=$scratch/$(printf '%100s' | tr ' ' x)
check "a monitor's path that is too long is" fails "at most 107" --guest pattern --qmp "unix:$long"
check "so is a control socket's" fails "at most 107" --guest pattern --control "$long"
check "one in a folder that is not there is named" fails "/nonexistent/x: No such file" --guest pattern --qmp unix:/nonexistent/x

taken() {
    machine first --guest pattern --append "pages=32 lanes=2" --control "$scratch/first.control"
    wait_for test -S "$scratch/first.qmp" && wait_for test -S "$scratch/first.control" || return
    fails "first.qmp: Address already in use" --guest pattern --qmp "unix:$scratch/first.qmp" &&
        fails "first.control: Address already in use" --guest pattern --control "$scratch/first.control" || return
    echo keep >"$scratch/file"
    fails "file: Address already in use" --guest pattern --qmp "unix:$scratch/file" && [ "$(cat "$scratch/file")" = keep ] &&
        gone first
}
check "sockets of another machine stay its own, and a file in their place a file" taken

finish
