/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The JSON that two peers exchange: the source's first words, the target's answer, and a target's
 * reason for failing. The first byte picks which, the rest is the text.
 */
#include <errno.h>
#include <sys/mman.h>

#include "fuzz/fuzz.h"
#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/migration/participants.h"

#define RAM_BYTES 65536u

static int load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    (void)opaque;
    (void)buf;
    (void)length_bytes;
    (void)err;
    return 0;
}

static int accept_offer(void *opaque, const void *offer, size_t length_bytes,
                        struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    MUST(length_bytes <= VMIG_OFFERS_BYTES_MAX);
    return length_bytes && *(const char *)offer == '!' ? -EINVAL : 0;
}

static const struct vmig_participant_ops ops = { .size = sizeof(ops),
                                                 .load = load,
                                                 .accept = accept_offer };

static const struct vmig_vmstate_field no_fields[] = { VMIG_VMSTATE_END() };
static const struct vmig_vmstate uart = {
    .name = "uart", .version = 2, .minimum_version = 1, .fields = no_fields
};

/* What the seeds speak of: two blocks of memory, two participants, a vmstate. */
static struct vmig_migration *make_migration(void *memory)
{
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    const struct vmig_ram_block low = { "low", 0, RAM_BYTES / 2, memory, -1, 0 };
    const struct vmig_ram_block high = {
        "high", 1u << 20, RAM_BYTES / 2, (char *)memory + RAM_BYTES / 2, -1, 0
    };
    MUST(m && vmig_migration_add_ram(m, &low, NULL) == 0);
    MUST(vmig_migration_add_ram(m, &high, NULL) == 0);
    MUST(vmig_migration_add_participant(m, "clock", &ops, NULL, NULL) == 0);
    MUST(vmig_migration_add_participant(m, "timer", &ops, NULL, NULL) == 0);
    MUST(vmig_migration_add_vmstate(m, "uart", 3, &uart, NULL, NULL) == 0);
    return m;
}

/* Every participant and block is there once, under the number that it believes to have. */
static void check_order(struct vmig_migration *m)
{
    MUST(m->num_participants == 3 && m->ram->num_blocks == 2);
    for (unsigned i = 0; i < m->num_participants; i++) {
        MUST(m->participants[i]->index == i);
        MUST(participant_find(m, m->participants[i]->id) == m->participants[i]);
    }
    MUST(m->ram->blocks[0].desc.vaddr != m->ram->blocks[1].desc.vaddr);
}

static void try_request(struct vmig_migration *m, const char *text, size_t length)
{
    struct vmig_error err = { 0 };
    int rc = hello_accept(m, text, length, &err);
    MUST(rc == err.code);
    MUST(rc < 0 || m->lanes_wanted <= LANES_MAX);
    check_order(m);
}

static void try_reply(struct vmig_migration *m, const char *text, size_t length)
{
    struct vmig_error err = { 0 };
    int rc = hello_accept_reply(m, text, length, &err);
    MUST(rc == err.code);
    MUST(rc < 0 || m->window_bytes >= WIRE_CHUNK_BYTES);
}

/* Whatever was said: it is a failure, and it is the target's. */
static void try_failure(struct vmig_migration *m, const char *text, size_t length)
{
    struct vmig_error err = { 0 };
    (void)m;
    hello_read_failure(text, length, &err);
    MUST(err.code < 0 && err.code != -ECANCELED && err.code != -EUCLEAN && err.text[0]);
}

static void (*const parsers[])(struct vmig_migration *m, const char *text, size_t length) = {
    try_request,
    try_reply,
    try_failure,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    void *memory =
        mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(memory != MAP_FAILED);
    struct vmig_migration *m = make_migration(memory);
    parsers[data[0] % (sizeof(parsers) / sizeof(parsers[0]))](m, (const char *)data + 1, size - 1);
    vmig_migration_free(m);
    munmap(memory, RAM_BYTES);
    return 0;
}
