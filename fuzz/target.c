/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target of a migration, with memory and no device. First byte: 0 reads a file, else the input
 * is what a source says on a socket before it is gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vfio-migrate.h>

#include "fuzz/fuzz.h"

#define RAM_BYTES 65536u
#define INPUT_MAX 65536

static int socket_of(const uint8_t *data, size_t size)
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
    close(fds[0]);
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
    int fd = data[0] ? socket_of(data + 1, size - 1) : file_of(data + 1, size - 1);
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
    return 0;
}
