/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target of a migration, with memory and no device. First byte: 0 reads a file, else the input
 * is what a source says on a socket before it is gone, in records of a byte for the kind, u16 length
 * and that many bytes. Check and digests are made here, or no mutation of a command would come
 * further than to them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>
#include <vfio-migrate.h>

#include "fuzz/fuzz.h"
#include "lib/migration/message.h"
#include "lib/stream/qemu.h"

#define RAM_BYTES 65536u
#define INPUT_MAX 65536

enum record_kind {
    PLAIN,
    COMMAND, /* u16 number, content */
    DIGEST,  /* the manifest's last field; no bytes */
    PAGE,    /* plain, and not in the digests */
    RECORD_KINDS
};

static void add_digest(struct writer *out, XXH3_state_t *said)
{
    size_t at = out->length;
    writer_u64(out, XXH3_64bits_digest(said));
    if (!out->error)
        XXH3_64bits_update(said, out->buf + at, 8);
}

static void add_record(struct writer *out, XXH3_state_t *said, unsigned kind, const uint8_t *data,
                       size_t length)
{
    size_t at = out->length;
    if (kind == COMMAND && length >= 2) {
        writer_u8(out, QEMU_COMMAND);
        message_write(out, (uint16_t)(data[0] << 8 | data[1]), data + 2, (uint16_t)(length - 2));
    } else if (kind != DIGEST) {
        writer_bytes(out, data, length);
    }
    if (kind != PAGE && !out->error && out->length > at)
        XXH3_64bits_update(said, out->buf + at, out->length - at);
    if (kind == COMMAND || kind == DIGEST)
        add_digest(out, said);
}

static void say(struct writer *out, const uint8_t *data, size_t size)
{
    XXH3_state_t *said = XXH3_createState();
    XXH3_64bits_reset(said);
    for (size_t at = 0; size - at >= 3;) {
        size_t length = (size_t)data[at + 1] << 8 | data[at + 2], left = size - at - 3;
        length = length < left ? length : left;
        add_record(out, said, data[at] % RECORD_KINDS, data + at + 3, length);
        at += 3 + length;
    }
    XXH3_freeState(said);
}

/* The source's end stays open for the answers. */
static int socket_of(const uint8_t *data, size_t size, int *ret_source)
{
    int fds[2], room = 4 * INPUT_MAX;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    if (send(fds[0], data, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size) {
        close(fds[0]);
        close(fds[1]);
        return -1;
    }
    shutdown(fds[0], SHUT_WR);
    *ret_source = fds[0];
    return fds[1];
}

static int file_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd >= 0 && (write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmig_host host = { .size = sizeof(host) };
    struct vmig_error err = { 0 };
    struct vmig_ram_block block = { .name = "ram", .iova = 0x100000, .size_bytes = RAM_BYTES };
    char address[64];
    if (!size || size > INPUT_MAX)
        return 0;
    block.fd = -1;
    block.vaddr = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vmig_migration *m = vmig_migration_new(&host, &err);
    if (block.vaddr == MAP_FAILED || !m)
        abort();
    struct writer said;
    writer_init(&said);
    if (data[0])
        say(&said, data + 1, size - 1);
    int source = -1;
    int fd = data[0] ? socket_of(said.buf, said.length, &source) : file_of(data + 1, size - 1);
    writer_done(&said);
    if (data[0])
        snprintf(address, sizeof(address), "fd:%d", fd);
    else
        snprintf(address, sizeof(address), "file:/proc/self/fd/%d", fd);
    if (fd >= 0 && vmig_migration_add_ram(m, &block, &err) == 0)
        vmig_migration_receive(m, address, &err);
    vmig_migration_free(m);
    munmap(block.vaddr, RAM_BYTES);
    if (fd >= 0)
        close(fd);
    if (source >= 0)
        close(source);
    return 0;
}
