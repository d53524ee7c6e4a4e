/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that the model takes from outside: integer types, errno numbers and the compiler's memory
 * builtins. The model calls no libc, uses no floating point and never allocates by itself, so that
 * it can be compiled into a kernel module.
 */
#ifndef REFDEV_MODEL_TYPES_H
#define REFDEV_MODEL_TYPES_H

#ifdef __KERNEL__
#include <linux/errno.h>
#include <stdint.h>
/* Between pieces of long work: there may be others to run. */
void refdev_breathe(void);
/* An index below @size, also for a processor that runs ahead of the check. */
unsigned refdev_bounded(unsigned index, unsigned size);
#else
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define refdev_breathe() ((void)0)
#define refdev_bounded(index, size) (index)
#endif

#define refdev_copy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define refdev_zero(to, bytes) __builtin_memset(to, 0, bytes)

#endif
