/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>

#include "lib/thread.h"

/* Masks are inherited; blocked only by the new thread itself, a signal could still come before. */
int thread_start(pthread_t *ret, void *(*entry)(void *), void *arg)
{
    static const int own_faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
    sigset_t others, old;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
        sigdelset(&others, own_faults[i]);
    pthread_sigmask(SIG_SETMASK, &others, &old);
    int rc = -pthread_create(ret, NULL, entry, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}
