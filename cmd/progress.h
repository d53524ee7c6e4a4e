/* SPDX-License-Identifier: BSD-3-Clause */
/* What is printed while a migration runs: a bar on a terminal, nothing in a pipe, and always the
 * lines that somebody must see (where it listens, warnings, what it waits for). */
#ifndef CMD_PROGRESS_H
#define CMD_PROGRESS_H

#include <vfio-migrate.h>

struct endpoint;

/* A struct vmig_host's event; opaque is the struct endpoint. */
void progress_event(void *opaque, const struct vmig_event *event);
/* Take the bar away before something else is printed. */
void progress_end(struct endpoint *e);

/* The bar alone, on stderr: "[#####     ] 42 %  rounds  round 3  1.2 GiB sent, 80 MiB left". */
void progress_draw(const struct vmig_event *event);

#endif
