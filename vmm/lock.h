/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMM_LOCK_H
#define VMM_LOCK_H

#include <pthread.h>

static inline void lock_scope_end(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

/* Hold @mutex until the end of the scope. */
#define LOCK_SCOPE(mutex)                                                                          \
    __attribute__((cleanup(lock_scope_end), unused)) pthread_mutex_t *lock_scope = (mutex);        \
    pthread_mutex_lock(lock_scope)

#endif
