#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Machines that move, with the built-in guest: it checks every page and every interrupt, and numbers its reports.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires_kvm
each_alone
guest=(--guest pattern --append "pages=200 lanes=2 report=100")
same=(--cpus 2 --memory 64M)

moves() { # PREFIX ARGUMENT...
    local name=$1
    shift
    machine "${name}1" "${guest[@]}" "${same[@]}" "$@" && target "${name}2" "${same[@]}" "$@" || return
    goes_on "${name}1" && send "${name}1" "$address" completed && goes_on "${name}2" && good "${name}2" && gone "${name}1" &&
        reported "${name}1" "${name}2"
}
check "a guest with two CPUs moves live: no page and no line of its console is lost" moves a
check "with the dirty log, too" moves v --dirty-tracking log

# More pages are written between two looks at the rings than fit into one.
beyond_the_ring() {
    local from=(--guest pattern --append "pages=18000 lanes=1 report=10000") size=(--memory 128M --dirty-tracking ring)
    machine w1 "${from[@]}" "${size[@]}" && target w2 "${size[@]}" || return
    qmp w1 "migrate-set-parameters max-bandwidth=100000 downtime-limit=100000" >/dev/null && goes_on w1 &&
        qmp w1 "migrate uri=$address" >/dev/null && wait_for status_is w1 active && goes_on w1 && goes_on w1 && status_is w1 active &&
        qmp w1 "migrate-set-parameters max-bandwidth=0" >/dev/null && wait_for status_is w1 completed && good w2 && gone w1
}
# Not every KVM has rings.
if "$VFIO_VMM" --guest pattern --dirty-tracking ring --append "steps=1 pages=1" </dev/null >/dev/null 2>"$scratch/err"; then
    check "a processor whose dirty ring is full goes on" beyond_the_ring
else
    skip "a processor whose dirty ring is full goes on" "$(cat "$scratch/err")"
fi

# Huge pages, where there are some or can be: 16 for each machine.
pool=/sys/kernel/mm/hugepages/hugepages-2048kB
had=$(cat $pool/nr_hugepages)
[ "$(cat $pool/free_hugepages)" -ge 34 ] || echo $((had + 34)) 2>/dev/null >$pool/nr_hugepages
from_huge_pages() {
    machine y1 "${guest[@]}" "${same[@]}" --memory 32M --huge-pages && target y2 "${same[@]}" --memory 32M || return
    goes_on y1 && send y1 "$address" completed && goes_on y2 && good y2 && gone y1 && reported y1 y2
}
if [ "$(cat $pool/free_hugepages)" -ge 34 ]; then
    check "with its memory in huge pages on both sides" moves z --memory 32M --huge-pages
    check "and from huge pages to others" from_huge_pages
else
    skip "with its memory in huge pages" "34 of 2 MiB are wanted, and $pool/nr_hugepages cannot be set"
fi
[ "$(cat $pool/nr_hugepages)" = "$had" ] || echo "$had" >$pool/nr_hugepages
too_few() { exits 1 "$VFIO_VMM" --guest pattern --memory 16G --huge-pages </dev/null && says "8192 huge pages" && says "sets how many"; }
[ "$(cat $pool/free_hugepages)" -ge 8192 ] || check "where there are too few, it says how many it wants" too_few

over_4g() {
    machine b1 "${guest[@]}" --memory 5G && target b2 --memory 5G || return
    goes_on b1 && send b1 "$address" completed && goes_on b2 && good b2 && gone b1 && reported b1 b2
}
check "with memory on both sides of the hole, too" over_4g

for name in one two three four; do server $name --state-size 1M; done
with_device() { # PREFIX OPTIONS
    local from=("${guest[@]}") name=$1
    from[3]+=" $2"
    machine "${name}1" "${from[@]}" "${same[@]}" --device "vfio-user:$scratch/one,id=nic" &&
        target "${name}2" "${same[@]}" --device "vfio-user:$scratch/two,id=nic" || return
    goes_on "${name}1" && goes_on "${name}1" && send "${name}1" "$address" completed && goes_on "${name}2" &&
        good "${name}2" && gone "${name}1" && reported "${name}1" "${name}2"
}
check "a guest that drives a device moves: DMA, MSI-X, nothing lost" with_device c ""
check "and with INTx" with_device d "intx=1"
check "and with vectors that are masked and unmasked all the time" with_device v "mask=1"

two_devices() {
    machine e1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one" --device "vfio-user:$scratch/two" &&
        target e2 "${same[@]}" --device "vfio-user:$scratch/three" --device "vfio-user:$scratch/four" || return
    goes_on e1 && send e1 "$address" completed && goes_on e2 && good e2 && gone e1 && reported e1 e2
}
check "with two devices" two_devices

# Six machines, two devices: the guest goes to and fro between them, each pause predicted from those before.
to_and_fro() {
    local places=(one two) hop names=(f0) history=(--history "$scratch/history")
    machine f0 "${guest[@]}" "${same[@]}" "${history[@]}" --device "vfio-user:$scratch/one,id=nic"
    goes_on f0 || return
    for hop in 1 2 3 4 5; do
        target "f$hop" "${same[@]}" "${history[@]}" --device "vfio-user:$scratch/${places[$((hop % 2))]},id=nic" &&
            send "f$((hop - 1))" "$address" completed && goes_on "f$hop" &&
            qmp "f$((hop - 1))" query-migrate >"$scratch/move$hop" && gone "f$((hop - 1))" || return
        names+=("f$hop")
    done
    good f5 && reported "${names[@]}"
}
while sleep 0.1; do echo "$EPOCHREALTIME tick here"; done >"$scratch/clock.times" &
clock=$!
check "to and fro, five times" to_and_fro
kill $clock && wait $clock
check "pauses are no longer than predicted" pauses_predicted 5 2
sed 's/^/# /' "$scratch/pauses"

crossing() {
    machine g1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one,id=nic" &&
        machine h1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/two,id=nic" &&
        target g2 "${same[@]}" --device "vfio-user:$scratch/three,id=nic" || return
    local first=$address
    target h2 "${same[@]}" --device "vfio-user:$scratch/four,id=nic" || return
    goes_on g1 && goes_on h1 || return
    qmp g1 "migrate-set-parameters downtime-limit=100000" >/dev/null && qmp g1 "migrate uri=$first" >/dev/null || return
    send h1 "$address" completed && wait_for status_is g1 completed || return
    goes_on g2 && goes_on h2 && good g2 && good h2 && gone g1 && gone h1 && reported g1 g2 && reported h1 h2
}
check "two at a time" crossing

snapshot() {
    machine i1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one,id=nic"
    goes_on i1 && send i1 "file:$scratch/snapshot" completed && gone i1 || return
    local n
    for n in 2 3; do
        machine "i$n" "${same[@]}" --device "vfio-user:$scratch/two,id=nic" --incoming "file:$scratch/snapshot" &&
            goes_on "i$n" && good "i$n" && reported i1 "i$n" || return
    done
}
check "into a file, and from it, more than once" snapshot

still() { # NAME: it reports nothing more; a guest that ran would
    local before
    before=$(reports_of "$1")
    sleep 0.5
    [ "$(reports_of "$1")" = "$before" ]
}
run_state_is() { qmp "$1" query-status | grep -q "\"status\": *\"$2\""; }
paused() {
    machine t1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one,id=nic" &&
        target t2 "${same[@]}" --device "vfio-user:$scratch/two,id=nic" || return
    goes_on t1 && run_state_is t1 running && qmp t1 stop >/dev/null && run_state_is t1 paused && still t1 && qmp t1 cont >/dev/null &&
        goes_on t1 && qmp t1 stop >/dev/null && run_state_is t2 inmigrate && send t1 "$address" completed && wait_for run_state_is t2 paused &&
        still t2 && run_state_is t1 postmigrate && qmp t2 cont >/dev/null && goes_on t2 && good t2 && gone t1 && reported t1 t2
}
check "a machine that was stopped arrives so, and goes on when it is told to" paused

snapshot_of_running() {
    machine u1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one,id=nic"
    goes_on u1 && qmp u1 "migrate-set-parameters downtime-limit=100000" >/dev/null && qmp u1 "snapshot uri=file:$scratch/moment" >/dev/null && wait_for status_is u1 completed && goes_on u1 && good u1 && reported u1 || return
    machine u2 "${same[@]}" --device "vfio-user:$scratch/two,id=nic" --incoming "file:$scratch/moment" && goes_on u2 && good u2
}
check "a snapshot of a running machine, which goes on" snapshot_of_running

deferred() {
    machine j1 "${guest[@]}" "${same[@]}" && machine j2 "${same[@]}" --incoming defer || return
    goes_on j1 && wait_for test -S "$scratch/j2.qmp" && qmp j2 "migrate-incoming uri=unix:$scratch/j.sock" >/dev/null &&
        send j1 "unix:$scratch/j.sock" completed && goes_on j2 && good j2 && gone j1 && reported j1 j2
}
check "to a target that is told by its monitor from where" deferred

cancelled() {
    machine k1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one" &&
        target k2 "${same[@]}" --device "vfio-user:$scratch/two" || return
    goes_on k1 && qmp k1 "migrate-set-parameters max-bandwidth=1000" >/dev/null && qmp k1 "migrate uri=$address" >/dev/null &&
        wait_for status_is k1 active && qmp k1 migrate_cancel >/dev/null && wait_for status_is k1 cancelled &&
        goes_on k1 && good k1 && reported k1 && ends k2 1
}
check "one that is cancelled goes on, and the target says that it failed" cancelled

killed() {
    machine l1 "${guest[@]}" "${same[@]}" --device "vfio-user:$scratch/one" &&
        target l2 "${same[@]}" --device "vfio-user:$scratch/two" || return
    goes_on l1 && qmp l1 "migrate-set-parameters max-bandwidth=1000" >/dev/null && qmp l1 "migrate uri=$address" >/dev/null &&
        wait_for status_is l1 active && kill -9 "$(pid_of l2)" && wait_for status_is l1 failed && goes_on l1 || return
    ends l2 137
    # and it can try again
    target l3 "${same[@]}" --device "vfio-user:$scratch/three" && qmp l1 "migrate-set-parameters max-bandwidth=0" >/dev/null &&
        send l1 "$address" completed && goes_on l3 && good l3 && gone l1 && reported l1 l3
}
check "one whose target dies goes on, and moves elsewhere" killed

mismatch() { # NAME WORDS ARGUMENT...: the target is another machine
    local name=$1 words=$2
    shift 2
    machine "${name}1" "${guest[@]}" "${same[@]}" && target "${name}2" "$@" || return
    goes_on "${name}1" && send "${name}1" "$address" failed && goes_on "${name}1" && good "${name}1" && ends "${name}2" 1 &&
        cat "$scratch/${name}1.err" "$scratch/${name}2.err" | grep -q "$words" && return
    tail -n 3 "$scratch/${name}"[12].err
    return 1
}
check "a target with less memory is refused" mismatch m "ram.low" --cpus 2 --memory 32M
check "a target with fewer CPUs is refused" mismatch n "cpu" --cpus 1 --memory 64M
check "a target with more CPUs is refused" mismatch o "cpu" --cpus 3 --memory 64M

for feature in sse4_2 popcnt movbe cx16 sse2; do # one that guests have here
    "$VFIO_VMM" --guest pattern --serial none --without $feature --append "steps=1 pages=1" </dev/null 2>/dev/null && break
done
lacking() {
    machine r1 "${guest[@]}" "${same[@]}" && target r2 "${same[@]}" --without "$feature" || return
    goes_on r1 && send r1 "$address" failed && goes_on r1 && ends r2 1 && grep -q "cannot give it: $feature\$" "$scratch/r2.err" &&
        grep -q "cannot give it: $feature\$" "$scratch/r1.err" && ! grep -q 'migration active' "$scratch"/r[12].err || {
        cat "$scratch"/r[12].err
        return 1
    }
    good r1 && reported r1 || return
    # a guest that never saw it can go there, and on to a host that has it
    machine s1 "${guest[@]}" "${same[@]}" --without "$feature" && target s2 "${same[@]}" --without "$feature" || return
    goes_on s1 && send s1 "$address" completed && gone s1 && target s3 "${same[@]}" && goes_on s2 && send s2 "$address" completed &&
        goes_on s3 && gone s2 && target s4 "${same[@]}" --without "$feature" && send s3 "$address" completed && good s4 && gone s3 &&
        reported s1 s2 s3 s4
}
check "a target whose processor lacks what the guest has seen is refused, by name, before anything moves" lacking
# A file has no first words: it is compared when it is read.
lacking_for_a_file() {
    machine x1 "${guest[@]}" "${same[@]}" && goes_on x1 && send x1 "file:$scratch/lacking" completed && gone x1 || return
    exits 1 "$VFIO_VMM" "${same[@]}" --without "$feature" --incoming "file:$scratch/lacking" </dev/null && says "cannot give it: $feature"
}
check "so is one that reads a snapshot" lacking_for_a_file
no_feature() { exits 1 "$VFIO_VMM" "${guest[@]}" --without antigravity </dev/null && says antigravity; }
check "a feature that is not there cannot be left out" no_feature

blocked() {
    machine p1 "${guest[@]}" --device "vfio-user:$scratch/one,id=nic,enable-migration=off"
    goes_on p1 && qmp p1 "migrate uri=tcp:127.0.0.1:1" >"$scratch/answer" 2>&1
    grep -q 'nic' "$scratch/answer" && goes_on p1 && good p1 && return
    cat "$scratch/answer"
    return 1
}
check "a device that shall not move keeps the machine here, and is named" blocked
only_migratable() {
    exits 1 "$VFIO_VMM" "${guest[@]}" --only-migratable --device "vfio-user:$scratch/one,id=nic,enable-migration=off" </dev/null &&
        says nic
}
check "with --only-migratable it is refused at once" only_migratable

compat() {
    machine q1 "${guest[@]}" "${same[@]}" --compat 8.1 && target q2 "${same[@]}" --compat 8.1 || return
    goes_on q1 && send q1 "$address" completed && goes_on q2 && good q2 && gone q1
    exits 1 "$VFIO_VMM" "${guest[@]}" --compat eight </dev/null && says eight
}
check "as an older machine version" compat

usage() { # WORDS ARGUMENT...
    local words=$1
    shift
    exits 2 "$VFIO_VMM" "$@" && says "$words"
}
check "a way to track that is none is refused" usage "ring, log or auto" --guest pattern --dirty-tracking tape
check "two guests are refused" usage "more than one guest" --guest pattern --incoming tcp:127.0.0.1:0
check "a target that waits for its monitor needs one" usage "goes with --qmp" --incoming defer
nowhere() { exits 1 "$VFIO_VMM" --incoming "file:$scratch/nothing" </dev/null && says "nothing"; }
check "a snapshot that is not there is named" nowhere

for name in one two three four; do stop_server $name; done
finish
