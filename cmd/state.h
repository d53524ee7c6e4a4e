/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the command keeps what it wants to know the next time. */
#ifndef CMD_STATE_H
#define CMD_STATE_H

#include <stddef.h>

/* $XDG_STATE_HOME/vfio-migrate/@name ($HOME/.local/state where that is not set), made if need be; @name
 * may be "". -1: there is no place for it, as with a service that has no home. */
int state_folder(const char *name, char *ret, size_t size);

#endif
