/* SPDX-License-Identifier: BSD-3-Clause */
/* Which saved states were restored on this host: an empty file named by the stream's identity in
 * $XDG_STATE_HOME/vfio-migrate/restored (default ~/.local/state). */
#ifndef CMD_RESTORED_H
#define CMD_RESTORED_H

#include <stdbool.h>
#include <vfio-migrate.h>

/* The identity in the manifest of the stream at @path, as 32 hexadecimal digits; "" when it has
 * none (a stream of QEMU's). */
int restored_identity(const char *path, char ret[33], struct vmig_error *err);
/* Is the stream at @path the state of a device like @device, as far as its manifest says? Asked before
 * anything is touched. -EINVAL: of another one. */
int restored_fits(const char *path, struct vmig_device *device, struct vmig_error *err);
/* -EEXIST when it was restored before. */
int restored_check(const char *path, const char *identity, struct vmig_error *err);
/* False when it could not be noted: then a second time is not noticed. */
bool restored_note(const char *identity);

#endif
