#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The guest's display: a picture that it draws once and whose place it tells fw_cfg once. A screenshot at a target is
# that picture only if both came along.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires_kvm
each_alone
for name in one two; do server $name --state-size 1M; done
guest=(--guest pattern --append "pages=64 lanes=2 report=100 seed=42")
same=(--memory 32M)
one() { echo "vfio-user:$scratch/one,id=nic$1"; }
two() { echo "vfio-user:$scratch/two,id=nic$1"; }

# drawing NAME DEVICE ARGUMENT...: a machine whose guest has drawn.
drawing() {
    local name=$1 device=$2
    shift 2
    machine "$name" "${guest[@]}" "${same[@]}" --device "$device" "$@" && wait_for said "$name" "display" && goes_on "$name"
}
shoot() { qmp "$1" "screenshot $scratch/$2" 2>"$scratch/answer"; } # NAME FILE
is_card() { /usr/bin/python3 "$(dirname "${BASH_SOURCE[0]}")/card.py" "$scratch/$1" "$2"; } # FILE SEED
# no_picture NAME WORDS: and why there is none; no file is left.
no_picture() {
    shoot "$1" none.png
    grep -qF -- "$2" "$scratch/answer" && [ ! -e "$scratch/none.png" ] && return
    cat "$scratch/answer"
    return 1
}

picture() {
    drawing a "$(one ,ramfb=on)" && shoot a a.png && is_card a.png 42 && ! is_card a.png 43 2>/dev/null && good a
}
check "a screenshot is a PNG of what the guest has drawn" picture

here() {
    drawing b "$(one ,ramfb=on)" && mkdir "$scratch/here" || return
    (cd "$scratch/here" && "$VFIO_MIGRATE" monitor -c "screenshot 'my card.png'" "$scratch/b.qmp") && is_card "here/my card.png" 42 &&
        qmp b "screendump filename=$scratch/b.png format=png" && is_card b.png 42 && gone b
}
check "a file is where it was typed; screendump is the command's name in QMP" here

moves() { # PREFIX OPTION...: of both sides
    local name=$1
    shift
    drawing "${name}1" "$(one ",ramfb=on$1")" "${@:2}" && target "${name}2" "${same[@]}" --device "$(two ",ramfb=on$1")" "${@:2}" &&
        no_picture "${name}2" "has not said" && shoot "${name}1" before.png && send "${name}1" "$address" completed &&
        goes_on "${name}2"
}
came_along() {
    moves "$@" && shoot "${1}2" after.png && is_card after.png 42 && cmp "$scratch/before.png" "$scratch/after.png" &&
        ! said "${1}2" display && good "${1}2" && gone "${1}1"
}
check "it moves with the guest: the same picture, and the guest did nothing for it" came_along c ""
check "also as an older machine version, if ramfb-migrate is on" came_along d ,ramfb-migrate=on --compat 8.1
stayed() { moves "$@" && no_picture "${1}2" "did not come along" && shoot "${1}1" still.png && good "${1}2" && gone "${1}1"; }
check "with ramfb-migrate=off the guest moves, and the target says that it has no picture" stayed e ,ramfb-migrate=off
check "so it is as an older machine version" stayed f "" --compat 8.1

newer_target() {
    drawing g1 "$(one ,ramfb=on,ramfb-migrate=off)" && target g2 "${same[@]}" --device "$(two ,ramfb=on)" &&
        send g1 "$address" completed && goes_on g2 && grep -q "did not send the state of the device's ramfb" "$scratch/g2.err" &&
        no_picture g2 "did not come along" && gone g1 && gone g2
}
check "a target that wants it and does not get it says so, and goes on" newer_target
older_target() { # PREFIX SETTINGS
    drawing "${1}1" "$(one ,ramfb=on)" && target "${1}2" "${same[@]}" --device "$(two "$2")" && send "${1}1" "$address" failed &&
        grep -q "the source moves the ramfb" "$scratch/${1}2.err" && goes_on "${1}1" && shoot "${1}1" still.png && is_card still.png 42 &&
        gone "${1}1" && ends "${1}2" 1
}
check "a target with ramfb-migrate=off refuses one that moves" older_target h ,ramfb=on,ramfb-migrate=off
check "so does one without ramfb" older_target i ""

file() {
    drawing j1 "$(one ,ramfb=on)" && send j1 "file:$scratch/snapshot" completed && gone j1 || return
    machine j2 "${same[@]}" --device "$(two ,ramfb=on)" --incoming "file:$scratch/snapshot" && goes_on j2 && shoot j2 j.png &&
        is_card j.png 42 && gone j2
}
check "it is in a file, too" file

# ---- what there is not ----

without() {
    machine k "${guest[@]}" "${same[@]}" --device "$(one "")" && goes_on k && ! said k display && no_picture k "ramfb=on" && gone k
}
check "a machine without ramfb says what to do" without

answers() { # COMMAND WORDS...: of machine l
    qmp l "$1" 2>"$scratch/answer"
    shift
    for words in "$@"; do grep -qF -- "$words" "$scratch/answer" || { cat "$scratch/answer" && return 1; }; done
}
bad_commands() {
    drawing l "$(one ,ramfb=on)" && answers screendump "Parameter 'filename' is missing" &&
        answers "screendump filename=$scratch/x.ppm format=ppm" "format" "'ppm'" && [ ! -e "$scratch/x.ppm" ] &&
        answers "screendump filename=x head=1" "head" && answers "screendump filename=1" "filename" "integer" || return
    answers screenshot "FILE.png is wanted" && answers "screenshot a b" "FILE.png is wanted" &&
        answers "screenshot $scratch/no/x.png" "$scratch/no/x.png" "No such file or directory" &&
        answers "screenshot $scratch" "$scratch" "Is a directory" || return
    mkfifo "$scratch/fifo" # with nobody at its other end
    answers "screenshot $scratch/fifo" "$scratch/fifo" "No such device or address" || return
    [ ! -c /dev/full ] || answers "screenshot /dev/full" "/dev/full" "No space left on device" && [ -c /dev/full ] && gone l
}
check "a file that cannot be written is named, and so is a wrong argument" bad_commands

# ---- what is refused ----

refused() { # STATUS WORDS DEVICE...
    local status=$1 words=$2 devices=()
    shift 2
    for device in "$@"; do devices+=(--device "$device"); done
    exits "$status" "$VFIO_VMM" "${guest[@]}" --serial none "${devices[@]}" </dev/null && says "$words"
}
check "ramfb is on or off" refused 2 "ramfb is on or off, not 'auto'" "$(one ,ramfb=auto)"
check "ramfb-migrate is on, off or auto" refused 2 "ramfb-migrate is on, off or auto, not 'maybe'" "$(one ,ramfb-migrate=maybe)"
check "two devices with a ramfb are refused" refused 2 "2 devices with ramfb=on" "$(one ,ramfb=on)" "vfio-user:$scratch/two,ramfb=on"
check "a ramfb cannot move where its device shall not" refused 1 "ramfb-migrate is on and the device's migration is off" \
    "$(one ,ramfb=on,enable-migration=off,ramfb-migrate=on)"

stays_here() {
    drawing m "$(one ,ramfb=on,enable-migration=off)" && shoot m m.png && is_card m.png 42 || return
    qmp m "migrate uri=tcp:127.0.0.1:1" >"$scratch/answer" 2>&1
    grep -q nic "$scratch/answer" && qmp m query-migrate | grep -q blocked-reasons && gone m
}
check "a device that shall not move keeps its picture here, too" stays_here

for name in one two; do stop_server $name; done
finish
