# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# What the rig needs from the system; read by its scripts.

rig_source=${VFIO_MIGRATE_RIG_SOURCE:-/usr/src/linux-source-6.12.tar.xz}

rig_has() {
    case $1 in
    *.h) echo "#include <$1>" | gcc -E -o /dev/null - 2>/dev/null ;;
    /*) [ -r "$1" ] ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

# Print the Debian packages that have to be installed, nothing when all is there.
rig_missing() {
    local what package
    while read -r what package; do
        rig_has "$what" || echo "$package"
    done <<END | sort -u | paste -sd' '
$rig_source linux-source-6.12
gcc build-essential
make build-essential
bc bc
bison bison
flex flex
xz xz-utils
gelf.h libelf-dev
openssl/opensslv.h libssl-dev
qemu-system-x86_64 qemu-system-x86
busybox busybox-static
cpio cpio
setpriv util-linux
depmod kmod
END
}

# Leave with 77 and a message when something is missing.
rig_require() {
    local missing
    missing=$(rig_missing)
    [ -z "$missing" ] && return
    echo "rig: missing packages; apt-get install $missing" >&2
    exit 77
}
