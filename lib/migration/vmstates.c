/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/stream/vmstate.h"

void vmstates_done(struct vmstates *v)
{
    free(v->sections);
    *v = (struct vmstates) { 0 };
}

static struct vmstate_section *find(const struct vmstates *v, const char *idstr,
                                    uint32_t instance_id)
{
    for (unsigned i = 0; i < v->count; i++)
        if (v->sections[i].instance_id == instance_id && strcmp(v->sections[i].idstr, idstr) == 0)
            return &v->sections[i];
    return NULL;
}

static int make_room(struct vmstates *v)
{
    if (v->count < v->size)
        return 0;
    unsigned size = v->size ? 2 * v->size : 8;
    struct vmstate_section *sections = realloc(v->sections, size * sizeof(*sections));
    if (!sections)
        return -ENOMEM;
    v->sections = sections;
    v->size = size;
    return 0;
}

/* Behind all of its priority. */
static void insert(struct vmstates *v, const struct vmstate_section *s)
{
    unsigned at = v->count++;
    for (; at && v->sections[at - 1].vmsd->priority < s->vmsd->priority; at--)
        v->sections[at] = v->sections[at - 1];
    v->sections[at] = *s;
}

static int refuse_running_locked(const struct vmig_migration *m, const char *idstr,
                                 struct vmig_error *err)
{
    if (m->side == SIDE_NONE)
        return 0;
    return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                     "vmstate \"%.200s\" can be neither added nor removed while a migration runs",
                     idstr);
}

VMIG_EXPORT int vmig_migration_add_vmstate(struct vmig_migration *m, const char *idstr,
                                           uint32_t instance_id, const struct vmig_vmstate *vmsd,
                                           void *opaque, struct vmig_error *err)
{
    struct vmstate_section s = { .instance_id = instance_id, .vmsd = vmsd, .opaque = opaque };
    size_t length = strlen(idstr);
    if (!length || length > VMSTATE_IDSTR_MAX)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "the name of a vmstate has 1 to %u bytes, not %zu", VMSTATE_IDSTR_MAX,
                         length);
    memcpy(s.idstr, idstr, length);
    int rc = vmstate_check(vmsd, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&m->lock);
    struct vmstates *v = &m->vmstates;
    if (refuse_running_locked(m, idstr, err) < 0)
        return -EBUSY;
    if (find(v, idstr, instance_id))
        return error_set(err, EEXIST, VMIG_STAGE_NONE, NULL, NULL,
                         "vmstate \"%s\" has an instance %" PRIu32 " already", idstr, instance_id);
    if (v->count == VMIG_VMSTATES_MAX)
        return error_set(err, E2BIG, VMIG_STAGE_NONE, NULL, NULL, "more than %d vmstates",
                         VMIG_VMSTATES_MAX);
    if (make_room(v) < 0)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    insert(v, &s);
    return 0;
}

VMIG_EXPORT int vmig_migration_remove_vmstate(struct vmig_migration *m, const char *idstr,
                                              uint32_t instance_id, struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    struct vmstates *v = &m->vmstates;
    struct vmstate_section *s = find(v, idstr, instance_id);
    if (refuse_running_locked(m, idstr, err) < 0)
        return -EBUSY;
    if (!s)
        return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, NULL,
                         "there is no vmstate \"%.200s\" with an instance %" PRIu32, idstr,
                         instance_id);
    size_t behind = (size_t)(v->sections + v->count-- - s - 1);
    memmove(s, s + 1, behind * sizeof(*s));
    return 0;
}
