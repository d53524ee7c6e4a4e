# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Vocabulary of the tests of vfio-vmm, on top of that of tests/rig. VFIO_VMM is the program.
. "$(dirname "${BASH_SOURCE[0]}")/../rig/lib.sh"

# Skip everything where there is no KVM.
requires_kvm() {
    "$VFIO_VMM" --guest pattern --serial none --append "steps=1 pages=1" </dev/null 2>"$scratch/kvm"
    [ $? != 6 ] && return
    echo "1..0 # SKIP $(cat "$scratch/kvm")"
    exit 0
}

# vmm NAME ARGUMENT...: a machine in the background. What it says is in $scratch/NAME.out and .err; `type_to NAME
# TEXT` types on its console.
vmm() {
    local name=$1
    shift
    mkfifo "$scratch/$name.in"
    "$VFIO_VMM" "$@" <>"$scratch/$name.in" >"$scratch/$name.out" 2>"$scratch/$name.err" &
    eval "pid_$name=$!"
}
type_to() { printf '%s' "$2" >"$scratch/$1.in"; }
pid_of() { local pid=pid_$1 && echo "${!pid}"; }
# ends NAME STATUS: the machine comes to its end, with that status.
ends() {
    local status=0
    wait "$(pid_of "$1")" || status=$?
    [ "$status" = "$2" ] && return
    echo "$1 ended with $status, expected $2:"
    tail -n 5 "$scratch/$1.out" "$scratch/$1.err"
    return 1
}
# said NAME TEXT: by now.
said() { grep -qF -- "$2" "$scratch/$1.out"; }
# server NAME OPTION...: a reference device at $scratch/NAME, with little state.
server() {
    local name=$1
    shift
    "$VFIO_MIGRATE" refdev --quiet --socket-path "$scratch/$name" "$@" </dev/null >/dev/null 2>"$scratch/$name.err" &
    eval "pid_$name=$!"
    wait_for test -S "$scratch/$name"
}
stop_server() { kill "$(pid_of "$1")" && wait "$(pid_of "$1")"; }
