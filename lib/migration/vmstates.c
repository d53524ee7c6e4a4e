/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/digest.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/stream/vmstate.h"

/* ---- which there are ---- */

void vmstates_reset(struct vmstates *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        struct vmstate_section *s = &v->sections[i];
        free(s->bytes);
        s->bytes = NULL;
        s->here = false;
        s->length_bytes = s->offset = s->version = 0;
    }
}

void vmstates_done(struct vmstates *v)
{
    vmstates_reset(v);
    free(v->sections);
    *v = (struct vmstates) { 0 };
}

struct vmstate_section *vmstates_find(const struct vmstates *v, const char *idstr,
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
    if (vmstates_find(v, idstr, instance_id))
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
    struct vmstate_section *s = vmstates_find(v, idstr, instance_id);
    if (refuse_running_locked(m, idstr, err) < 0)
        return -EBUSY;
    if (!s)
        return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, NULL,
                         "there is no vmstate \"%.200s\" with an instance %" PRIu32, idstr,
                         instance_id);
    free(s->bytes);
    size_t behind = (size_t)(v->sections + v->count-- - s - 1);
    memmove(s, s + 1, behind * sizeof(*s));
    return 0;
}

/* ---- source ---- */

/* The name for messages: "vmstate "uart" instance 0: ...". */
static int blame(const struct vmstate_section *s, const struct vmig_error *why, int rc,
                 struct vmig_error *err)
{
    struct vmig_error named = *why;
    error_set(&named, rc, VMIG_STAGE_NONE, NULL, NULL, "%s", strerror(-rc));
    error_prefix(&named, "vmstate \"%.80s\" instance %" PRIu32, s->idstr, s->instance_id);
    error_copy(err, &named);
    return rc;
}

static int save(struct vmstate_section *s, struct writer *description, struct vmig_error *err)
{
    struct vmig_error why = { 0 };
    struct writer w;
    if (s->vmsd->needed && !s->vmsd->needed(s->opaque))
        return 0;
    writer_init(&w);
    int rc =
        vmstate_save_section(s->vmsd, s->opaque, s->idstr, s->instance_id, &w, description, &why);
    if (rc == 0 && w.length > VMSTATE_BYTES_MAX)
        rc = error_set(&why, E2BIG, VMIG_STAGE_NONE, NULL, NULL,
                       "it has %zu bytes and %u are the most; make it a participant", w.length,
                       VMSTATE_BYTES_MAX);
    if (rc < 0) {
        writer_done(&w);
        return blame(s, &why, rc, err);
    }
    s->bytes = w.buf;
    s->length_bytes = w.length;
    s->version = s->vmsd->version;
    s->here = true;
    return 0;
}

int vmstates_save(struct vmstates *v, struct writer *description, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < v->count; i++)
        rc = save(&v->sections[i], description, err);
    return rc;
}

void vmstates_write(const struct vmstates *v, struct writer *w, uint32_t section_id)
{
    for (unsigned i = 0; i < v->count; i++) {
        const struct vmstate_section *s = &v->sections[i];
        if (!s->here)
            continue;
        qemu_write_full(w, section_id + i, s->idstr, s->instance_id, s->version);
        writer_bytes(w, s->bytes, s->length_bytes);
        qemu_write_footer(w, section_id + i);
    }
}

/* ---- both ---- */

static void name_in_manifest(const struct vmstate_section *s, char ret[256])
{
    snprintf(ret, 256, "%s#%" PRIu32, s->idstr, s->instance_id);
}

int vmstates_list(const struct vmstates *v, struct manifest *list, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < v->count; i++) {
        const struct vmstate_section *s = &v->sections[i];
        if (!s->here)
            continue;
        struct manifest_entry entry = {
            .kind = MANIFEST_VMSTATE,
            .length_bytes = s->length_bytes,
            .digest = digest_of(s->bytes, s->length_bytes),
            .format_version = s->version,
        };
        name_in_manifest(s, entry.id);
        rc = manifest_add(list, &entry, err);
    }
    return rc;
}

/* ---- target ---- */

static int check_version(const struct vmstate_section *s, uint32_t version, struct vmig_error *err)
{
    if (version >= s->vmsd->minimum_version && version <= s->vmsd->version)
        return 0;
    return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, "format-version",
                     "it came in version %" PRIu32 " and %" PRIu32 " to %" PRIu32
                     " are known here; use the same version on both sides",
                     version, s->vmsd->minimum_version, s->vmsd->version);
}

static int check_listed(const struct vmstate_section *s, const struct manifest *sent,
                        uint64_t *ret_length, struct vmig_error *err)
{
    char name[256];
    name_in_manifest(s, name);
    const struct manifest_entry *entry = manifest_find(sent, name);
    if (!entry || entry->kind != MANIFEST_VMSTATE)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "no manifest before it lists it, so nothing proves what it is");
    if (entry->length_bytes > VMSTATE_BYTES_MAX)
        return error_set(err, E2BIG, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "it has %" PRIu64 " bytes and %u are the most", entry->length_bytes,
                         VMSTATE_BYTES_MAX);
    *ret_length = entry->length_bytes;
    return s->here ? error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, "bad-stream", "it came twice")
                   : 0;
}

int vmstates_read(struct vmstate_section *s, const struct qemu_section *section,
                  const struct manifest *sent, struct reader *r, struct vmig_error *err)
{
    struct vmig_error why = { 0 };
    uint64_t length = 0;
    int rc = check_version(s, section->version_id, &why);
    if (rc == 0)
        rc = check_listed(s, sent, &length, &why);
    if (rc < 0)
        return blame(s, &why, rc, err);
    s->bytes = malloc(length ? length : 1);
    if (!s->bytes)
        return blame(s, &why, -ENOMEM, err);
    s->version = section->version_id;
    s->offset = r->offset;
    s->length_bytes = length;
    reader_bytes(r, s->bytes, length);
    s->here = !reader_failed(r);
    return qemu_payload_error(section, r, err);
}

static int load(const struct vmstate_section *s, struct vmig_error *err)
{
    struct reader r;
    if (!s->here)
        return s->vmsd->needed
                   ? 0
                   : error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, "layout-mismatch",
                               "the source did not send it; give both sides the same devices");
    reader_init_memory(&r, s->bytes, s->length_bytes);
    r.offset = s->offset;
    int rc = vmstate_load(s->vmsd, s->version, s->opaque, &r, err);
    uint64_t taken = r.offset - s->offset;
    if (rc < 0 || taken == s->length_bytes)
        return rc;
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "layout-mismatch",
                     "it ends at byte %" PRIu64 " of %" PRIu64 "; the source has another table",
                     taken, s->length_bytes);
}

int vmstates_load(const struct vmstates *v, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < v->count; i++) {
        struct vmig_error why = { 0 };
        rc = load(&v->sections[i], &why);
        if (rc < 0)
            blame(&v->sections[i], &why, rc, err);
    }
    return rc;
}
