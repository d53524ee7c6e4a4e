/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of a world after something went wrong in it, against the row of the recovery table
 * that is about it.
 */
#ifndef TESTS_MIGRATION_RECOVERED_H
#define TESTS_MIGRATION_RECOVERED_H

#include "lib/migration/recovery.h"
#include "tests/migration/world.h"

/* What a test expects of one run. */
struct outcome {
    enum recovery_point point;
    enum side at;
    enum vmig_health left; /* of the device that the fault was in */
    unsigned device;       /* which */
    bool no_device;        /* the fault was in none */
    const char *reason;    /* of the error on that side; NULL: any */
    const char *text;      /* in its text; NULL: any */
    enum vmig_stage stage; /* of the error; NONE: any */
    bool cancelled;        /* on that side */
    bool refused;          /* by a blocker */
};

/* The devices, workload, status, exit codes and errors of both sides are what the row says. */
void expect_recovered(struct world *w, const struct outcome *o);
/* Rows that were met so far in this program; all of them? Fails naming the first that was not. */
void expect_every_row_met(void);

#endif
