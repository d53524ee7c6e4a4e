# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Kernels of Debian's 6.12 source, tinyconfig and a fragment beside this script; read by build-kernel.

# Raise it when a change below makes another kernel from the same fragment.
source_recipe=2

# The lines of a variant's fragment. Those of kernel-debug.config come on top of kernel.config's, also
# such as "# CONFIG_KVM is not set", which take one away.
source_fragment() {
    local more=/dev/null
    [ "$1" = rig ] || more=$here/kernel-$1.config
    grep '^CONFIG_' "$here/kernel.config" |
        grep -vwFf <(grep -o '\<CONFIG_[A-Z0-9_]*' "$more" || echo none)
    grep -E '^(CONFIG_|# CONFIG_[A-Z0-9_]* is not set)' "$more" || true
}

source_key() {
    local version
    version=$(dpkg-query -W -f '${Version}' linux-source-6.12 2>/dev/null || true)
    [ -n "$version" ] && [ -z "${VFIO_MIGRATE_RIG_SOURCE:-}" ] ||
        version=$(stat -L -c '%s %Y' "$rig_source")
    { source_fragment "$1"; echo "$source_recipe $version $(gcc -dumpfullversion)"; } |
        sha256sum | cut -c1-16
}

# Every line of the fragment must have survived: an option whose dependency is missing disappears
# without a word, and a test would then fail far away from here.
source_check_config() {
    local line lost=0
    while read -r line; do
        case $line in
        "#"*) ! grep -q "^$(cut -d' ' -f2 <<<"$line")=" .config ;;
        *) grep -qxF "$line" .config ;;
        esac || { echo "the fragment's line '$line' was dropped" && lost=1; }
    done <<<"$1"
    return $lost
}

# Device trees, one vendor's 300 MB of register names and the documentation's text are never read.
source_unpack() {
    tar -xf "$rig_source" --strip-components=1 --exclude='arch/*/boot/dts/*' \
        --exclude='drivers/gpu/drm/amd/include/*' --exclude='Documentation/*.rst'
}

source_compile() {
    make tinyconfig
    # kconfig warns about every symbol that comes twice.
    grep -vwFf <(grep -o '\<CONFIG_[A-Z0-9_]*' <<<"$1") .config >.config.tiny
    { cat .config.tiny && echo "$1"; } >.config
    make olddefconfig
    source_check_config "$1"
    make -j"$(nproc)" bzImage modules
}

# source_build FRAGMENT FOLDER
source_build() {
    mkdir "$2/source"
    cd "$2/source"
    source_unpack
    source_compile "$1"
    cp arch/x86/boot/bzImage drivers/vfio/mdev/mdev.ko samples/vfio-mdev/mtty.ko .config "$2/out"
    make run-command \
        KBUILD_RUN_COMMAND="+\$(srctree)/scripts/package/install-extmod-build $2/out/build"
}
