# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Vocabulary of the shell tests in the rig. scripts/rig/test gives VFIO_MIGRATE, the command, and
# RIG_BUILD, where the helper programs are.

set -u
tap_count=0
tap_failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# check NAME COMMAND...: one result. When it fails it shows what the tests know besides (evidence), the command's output
# and, if the command is a function, the step that failed, what that did last if it is one, too, and so on.
check() {
    local name=$1 check_depth=${#FUNCNAME[@]} check_deepest=0 check_steps=() status=0
    shift
    tap_count=$((tap_count + 1))
    set -o functrace
    trap '[ ${#FUNCNAME[@]} -le "$check_depth" ] || check_deepest=${#FUNCNAME[@]} check_steps[${#FUNCNAME[@]}]=$BASH_COMMAND' DEBUG
    "$@" >"$scratch/check" 2>&1 || status=$?
    trap - DEBUG
    set +o functrace
    if [ "$status" = 0 ]; then
        echo "ok $tap_count - $name"
        return
    fi
    tap_failures=$((tap_failures + 1))
    echo "not ok $tap_count - $name"
    {
        evidence
        cat "$scratch/check"
        while [ $((++check_depth)) -le "$check_deepest" ]; do echo "in: ${check_steps[check_depth]-}"; done
    } | sed 's/^/# /'
}
evidence() { :; }

finish() {
    echo "1..$tap_count"
    [ "$tap_failures" -eq 0 ]
    exit
}

# exits STATUS COMMAND...: COMMAND must end with STATUS; its output goes to $scratch/out and err.
exits() {
    local expected=$1 status=0
    shift
    "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    [ "$status" = "$expected" ] && return
    echo "exit status $status, expected $expected: $*"
    cat "$scratch/out" "$scratch/err"
    return 1
}

# says WORDS: the last `exits` had them on standard error.
says() {
    grep -qF -- "$1" "$scratch/err" && return
    echo "standard error does not say '$1':"
    cat "$scratch/err"
    return 1
}

# wait_for COMMAND...: until it succeeds, $patience seconds at most.
patience=60
wait_for() {
    local end=$((SECONDS + patience))
    while [ $SECONDS -lt $end ]; do
        "$@" && return
        sleep 0.05
    done
    echo "in vain: $*"
    return 1
}

# json EXPRESSION: true of j, the object that the last `exits` printed.
json() {
    /usr/bin/python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
if not eval("(" + sys.argv[2] + ")"):
    sys.exit("not so: " + sys.argv[2] + "\n" + json.dumps(j, indent=1))' "$scratch/out" "$1"
}

# mtty TYPE: make one (mtty-1: one port, mtty-2: two) and print its UUID.
mtty() {
    local uuid
    uuid=$(cat /proc/sys/kernel/random/uuid)
    echo "$uuid" >"/sys/class/mdev_bus/mtty/mdev_supported_types/$1/create" && echo "$uuid"
}

# module PROFILE: one of the project's module, with little state, and print its UUID.
module() {
    local uuid
    uuid=$(cat /proc/sys/kernel/random/uuid)
    echo "$uuid" >"/sys/class/mdev_bus/refdev/mdev_supported_types/refdev-$1/create" &&
        { [ "$1" != default ] || echo 256K >"/sys/bus/mdev/devices/$uuid/refdev/state_size"; } &&
        echo "$uuid"
}

mdev_remove() {
    local uuid
    for uuid in "$@"; do echo 1 >"/sys/bus/mdev/devices/$uuid/remove"; done
}
mtty_remove() { mdev_remove "$@"; }

# The ways to open a device that this kernel has.
backends() { [ ! -c /dev/iommu ] && echo group || echo group cdev; }

# The scratch register of an mtty's first port: it keeps what is written there.
get_register() { "$RIG_BUILD/rig-region" "$1" 0 7; }
set_register() { "$RIG_BUILD/rig-region" "$1" 0 7 "$2"; }
register_is() {
    local value
    value=$(get_register "$1")
    [ "$value" = "$2" ] && return
    echo "the scratch register of $1 is $value, expected $2"
    return 1
}
