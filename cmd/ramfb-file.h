/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ramfb without a guest: a file has where its picture would be, 28 bytes as a guest writes them
 * (big-endian). A source reads it in the pause, a target writes what came; a file that is not there, or
 * is empty, is no picture yet.
 */
#ifndef CMD_RAMFB_FILE_H
#define CMD_RAMFB_FILE_H

#include <vfio-migrate.h>

/* The opaque of both is the file's path, which ends with a comma or the text. */
extern const struct vmig_pci_ops ramfb_file_pci_ops;
extern const struct vmig_ramfb_ops ramfb_file_ops;

#endif
