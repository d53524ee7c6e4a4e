/* SPDX-License-Identifier: BSD-3-Clause */
/* A ramfb device of its own: its section, as QEMU has it. */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/compat.h"
#include "lib/migration/migration.h"
#include "lib/participant/display.h"
#include <vfio-migrate/vmstate.h>

#define IDSTR "ramfb-dev"

static bool is_off(const struct ramfb_device *d)
{
    return compat_turns_off(&d->migration->compat, COMPAT_RAMFB);
}

static bool needed(void *opaque)
{
    return !is_off(opaque);
}

static int pre_save(void *opaque, struct vmig_error *err)
{
    struct ramfb_device *d = opaque;
    struct vmig_ramfb ramfb = { 0 };
    struct writer w;
    int rc = d->ops.save(d->opaque, &ramfb, err);
    if (rc < 0)
        return rc;
    ramfb_sanitize(&ramfb);
    writer_init(&w);
    ramfb_write(&w, &ramfb);
    if (!w.error)
        memcpy(d->bytes, w.buf, sizeof(d->bytes));
    rc = w.error;
    writer_done(&w);
    return rc;
}

/* A machine that does not have it would drop it silently. */
static int pre_load(void *opaque, struct vmig_error *err)
{
    if (!is_off(opaque))
        return 0;
    return error_set(err, EINVAL, VMIG_STAGE_NONE, IDSTR, "display-mismatch",
                     "the source moves its ramfb and this side's machine version does not (%s is "
                     "off); give both sides the same machine version",
                     compat_name(COMPAT_RAMFB));
}

static int post_load(void *opaque, uint32_t version, struct vmig_error *err)
{
    struct ramfb_device *d = opaque;
    struct vmig_ramfb ramfb;
    struct reader r;
    (void)version;
    reader_init_memory(&r, d->bytes, sizeof(d->bytes));
    ramfb_read(&r, &ramfb);
    int rc = ramfb_check(&ramfb, IDSTR, err);
    return rc < 0 ? rc : d->ops.load(d->opaque, &ramfb, err);
}

static const struct vmig_vmstate_field ramfb_fields[] = {
    VMIG_VMSTATE_BUFFER(bytes, struct ramfb_device),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate ramfb_vmstate = {
    .name = IDSTR,
    .version = 1,
    .minimum_version = 1,
    .fields = ramfb_fields,
    .needed = needed,
    .pre_save = pre_save,
    .pre_load = pre_load,
    .post_load = post_load,
};

VMIG_EXPORT int vmig_migration_add_ramfb(struct vmig_migration *m, const struct vmig_ramfb_ops *ops,
                                         void *opaque, struct vmig_error *err)
{
    if (!ops)
        return vmig_migration_remove_vmstate(m, IDSTR, 0, err);
    if (ops->size < sizeof(*ops) || !ops->save || !ops->load)
        return error_set(err, EINVAL, VMIG_STAGE_PREPARE, IDSTR, "bad-settings",
                         "a ramfb needs both its operations, in a table of %zu bytes at least",
                         sizeof(*ops));
    struct ramfb_device *d = &m->ramfb;
    struct ramfb_device before = *d;
    *d = (struct ramfb_device) { .migration = m, .ops = *ops, .opaque = opaque };
    int rc = vmig_migration_add_vmstate(m, IDSTR, 0, &ramfb_vmstate, d, err);
    if (rc < 0)
        *d = before;
    return rc;
}
