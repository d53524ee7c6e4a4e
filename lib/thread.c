/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>

#include "lib/thread.h"

/* Masks are inherited; blocked only by the new thread itself, a signal could still come before. */
int thread_start(pthread_t *ret, void *(*entry)(void *), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = -pthread_create(ret, NULL, entry, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}
