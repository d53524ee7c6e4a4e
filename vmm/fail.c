/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/fail.h"

int vmm_fail(struct vmig_error *err, int code, const char *reason, const char *format, ...)
{
    code = -abs(code);
    if (!err || err->code)
        return code;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    snprintf(err->reason, sizeof(err->reason), "%s", reason ? reason : "");
    err->code = code;
    return code;
}
