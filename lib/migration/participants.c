/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/blockers.h"
#include "lib/migration/participants.h"

struct participant *participant_find(struct vmig_migration *m, const char *id)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (strcmp(m->participants[i]->id, id) == 0)
            return m->participants[i];
    return NULL;
}

/* ---- one ---- */

static struct participant *make(struct vmig_migration *m, const struct participant *desc)
{
    struct participant *p = malloc(sizeof(*p));
    XXH3_state_t *digest = XXH3_createState();
    if (!p || !digest) {
        free(p);
        XXH3_freeState(digest);
        return NULL;
    }
    *p = *desc;
    p->migration = m;
    p->digest = digest;
    p->writer = (struct vmig_writer) { .migration = m, .participant = p };
    if (p->kind == PARTICIPANT_OTHER)
        p->ops = &p->hosts_ops;
    inbox_init(&p->inbox, WIRE_WINDOW_BYTES);
    return p;
}

static void unmake(struct participant *p)
{
    XXH3_freeState(p->digest);
    inbox_done(&p->inbox);
    free(p);
}

static void release(struct participant *p)
{
    if (p->free_opaque)
        p->free_opaque(p->opaque);
    unmake(p);
}

void participant_free(struct participant *p)
{
    struct vmig_migration *m = p->migration;
    if (!p->lost) {
        release(p);
        return;
    }
    LOCK_SCOPE(&m->lock);
    p->next_retired = m->retired;
    m->retired = p;
}

void participants_free(struct vmig_migration *m)
{
    while (m->num_participants)
        release(m->participants[--m->num_participants]);
    while (m->retired) {
        struct participant *p = m->retired;
        m->retired = p->next_retired;
        release(p);
    }
}

/* ---- the list ---- */

/* Its place is its number on the wire. */
static void set_place(struct participant *p, unsigned index)
{
    p->index = index;
    p->section_id = index + 1;
    p->migration->participants[index] = p;
}

void participant_take_out_locked(struct vmig_migration *m, struct participant *p)
{
    for (unsigned i = p->index + 1; i < m->num_participants; i++)
        set_place(m->participants[i], i - 1);
    m->num_participants--;
}

static int add_locked(struct vmig_migration *m, struct participant *p, struct vmig_error *err)
{
    if (m->side != SIDE_NONE || m->run.taken)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, p->id, "migration-running",
                         "cannot be added while a migration, a stop or a cont runs");
    if (participant_find(m, p->id))
        return error_set(err, EEXIST, VMIG_STAGE_PREPARE, p->id, "id-taken",
                         "two participants are called \"%s\"; give each its own id", p->id);
    if (m->num_participants == PARTICIPANTS_MAX)
        return error_set(err, ENOSPC, VMIG_STAGE_PREPARE, p->id, NULL,
                         "at most %u participants can move at once", PARTICIPANTS_MAX);
    set_place(p, m->num_participants++);
    int rc = blockers_accept_locked(m, p, err);
    if (rc < 0)
        participant_take_out_locked(m, p);
    return rc;
}

static bool is_sound(const char *id)
{
    json_t *text = json_string(id); /* checks that it is UTF-8 */
    json_decref(text);
    return text && id[0];
}

int participant_add(struct vmig_migration *m, const struct participant *desc,
                    struct vmig_error *err)
{
    if (!is_sound(desc->id))
        return error_set(
            err, EINVAL, VMIG_STAGE_PREPARE, NULL, "bad-id",
            "an id must be UTF-8 and not empty, for it goes to the other side; give the "
            "device another one");
    struct participant *p = make(m, desc);
    if (!p)
        return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, desc->id, NULL, "out of memory");
    pthread_mutex_lock(&m->lock);
    int rc = add_locked(m, p, err);
    pthread_mutex_unlock(&m->lock);
    if (rc < 0)
        unmake(p);
    else
        blockers_warn(m);
    return rc;
}
