#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A hand-over that hangs: the connection breaks when the source has given its guest up and the target was not told to
# run it. Neither may go on by itself; `vfio-migrate resolve` tells one, and the guest goes on there with nothing lost.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires_kvm
each_alone
guest=(--guest pattern --append "pages=200 lanes=2 report=100")
same=(--cpus 2 --memory 64M)
for name in one two; do server $name --state-size 1M; done

resolve() { "$VFIO_MIGRATE" resolve "$scratch/$1.control" "${@:2}"; }
hangs() { resolve "$1" status | grep -q unresolved; }
still() { # NAME: it reports nothing more
    local before
    before=$(reports_of "$1")
    sleep 0.5
    [ "$(reports_of "$1")" = "$before" ]
}
# hung PREFIX: machines PREFIX1 and PREFIX2 between which the hand-over hangs.
hung() {
    machine "${1}1" "${guest[@]}" "${same[@]}" --control "$scratch/${1}1.control" --device "vfio-user:$scratch/one,id=nic" &&
        machine "${1}2" "${same[@]}" --control "$scratch/${1}2.control" --device "vfio-user:$scratch/two,id=nic" \
            --incoming "unix:$scratch/${1}.there" && wait_for test -S "$scratch/$1.there" || return
    "$RELAY" "$scratch/$1.here" "$scratch/$1.there" &
    machines+=("$!")
    goes_on "${1}1" && wait_for test -S "$scratch/$1.here" && qmp "${1}1" "migrate-set-parameters downtime-limit=100000" >/dev/null &&
        qmp "${1}1" "migrate uri=unix:$scratch/$1.here" >/dev/null && wait_for hangs "${1}1" && wait_for hangs "${1}2" &&
        still "${1}1" && still "${1}2"
}

source_keeps_it() {
    hung a && resolve a1 run >"$scratch/said" && grep -q running "$scratch/said" && goes_on a1 && ends a2 1 && good a1 && reported a1 &&
        grep -q "resolved: the guest runs here" "$scratch/a1.err" && grep -q "resolved: the guest is not here" "$scratch/a2.err"
}
check "both hold; told to run, the source goes on, the target lets go and ends" source_keeps_it

target_gets_it() {
    hung b && resolve b2 run >"$scratch/said" && goes_on b2 && still b1 && good b2 && reported b1 b2 &&
        wait_for grep -q "resolved: the guest is not here" "$scratch/b1.err" && gone b1
}
check "told to run, the target goes on, and the source has nothing left" target_gets_it

one_after_the_other() {
    hung c && resolve c1 discard >/dev/null && still c1 && still c2 && resolve c2 run >/dev/null && goes_on c2 && good c2 && gone c1 &&
        reported c1 c2
}
check "so it is when the source is told to let go first" one_after_the_other

quit_is_refused() {
    hung d && ! qmp d1 quit >"$scratch/answer" 2>&1 && grep -q "resolve .*d1.control run|discard" "$scratch/answer" && hangs d1 &&
        resolve d1 run >/dev/null && goes_on d1 && good d1
}
check "quit is refused meanwhile, and says what to do" quit_is_refused

signals() { # NAME: the first says what to do, the second ends it
    kill -INT "$(pid_of "$1")" && wait_for grep -q "hand-over hangs, and .*resolve .*$1.control run|discard.*once more" "$scratch/$1.err" &&
        hangs "$1" && kill -INT "$(pid_of "$1")" && ends "$1" 4 && grep -q "is lost" "$scratch/$1.err"
}
source_ends() {
    hung e && signals e1 && ! resolve e2 run 2>/dev/null && resolve e2 run --other-side-gone >/dev/null && goes_on e2 && good e2 &&
        reported e1 e2
}
check "a source that is ended all the same leaves the guest to the target, on the operator's word" source_ends
target_ends() {
    hung f && signals f2 && resolve f1 run --other-side-gone >/dev/null && goes_on f1 && good f1 && reported f1
}
check "a target that is ended all the same leaves it to the source" target_ends

# slow PREFIX: the guest of PREFIX1 is on its way to PREFIX2, and will be for long.
slow() {
    machine "${1}1" "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one,id=nic" &&
        target "${1}2" "${same[@]}" --device "vfio-user:$scratch/two,id=nic" && goes_on "${1}1" &&
        qmp "${1}1" "migrate-set-parameters max-bandwidth=1000" >/dev/null && qmp "${1}1" "migrate uri=$address" >/dev/null &&
        wait_for status_is "${1}1" active
}
source_interrupted() {
    slow g && kill -INT "$(pid_of g1)" && ends g1 0 && ends g2 1 && grep -q "cancelled" "$scratch/g1.err" && grep -q "receiving: " "$scratch/g2.err"
}
check "a source that is interrupted while it sends ends, and its target does" source_interrupted
target_interrupted() {
    slow h && kill -INT "$(pid_of h2)" && ends h2 0 && wait_for status_is h1 failed && goes_on h1 && good h1 && reported h1
}
check "a target that is interrupted while it receives ends, and the guest goes on at the source" target_interrupted
nobody_came() {
    target i2 "${same[@]}" && kill -INT "$(pid_of i2)" && ends i2 0
}
check "so does one to which nobody came" nobody_came

for name in one two; do stop_server $name; done
finish
