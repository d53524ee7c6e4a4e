/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/compat.h"
#include "lib/migration/migration.h"

/* The last version whose machines do not have it. */
static const struct compat_row {
    const char *name;
    struct compat_version last_without;
} rows[] = {
    [COMPAT_DISPLAY_RAMFB] = { "vfio-pci-nohotplug.x-ramfb-migrate", { 8, 1 } },
    [COMPAT_RAMFB] = { "ramfb.x-migrate", { 8, 1 } },
};
_Static_assert(sizeof(rows) / sizeof(rows[0]) == COMPAT_COUNT, "a row for every property");

const char *compat_name(enum compat_property property)
{
    return rows[property].name;
}

bool compat_turns_off(const struct compat_version *version, enum compat_property property)
{
    const struct compat_version *last = &rows[property].last_without;
    return version->major && (version->major < last->major ||
                              (version->major == last->major && version->minor <= last->minor));
}

int compat_parse(const char *text, struct compat_version *ret, struct vmig_error *err)
{
    struct compat_version version = { 0 };
    int end = 0;
    bool digits = text[0] >= '1' && text[0] <= '9'; /* no sign, no space */
    const char *dot = strchr(text, '.');
    if (!digits || !dot || dot[1] < '0' || dot[1] > '9' || strlen(text) > 9 ||
        sscanf(text, "%u.%u%n", &version.major, &version.minor, &end) != 2 || text[end])
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-settings",
                         "\"%.40s\" is no machine version; give one as 8.1", text);
    *ret = version;
    return 0;
}

VMIG_EXPORT int vmig_migration_set_compat(struct vmig_migration *m, const char *machine_version,
                                          struct vmig_error *err)
{
    struct compat_version version = { 0 };
    int rc = machine_version ? compat_parse(machine_version, &version, err) : 0;
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&m->lock);
    if (m->side != SIDE_NONE)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "the machine version cannot be changed while a migration runs");
    m->compat = version;
    return 0;
}
