/* SPDX-License-Identifier: BSD-3-Clause */
/* What probe says of a device that it opened: for people, and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/probe.h"

/* ---- names ---- */

struct name {
    uint32_t value;
    const char *name;
};

static const struct name flag_names[] = {
    { VMIG_MIGRATION_STOP_COPY, "STOP_COPY" },
    { VMIG_MIGRATION_P2P, "P2P" },
    { VMIG_MIGRATION_PRE_COPY, "PRE_COPY" },
    { 0, NULL },
};
static const struct name access_names[] = {
    { VMIG_REGION_READ, "read" },
    { VMIG_REGION_WRITE, "write" },
    { VMIG_REGION_MMAP, "mmap" },
    { 0, NULL },
};

static const char *region_name(unsigned index, char *buf, size_t size)
{
    static const char *const names[] = { "BAR 0", "BAR 1", "BAR 2",  "BAR 3", "BAR 4",
                                         "BAR 5", "ROM",   "config", "VGA" };
    if (index < sizeof(names) / sizeof(names[0]))
        return names[index];
    snprintf(buf, size, "region %u", index);
    return buf;
}

static const char *irq_name(unsigned index, char *buf, size_t size)
{
    static const char *const names[] = { "INTx", "MSI", "MSI-X", "ERR", "REQ" };
    if (index < sizeof(names) / sizeof(names[0]))
        return names[index];
    snprintf(buf, size, "interrupt %u", index);
    return buf;
}

/* The states that a device with these flags has. */
static bool has_state(uint64_t flags, enum vmig_state state)
{
    bool p2p = flags & VMIG_MIGRATION_P2P, precopy = flags & VMIG_MIGRATION_PRE_COPY;
    switch (state) {
    case VMIG_STATE_RUNNING_P2P:
        return p2p;
    case VMIG_STATE_PRE_COPY:
        return precopy;
    case VMIG_STATE_PRE_COPY_P2P:
        return p2p && precopy;
    case VMIG_STATE_ERROR:
        return false;
    case VMIG_STATE_STOP:
    case VMIG_STATE_RUNNING:
    case VMIG_STATE_STOP_COPY:
    case VMIG_STATE_RESUMING:
        break;
    }
    return true;
}

/* ---- for people ---- */

static void print_label(const char *label)
{
    printf("  %-13s", label);
}

static void print_names(const struct name *names, uint64_t flags, const char *separator)
{
    bool first = true;
    for (; names->name; names++)
        if (flags & names->value) {
            printf("%s%s", first ? "" : separator, names->name);
            first = false;
        }
}

static void print_identity(const struct probe_facts *facts)
{
    const struct vmig_device_info *info = &facts->info;
    print_label("identity");
    if (info->pci && info->vendor_id != 0xffff)
        printf("PCI %04x:%04x, subsystem %04x:%04x, class %06" PRIx32 ", revision %02x\n",
               info->vendor_id, info->device_id, info->subsystem_vendor_id, info->subsystem_id,
               info->class_code, info->revision);
    else
        printf("%s\n", info->pci ? "PCI, without a readable config space" : "no PCI device");
    print_label("backend");
    printf("%s\n", info->backend);
}

static void print_place(const struct vmig_device_entry *entry)
{
    if (!entry->address[0])
        return;
    print_label("driver");
    puts(entry->driver[0] ? entry->driver : "none");
    print_label("nodes");
    printf("%s%s%s\n", entry->group_node, entry->cdev_node[0] ? ", " : "", entry->cdev_node);
}

static void print_regions(const struct probe_facts *facts)
{
    char name[32], size[32];
    for (unsigned i = 0; i < facts->num_regions; i++) {
        const struct vmig_region_info *region = &facts->regions[i];
        print_label(i ? "" : "regions");
        printf("%-9s %9s  ", region_name(region->index, name, sizeof(name)),
               cmd_format_size(region->size_bytes, size, sizeof(size)));
        print_names(access_names, region->flags, ", ");
        uint64_t mappable = 0;
        for (unsigned j = 0; j < region->num_areas; j++)
            mappable += region->areas[j].size_bytes;
        if (mappable && mappable != region->size_bytes)
            printf(" (%s of it)", cmd_format_size(mappable, size, sizeof(size)));
        putchar('\n');
    }
}

static void print_irqs(const struct probe_facts *facts)
{
    char name[32];
    if (facts->num_irqs)
        print_label("interrupts");
    for (unsigned i = 0; i < facts->num_irqs; i++)
        printf("%s%s: %u%s", i ? ", " : "", irq_name(facts->irqs[i].index, name, sizeof(name)),
               facts->irqs[i].count, i + 1 == facts->num_irqs ? "\n" : "");
}

#define HOT_RESET_SHOWN 4 /* of the functions that it would reset as well */

static void format_function(const struct vmig_hot_reset_device *device, char buf[16])
{
    snprintf(buf, 16, "%04x:%02x:%02x.%u", device->segment, device->bus, device->device & 0x1fu,
             device->function & 7u);
}

static void print_hot_reset(const struct probe_facts *facts)
{
    char name[16];
    unsigned others = 0;
    if (!facts->has_hot_reset && !facts->no_hot_reset.code)
        return;
    print_label("hot reset");
    if (!facts->has_hot_reset) {
        printf("no: %s\n", facts->no_hot_reset.text);
        return;
    }
    for (unsigned i = 0; i < facts->hot_reset.num_devices; i++) {
        format_function(&facts->hot_reset.devices[i], name);
        if (!strcmp(name, facts->entry.address) || ++others > HOT_RESET_SHOWN)
            continue;
        printf("%s%s", others > 1 ? ", " : "takes along ", name);
    }
    if (others > HOT_RESET_SHOWN)
        printf(" and %u more", others - HOT_RESET_SHOWN);
    puts(!others                      ? "takes along nothing else"
         : facts->hot_reset.all_owned ? ""
                                      : "; not all of them are its owner's");
}

static void print_log(const struct probe_facts *facts)
{
    char size[32];
    print_label("DMA logging");
    if (!facts->migration.has_dma_logging)
        puts("no");
    else if (facts->has_log)
        printf("yes, in pages of %s\n", cmd_format_size(facts->log_pgsize, size, sizeof(size)));
    else if (facts->state == VMIG_STATE_RUNNING)
        printf("unusable: %s\n", facts->no_log.text);
    else
        printf("yes (not tried: the device is in %s)\n", vmig_state_name(facts->state));
}

static void print_iommu_log(const struct probe_facts *facts)
{
    static const char *const answers[] = {
        [VMIG_IOMMU_LOG_NONE] = "no",
        [VMIG_IOMMU_LOG_ALL] = "of no use: it calls all memory dirty",
        [VMIG_IOMMU_LOG_TRUE] = "yes",
    };
    if (!facts->kernel)
        return;
    print_label("IOMMU log");
    puts(answers[facts->migration.iommu_log]);
}

static void print_precopy(const struct vmig_migration_info *migration)
{
    if (!(migration->flags & VMIG_MIGRATION_PRE_COPY))
        return;
    print_label("pre-copy");
    printf("its sizes %s; new initial bytes are %s\n",
           migration->has_precopy_info ? "can be asked" : "cannot be asked",
           migration->has_reinit ? "announced" : "not announced");
}

static void print_migration(const struct probe_facts *facts)
{
    const struct vmig_migration_info *migration = &facts->migration;
    char size[32];
    print_label("migration");
    if (!migration->flags) {
        printf("no: %s\n", migration->reason);
        print_label("remedy");
        puts(migration->remedy[0] ? migration->remedy : "none known");
        return;
    }
    fputs("yes: ", stdout);
    print_names(flag_names, migration->flags, ", ");
    putchar('\n');
    print_label("states");
    for (int state = VMIG_STATE_STOP; state < VMIG_STATE_COUNT; state++)
        if (has_state(migration->flags, (enum vmig_state)state))
            printf("%s%s", state == VMIG_STATE_STOP ? "" : ", ",
                   vmig_state_name((enum vmig_state)state));
    putchar('\n');
    print_label("now in");
    puts(vmig_state_name(facts->state));
    print_label("state size");
    if (facts->has_size)
        printf("%s, as the device estimates\n",
               cmd_format_size(facts->size_bytes, size, sizeof(size)));
    else
        printf("unknown%s%s\n", facts->no_size.code ? ": " : "", facts->no_size.text);
    print_precopy(migration);
    print_log(facts);
    print_iommu_log(facts);
}

void probe_print(const struct probe_facts *facts)
{
    printf("%s\n", facts->address);
    print_identity(facts);
    print_place(&facts->entry);
    print_regions(facts);
    print_irqs(facts);
    print_hot_reset(facts);
    print_migration(facts);
}

/* ---- for programs ---- */

static json_t *names_json(const struct name *names, uint64_t flags)
{
    json_t *array = json_array();
    for (; names->name; names++)
        if (flags & names->value)
            json_array_append_new(array, json_string(names->name));
    return array;
}

json_t *probe_flags_json(uint64_t flags)
{
    return names_json(flag_names, flags);
}

static json_t *region_json(const struct vmig_region_info *region)
{
    char name[32];
    json_t *areas = json_array();
    for (unsigned i = 0; i < region->num_areas; i++)
        json_array_append_new(areas,
                              json_pack("{s:I, s:I}", "offset_bytes",
                                        (json_int_t)region->areas[i].offset_bytes, "size_bytes",
                                        (json_int_t)region->areas[i].size_bytes));
    return json_pack("{s:i, s:s, s:I, s:o, s:o}", "index", (int)region->index, "name",
                     region_name(region->index, name, sizeof(name)), "size_bytes",
                     (json_int_t)region->size_bytes, "access",
                     names_json(access_names, region->flags), "mmap_areas", areas);
}

static json_t *irq_json(const struct vmig_irq_info *irq)
{
    char name[32];
    return json_pack("{s:i, s:s, s:i}", "index", (int)irq->index, "name",
                     irq_name(irq->index, name, sizeof(name)), "vectors", (int)irq->count);
}

static json_t *size_or_null(bool known, uint64_t value)
{
    return known ? json_integer((json_int_t)value) : json_null();
}

static json_t *identity_json(const struct vmig_device_info *info)
{
    char class[8];
    if (!info->pci || info->vendor_id == 0xffff)
        return json_null();
    snprintf(class, sizeof(class), "%06" PRIx32, info->class_code & 0xffffff);
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:i}", "vendor_id",
                     json_sprintf("%04x", info->vendor_id), "device_id",
                     json_sprintf("%04x", info->device_id), "subsystem_vendor_id",
                     json_sprintf("%04x", info->subsystem_vendor_id), "subsystem_id",
                     json_sprintf("%04x", info->subsystem_id), "class_code", class, "revision",
                     (int)info->revision);
}

static json_t *migration_json(const struct probe_facts *facts)
{
    const struct vmig_migration_info *migration = &facts->migration;
    json_t *states = json_array();
    bool can = migration->flags;
    for (int state = VMIG_STATE_STOP; can && state < VMIG_STATE_COUNT; state++)
        if (has_state(migration->flags, (enum vmig_state)state))
            json_array_append_new(states, json_string(vmig_state_name((enum vmig_state)state)));
    return json_pack("{s:b, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o}", "supported", can, "flags",
                     probe_flags_json(migration->flags), "states", states, "state",
                     cmd_text_json(can ? vmig_state_name(facts->state) : ""), "stop_copy_bytes",
                     size_or_null(facts->has_size, facts->size_bytes), "precopy_info",
                     migration->has_precopy_info, "reinit", migration->has_reinit, "reason",
                     cmd_text_json(migration->reason), "remedy", cmd_text_json(migration->remedy));
}

static json_t *log_json(const struct probe_facts *facts)
{
    const char *reason = facts->no_log.code ? facts->no_log.text : "";
    return json_pack("{s:b, s:o, s:o}", "supported",
                     facts->migration.has_dma_logging && !facts->no_log.code, "pgsize",
                     size_or_null(facts->has_log, facts->log_pgsize), "message",
                     cmd_text_json(reason));
}

/* Sysfs's answers, null where it has none. */
static void add_place(json_t *object, const struct vmig_device_entry *entry)
{
    bool has_group = entry->address[0] && entry->group >= 0;
    json_object_set_new(object, "driver", cmd_text_json(entry->driver));
    json_object_set_new(object, "group", has_group ? json_integer(entry->group) : json_null());
    json_object_set_new(object, "group_node", cmd_text_json(entry->group_node));
    json_object_set_new(object, "cdev_node", cmd_text_json(entry->cdev_node));
}

static json_t *iommu_log_json(const struct probe_facts *facts)
{
    static const char *const names[] = {
        [VMIG_IOMMU_LOG_NONE] = "none",
        [VMIG_IOMMU_LOG_ALL] = "all",
        [VMIG_IOMMU_LOG_TRUE] = "true",
    };
    return json_string(names[facts->migration.iommu_log]);
}

static json_t *hot_reset_json(const struct probe_facts *facts)
{
    char name[16];
    json_t *devices = json_array();
    for (unsigned i = 0; i < facts->hot_reset.num_devices; i++) {
        const struct vmig_hot_reset_device *device = &facts->hot_reset.devices[i];
        format_function(device, name);
        json_array_append_new(devices,
                              json_pack("{s:s, s:b}", "address", name, "owned", device->owned));
    }
    if (facts->has_hot_reset)
        return json_pack("{s:b, s:o}", "all_owned", facts->hot_reset.all_owned, "devices", devices);
    json_decref(devices);
    return json_null();
}

json_t *probe_json(const struct probe_facts *facts)
{
    if (facts->error.code)
        return json_pack("{s:s, s:o}", "address", facts->address, "error",
                         cmd_error_json(&facts->error));
    json_t *regions = json_array(), *irqs = json_array();
    for (unsigned i = 0; i < facts->num_regions; i++)
        json_array_append_new(regions, region_json(&facts->regions[i]));
    for (unsigned i = 0; i < facts->num_irqs; i++)
        json_array_append_new(irqs, irq_json(&facts->irqs[i]));
    json_t *object =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "address", facts->address, "backend",
                  facts->info.backend, "pci", identity_json(&facts->info), "regions", regions,
                  "irqs", irqs, "migration", migration_json(facts), "dma_logging", log_json(facts),
                  "iommu_logging", iommu_log_json(facts));
    json_object_set_new(object, "hot_reset", hot_reset_json(facts));
    add_place(object, &facts->entry);
    return object;
}
