/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vocabulary of tests that run the command: programs with their output, servers of devices,
 * workload processes that are told what to do. The program is the environment's VFIO_MIGRATE.
 */
#ifndef TESTS_E2E_PROCESS_H
#define TESTS_E2E_PROCESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <cmocka.h>
#include <jansson.h>

/* A folder for one test's files, removed with what is in it. */
extern char folder[64];
void folder_make(void);
void folder_remove(void);
/* "folder/NAME"; a few results stay valid at a time. */
const char *at(const char *name);

/* ---- programs that end by themselves ---- */

struct result {
    int exit_code; /* 128 + number when a signal ended it */
    char out[16384], err[16384];
};
/* Run `vfio-migrate ARGUMENT...` (NULL-terminated) to its end. */
struct result run_(const char *first, ...) __attribute__((sentinel));
#define run(...) run_(__VA_ARGS__, NULL)
/* Its exit code, and text that must be in what it printed (either stream). */
void expect_(struct result result, int exit_code, const char *text, const char *file, int line);
#define expect(result, exit_code, text) expect_(result, exit_code, text, __FILE__, __LINE__)

/* ---- programs in the background ---- */

struct process {
    pid_t pid;
    FILE *to, *from; /* its standard input and output */
};
struct process start_(const char *first, ...) __attribute__((sentinel));
#define start(...) start_(__VA_ARGS__, NULL)
/* Read lines until one is a JSON object whose "event" is @event or "failed"; NULL at the end. */
json_t *await(struct process *p, const char *event);
void tell(struct process *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Wait for its end: its exit code, as above. */
int end(struct process *p);
void kill_hard(struct process *p);

/* ---- devices ---- */

/* A server at folder/NAME; returns when it listens. */
struct process device(const char *name, const char *profile);
/* A folder with two of them, "source" and "target", and their addresses; and the end of all that. */
void pair_begin(struct process servers[2], char from[200], char to[200]);
void pair_end(struct process servers[2]);
/* What `probe` says of its state. */
void expect_state(const char *name, const char *state);

#endif
