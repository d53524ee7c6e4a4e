/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What becomes of devices and workload when a migration fails: two tables, which the engine asks
 * and vfio-migrate(7) prints (RECOVERY; a test compares them).
 *
 * The first says for each step where a device goes and where it is sent when it refuses. When it
 * refuses that too it is reset, and when it refuses the reset it is lost (lib/device/transition.c).
 *
 * The second says what follows: from how far the migration had come, on which side the fault was,
 * and what the worst of that side's participants has left. Of a fault's kind (an arc refused, a read
 * that fails, a cut link, a cancel) nothing else matters.
 */
#ifndef LIB_MIGRATION_RECOVERY_H
#define LIB_MIGRATION_RECOVERY_H

#include "lib/migration/migration.h"

/* ---- the steps of a device ---- */

/* No state: without P2P a device has nothing to do in this step. */
#define RECOVERY_NO_STATE VMIG_STATE_COUNT

struct recovery_arc {
    enum step step;
    const char *name;
    unsigned to, recover;             /* of a device with P2P states, */
    unsigned to_alone, recover_alone; /* and of one without. ERROR: a reset is all that is left */
};

/* NULL for steps that change no device's state. */
const struct recovery_arc *recovery_arc(enum step step);
/* NULL past the end. */
const struct recovery_arc *recovery_arc_at(unsigned n);

/* ---- what follows ---- */

/* How far it had come. The stages, and the hand-over cut up further. */
enum recovery_point {
    POINT_PREPARE,
    POINT_SETUP,
    POINT_ROUNDS,
    POINT_SWITCHOVER,
    POINT_QUIESCE,
    POINT_COMPLETE,
    POINT_HANDOVER, /* before the source gave up */
    POINT_START,    /* the target could not start, nothing ran there, and the source heard it */
    POINT_GAVE_UP,  /* after the source gave up, before the target knew */
    POINT_GO,       /* the target runs, the source does not know */
    POINT_STARTED,  /* the target could not start, but something ran there */
    POINT_CLEANUP,
    POINT_COUNT
};

enum recovery_end {
    END_UNTOUCHED, /* as they were before */
    END_RUNNING,   /* RUNNING, with their state */
    END_RESET,     /* RUNNING as after a reset, whatever was loaded is gone */
    END_HELD,      /* with their state: the source's in STOP_COPY, the target's in STOP */
    END_KEPT,      /* where the start left them */
    END_STOPPED,   /* STOP: what they had is at the target */
    END_COUNT
};

enum recovery_workload {
    WORKLOAD_AT_SOURCE,
    WORKLOAD_AT_TARGET,
    WORKLOAD_STOPPED, /* runs nowhere until somebody decides */
    WORKLOAD_COUNT
};

#define AT_SOURCE (1u << SIDE_SOURCE)
#define AT_TARGET (1u << SIDE_TARGET)
#define HAS_STATE (1u << VMIG_HEALTH_OK)
#define WAS_RESET (1u << VMIG_HEALTH_RESET)
#define IS_LOST (1u << VMIG_HEALTH_LOST)

struct recovery_row {
    enum recovery_point first, last;  /* included */
    unsigned at;                      /* where the fault was: AT_* */
    unsigned worst;                   /* what the worst participant there has left: bits as above */
    enum recovery_end source, target; /* the devices; one that is lost or was reset stays so */
    enum recovery_workload workload;
    int source_exit, target_exit; /* of the commands; a cancelled side's 1 is 130, a veto's 3 */
};

/* NULL for what cannot be: before anything was touched no device is reset, and the target's are not
 * even asked. */
const struct recovery_row *recovery_find(enum recovery_point point, enum side at,
                                         enum vmig_health worst);
/* NULL past the end. */
const struct recovery_row *recovery_row_at(unsigned n);
/* As the manual has them; "?" for what is none. */
const char *recovery_point_name(enum recovery_point point);
const char *recovery_end_name(enum recovery_end end);
const char *recovery_workload_name(enum recovery_workload workload);

/* ---- doing it ---- */

/* How far @m has come. Its caller is the engine's thread. */
enum recovery_point recovery_point(struct vmig_migration *m);

/* Source: devices back to RUNNING through the P2P barrier, then the workload, as the row of @point
 * says. An error: the workload stands still now, and why. */
int recovery_source(struct vmig_migration *m, enum recovery_point point, struct vmig_error *err);
/* Target: let go of what was loaded, or keep it, as the row of @point says. An error: a device is
 * lost. */
int recovery_target(struct vmig_migration *m, enum recovery_point point, struct vmig_error *err);
/* Say in an event which device was left behind in a clean-up that changed nothing else. */
void recovery_after_cleanup(struct vmig_migration *m);

#endif
