/* SPDX-License-Identifier: BSD-3-Clause */
/* After the migration: somebody owns the devices until told otherwise. */
#ifndef CMD_OWNER_H
#define CMD_OWNER_H

#include "cmd/endpoint.h"

/* The hand-over is unresolved: hold everything until `vfio-migrate resolve` or a signal. */
enum cmd_exit owner_settle(struct endpoint *e);
/* The devices run here: hold them until a signal or, with @command, become a shell that runs it and
 * has their descriptors; returns then only after a failure. */
enum cmd_exit owner_keep(struct endpoint *e, const char *command);

#endif
