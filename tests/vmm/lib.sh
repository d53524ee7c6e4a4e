# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Vocabulary of the tests of vfio-vmm, on top of that of tests/rig. VFIO_VMM is the program.
vmm_tests=$(dirname "${BASH_SOURCE[0]}")
. "$vmm_tests/../rig/lib.sh"

patience=240 # guests are slow where a KVM is emulated, and machines can be busy

# From here on each check has machines of its own: what a failed one leaves behind would hold devices of the next.
machines=()
each_alone() {
    eval "plain_$(declare -f check)"
    check() {
        plain_check "$@"
        local pid
        for pid in "${machines[@]}"; do kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
        machines=() started=()
    }
}
# Of a failed check: what its machines and their guests said last.
started=()
evidence() {
    local name
    for name in "${started[@]}"; do
        tail -n 5 "$scratch/$name.err" | sed "s/^/$name: /"
        tail -n 2 "$scratch/$name.out" | sed "s/^/$name, its guest: /"
    done
}

# skip NAME REASON: a check that cannot be made here.
skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}
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
    : >"$scratch/$name.out" && : >"$scratch/$name.err"
    "$VFIO_VMM" "$@" <>"$scratch/$name.in" >"$scratch/$name.out" 2>"$scratch/$name.err" &
    eval "pid_$name=$!"
    machines+=("$!")
    started+=("$name")
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

# ---- Linux guests (in the rig) ----

# initrd: makes $scratch/initrd, whose init is what comes on standard input, with all of busybox at hand.
initrd() {
    local root=$scratch/root
    rm -rf "$root"
    mkdir -p "$root"/{bin,proc,sys,dev}
    cp "$(command -v busybox)" "$root/bin/busybox"
    {
        echo '#!/bin/busybox sh'
        echo '/bin/busybox --install -s /bin'
        echo 'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev'
        cat
        echo 'poweroff -f'
    } >"$root/init"
    chmod 755 "$root/init"
    pack_initrd
}
pack_initrd() { (cd "$scratch/root" && find . | cpio --quiet -o -H newc) >"$scratch/initrd"; }
add_to_initrd() { cp "$1" "$scratch/root/$2" && pack_initrd; } # PROGRAM NAME

# ---- migration: machines with a monitor at $scratch/NAME.qmp ----

# qmp NAME COMMAND: its answer.
qmp() { "$VFIO_MIGRATE" monitor -c "$2" "$scratch/$1.qmp"; }
machine() { # NAME ARGUMENT...
    local name=$1
    shift
    vmm "$name" --qmp "unix:$scratch/$name.qmp" "$@"
}
# target NAME ARGUMENT...: one that waits for a guest; $address is where.
target() {
    local name=$1
    shift
    machine "$name" --incoming tcp:127.0.0.1:0 "$@"
    wait_for grep -q 'listening on' "$scratch/$name.err" || return
    address=$(sed -n 's/.*listening on //p' "$scratch/$name.err")
}
# send NAME ADDRESS STATUS: it moves, or fails, as expected. The machine says itself what became of it: asking it
# again and again would take time from it where processors are emulated.
endings() { grep -c '^vfio-vmm: migration \(completed\|failed\|cancelled\)$' "$scratch/$1.err"; }
more_endings() { [ "$(endings "$1")" -gt "$2" ]; }
status_is() { qmp "$1" query-migrate | grep -q "\"status\":\"\\($2\\)\""; }
send() {
    local before
    before=$(endings "$1")
    "$VFIO_MIGRATE" monitor -c "migrate-set-parameters downtime-limit=100000" -c "migrate uri=$2" "$scratch/$1.qmp" >/dev/null &&
        wait_for more_endings "$1" "$before" && grep '^vfio-vmm: migration' "$scratch/$1.err" | tail -n 1 | grep -q " $3\$" && return
    echo "the migration of $1 did not become $3:"
    qmp "$1" query-migrate
    cat "$scratch/$1.err"
    return 1
}
# reported NAME...: their consoles, one after the other, are the console of one guest that reported often enough:
# no report is missing, none came twice.
reported() {
    local name files=()
    for name in "$@"; do files+=("$scratch/$name.out"); done
    cat "${files[@]}" | awk '/^report / { if ($2 != ++n) { print "report " $2 " comes as number " n; bad = 1 } }
        END { if (n < 2) { print n " reports"; bad = 1 } exit bad }'
}
# goes_on NAME: it reports something more.
reports_of() { grep -c '^report' "$scratch/$1.out"; }
more_reports() { [ "$(reports_of "$1")" -gt "$2" ]; }
goes_on() { wait_for more_reports "$1" "$(reports_of "$1")"; }
# good NAME: it verifies everything, and ends.
good() {
    type_to "$1" q
    ends "$1" 0 && grep -q '^verified: .*: good$' "$scratch/$1.out" && return
    tail -n 3 "$scratch/$1.out"
    return 1
}
# gone NAME: the guest left, the machine is told to end.
gone() { qmp "$1" quit >/dev/null && ends "$1" 0; }
# pauses_predicted MOVES LEAST: see pauses.py; what it says is in $scratch/pauses.
pauses_predicted() { /usr/bin/python3 "$vmm_tests/pauses.py" "$scratch" "$1" "$2" >"$scratch/pauses" || { cat "$scratch/pauses" && return 1; }; }
