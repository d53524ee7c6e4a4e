/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-migrate probe DEVICE...: what a device is and can do, and whether it can migrate. Without
 * DEVICE the host's devices are listed (probe-list.c).
 *
 * Facts are collected first and printed afterwards, for people or as JSON. Probing changes nothing:
 * no state is entered, and the DMA log is tried, on one mapping of our own, only while the device
 * is RUNNING and has no log to disturb, which holding it exclusively makes certain.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/backend-argument.h"
#include "cmd/cmd.h"
#include "cmd/probe.h"

#define NAME PROBE_NAME
#define REGIONS_MAX 32 /* 9 of PCI, and some device-specific ones */
#define IRQS_MAX 8
#define DEVICES_MAX 64

struct facts {
    const char *address;
    struct vmig_error error; /* why the device could not be probed */
    struct vmig_device_info info;
    bool kernel;                    /* not a vfio-user server's */
    struct vmig_device_entry entry; /* what sysfs tells; address "": nothing */
    struct vmig_migration_info migration;
    enum vmig_state state;
    bool has_size, has_log;
    uint64_t size_bytes;       /* of its state */
    uint64_t log_pgsize;       /* 0: not tried */
    struct vmig_error no_size; /* the device has the query, and it failed */
    struct vmig_error no_log;  /* the device has a log, and it cannot be used */
    unsigned num_regions, num_irqs;
    struct vmig_region_info regions[REGIONS_MAX];
    struct vmig_irq_info irqs[IRQS_MAX];
};

struct probe {
    struct probe_list_options list;
    bool json;
    unsigned num_devices;
    struct facts *devices;
};

/* ---- collecting ---- */

#define LOG_IOVA 0x100000
#define LOG_BYTES (2u << 20) /* the largest page size a log is likely to choose */
#define LOG_PGSIZE 4096

/* Start and stop the device's DMA log over memory of our own: only that tells its page size, and
 * whether the log can be read. */
static int try_log(struct vmig_device *device, uint64_t *ret_pgsize, struct vmig_error *err)
{
    uint64_t pgsize = LOG_PGSIZE;
    struct vmig_dma_range range = { LOG_IOVA, LOG_BYTES };
    struct vmig_dma_map map = { .iova = LOG_IOVA, .size_bytes = LOG_BYTES, .writable = true };
    map.fd = memfd_create("vfio-migrate-probe", MFD_CLOEXEC);
    map.vaddr = map.fd < 0 || ftruncate(map.fd, LOG_BYTES)
                    ? MAP_FAILED
                    : mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0);
    if (map.vaddr == MAP_FAILED) {
        err->code = -errno;
        snprintf(err->text, sizeof(err->text), "no memory to try it with: %s", strerror(errno));
        close(map.fd);
        return err->code;
    }
    int rc = vmig_device_dma_map(device, &map, err);
    if (!rc) {
        rc = vmig_device_dma_log_start(device, &range, 1, &pgsize, err);
        if (!rc)
            rc = vmig_device_dma_log_stop(device, err);
        vmig_device_dma_unmap(device, LOG_IOVA, LOG_BYTES, NULL);
    }
    munmap(map.vaddr, LOG_BYTES);
    close(map.fd);
    if (!rc)
        *ret_pgsize = pgsize;
    return rc;
}

static int collect_migration(struct vmig_device *device, struct facts *facts,
                             struct vmig_error *err)
{
    int rc = vmig_device_migration_info(device, &facts->migration, err);
    if (rc || !facts->migration.flags)
        return rc;
    rc = vmig_device_get_state(device, &facts->state, err);
    if (rc)
        return rc;
    if (facts->migration.has_data_size)
        facts->has_size = !vmig_device_data_size(device, &facts->size_bytes, &facts->no_size);
    if (facts->migration.has_dma_logging && facts->state == VMIG_STATE_RUNNING)
        facts->has_log = !try_log(device, &facts->log_pgsize, &facts->no_log);
    return 0;
}

static int collect_parts(struct vmig_device *device, struct facts *facts, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < facts->info.num_regions && i < REGIONS_MAX; i++) {
        rc = vmig_device_region_info(device, i, &facts->regions[facts->num_regions], err);
        if (!rc && facts->regions[facts->num_regions].size_bytes)
            facts->num_regions++;
    }
    for (unsigned i = 0; !rc && i < facts->info.num_irqs && i < IRQS_MAX; i++) {
        rc = vmig_device_irq_info(device, i, &facts->irqs[facts->num_irqs], err);
        if (!rc && facts->irqs[facts->num_irqs].count)
            facts->num_irqs++;
    }
    return rc;
}

static int take_own_entry(const struct vmig_device_entry *entry, void *opaque)
{
    struct facts *facts = opaque;
    if (strcasecmp(entry->address, facts->address) && strcmp(entry->cdev_node, facts->address))
        return 0;
    facts->entry = *entry;
    return 1;
}

static void collect(struct facts *facts, const char *backend)
{
    struct vmig_device *device = NULL;
    struct vmig_device_options options = {
        .size = sizeof(options),
        .backend = backend_for(facts->address, backend),
    };
    int rc = vmig_device_open(facts->address, &options, &device, &facts->error);
    if (rc)
        return;
    rc = vmig_device_info(device, &facts->info, &facts->error);
    if (!rc)
        rc = collect_parts(device, facts, &facts->error);
    if (!rc)
        collect_migration(device, facts, &facts->error);
    vmig_device_close(device);
    facts->kernel = strcmp(facts->info.backend, "vfio-user") != 0;
    if (facts->kernel)
        vmig_device_list(VMIG_LIST_ALL, take_own_entry, facts, NULL);
}

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

static void print_identity(const struct facts *facts)
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

static void print_regions(const struct facts *facts)
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

static void print_irqs(const struct facts *facts)
{
    char name[32];
    if (facts->num_irqs)
        print_label("interrupts");
    for (unsigned i = 0; i < facts->num_irqs; i++)
        printf("%s%s: %u%s", i ? ", " : "", irq_name(facts->irqs[i].index, name, sizeof(name)),
               facts->irqs[i].count, i + 1 == facts->num_irqs ? "\n" : "");
}

static void print_log(const struct facts *facts)
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

static void print_iommu_log(const struct facts *facts)
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
    printf("its sizes can %s; new initial bytes are %s\n",
           migration->has_precopy_info ? "be asked" : "not be asked",
           migration->has_reinit ? "announced" : "not announced");
}

static void print_migration(const struct facts *facts)
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

static void print_facts(const struct facts *facts)
{
    printf("%s\n", facts->address);
    print_identity(facts);
    print_place(&facts->entry);
    print_regions(facts);
    print_irqs(facts);
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

static json_t *migration_json(const struct facts *facts)
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

static json_t *log_json(const struct facts *facts)
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

static json_t *iommu_log_json(const struct facts *facts)
{
    static const char *const names[] = {
        [VMIG_IOMMU_LOG_NONE] = "none",
        [VMIG_IOMMU_LOG_ALL] = "all",
        [VMIG_IOMMU_LOG_TRUE] = "true",
    };
    return json_string(names[facts->migration.iommu_log]);
}

static json_t *facts_json(const struct facts *facts)
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
    add_place(object, &facts->entry);
    return object;
}

/* ---- the whole ---- */

static int judge(const struct probe *probe)
{
    int exit_code = CMD_DONE;
    for (unsigned i = 0; i < probe->num_devices; i++) {
        if (probe->devices[i].error.code)
            return CMD_FAILED;
        if (!probe->devices[i].migration.flags)
            exit_code = CMD_REFUSED;
    }
    return exit_code;
}

static void print_json(const struct probe *probe, int exit_code)
{
    json_t *devices = json_array(), *error = NULL;
    for (unsigned i = 0; i < probe->num_devices; i++) {
        json_array_append_new(devices, facts_json(&probe->devices[i]));
        if (!error && probe->devices[i].error.code)
            error = cmd_error_json(&probe->devices[i].error);
    }
    cmd_print_json(json_pack("{s:s, s:o*, s:o}", "status",
                             cmd_status_name((enum cmd_exit)exit_code), "error", error, "devices",
                             devices));
}

static void print_people(const struct probe *probe)
{
    bool first = true;
    for (unsigned i = 0; i < probe->num_devices; i++) {
        const struct facts *facts = &probe->devices[i];
        if (facts->error.code) {
            fflush(stdout); /* in the order of the command line */
            cmd_fail(NAME, false, CMD_FAILED, &facts->error);
            continue;
        }
        if (!first)
            putchar('\n');
        first = false;
        print_facts(facts);
    }
}

#define KEY_ALL 0x1001
#define KEY_OPEN 0x1002

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct probe *probe = state->input;
    switch (key) {
    case CMD_KEY_JSON:
        probe->json = true;
        return 0;
    case KEY_BACKEND:
        probe->list.backend = backend_argument(state, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (probe->num_devices == DEVICES_MAX)
            argp_error(state, "at most %u devices", DEVICES_MAX);
        probe->devices[probe->num_devices++].address = arg;
        return 0;
    case KEY_ALL:
        probe->list.all = true;
        return 0;
    case KEY_OPEN:
        probe->list.open = true;
        return 0;
    case ARGP_KEY_END:
        if (probe->num_devices && (probe->list.all || probe->list.open))
            argp_error(state, "--all and --open are for the list, so without DEVICE");
        if (probe->list.backend && !probe->num_devices && !probe->list.open)
            argp_error(state, "--backend is for devices that are opened; the list opens none "
                              "without --open");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cmd_probe(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "all", KEY_ALL, NULL, 0, "List every PCI function, also those that VFIO does not have",
          0 },
        { "open", KEY_OPEN, NULL, 0,
          "Open each device of the list that may migrate and ask it; that resets what is left of "
          "an earlier migration, and on closing it the function",
          0 },
        BACKEND_OPTION,
        CMD_JSON_OPTION,
        { 0 },
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "[DEVICE...]",
        .doc =
            "Tell what devices are and can do, and whether they can migrate; without DEVICE, list "
            "the host's VFIO devices without opening one.\v"
            "Exit code 0 when all of them can migrate (of the list: one may), 3 when one cannot "
            "(of the list: none can; reason and remedy are told), 1 when one could not be opened.",
    };
    struct probe probe = { .devices = calloc(DEVICES_MAX, sizeof(*probe.devices)) };
    if (!probe.devices)
        return CMD_FAILED;
    cmd_parse_options(&argp, argc, argv, &probe);
    if (!probe.num_devices) {
        free(probe.devices);
        return probe_list(&probe.list, probe.json);
    }
    for (unsigned i = 0; i < probe.num_devices; i++)
        collect(&probe.devices[i], probe.list.backend);
    int exit_code = judge(&probe);
    if (probe.json)
        print_json(&probe, exit_code);
    else
        print_people(&probe);
    free(probe.devices);
    return exit_code;
}
