/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Linux by its 64-bit boot protocol (Documentation/arch/x86/boot.rst): the kernel's own header is copied into the
 * "zero page", which also says where memory, initrd and command line are; then the first vCPU enters the kernel.
 * It wakes the others by itself.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/fail.h"
#include "vmm/guest.h"

#define KERNEL_ADDRESS UINT64_C(0x100000)
#define ENTRY_64 0x200ull
#define HEADER_AT 0x1f1u
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define PROTOCOL_64 0x20cu
#define LOW_END 0x9fc00ull
#define E820_MEMORY 1u
#define E820_RESERVED_ 2u

/* All of a file at guest address @address, at most to @end. */
static int load_file(struct memory *memory, int fd, const char *path, off_t offset, uint64_t length,
                     uint64_t address, struct vmig_error *err)
{
    uint8_t *to = memory_at(memory, address, length);
    if (!to)
        return vmm_fail(err, ENOMEM, NULL,
                        "%s: %" PRIu64 " bytes do not fit into %" PRIu64 " MiB of memory", path,
                        length, memory->size_bytes >> 20);
    while (length) {
        ssize_t got = pread(fd, to, length, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return vmm_fail(err, got < 0 ? errno : EIO, NULL, "reading %s: %s", path,
                            got < 0 ? strerror(errno) : "it is shorter than it was");
        to += got;
        offset += got;
        length -= (uint64_t)got;
    }
    return 0;
}

static int open_file(const char *path, uint64_t *ret_bytes, struct vmig_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0) {
        *ret_bytes = (uint64_t)st.st_size;
        return fd;
    }
    int code = errno;
    if (fd >= 0)
        close(fd);
    return vmm_fail(err, code, NULL, "opening %s: %s", path, strerror(code));
}

static int check_header(const struct setup_header *header, const char *path, struct vmig_error *err)
{
    if (header->header != HEADER_MAGIC || header->version < PROTOCOL_64 ||
        !(header->xloadflags & XLF_KERNEL_64))
        return vmm_fail(err, EINVAL, NULL, "%s is no bzImage of a 64-bit x86 kernel", path);
    return 0;
}

static int load_kernel(struct memory *memory, const char *path, struct boot_params *zero,
                       struct vmig_error *err)
{
    uint64_t bytes = 0;
    int fd = open_file(path, &bytes, err);
    if (fd < 0)
        return fd;
    ssize_t got = pread(fd, &zero->hdr, sizeof(zero->hdr), HEADER_AT);
    int rc = check_header(got == sizeof(zero->hdr) ? &zero->hdr : &(struct setup_header) { 0 },
                          path, err);
    uint64_t setup = ((uint64_t)(zero->hdr.setup_sects ? zero->hdr.setup_sects : 4) + 1) * 512;
    if (rc == 0 && setup >= bytes)
        rc = vmm_fail(err, EINVAL, NULL, "%s ends before its kernel begins", path);
    if (rc == 0 && !memory_at(memory, KERNEL_ADDRESS, zero->hdr.init_size))
        rc = vmm_fail(err, ENOMEM, NULL, "%s needs %" PRIu64 " MiB of memory to begin", path,
                      (KERNEL_ADDRESS + zero->hdr.init_size) >> 20);
    if (rc == 0)
        rc = load_file(memory, fd, path, (off_t)setup, bytes - setup, KERNEL_ADDRESS, err);
    close(fd);
    return rc;
}

/* As high as it may be: the kernel unpacks itself lower down. */
static int load_initrd(struct memory *memory, const char *path, struct boot_params *zero,
                       struct vmig_error *err)
{
    uint64_t bytes = 0, end = memory->blocks[0].size_bytes,
             max = (uint64_t)zero->hdr.initrd_addr_max + 1;
    int fd = open_file(path, &bytes, err);
    if (fd < 0)
        return fd;
    end = end < max ? end : max;
    uint64_t lowest = zero->hdr.pref_address + zero->hdr.init_size;
    uint64_t address = bytes < end ? (end - bytes) & ~4095ull : 0;
    int rc = address < lowest
                 ? vmm_fail(err, ENOMEM, NULL,
                            "%s: %" PRIu64 " MiB do not fit beside the kernel into %" PRIu64
                            " MiB of memory",
                            path, bytes >> 20, memory->size_bytes >> 20)
                 : load_file(memory, fd, path, 0, bytes, address, err);
    close(fd);
    zero->hdr.ramdisk_image = (uint32_t)address;
    zero->hdr.ramdisk_size = (uint32_t)bytes;
    return rc;
}

static void add_memory(struct boot_params *zero, uint64_t start, uint64_t end, uint32_t type)
{
    zero->e820_table[zero->e820_entries++] = (struct boot_e820_entry) { start, end - start, type };
}

static void describe_memory(const struct memory *memory, struct boot_params *zero)
{
    add_memory(zero, 0, LOW_END, E820_MEMORY);
    add_memory(zero, BOOT_ACPI, BOOT_ACPI + BOOT_ACPI_BYTES, E820_RESERVED_);
    add_memory(zero, KERNEL_ADDRESS, memory->blocks[0].size_bytes, E820_MEMORY);
    add_memory(zero, ECAM_BASE, ECAM_BASE + ECAM_BYTES, E820_RESERVED_);
    if (memory->num_blocks > 1)
        add_memory(zero, MEMORY_HIGH_BASE, MEMORY_HIGH_BASE + memory->blocks[1].size_bytes,
                   E820_MEMORY);
}

static int load_command_line(struct memory *memory, const char *text, struct boot_params *zero,
                             struct vmig_error *err)
{
    size_t length = strlen(text);
    uint32_t most = zero->hdr.cmdline_size < BOOT_COMMAND_LINE_BYTES - 1
                        ? zero->hdr.cmdline_size
                        : BOOT_COMMAND_LINE_BYTES - 1;
    if (length > most)
        return vmm_fail(err, EINVAL, NULL, "command line: %zu bytes, at most %" PRIu32, length,
                        most);
    memcpy(memory_low(memory, BOOT_COMMAND_LINE), text, length + 1);
    zero->hdr.cmd_line_ptr = BOOT_COMMAND_LINE;
    return 0;
}

int guest_load_linux(struct memory *memory, struct vcpus *vcpus, const char *kernel,
                     const char *initrd, const char *append, struct vmig_error *err)
{
    static const struct boot_entry entry = { .ip = KERNEL_ADDRESS + ENTRY_64,
                                             .sp = BOOT_TABLES,
                                             .rsi = BOOT_PARAMS };
    struct boot_params *zero = memory_low(memory, BOOT_PARAMS);
    int rc = load_kernel(memory, kernel, zero, err);
    if (rc == 0 && initrd)
        rc = load_initrd(memory, initrd, zero, err);
    if (rc == 0)
        rc = load_command_line(memory, append ? append : "", zero, err);
    if (rc < 0)
        return rc;
    zero->hdr.type_of_loader = 0xff;
    zero->hdr.loadflags |= LOADED_HIGH;
    zero->acpi_rsdp_addr = BOOT_ACPI;
    describe_memory(memory, zero);
    acpi_make(memory, vcpus->count);
    boot_make_tables(memory);
    return boot_enter(&vcpus->list[0], &entry, err);
}
