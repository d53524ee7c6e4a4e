/* SPDX-License-Identifier: GPL-2.0-only */
/* What the model and the state machine want of libc's headers, from the kernel's. */
#ifndef REFDEV_KERNEL_LIBC_STDINT_H
#define REFDEV_KERNEL_LIBC_STDINT_H

#include <linux/limits.h>
#include <linux/types.h>

#define UINT64_MAX U64_MAX

#endif
