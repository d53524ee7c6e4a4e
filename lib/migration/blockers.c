/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/migration/blockers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/participant/obstacles.h"
#include "lib/participant/tracking.h"
#include "lib/trace/trace.h"

const struct blocker_row blocker_table[] = {
    { "vfio-disabled", true },
    { "vfio-no-kernel-support", true },
    { "vfio-variant-driver-available", true },
    { "vfio-variant-driver-missing", true },
    { "vfio-old-protocol", true },
    { "vfio-no-stop-copy", true },
    { "vfio-user-no-migration", true },
    { "vfio-no-migration", true },
    { "vfio-no-dirty-tracking", false },
    { "vfio-bitmap-too-large", false },
    { "vfio-multiple-without-p2p", false },
    { "vfio-viommu", false },
    { "host-specific", false },
};
const unsigned blocker_table_rows = sizeof(blocker_table) / sizeof(blocker_table[0]);

/* ---- facts ---- */

static void facts_of_device(const struct vmig_migration *m, const struct participant *p,
                            struct obstacle_facts *ret)
{
    const struct vmig_device *device = p->device;
    const struct backend_iommu_log *iommu = &device->iommu_log;
    struct display display;
    display_of(m, p, &display, NULL);
    *ret = (struct obstacle_facts) {
        .enable_migration = p->settings.enable_migration,
        .viommu = p->settings.viommu,
        .supported = device->migration.flags & VMIG_MIGRATION_STOP_COPY,
        .p2p = device->migration.flags & VMIG_MIGRATION_P2P,
        .device_log = device->migration.has_dma_logging,
        .iommu_log = iommu->kind == VMIG_IOMMU_LOG_TRUE,
        .too_large = device_largest_mapping(p->device) > iommu->max_mapping_bytes,
        .size_known = device->migration.has_data_size || m->parameters[PARAMETER_STATE_SIZE],
        .ramfb_missing = display.ignored_on,
        .wanted = p->tracking.wanted,
        .all_dirty = m->parameters[PARAMETER_ALL_DIRTY],
        .others_p2p = true,
    };
}

static void find(const struct vmig_migration *m, const struct participant *p, struct obstacles *ret)
{
    struct obstacle_facts facts, other;
    facts_of_device(m, p, &facts);
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *o = m->participants[i];
        facts.memory |= o->kind == PARTICIPANT_RAM;
        if (!o->device || o == p)
            continue;
        facts_of_device(m, o, &other);
        if (!obstacles_could_move(&other))
            continue;
        facts.others = true;
        facts.others_p2p &= other.p2p;
    }
    obstacles_find(&facts, ret);
}

static unsigned movable_devices(const struct vmig_migration *m)
{
    struct obstacle_facts facts;
    unsigned count = 0;
    for (unsigned i = 0; i < m->num_participants; i++) {
        if (!m->participants[i]->device)
            continue;
        facts_of_device(m, m->participants[i], &facts);
        count += obstacles_could_move(&facts);
    }
    return count;
}

/* ---- in words ---- */

/* NULL: no blocker has that code. */
static const struct blocker_row *row_of(const char *code)
{
    for (unsigned i = 0; i < blocker_table_rows; i++)
        if (strcmp(blocker_table[i].code, code) == 0)
            return &blocker_table[i];
    return NULL;
}

static void say_disabled(const struct vmig_migration *m, const struct participant *p,
                         struct vmig_blocker *b)
{
    (void)m;
    (void)p;
    snprintf(b->text, sizeof(b->text), "its settings say that it shall not migrate");
    snprintf(b->hint, sizeof(b->hint), "set enable-migration to auto or on, or detach it first");
}

static void say_unsupported(const struct vmig_migration *m, const struct participant *p,
                            struct vmig_blocker *b)
{
    const struct vmig_migration_info *info = &p->device->migration;
    (void)m;
    snprintf(b->code, sizeof(b->code), "%s",
             row_of(info->reason) ? info->reason : "vfio-no-migration");
    snprintf(b->text, sizeof(b->text), "the device cannot migrate");
    snprintf(b->hint, sizeof(b->hint), "%s",
             info->remedy[0] ? info->remedy : "its driver does not offer it");
}

static void say_untracked(const struct vmig_migration *m, const struct participant *p,
                          struct vmig_blocker *b)
{
    char why_not[sizeof(p->tracking.why_not)];
    (void)m;
    tracking_explain(p->device, &p->tracking, why_not, sizeof(why_not));
    snprintf(b->text, sizeof(b->text), TRACKING_NOBODY, why_not);
    snprintf(b->hint, sizeof(b->hint), TRACKING_REMEDY);
}

static void say_too_large(const struct vmig_migration *m, const struct participant *p,
                          struct vmig_blocker *b)
{
    (void)m;
    snprintf(b->text, sizeof(b->text),
             "a mapping of %" PRIu64 " bytes is more than its IOMMU can report, %" PRIu64
             " bytes, and nobody else tells what the device writes to memory",
             device_largest_mapping(p->device), p->device->iommu_log.max_mapping_bytes);
    snprintf(b->hint, sizeof(b->hint), "map it in smaller parts; or " TRACKING_REMEDY);
}

static void say_neighbours(const struct vmig_migration *m, const struct participant *p,
                           struct vmig_blocker *b)
{
    (void)p;
    snprintf(b->text, sizeof(b->text),
             "one of %u devices has no P2P state, so they cannot be stopped safely together",
             movable_devices(m));
    snprintf(b->hint, sizeof(b->hint), "move it alone, or detach it first");
}

static const char *why_not_iommu(const struct participant *p)
{
    if (p->device->iommu_log.kind != VMIG_IOMMU_LOG_TRUE)
        return p->device->iommu_log.why;
    return p->tracking.wanted == VMIG_DIRTY_DEVICE ? "dirty tracking is set to the device's own log"
                                                   : "a mapping is larger than it can report";
}

static void say_viommu(const struct vmig_migration *m, const struct participant *p,
                       struct vmig_blocker *b)
{
    (void)m;
    snprintf(b->text, sizeof(b->text),
             "a vIOMMU stands in front of the device, so what it logs tells nothing, and its IOMMU "
             "does not tell (%.200s)",
             why_not_iommu(p));
    snprintf(
        b->hint, sizeof(b->hint),
        "take the vIOMMU away, or have an IOMMU that knows what was written; or " TRACKING_REMEDY);
}

static void say_size(const struct vmig_migration *m, const struct participant *p,
                     struct vmig_blocker *b)
{
    (void)m;
    (void)p;
    snprintf(b->text, sizeof(b->text),
             "the device cannot tell the size of its state, so nobody can say how long the pause "
             "would take");
    snprintf(b->hint, sizeof(b->hint), "set device-state-size to the most that it can be");
}

static void say_no_ramfb(const struct vmig_migration *m, const struct participant *p,
                         struct vmig_blocker *b)
{
    (void)m;
    (void)p;
    snprintf(b->text, sizeof(b->text), "ramfb-migrate is on and the device has no ramfb");
    snprintf(b->hint, sizeof(b->hint), "it is taken as off; set it to off or auto");
}

static const struct wording {
    const char *code; /* NULL: say() finds one */
    void (*say)(const struct vmig_migration *m, const struct participant *p,
                struct vmig_blocker *b);
} wordings[OBSTACLE_COUNT] = {
    [OBSTACLE_DISABLED] = { "vfio-disabled", say_disabled },
    [OBSTACLE_UNSUPPORTED] = { NULL, say_unsupported },
    [OBSTACLE_TRACKING] = { "vfio-no-dirty-tracking", say_untracked },
    [OBSTACLE_BITMAP] = { "vfio-bitmap-too-large", say_too_large },
    [OBSTACLE_NEIGHBOURS] = { "vfio-multiple-without-p2p", say_neighbours },
    [OBSTACLE_VIOMMU] = { "vfio-viommu", say_viommu },
    [OBSTACLE_SIZE] = { "device-size-unknown", say_size },
    [OBSTACLE_RAMFB] = { "display-no-ramfb", say_no_ramfb },
};

static void describe(const struct vmig_migration *m, const struct participant *p,
                     enum obstacle which, struct vmig_blocker *ret)
{
    struct vmig_blocker b = { .receive_too = false };
    if (wordings[which].code)
        snprintf(b.code, sizeof(b.code), "%s", wordings[which].code);
    wordings[which].say(m, p, &b);
    const struct blocker_row *row = row_of(b.code);
    b.receive_too = row && row->receive_too;
    snprintf(b.device, sizeof(b.device), "%s", p->id);
    *ret = b;
    snprintf(ret->text, sizeof(ret->text), "%s: %.330s", b.device, b.text);
}

/* ---- lists ---- */

typedef void (*visitor)(void *opaque, const struct vmig_blocker *blocker);

static void each_of(const struct vmig_migration *m, const struct participant *p, unsigned bits,
                    visitor visit, void *opaque)
{
    for (unsigned i = 0; i < OBSTACLE_COUNT; i++) {
        struct vmig_blocker b;
        if (!(bits & OBSTACLE_BIT(i)))
            continue;
        describe(m, p, (enum obstacle)i, &b);
        visit(opaque, &b);
    }
}

static void each_found(const struct vmig_migration *m, bool warnings, visitor visit, void *opaque)
{
    struct obstacles found;
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        if (!p->device)
            continue;
        find(m, p, &found);
        each_of(m, p, warnings ? found.warnings : found.blockers, visit, opaque);
    }
}

static void each_blocker(const struct vmig_migration *m, visitor visit, void *opaque)
{
    each_found(m, false, visit, opaque);
    for (unsigned i = 0; i < m->own_blockers.count; i++)
        visit(opaque, &m->own_blockers.all[i].blocker);
}

/* ---- refusing ---- */

/* The first, whose code is the error's, and the names of the others. */
struct refusal {
    bool receiving;
    struct vmig_blocker first;
    unsigned count, unnamed;
    char others[160];
};

static void note(void *opaque, const struct vmig_blocker *b)
{
    struct refusal *r = opaque;
    size_t used = strlen(r->others);
    char name[120];
    if (r->receiving && !b->receive_too)
        return;
    if (!r->count++) {
        r->first = *b;
        return;
    }
    int length = snprintf(name, sizeof(name), "%s%s%s%s%s", used ? ", " : "", b->code,
                          b->device[0] ? " (" : "", b->device, b->device[0] ? ")" : "");
    if (r->unnamed || used + (size_t)length >= sizeof(r->others))
        r->unnamed++;
    else
        snprintf(r->others + used, sizeof(r->others) - used, "%s", name);
}

/* An error has the device in a member of its own. */
static const char *without_device(const struct vmig_blocker *b)
{
    size_t length = strlen(b->device);
    bool named =
        length && !strncmp(b->text, b->device, length) && !strncmp(b->text + length, ": ", 2);
    return b->text + (named ? length + 2 : 0);
}

static int refuse(const struct refusal *r, const char *reason, const char *why,
                  struct vmig_error *err)
{
    char others[220] = "", text[sizeof(struct vmig_blocker)];
    const struct vmig_blocker *b = &r->first;
    if (r->unnamed)
        snprintf(others, sizeof(others), "; also: %s and %u more", r->others, r->unnamed);
    else if (r->others[0])
        snprintf(others, sizeof(others), "; also: %s", r->others);
    TRACE(migrate_blocked, b->device, reason ? reason : b->code);
    int room = (int)(sizeof(err->text) - 1 - strlen(others));
    snprintf(text, sizeof(text), "%s%s%s%s", why, without_device(b), b->hint[0] ? "; " : "",
             b->hint);
    return error_set(err, EOPNOTSUPP, VMIG_STAGE_PREPARE, b->device, reason ? reason : b->code,
                     "%.*s%s", room, text, others);
}

int blockers_refuse_run_locked(struct vmig_migration *m, bool receiving, struct vmig_error *err)
{
    struct refusal r = { .receiving = receiving };
    each_blocker(m, note, &r);
    return r.count ? refuse(&r, NULL, "", err) : 0;
}

/* A VFIO device's state is complete when it has stopped, and not before. */
static const struct veto {
    enum capability capability;
    const char *reason, *why;
} vetoes[] = {
    { CAPABILITY_POSTCOPY_RAM, "vfio-with-postcopy-ram",
      "the target would run before all memory is there, and a device does not wait for a page" },
    { CAPABILITY_BACKGROUND_SNAPSHOT, "vfio-with-background-snapshot",
      "the workload would write on while its memory is saved, and nothing holds a device's writes "
      "up" },
};

int blockers_veto_locked(const struct vmig_migration *m, bool snapshot, struct vmig_error *err)
{
    const struct participant *device = NULL;
    for (unsigned i = 0; !device && i < m->num_participants; i++)
        if (m->participants[i]->device)
            device = m->participants[i];
    for (size_t i = 0; device && !snapshot && i < sizeof(vetoes) / sizeof(vetoes[0]); i++)
        if (m->capabilities[vetoes[i].capability])
            return error_set(err, EOPNOTSUPP, VMIG_STAGE_PREPARE, device->id, vetoes[i].reason,
                             "%s does not go with a VFIO device: %s; switch it off, or detach the "
                             "device first",
                             capability_table[vetoes[i].capability].name, vetoes[i].why);
    return 0;
}

int blockers_refuse_new_locked(struct vmig_migration *m, struct vmig_error *err)
{
    struct refusal r = { 0 };
    char why[100];
    if (!m->only_migratable)
        return 0;
    each_blocker(m, note, &r);
    if (!r.count)
        return 0;
    snprintf(why, sizeof(why), "only-migratable is set, and this is blocked by %s: ", r.first.code);
    return refuse(&r, "only-migratable", why, err);
}

int blockers_accept_locked(struct vmig_migration *m, const struct participant *p,
                           struct vmig_error *err)
{
    struct refusal r = { 0 };
    struct obstacles found = { 0 };
    if (p->device)
        find(m, p, &found);
    each_of(m, p, found.refused, note, &r);
    return r.count ? refuse(&r, NULL, "enable-migration is on, and ", err)
                   : blockers_refuse_new_locked(m, err);
}

/* ---- telling ---- */

/* One that the host was not told of since it came up. */
static bool next_untold(struct vmig_migration *m, struct vmig_blocker *ret)
{
    LOCK_SCOPE(&m->lock);
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        struct obstacles found = { 0 };
        if (p->device)
            find(m, p, &found);
        p->warned &= found.warnings;
        unsigned fresh = found.warnings & ~p->warned;
        if (!fresh)
            continue;
        unsigned which = (unsigned)__builtin_ctz(fresh);
        p->warned |= OBSTACLE_BIT(which);
        describe(m, p, (enum obstacle)which, ret);
        return true;
    }
    return false;
}

void blockers_warn(struct vmig_migration *m)
{
    struct vmig_blocker b;
    while (next_untold(m, &b)) {
        char text[sizeof(b.text) + sizeof(b.hint) + 4];
        snprintf(text, sizeof(text), "%s; %s", b.text, b.hint);
        run_warning(m, b.code, text);
    }
}

/* ---- the host's own ---- */

/* "vfio-" is ours. */
static bool is_code(const char *code)
{
    size_t length = strlen(code);
    return length && length < sizeof(((struct vmig_blocker *)NULL)->code) &&
           strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789-") == length &&
           strncmp(code, "vfio-", 5) != 0;
}

static int check_own(const char *code, const char *device, const char *text, const char *hint,
                     struct vmig_error *err)
{
    struct vmig_blocker *b = NULL;
    if (!is_code(code))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, device, "bad-blocker",
                         "\"%.60s\" is no code for a blocker: 1 to %zu of a to z, 0 to 9 and '-', "
                         "not beginning with \"vfio-\"",
                         code, sizeof(b->code) - 1);
    if (!text[0] || strlen(text) >= sizeof(b->text) || strlen(hint) >= sizeof(b->hint) ||
        strlen(device) >= sizeof(b->device))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-blocker",
                         "a blocker has a text of 1 to %zu bytes, a hint of up to %zu and a device "
                         "of up to %zu, not %zu, %zu and %zu",
                         sizeof(b->text) - 1, sizeof(b->hint) - 1, sizeof(b->device) - 1,
                         strlen(text), strlen(hint), strlen(device));
    return 0;
}

static int add_own_locked(struct vmig_migration *m, const struct vmig_blocker *blocker,
                          uint64_t *ret_id, struct vmig_error *err)
{
    struct own_blockers *own = &m->own_blockers;
    if (m->side != SIDE_NONE)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, blocker->device, "migration-running",
                         "a blocker (%s) cannot be added while a migration runs; cancel that first",
                         blocker->code);
    if (own->count == OWN_BLOCKERS_MAX)
        return error_set(err, ENOSPC, VMIG_STAGE_NONE, blocker->device, NULL,
                         "there are %u blockers already; remove one first", own->count);
    struct own_blocker *all = realloc(own->all, (own->count + 1) * sizeof(*all));
    if (!all)
        return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, blocker->device, NULL, "out of memory");
    own->all = all;
    all[own->count++] = (struct own_blocker) { own->last_id + 1, *blocker };
    int rc = blockers_refuse_new_locked(m, err);
    if (rc < 0)
        own->count--;
    else if (++own->last_id && ret_id)
        *ret_id = own->last_id;
    return rc;
}

VMIG_EXPORT int vmig_migration_add_blocker(struct vmig_migration *m, const char *code,
                                           const char *device, const char *text, const char *hint,
                                           uint64_t *ret_id, struct vmig_error *err)
{
    device = device ? device : "";
    hint = hint ? hint : "";
    int rc = check_own(code, device, text, hint, err);
    if (rc < 0)
        return rc;
    struct vmig_blocker b = { .receive_too = false };
    snprintf(b.code, sizeof(b.code), "%s", code);
    snprintf(b.device, sizeof(b.device), "%s", device);
    snprintf(b.text, sizeof(b.text), "%s", text);
    snprintf(b.hint, sizeof(b.hint), "%s", hint);
    LOCK_SCOPE(&m->lock);
    rc = add_own_locked(m, &b, ret_id, err);
    TRACE(migrate_add_blocker, device, code, rc);
    return rc;
}

VMIG_EXPORT int vmig_migration_remove_blocker(struct vmig_migration *m, uint64_t id,
                                              struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    struct own_blockers *own = &m->own_blockers;
    unsigned i = 0;
    while (i < own->count && own->all[i].id != id)
        i++;
    if (i == own->count)
        return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, NULL, "no blocker has the number %llu",
                         (unsigned long long)id);
    TRACE(migrate_del_blocker, own->all[i].blocker.device, own->all[i].blocker.code);
    own->count--;
    memmove(&own->all[i], &own->all[i + 1], (own->count - i) * sizeof(*own->all));
    return 0;
}

void blockers_done(struct own_blockers *own)
{
    free(own->all);
}

/* ---- asking ---- */

struct copy {
    struct vmig_blocker *ret;
    unsigned max, count;
};

static void copy_one(void *opaque, const struct vmig_blocker *b)
{
    struct copy *c = opaque;
    if (c->count < c->max)
        c->ret[c->count] = *b;
    c->count++;
}

VMIG_EXPORT unsigned vmig_migration_blockers(struct vmig_migration *m, struct vmig_blocker *ret,
                                             unsigned max)
{
    struct copy c = { .ret = ret, .max = max };
    LOCK_SCOPE(&m->lock);
    each_blocker(m, copy_one, &c);
    return c.count;
}

VMIG_EXPORT unsigned vmig_migration_warnings(struct vmig_migration *m, struct vmig_blocker *ret,
                                             unsigned max)
{
    struct copy c = { .ret = ret, .max = max };
    LOCK_SCOPE(&m->lock);
    each_found(m, true, copy_one, &c);
    return c.count;
}

VMIG_EXPORT int vmig_migration_set_only_migratable(struct vmig_migration *m, bool on,
                                                   struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    if (m->side != SIDE_NONE)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "only-migratable cannot be changed while a migration runs");
    bool before = m->only_migratable;
    m->only_migratable = on;
    int rc = blockers_refuse_new_locked(m, err);
    if (rc < 0)
        m->only_migratable = before;
    return rc;
}
