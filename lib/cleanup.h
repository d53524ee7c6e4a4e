/* SPDX-License-Identifier: BSD-3-Clause */
/* Scope-bound ownership of file descriptors, memory and mutexes. */
#ifndef LIB_CLEANUP_H
#define LIB_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd_(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_free_(void *ptr)
{
    free(*(void **)ptr);
}

static inline void cleanup_unlock_(pthread_mutex_t **mutex)
{
    pthread_mutex_unlock(*mutex);
}

#define CLEANUP_FD __attribute__((cleanup(cleanup_fd_)))
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free_)))

/* Hold @mutex until the end of the scope. */
#define LOCK_SCOPE(mutex)                                                                          \
    __attribute__((cleanup(cleanup_unlock_), unused)) pthread_mutex_t *lock_scope_ = (mutex);      \
    pthread_mutex_lock(lock_scope_)

/* Move ownership out of a CLEANUP_FD variable. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Move ownership out of a CLEANUP_FREE variable. */
#define take_ptr(ptr)                                                                              \
    ({                                                                                             \
        __auto_type taken_ = (ptr);                                                                \
        (ptr) = NULL;                                                                              \
        taken_;                                                                                    \
    })

#endif
