/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners to events inside of this process, beside the host. */
#ifndef LIB_MIGRATION_OBSERVERS_H
#define LIB_MIGRATION_OBSERVERS_H

#include <pthread.h>
#include <vfio-migrate/migration.h>

typedef void (*observer_fn)(void *opaque, const struct vmig_event *event);

/* One that is being called, on the stack of who calls it. */
struct observer_call {
    observer_fn event;
    void *opaque;
    pthread_t thread;
    struct observer_call *next;
};

struct observers {
    pthread_mutex_t lock; /* guards all that follows; not held while one is called */
    pthread_cond_t called;
    struct observer {
        observer_fn event; /* NULL: none */
        void *opaque;
    } each[VMIG_OBSERVERS_MAX];
    struct observer_call *calls;
};

void observers_init(struct observers *all);
void observers_done(struct observers *all);
/* Any thread. */
void observers_tell(struct observers *all, const struct vmig_event *event);

#endif
