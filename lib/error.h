/* SPDX-License-Identifier: BSD-3-Clause */
/* How the library fills a struct vmig_error. */
#ifndef LIB_ERROR_H
#define LIB_ERROR_H

#include <vfio-migrate/error.h>

/* Fill @err unless it is NULL or holds an error already. @code: positive or negative errno.
 * @device, @reason may be NULL. Returns -abs(code), so that a caller can "return error_set(...)".
 */
int error_set(struct vmig_error *err, int code, enum vmig_stage stage, const char *device,
              const char *reason, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Put "prefix: " in front of a filled error's text. No effect on NULL or an empty one. */
void error_prefix(struct vmig_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Copy @from to @to unless @to is NULL or holds an error already. Returns from->code. */
int error_copy(struct vmig_error *to, const struct vmig_error *from);

/* Set stage and device of a filled error where it has none yet: lower layers do not know them. */
void error_locate(struct vmig_error *err, enum vmig_stage stage, const char *device);

#endif
