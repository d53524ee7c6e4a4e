/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's own threads. The signals of the embedding program are none of their business: all are
 * blocked in them, so that the kernel gives each to one of the program's. Only what a thread does to itself is
 * not (a fault of memory, a division by zero): a program that reports crashes would never hear of it.
 */
#ifndef LIB_THREAD_H
#define LIB_THREAD_H

#include <pthread.h>

/* 0 or a negative errno; the caller's own mask is unchanged. */
int thread_start(pthread_t *ret, void *(*entry)(void *), void *arg);

#endif
