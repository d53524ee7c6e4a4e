/* SPDX-License-Identifier: BSD-3-Clause */
/* Everything is hidden but what is marked with this; the symbol map lists the same names. */
#ifndef LIB_EXPORT_H
#define LIB_EXPORT_H
#define VMIG_EXPORT __attribute__((visibility("default")))
#endif
