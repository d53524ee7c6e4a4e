/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/monitor/ours.h"

#define RAM_BYTES (16u << 20)

static int quit(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return 0;
}

static int add_memory(struct ours *o, struct vmig_error *err)
{
    o->memory = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(o->memory, MAP_FAILED);
    memset(o->memory, 1, RAM_BYTES);
    struct vmig_ram_block block = {
        .name = "ram", .size_bytes = RAM_BYTES, .vaddr = o->memory, .fd = -1
    };
    return vmig_migration_add_ram(o->m, &block, err);
}

void ours_start(struct ours *o, const char *directory, bool incoming)
{
    struct vmig_error err = { 0 };
    struct vmig_monitor_host host = { .size = sizeof(host),
                                      .quit = quit,
                                      .incoming_defer = incoming };
    char path[100], address[110];
    snprintf(path, sizeof(path), "%s/ours", directory);
    snprintf(address, sizeof(address), "unix:%s", path);
    o->m = vmig_migration_new(NULL, &err);
    assert_non_null(o->m);
    if (add_memory(o, &err) < 0 || vmig_monitor_new(address, o->m, &host, &o->monitor, &err) < 0)
        fail_msg("%s", err.text);
    talk_open(&o->talk, path, false);
}

void ours_before(struct ours *o, const char *request)
{
    if (strstr(request, "\"cont\"") && vmig_migration_run_state(o->m) == VMIG_RUN_STATE_POSTMIGRATE)
        vmig_migration_set_run_state(o->m, VMIG_RUN_STATE_PAUSED, NULL);
}

void ours_end(struct ours *o)
{
    talk_close(&o->talk);
    vmig_monitor_free(o->monitor);
    vmig_migration_free(o->m);
    munmap(o->memory, RAM_BYTES);
}
