/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening and using a userfaultfd. Three doors, in the order tried: the system call (root, or the
 * sysctl vm.unprivileged_userfaultfd), the device node (whoever may open it), the system call for
 * user-mode faults only (everybody).
 */
#include "lib/memory/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/memory/uapi.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static int open_for_all_faults(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0 || errno != EPERM)
        return fd;
    CLEANUP_FD int node = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (node < 0) {
        errno = EPERM;
        return -1;
    }
    return ioctl(node, UAPI_USERFAULTFD_NEW, O_CLOEXEC | O_NONBLOCK);
}

static int open_any(bool serves_kernel, bool *ret_serves_kernel)
{
    *ret_serves_kernel = true;
    if (serves_kernel) {
        int fd = open_for_all_faults();
        if (fd >= 0)
            return fd;
    }
    *ret_serves_kernel = false;
    return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
}

int userfault_open(uint64_t features, bool serves_kernel, bool *ret_serves_kernel,
                   struct vmig_error *err)
{
    CLEANUP_FD int fd = open_any(serves_kernel, ret_serves_kernel);
    struct uffdio_api api = { .api = UFFD_API, .features = features };

    if (fd < 0)
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                         "userfaultfd cannot be opened (%s): writes to RAM cannot be tracked; "
                         "it needs a kernel with CONFIG_USERFAULTFD that no sandbox hides",
                         strerror(errno));
    if (ioctl(fd, UFFDIO_API, &api) < 0)
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, NULL,
                         "this kernel's userfaultfd has no features 0x%llx: %s",
                         (unsigned long long)features, strerror(errno));
    return take_fd(&fd);
}

int userfault_register(int fd, const struct vmig_ram_block *desc, uint64_t mode,
                       struct vmig_error *err)
{
    struct uffdio_register reg = {
        .range = { .start = (uint64_t)(uintptr_t)desc->vaddr, .len = desc->size_bytes },
        .mode = mode,
    };

    if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
        return error_set(err, errno, VMIG_STAGE_SETUP, NULL, NULL,
                         "RAM block \"%.64s\": its memory cannot be write-protected (%s); "
                         "anonymous memory and memfd can, files on disk only since Linux 6.7",
                         desc->name, strerror(errno));
    return 0;
}

void userfault_unregister(int fd, const struct vmig_ram_block *desc)
{
    struct uffdio_range range = { .start = (uint64_t)(uintptr_t)desc->vaddr,
                                  .len = desc->size_bytes };

    ioctl(fd, UFFDIO_UNREGISTER, &range);
}

int userfault_protect(int fd, const struct vmig_ram_block *desc, uint64_t offset_bytes,
                      uint64_t length_bytes, bool protect)
{
    struct uffdio_writeprotect arg = {
        .range = { .start = (uint64_t)(uintptr_t)desc->vaddr + offset_bytes, .len = length_bytes },
        .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };

    /* EAGAIN: the address space is just being changed by somebody (fork). */
    while (ioctl(fd, UFFDIO_WRITEPROTECT, &arg) < 0)
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    return 0;
}
