/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is called is noted while it is, so that removing one can wait for its calls and nothing else,
 * and no lock is held while an observer runs: it may add and remove others, itself too.
 */
#include <errno.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"

void observers_init(struct observers *all)
{
    *all = (struct observers) { 0 };
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->called, NULL);
}

void observers_done(struct observers *all)
{
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->called);
}

static bool begin_call(struct observers *all, unsigned index, struct observer_call *ret)
{
    LOCK_SCOPE(&all->lock);
    const struct observer *o = &all->each[index];
    if (!o->event)
        return false;
    *ret = (struct observer_call) { o->event, o->opaque, pthread_self(), all->calls };
    all->calls = ret;
    return true;
}

static void end_call(struct observers *all, const struct observer_call *call)
{
    LOCK_SCOPE(&all->lock);
    struct observer_call **at = &all->calls;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    pthread_cond_broadcast(&all->called);
}

void observers_tell(struct observers *all, const struct vmig_event *event)
{
    for (unsigned i = 0; i < VMIG_OBSERVERS_MAX; i++) {
        struct observer_call call;
        if (!begin_call(all, i, &call))
            continue;
        call.event(call.opaque, event);
        end_call(all, &call);
    }
}

static struct observer *find_locked(struct observers *all, observer_fn event, void *opaque)
{
    for (unsigned i = 0; i < VMIG_OBSERVERS_MAX; i++)
        if (all->each[i].event == event && (!event || all->each[i].opaque == opaque))
            return &all->each[i];
    return NULL;
}

static bool called_elsewhere_locked(const struct observers *all, observer_fn event, void *opaque)
{
    for (const struct observer_call *c = all->calls; c; c = c->next)
        if (c->event == event && c->opaque == opaque && !pthread_equal(c->thread, pthread_self()))
            return true;
    return false;
}

VMIG_EXPORT int vmig_migration_add_observer(struct vmig_migration *m,
                                            void (*event)(void *opaque,
                                                          const struct vmig_event *event),
                                            void *opaque, struct vmig_error *err)
{
    LOCK_SCOPE(&m->observers.lock);
    if (find_locked(&m->observers, event, opaque))
        return error_set(err, EEXIST, VMIG_STAGE_NONE, NULL, NULL,
                         "this observer is there already");
    struct observer *o = find_locked(&m->observers, NULL, NULL);
    if (!o)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "too-many-listeners",
                         "%d observe already, and no more can; remove one of them",
                         VMIG_OBSERVERS_MAX);
    *o = (struct observer) { event, opaque };
    return 0;
}

VMIG_EXPORT int vmig_migration_remove_observer(struct vmig_migration *m,
                                               void (*event)(void *opaque,
                                                             const struct vmig_event *event),
                                               void *opaque, struct vmig_error *err)
{
    LOCK_SCOPE(&m->observers.lock);
    struct observer *o = event ? find_locked(&m->observers, event, opaque) : NULL;
    if (!o)
        return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, NULL, "there is no such observer");
    *o = (struct observer) { 0 };
    while (called_elsewhere_locked(&m->observers, event, opaque))
        pthread_cond_wait(&m->observers.called, &m->observers.lock);
    return 0;
}
