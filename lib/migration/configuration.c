/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/configuration.h"
#include "lib/migration/migration.h"
#include "lib/migration/sections.h"

VMIG_EXPORT int vmig_migration_set_uuid(struct vmig_migration *m, const uint8_t *uuid,
                                        struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    if (m->side != SIDE_NONE)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "the UUID cannot be changed while a migration runs");
    m->has_uuid = uuid != NULL;
    if (uuid)
        memcpy(m->uuid, uuid, sizeof(m->uuid));
    return 0;
}

bool configuration_has_uuid(const struct vmig_migration *m)
{
    return m->has_uuid && m->capabilities[CAPABILITY_VALIDATE_UUID];
}

void configuration_write(const struct vmig_migration *m, struct writer *w)
{
    qemu_write_configuration(w, SECTIONS_MACHINE);
    if (configuration_has_uuid(m))
        qemu_write_uuid(w, m->uuid);
}

static void uuid_text(const uint8_t uuid[16], char ret[37])
{
    char *at = ret;
    for (unsigned i = 0; i < 16; i++)
        at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static int check_uuid(struct vmig_migration *m, const struct qemu_stream *s, struct vmig_error *err)
{
    char theirs[37], ours[37], text[160];
    if (!s->has_uuid && m->has_uuid && m->capabilities[CAPABILITY_VALIDATE_UUID])
        run_event(m, VMIG_EVENT_WARNING,
                  "the stream does not say which machine it is of, so that could not be validated");
    if (!s->has_uuid || (m->has_uuid && memcmp(m->uuid, s->uuid, sizeof(m->uuid)) == 0))
        return 0;
    uuid_text(s->uuid, theirs);
    if (!m->has_uuid) {
        snprintf(text, sizeof(text),
                 "the stream is of the machine %s, and nobody said which one this is", theirs);
        run_event(m, VMIG_EVENT_WARNING, text);
        return 0;
    }
    uuid_text(m->uuid, ours);
    return error_set(err, EINVAL, VMIG_STAGE_PREPARE, NULL, "uuid-mismatch",
                     "the stream is of the machine %s and this is %s; receive it with the machine "
                     "that it belongs to",
                     theirs, ours);
}

/* Of those that a stream lists none is ever on here. */
static int check_capabilities(const struct qemu_stream *s, struct vmig_error *err)
{
    enum capability which = s->mapped_ram ? CAPABILITY_MAPPED_RAM : CAPABILITY_X_IGNORE_SHARED;
    if (!s->mapped_ram && !s->ignore_shared)
        return 0;
    return error_set(err, EOPNOTSUPP, VMIG_STAGE_PREPARE, NULL, "capability-conflict",
                     "the source has %s on, and here it is off; switch it off there",
                     capability_table[which].name);
}

int configuration_check(struct vmig_migration *m, const struct qemu_stream *s,
                        struct vmig_error *err)
{
    if (s->page_bits && UINT64_C(1) << s->page_bits != RAM_PAGE_SIZE)
        return error_set(err, EINVAL, VMIG_STAGE_PREPARE, "ram", "layout-mismatch",
                         "the source has pages of %u bytes and this side of %u", 1u << s->page_bits,
                         (unsigned)RAM_PAGE_SIZE);
    int rc = check_capabilities(s, err);
    return rc < 0 ? rc : check_uuid(m, s, err);
}
