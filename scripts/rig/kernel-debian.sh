# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Debian's own 6.12 kernel, with the modules that the rig needs; read by build-kernel. Its packages are
# fetched and unpacked; nothing is installed.

# Raise it when a change below makes another folder from the same packages.
debian_recipe=1
debian_modules='9pnet_virtio 9p vfio_iommu_type1 mdev vfio-pci'

# The release, such as 6.12.117+deb12-amd64; nothing when the package lists have none.
debian_release() {
    apt-cache depends linux-image-6.12-amd64 2>/dev/null |
        sed -n 's/^ *Depends: linux-image-\(6\.12.*-amd64\)$/\1/p' | head -n 1
}

debian_key() {
    { echo "$1 $debian_recipe $(stat -L -c '%s' "$rig_source")"; gcc -dumpfullversion; } |
        sha256sum | cut -c1-16
}

# The headers come in three packages, which look for each other below /usr. Without vmlinux no type
# information is made for modules, which would need one more package.
debian_headers() {
    local release=$1 root=$2 out=$3
    mkdir "$out/usr"
    mv "$root/usr/src" "$root/usr/lib" "$out/usr"
    ln -s "usr/src/linux-headers-$release" "$out/build"
    rm "$out/build/vmlinux"
    # make takes its folder's name from how it was called: this one stays right wherever it is moved.
    echo "include \$(CURDIR)/../linux-headers-${release%-amd64}-common/Makefile" >"$out/build/Makefile"
}

# Numbered, because they are loaded in the order of their names.
debian_copy_modules() {
    local release=$1 root=$2 out=$3 path number=10
    PATH=$PATH:/usr/sbin:/sbin
    depmod -b "$root" "$release"
    # shellcheck disable=SC2086 # a list
    modprobe -d "$root" -S "$release" -a --show-depends $debian_modules | awk '!seen[$2]++ { print $2 }' |
        while read -r path; do
            xz -dc "$path" >"$out/$number-$(basename "$path" .xz)"
            number=$((number + 1))
        done
}

# The sample device is not in Debian's image.
debian_compile_mtty() {
    mkdir "$1/mtty"
    tar -xf "$rig_source" -C "$1/mtty" --strip-components=3 --occurrence=1 \
        linux-source-6.12/samples/vfio-mdev/mtty.c
    echo 'obj-m := mtty.o' >"$1/mtty/Makefile"
    make -C "$1/out/build" M="$1/mtty" modules
    strip --strip-debug -o "$1/out/30-mtty.ko" "$1/mtty/mtty.ko"
}

# debian_build RELEASE FOLDER
debian_build() {
    local release=$1 work=$2 packages
    mkdir "$work/packages" "$work/root"
    cd "$work/packages"
    packages=$(apt-cache depends "linux-headers-$release" |
        sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-.*\)$/\1/p')
    # shellcheck disable=SC2086 # a list
    apt-get download -q "linux-image-$release" "linux-headers-$release" $packages || exit 77
    for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
    cp "$work/root/boot/vmlinuz-$release" "$work/out/bzImage"
    debian_headers "$release" "$work/root" "$work/out"
    debian_copy_modules "$release" "$work/root" "$work/out"
    debian_compile_mtty "$work"
}
