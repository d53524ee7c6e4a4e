/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that does one job after another for its owner.
 *
 * Each participant has one, so that a transition that blocks for seconds blocks nobody else, and
 * each device's DMA log. A job that hangs in the kernel can be neither joined nor cancelled: its
 * worker is abandoned, and then it alone owns what was given to worker_abandon() and frees it
 * should the job ever come back.
 */
#ifndef LIB_WORKER_H
#define LIB_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <vfio-migrate/error.h>

struct worker;
typedef int (*worker_job)(void *arg, struct vmig_error *err);

/* NULL when no thread can be made. */
struct worker *worker_new(void);
/* Before the first job: @done(@arg) is called on its thread when a job has ended and it is idle. */
void worker_on_done(struct worker *worker, void (*done)(void *arg), void *arg);
/* Join an idle worker; NULL is fine. Returns NULL. */
struct worker *worker_free(struct worker *worker);
/* Let go of a busy worker: when its job ever ends, @last(@arg) is called on its thread. */
void worker_abandon(struct worker *worker, void (*last)(void *arg), void *arg);

/* Start @job on the worker, which must be idle. */
void worker_post(struct worker *worker, worker_job job, void *arg);
/* Wait until it is idle: true, or false when @deadline_ns (CLOCK_MONOTONIC) has passed. */
bool worker_wait(struct worker *worker, uint64_t deadline_ns);
/* Of the last job; the worker must be idle. @err is filled if it failed. */
int worker_result(struct worker *worker, struct vmig_error *err);
double worker_last_ms(struct worker *worker);

#endif
