/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/migration/turnstile.h"
#include "lib/cleanup.h"

void turnstile_init(struct turnstile *t)
{
    *t = (struct turnstile) { .next = 0 };
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
}

void turnstile_done(struct turnstile *t)
{
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
}

void turnstile_enter(struct turnstile *t)
{
    LOCK_SCOPE(&t->lock);
    uint64_t mine = t->next++;
    while (t->serving != mine)
        pthread_cond_wait(&t->changed, &t->lock);
}

void turnstile_leave(struct turnstile *t)
{
    LOCK_SCOPE(&t->lock);
    t->serving++;
    pthread_cond_broadcast(&t->changed);
}

uint64_t turnstile_waiting(struct turnstile *t)
{
    LOCK_SCOPE(&t->lock);
    return t->next > t->serving + 1 ? t->next - t->serving - 1 : 0;
}
