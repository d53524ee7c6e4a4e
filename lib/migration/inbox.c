/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/migration/inbox.h"

void inbox_init(struct inbox *box, uint64_t bytes_max)
{
    *box = (struct inbox) { .bytes_max = bytes_max };
    pthread_mutex_init(&box->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&box->changed, &attr);
    pthread_condattr_destroy(&attr);
}

static void drop_items(struct inbox *box)
{
    while (box->head) {
        struct inbox_item *item = box->head;
        box->head = item->next;
        free(item->buf);
        free(item);
    }
    box->tail = NULL;
    box->bytes = 0;
}

void inbox_done(struct inbox *box)
{
    drop_items(box);
    while (box->num_spare)
        free(box->spare[--box->num_spare]);
    pthread_cond_destroy(&box->changed);
    pthread_mutex_destroy(&box->lock);
}

void inbox_reset(struct inbox *box)
{
    LOCK_SCOPE(&box->lock);
    drop_items(box);
    box->busy = box->closed = box->ended = false;
}

void inbox_close(struct inbox *box)
{
    LOCK_SCOPE(&box->lock);
    box->closed = true;
    pthread_cond_broadcast(&box->changed);
}

void *inbox_buffer(struct inbox *box)
{
    {
        LOCK_SCOPE(&box->lock);
        if (box->num_spare)
            return box->spare[--box->num_spare];
    }
    return malloc(INBOX_BUFFER_BYTES);
}

void inbox_give_back(struct inbox *box, void *buf)
{
    {
        LOCK_SCOPE(&box->lock);
        if (buf && box->num_spare < sizeof(box->spare) / sizeof(box->spare[0])) {
            box->spare[box->num_spare++] = buf;
            return;
        }
    }
    free(buf);
}

static bool has_room(const struct inbox *box, size_t length_bytes)
{
    return box->bytes + length_bytes <= box->bytes_max;
}

/* With the lock held. */
static int wait_until(struct inbox *box, uint64_t deadline_ns)
{
    struct timespec ts = clock_timespec(deadline_ns);
    if (clock_ns() >= deadline_ns)
        return -EAGAIN;
    pthread_cond_timedwait(&box->changed, &box->lock, &ts);
    return 0;
}

int inbox_wait_room(struct inbox *box, size_t length_bytes, uint64_t deadline_ns)
{
    int rc = 0;
    LOCK_SCOPE(&box->lock);
    while (rc == 0 && !box->closed && !box->ended && !has_room(box, length_bytes))
        rc = wait_until(box, deadline_ns);
    return rc;
}

bool inbox_ended(struct inbox *box)
{
    LOCK_SCOPE(&box->lock);
    return box->ended;
}

static int append(struct inbox *box, struct inbox_item *item)
{
    LOCK_SCOPE(&box->lock);
    if (box->closed)
        return -ECANCELED;
    if (box->ended)
        return -EPROTO;
    if (!has_room(box, item->length_bytes))
        return -EOVERFLOW;
    box->ended = item->kind == INBOX_END;
    if (box->tail)
        box->tail->next = item;
    else
        box->head = item;
    box->tail = item;
    box->bytes += item->length_bytes;
    pthread_cond_broadcast(&box->changed);
    return 0;
}

int inbox_put(struct inbox *box, enum inbox_kind kind, void *buf, size_t length_bytes)
{
    struct inbox_item *item = malloc(sizeof(*item));
    int rc = -ENOMEM;
    if (item) {
        *item = (struct inbox_item) { .kind = kind, .buf = buf, .length_bytes = length_bytes };
        rc = append(box, item);
    }
    if (rc < 0) {
        free(item);
        free(buf);
    }
    return rc;
}

int inbox_take(struct inbox *box, struct inbox_item *ret)
{
    LOCK_SCOPE(&box->lock);
    while (!box->closed && !box->head)
        pthread_cond_wait(&box->changed, &box->lock);
    if (box->closed)
        return -ECANCELED;
    struct inbox_item *item = box->head;
    box->head = item->next;
    if (!box->head)
        box->tail = NULL;
    box->bytes -= item->length_bytes;
    box->busy = true;
    *ret = *item;
    free(item);
    pthread_cond_broadcast(&box->changed);
    return 0;
}

void inbox_loaded(struct inbox *box)
{
    LOCK_SCOPE(&box->lock);
    box->busy = false;
    pthread_cond_broadcast(&box->changed);
}

int inbox_drain(struct inbox *box, uint64_t deadline_ns)
{
    int rc = 0;
    LOCK_SCOPE(&box->lock);
    while (rc == 0 && !box->closed && (box->head || box->busy))
        rc = wait_until(box, deadline_ns);
    return box->closed ? -ECANCELED : rc;
}
