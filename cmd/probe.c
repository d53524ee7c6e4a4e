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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/backend-argument.h"
#include "cmd/cmd.h"
#include "cmd/probe.h"
#include "cmd/trace-argument.h"

#define DEVICES_MAX 64

struct probe {
    struct probe_list_options list;
    bool json;
    unsigned num_devices;
    struct probe_facts *devices;
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

static int collect_migration(struct vmig_device *device, struct probe_facts *facts,
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

static int collect_parts(struct vmig_device *device, struct probe_facts *facts,
                         struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < facts->info.num_regions && i < PROBE_REGIONS_MAX; i++) {
        rc = vmig_device_region_info(device, i, &facts->regions[facts->num_regions], err);
        if (!rc && facts->regions[facts->num_regions].size_bytes)
            facts->num_regions++;
    }
    for (unsigned i = 0; !rc && i < facts->info.num_irqs && i < PROBE_IRQS_MAX; i++) {
        rc = vmig_device_irq_info(device, i, &facts->irqs[facts->num_irqs], err);
        if (!rc && facts->irqs[facts->num_irqs].count)
            facts->num_irqs++;
    }
    return rc;
}

/* -ENOTTY: a device to which that does not apply. */
static void collect_hot_reset(struct vmig_device *device, struct probe_facts *facts)
{
    int rc = vmig_device_hot_reset_info(device, &facts->hot_reset, &facts->no_hot_reset);
    facts->has_hot_reset = !rc;
    if (rc == -ENOTTY)
        facts->no_hot_reset = (struct vmig_error) { 0 };
}

static int take_own_entry(const struct vmig_device_entry *entry, void *opaque)
{
    struct probe_facts *facts = opaque;
    if (strcasecmp(entry->address, facts->address) && strcmp(entry->cdev_node, facts->address))
        return 0;
    facts->entry = *entry;
    return 1;
}

static void collect(struct probe_facts *facts, const char *backend)
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
    collect_hot_reset(device, facts);
    vmig_device_close(device);
    facts->kernel = strcmp(facts->info.backend, "vfio-user") != 0;
    if (facts->kernel)
        vmig_device_list(VMIG_LIST_ALL, take_own_entry, facts, NULL);
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
        json_array_append_new(devices, probe_json(&probe->devices[i]));
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
        const struct probe_facts *facts = &probe->devices[i];
        if (facts->error.code) {
            fflush(stdout); /* in the order of the command line */
            cmd_fail(PROBE_NAME, false, CMD_FAILED, &facts->error);
            continue;
        }
        if (!first)
            putchar('\n');
        first = false;
        probe_print(facts);
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
    case KEY_TRACE:
        trace_argument(state, arg);
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
        TRACE_OPTION,
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
