/* SPDX-License-Identifier: BSD-3-Clause */
/* Write protection of this process's memory through userfaultfd: the calls both trackers need. */
#ifndef LIB_MEMORY_USERFAULT_H
#define LIB_MEMORY_USERFAULT_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/memory/ram.h"

/* A descriptor with @features (UAPI_UFFD_*), non-blocking. @serves_kernel: also for accesses that
 * the kernel makes for this process, such as read(2) into its memory. That takes a privilege; an
 * ordinary user gets a descriptor for user-mode accesses only, and *ret_serves_kernel false.
 * -ENOSYS, -EPERM, -EOPNOTSUPP (features). */
int userfault_open(uint64_t features, bool serves_kernel, bool *ret_serves_kernel,
                   struct vmig_error *err);

/* @mode: UFFDIO_REGISTER_MODE_*. */
int userfault_register(int fd, const struct vmig_ram_block *desc, uint64_t mode,
                       struct vmig_error *err);
/* Also wakes who waits there. */
void userfault_unregister(int fd, const struct vmig_ram_block *desc);

/* Protect [offset, offset + length) of the block, or let writers go on. 0 or -errno. */
int userfault_protect(int fd, const struct vmig_ram_block *desc, uint64_t offset_bytes,
                      uint64_t length_bytes, bool protect);

#endif
