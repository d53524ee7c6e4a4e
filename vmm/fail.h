/* SPDX-License-Identifier: BSD-3-Clause */
/* How the VMM fills the library's struct vmig_error, so that one way of failing goes through all of it. */
#ifndef VMM_FAIL_H
#define VMM_FAIL_H

#include <vfio-migrate/error.h>

/* Fill @err unless it holds an error already. @code: positive or negative errno; @reason: one of the codes
 * of vfio-vmm(1), or NULL. Returns -abs(code). */
int vmm_fail(struct vmig_error *err, int code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
