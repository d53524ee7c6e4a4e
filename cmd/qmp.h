/* SPDX-License-Identifier: BSD-3-Clause */
/* --qmp: send and receive driven by clients of a monitor. */
#ifndef CMD_QMP_H
#define CMD_QMP_H

#include "cmd/endpoint.h"

/* For argp's children: --qmp. The input is the struct endpoint. */
extern const struct argp qmp_argp;

/* Serve e->qmp_address, if that was given. @incoming_defer: migrate-incoming is waited for. */
int qmp_open(struct endpoint *e, bool incoming_defer, struct vmig_error *err);
/* Before the migration goes. */
void qmp_close(struct endpoint *e);
/* Until a migration that a client began has ended: true, with what it returned. False: quit, or a
 * signal. */
bool qmp_wait_ended(struct endpoint *e, int *ret_rc, struct vmig_error *ret_err);
/* Was it quit that ended the wait? */
bool qmp_was_quit(const struct endpoint *e);

#endif
