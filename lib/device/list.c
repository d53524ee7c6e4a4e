/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices of this host that VFIO has or could have, without opening any: opening is exclusive,
 * and closing resets a function.
 *
 * First each device gets a rank, which decides whether it is listed and where; then, in this order,
 * each is described and handed out. So only names are kept, however many devices there are.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/cdev-node.h"
#include "lib/device/list.h"
#include "lib/device/sysfs.h"
#include "lib/device/variant.h"
#include "lib/error.h"
#include "lib/export.h"

#define DEVICES_MAX 65536 /* a PCI domain has as many functions */

enum rank {
    RANK_VFIO,     /* held by a VFIO driver; every mediated device is */
    RANK_COULD,    /* a VFIO driver of this kernel would migrate it */
    RANK_OTHER,    /* with VMIG_LIST_ALL only */
    RANK_UNUSABLE, /* never listed: VFIO takes no bridges */
};

struct named {
    char name[SYSFS_NAME_MAX];
    enum rank rank;
};

struct list {
    const struct kernel_tree *tree;
    struct variants *variants;
    unsigned flags;
    struct named *devices;
    unsigned count, room;
    int foreign_group; /* whose neighbours were looked for last: those of a group come together */
    char foreign[200];
};

/* ---- which ---- */

static enum rank rank_of(const struct list *list, const char *name)
{
    char driver[SYSFS_NAME_MAX], variant[SYSFS_NAME_MAX];
    struct sysfs_pci pci;
    sysfs_find_driver(list->tree->sys, name, driver);
    if (!sysfs_is_pci(name) || sysfs_is_vfio(list->tree->sys, name, driver))
        return RANK_VFIO;
    if (!sysfs_find_pci(list->tree->sys, name, &pci))
        return RANK_OTHER;
    if (sysfs_is_bridge(&pci))
        return RANK_UNUSABLE;
    variants_find(list->variants, &pci, variant);
    return variant[0] ? RANK_COULD : RANK_OTHER;
}

static int take_name(const char *name, void *opaque)
{
    struct list *list = opaque;
    struct named device = { .rank = rank_of(list, name) };
    if (device.rank > (list->flags & VMIG_LIST_ALL ? RANK_OTHER : RANK_COULD))
        return 0;
    if (list->count == DEVICES_MAX)
        return -E2BIG;
    if (list->count == list->room) {
        unsigned room = list->room ? 2 * list->room : 64;
        struct named *grown = realloc(list->devices, room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        list->devices = grown;
        list->room = room;
    }
    snprintf(device.name, sizeof(device.name), "%s", name);
    list->devices[list->count++] = device;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    return x->rank != y->rank ? (int)x->rank - (int)y->rank : strcmp(x->name, y->name);
}

/* ---- can it migrate? ---- */

static void set_reason(struct vmig_device_entry *entry, const struct vmig_error *err)
{
    entry->prospect = VMIG_PROSPECT_NO;
    snprintf(entry->reason, sizeof(entry->reason), "%s", err->reason);
    snprintf(entry->remedy, sizeof(entry->remedy), "%.*s", (int)sizeof(entry->remedy) - 1,
             err->text);
}

/* No VFIO driver holds it: which one should? */
static void judge_unbound(const struct list *list, const struct sysfs_pci *pci,
                          struct vmig_device_entry *entry)
{
    char variant[SYSFS_NAME_MAX], reason[VARIANT_REASON_MAX], remedy[VARIANT_REMEDY_MAX] = "";
    entry->prospect = VMIG_PROSPECT_NO;
    snprintf(entry->reason, sizeof(entry->reason), "no-vfio-driver");
    if (pci) {
        variants_find(list->variants, pci, variant);
        if (!variant[0])
            variants_explain(list->variants, pci, "", reason, remedy);
    }
    if (pci && variant[0])
        snprintf(entry->remedy, sizeof(entry->remedy), "bind it to %.60s, which is made for it",
                 variant);
    else
        snprintf(entry->remedy, sizeof(entry->remedy), "%s",
                 remedy[0] ? remedy : "bind it to a VFIO driver");
}

static void judge_bound(const struct list *list, const struct sysfs_pci *pci,
                        struct vmig_device_entry *entry)
{
    switch (variant_skill(list->tree, entry->driver)) {
    case VARIANT_UNKNOWN:
        entry->prospect = VMIG_PROSPECT_UNKNOWN;
        return;
    case VARIANT_MIGRATES:
        entry->prospect = VMIG_PROSPECT_LIKELY;
        return;
    case VARIANT_TOO_OLD:
    case VARIANT_CANNOT:
        break;
    }
    entry->prospect = VMIG_PROSPECT_NO;
    if (pci) {
        variants_explain(list->variants, pci, entry->driver, entry->reason, entry->remedy);
        return;
    }
    snprintf(entry->reason, sizeof(entry->reason), "vfio-no-kernel-support");
    snprintf(entry->remedy, sizeof(entry->remedy),
             "its driver %.64s does not migrate it on this "
             "kernel",
             entry->driver);
}

static void judge(const struct list *list, const struct sysfs_pci *pci,
                  struct vmig_device_entry *entry)
{
    struct vmig_error err = { 0 };
    unsigned group = 0;
    if (sysfs_find_safe_group(list->tree->sys, entry->address, &group, &err))
        set_reason(entry, &err);
    else if (entry->vfio)
        judge_bound(list, pci, entry);
    else
        judge_unbound(list, pci, entry);
}

/* ---- could it be opened? ---- */

static void block(struct vmig_device_entry *entry, const struct vmig_error *err)
{
    snprintf(entry->blocked, sizeof(entry->blocked), "%s", err->reason);
    snprintf(entry->blocked_text, sizeof(entry->blocked_text), "%.*s",
             (int)sizeof(entry->blocked_text) - 1, err->text);
}

/* 0, or what opening it would meet. @node as on this host, "/dev/...". */
static int try_node(const struct kernel_tree *tree, const char *node)
{
    char path[PATH_MAX];
    if (!node[0])
        return ENOENT;
    snprintf(path, sizeof(path), "%s%s", tree->dev, node + strlen("/dev"));
    return faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) ? errno : 0;
}

/* Both nodes of a way have to open. *ret_node: the one that does not. */
static int try_way(const struct kernel_tree *tree, const char *common, const char *node,
                   const char **ret_node)
{
    int rc = try_node(tree, node);
    *ret_node = rc ? node : common;
    return rc ? rc : try_node(tree, common);
}

static const char *find_foreign(struct list *list, int group)
{
    if (list->foreign_group != group)
        sysfs_find_foreign(list->tree->sys, (unsigned)group, list->foreign, sizeof(list->foreign));
    list->foreign_group = group;
    return list->foreign;
}

static void look_for_blocks(struct list *list, struct vmig_device_entry *entry)
{
    struct vmig_error err = { 0 };
    if (!entry->vfio || entry->group < 0)
        return;
    const char *foreign = entry->mediated ? "" : find_foreign(list, entry->group);
    const char *group_node, *cdev_node; /* where each way ends */
    int by_group = try_way(list->tree, "/dev/vfio/vfio", entry->group_node, &group_node);
    int by_cdev = try_way(list->tree, "/dev/iommu", entry->cdev_node, &cdev_node);
    if (foreign[0])
        sysfs_refuse_group((unsigned)entry->group, foreign, &err);
    else if (!by_group || !by_cdev)
        return;
    else if (by_group != ENOENT || by_cdev != ENOENT)
        error_set(&err, EACCES, VMIG_STAGE_OPEN, NULL, "no-permission",
                  "opening it needs permission to read and write %s; this is user %u",
                  by_group != ENOENT ? group_node : cdev_node, (unsigned)geteuid());
    else
        error_set(&err, ENOENT, VMIG_STAGE_OPEN, NULL, "no-device-node",
                  "%s%s%s is not there; a container must be given it", group_node,
                  cdev_node[0] ? " or " : "", cdev_node);
    block(entry, &err);
}

/* ---- the whole ---- */

static void describe(struct list *list, const char *name, struct vmig_device_entry *entry)
{
    const char *sys = list->tree->sys;
    struct sysfs_pci pci;
    unsigned group = 0;
    *entry = (struct vmig_device_entry) { .group = -1, .vendor_id = 0xffff, .device_id = 0xffff };
    snprintf(entry->address, sizeof(entry->address), "%s", name);
    entry->mediated = !sysfs_is_pci(name);
    sysfs_find_driver(sys, name, entry->driver);
    entry->vfio = entry->mediated || sysfs_is_vfio(sys, name, entry->driver);
    bool has_pci = !entry->mediated && sysfs_find_pci(sys, name, &pci);
    if (has_pci) {
        entry->vendor_id = pci.vendor;
        entry->device_id = pci.device;
        entry->class_code = pci.class_code;
    }
    if (!sysfs_find_group(sys, name, &group, NULL)) {
        entry->group = (int)group;
        bool safe = !sysfs_find_safe_group(sys, name, &group, NULL);
        if (entry->vfio)
            snprintf(entry->group_node, sizeof(entry->group_node), "/dev/vfio/%s%u",
                     safe ? "" : "noiommu-", group);
    }
    if (entry->vfio && !cdev_node_find(sys, name, entry->cdev_node))
        entry->cdev_node[0] = '\0';
    judge(list, has_pci ? &pci : NULL, entry);
    look_for_blocks(list, entry);
}

static bool exists(const char *root, const char *path)
{
    char text[PATH_MAX];
    snprintf(text, sizeof(text), "%s/%s", root, path);
    return !access(text, F_OK);
}

static int count_device(const char *name, void *opaque)
{
    (void)name;
    (void)opaque;
    return 1;
}

/* Nothing to list: what is the first thing to do? */
static int find_obstacle(const struct kernel_tree *tree, struct vmig_error *err)
{
    const char *sys = tree->sys;
    int rc = sysfs_check_mounted(sys, err);
    if (rc)
        return rc;
    if (sysfs_each_device(sys, "pci", count_device, NULL) <= 0)
        return error_set(err, ENODEV, VMIG_STAGE_NONE, NULL, "no-such-device",
                         "%s shows no PCI device and no mediated device", sys);
    if (!sysfs_has_groups(sys))
        return sysfs_refuse_without_iommu("VFIO has no device, and can have no PCI device", err);
    if (!exists(sys, "class/vfio") && !exists(sys, "module/vfio") &&
        !exists(tree->dev, "vfio/vfio"))
        return error_set(
            err, ENODEV, VMIG_STAGE_NONE, NULL, "vfio-not-loaded",
            "VFIO is not loaded, so it has no device; `modprobe vfio-pci`, then bind a "
            "device to it (vfio-migrate-probe(1) tells how)");
    return error_set(err, ENODEV, VMIG_STAGE_NONE, NULL, "no-vfio-driver",
                     "no device is bound to a VFIO driver; bind one (vfio-migrate-probe(1) tells "
                     "how)");
}

static int explain_none(const struct kernel_tree *tree, struct vmig_error *err)
{
    struct vmig_error obstacle = { 0 };
    find_obstacle(tree, &obstacle);
    obstacle.stage = VMIG_STAGE_NONE; /* nothing was opened */
    return error_copy(err, &obstacle);
}

int device_list(const struct kernel_tree *tree, unsigned flags,
                int (*each)(const struct vmig_device_entry *entry, void *opaque), void *opaque,
                struct vmig_error *err)
{
    struct list list = {
        .tree = tree,
        .flags = flags,
        .variants = variants_new(tree),
        .foreign_group = -1,
    };
    int rc = list.variants ? sysfs_each_device(tree->sys, "pci", take_name, &list) : -ENOMEM;
    if (!rc || rc == -ENOENT)
        rc = sysfs_each_device(tree->sys, "mdev", take_name, &list);
    if (rc == -ENOENT)
        rc = 0;
    if (rc)
        rc = error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "looking for devices in %s: %s",
                       tree->sys, strerror(-rc));
    else if (!list.count)
        rc = explain_none(tree, err);
    if (list.count)
        qsort(list.devices, list.count, sizeof(*list.devices), compare);
    for (unsigned i = 0; !rc && i < list.count; i++) {
        struct vmig_device_entry entry;
        describe(&list, list.devices[i].name, &entry);
        rc = each(&entry, opaque);
    }
    variants_free(list.variants);
    free(list.devices);
    return rc;
}

VMIG_EXPORT int vmig_device_list(unsigned flags,
                                 int (*each)(const struct vmig_device_entry *entry, void *opaque),
                                 void *opaque, struct vmig_error *err)
{
    struct kernel_tree tree;
    kernel_tree_init(&tree);
    return device_list(&tree, flags, each, opaque, err);
}
