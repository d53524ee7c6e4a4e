/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/device-argument.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ramfb-file.h"

/* ---- the values ---- */

static int set_id(struct device_argument *d, const char *value, char why[200])
{
    if (strlen(value) < sizeof(d->id) && value[0]) {
        snprintf(d->id, sizeof(d->id), "%s", value);
        return 0;
    }
    snprintf(why, 200, "a device's name has 1 to %zu letters, not %zu", sizeof(d->id) - 1,
             strlen(value));
    return -EINVAL;
}

static int read_on_off_auto(const char *key, const char *value, enum vmig_on_off_auto *ret,
                            char why[200])
{
    static const char *const names[] = {
        [VMIG_AUTO] = "auto", [VMIG_ON] = "on", [VMIG_OFF] = "off"
    };
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], value) == 0) {
            *ret = (enum vmig_on_off_auto)i;
            return 0;
        }
    snprintf(why, 200, "%s is on, off or auto, not '%.60s'", key, value);
    return -EINVAL;
}

static int set_enable_migration(struct device_argument *d, const char *value, char why[200])
{
    return read_on_off_auto("enable-migration", value, &d->settings.enable_migration, why);
}

static int set_ramfb_migrate(struct device_argument *d, const char *value, char why[200])
{
    return read_on_off_auto("ramfb-migrate", value, &d->settings.ramfb_migrate, why);
}

/* @typed: in the text that was typed, which outlives the device; up to the next comma. */
static int set_ramfb(struct device_argument *d, const char *typed, char why[200])
{
    if (typed[0] == '\0' || typed[0] == ',') {
        snprintf(why, 200, "ramfb= takes the name of a file");
        return -EINVAL;
    }
    d->settings.ramfb = true;
    d->settings.pci = &ramfb_file_pci_ops;
    d->settings.pci_opaque = (void *)(uintptr_t)typed;
    return 0;
}

static const struct key {
    const char *name;
    /* With a value, */
    int (*set)(struct device_argument *d, const char *value, char why[200]);
    size_t flag; /* or the bool of the settings that the name alone makes true. */
} keys[] = {
    { "id", set_id, 0 },
    { "enable-migration", set_enable_migration, 0 },
    { "viommu", NULL, offsetof(struct vmig_device_settings, viommu) },
    { "ignore-vendor-capability", NULL,
      offsetof(struct vmig_device_settings, ignore_vendor_capability) },
    { "hotplugged", NULL, offsetof(struct vmig_device_settings, hotplugged) },
    { "ramfb-migrate", set_ramfb_migrate, 0 },
    { "migration-events", NULL, offsetof(struct vmig_device_settings, migration_events) },
};

/* ---- the whole ---- */

static const struct key *find_key(const char *part)
{
    size_t length = strcspn(part, "=");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strlen(keys[i].name) == length && !strncmp(keys[i].name, part, length) &&
            (part[length] == '=') == (keys[i].set != NULL))
            return &keys[i];
    return NULL;
}

#define RAMFB "ramfb="

static int add_part(struct device_argument *d, const char *part, const char *typed, bool first,
                    char why[200])
{
    const struct key *key = first ? NULL : find_key(part);
    if (!first && strncmp(part, RAMFB, strlen(RAMFB)) == 0)
        return set_ramfb(d, typed + strlen(RAMFB), why);
    if (key && key->set)
        return key->set(d, part + strlen(key->name) + 1, why);
    if (key) {
        *(bool *)((char *)&d->settings + key->flag) = true;
        return 0;
    }
    size_t used = strlen(d->address); /* no longer than what was typed */
    snprintf(d->address + used, sizeof(d->address) - used, "%s%s", first ? "" : ",", part);
    return 0;
}

int device_argument_parse(const char *text, struct device_argument *ret, char why[200])
{
    char part[sizeof(ret->address)];
    int rc = 0;
    *ret = (struct device_argument) { .settings.size = sizeof(ret->settings) };
    if (strlen(text) >= sizeof(part)) {
        snprintf(why, 200, "it has at most %zu letters", sizeof(part) - 1);
        return -EINVAL;
    }
    for (const char *at = text; rc == 0 && at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        snprintf(part, sizeof(part), "%.*s", (int)strcspn(at, ","), at);
        rc = add_part(ret, part, at, at == text, why);
    }
    return rc;
}

const char *device_argument_check(const struct argp_state *state, const char *text)
{
    struct device_argument d;
    char why[200];
    if (device_argument_parse(text, &d, why) < 0)
        argp_error(state, "device '%s': %s", text, why);
    return text;
}
