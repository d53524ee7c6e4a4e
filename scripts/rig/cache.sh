# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# What takes long to make is made once: kernels and modules; read by the scripts that make them.
#
# A folder's name has a hash of everything that goes into it, so what is finished is used for ever and
# a changed fragment or source makes a new one. It appears by a rename: a folder that exists is
# complete.

rig_cache=${VFIO_MIGRATE_RIG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vfio-migrate/rig}

# rig_cached NAME KIND WHAT FUNCTION: print the folder NAME. If there is none yet, FUNCTION makes it:
# it is called with an empty folder that may hold anything, and leaves the result in out/ there.
# One of a KIND is made at a time; a second caller waits for it and takes it.
#
# FUNCTION runs with `set -e`, which bash does not do in what stands before || or in an if: call this
# one as a plain command, in a script that is without -e, and look at $?.
rig_cached() {
    local name=$1 kind=$2 what=$3 make=$4 folder=$rig_cache/$1 status=0
    mkdir -p "$rig_cache"
    if [ ! -d "$folder" ]; then
        # Only the lock's owner makes one, so every folder of that kind found then is a dead one's.
        exec 9>"$rig_cache/.lock-$kind"
        flock 9
        rm -rf "$rig_cache/.making-$kind"-*
        if [ ! -d "$folder" ]; then
            rig_make "$name" "$kind" "$what" "$make"
            status=$?
        fi
        exec 9>&-
    fi
    [ $status != 0 ] || printf '%s\n' "$folder"
    return $status
}

rig_make() {
    local name=$1 kind=$2 what=$3 make=$4 log=$rig_cache/$1.log work started=$SECONDS status=0 child
    work=$(mktemp -d "$rig_cache/.making-$kind-XXXXXX")
    mkdir "$work/out"
    # It is made in the background and in a process group of its own: `wait` can be interrupted, and
    # then make and all its compilers end with it.
    # shellcheck disable=SC2317 # called by the trap
    stop() { trap '' INT TERM HUP; kill -- -"$child" 2>/dev/null || true; wait; rm -rf "$work"; }
    trap 'stop; exit 130' INT TERM HUP
    rig_say "$what; log: $log"
    set -m
    (set -e; unset MAKEFLAGS MFLAGS MAKELEVEL; "$make" "$work") >"$log" 2>&1 9>&- </dev/null &
    child=$!
    set +m
    wait "$child" || status=$?
    trap - INT TERM HUP
    if [ "$status" = 0 ]; then
        chmod 755 "$work/out"
        mv -T "$work/out" "$rig_cache/$name"
        rig_say "done in $((SECONDS - started)) s"
    else
        rig_say "failed after $((SECONDS - started)) s; the last lines of $log:"
        tail -n 25 "$log" >&2
    fi
    rm -rf "$work"
    return $status
}
