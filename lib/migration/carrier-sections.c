/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Participant data in sections of the main channel, exactly as QEMU frames it: what files, pipes
 * and a lone descriptor get. Devices write PART sections of one record while they run and one END
 * section of all the rest; RAM writes page items. These have no room for digests of their own, so with
 * ram-digest a copy of each page is hashed and sent, and the manifest has the digest of all.
 */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/digest.h"
#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/stream/vfio-section.h"

/* Pages of one RAM section: 4 MiB, the batch of the RAM participant. */
#define PAGES_MAX (WIRE_RAM_BYTES_MAX / RAM_PAGE_SIZE)

/* Every @hashed-th piece counts for the channel's digest: of memory, all but the pages. */
static int send_vector(struct vmig_migration *m, struct iovec *iov, unsigned count, unsigned hashed,
                       struct vmig_error *err)
{
    size_t length = 0;
    for (unsigned i = 0; i < count; i++)
        length += iov[i].iov_len;
    int rc, cause;
    {
        TURN_SCOPE(&m->main_write);
        for (unsigned i = 0; i < count; i += hashed)
            if (iov[i].iov_len)
                digest_update(m->said, iov[i].iov_base, iov[i].iov_len);
        rc = main_write_locked(m, iov, count);
    }
    if (rc < 0 && (cause = run_check(m, err)) < 0)
        return cause;
    if (rc < 0)
        return error_set(
            err, rc, m->stage, NULL, rc == -ENOSPC ? "no-space" : "connection-lost",
            "writing the stream after %llu bytes: %s; the source keeps its devices, make "
            "room or look at the reader and send again",
            (unsigned long long)atomic_load(&m->sent_bytes), strerror(-rc));
    statistics_sent(m, length, false);
    return 0;
}

/* Before the switch each piece is a PART; after it they all stand in one END. */
static void open_section(struct participant *p, struct writer *w)
{
    if (!p->migration->completing)
        qemu_write_part(w, p->section_id);
    else if (!p->end_open)
        qemu_write_end(w, p->section_id);
    p->end_open = p->migration->completing;
}

static int sections_data(struct participant *p, const void *buf, size_t length,
                         struct vmig_error *err)
{
    struct writer before, after;
    writer_init(&before);
    writer_init(&after);
    open_section(p, &before);
    qemu_vfio_write_data_head(&before, length);
    if (!p->migration->completing) {
        qemu_vfio_write_end(&after);
        qemu_write_footer(&after, p->section_id);
    }
    struct iovec iov[3] = { { before.buf, before.length },
                            { (void *)buf, length },
                            { after.buf, after.length } };
    int rc = before.error ? before.error : after.error;
    if (rc == 0)
        rc = send_vector(p->migration, iov, 3, 1, err);
    writer_done(&before);
    writer_done(&after);
    return rc;
}

static int sections_initial_sent(struct participant *p, struct vmig_error *err)
{
    struct writer w;
    writer_init(&w);
    qemu_write_part(&w, p->section_id);
    qemu_vfio_write_initial_sent(&w);
    qemu_write_footer(&w, p->section_id);
    int rc = main_send(p->migration, &w, err);
    writer_done(&w);
    return rc;
}

static int sections_end(struct participant *p, struct vmig_error *err)
{
    struct writer w;
    writer_init(&w);
    open_section(p, &w);
    p->end_open = false;
    if (p->kind == PARTICIPANT_RAM)
        qemu_write_ram_item(&w, 0, QEMU_RAM_EOS, NULL);
    else
        qemu_vfio_write_end(&w);
    qemu_write_footer(&w, p->section_id);
    int rc = main_send(p->migration, &w, err);
    writer_done(&w);
    return rc;
}

/* Heads of page items, and where each page's bytes go between them. */
struct items {
    struct writer heads;
    const struct ram_block *block; /* of the item before */
    unsigned num_pages;
    size_t head_end[PAGES_MAX]; /* of page n's head in heads */
    void *page[PAGES_MAX];
};

static void add_pages(struct items *it, const struct ram_extent *e)
{
    for (uint64_t at = 0; at < e->length_bytes; at += RAM_PAGE_SIZE) {
        uint64_t offset = e->offset_bytes + at;
        bool same = it->block == e->block;
        uint32_t flags = (e->zero ? QEMU_RAM_ZERO : QEMU_RAM_PAGE) | (same ? QEMU_RAM_CONTINUE : 0);
        qemu_write_ram_item(&it->heads, offset, flags, same ? NULL : e->block->desc.name);
        it->block = e->block;
        if (e->zero) {
            writer_u8(&it->heads, 0);
            continue;
        }
        it->head_end[it->num_pages] = it->heads.length;
        it->page[it->num_pages++] = (char *)e->block->desc.vaddr + offset;
    }
}

static unsigned fill_vector(struct items *it, struct iovec *iov)
{
    unsigned n = 0;
    size_t head = 0;
    for (unsigned i = 0; i < it->num_pages; i++) {
        iov[n++] = (struct iovec) { it->heads.buf + head, it->head_end[i] - head };
        iov[n++] = (struct iovec) { it->page[i], RAM_PAGE_SIZE };
        head = it->head_end[i];
    }
    iov[n++] = (struct iovec) { it->heads.buf + head, it->heads.length - head };
    return n;
}

/* Nothing writes to the copies, so what is hashed is what is sent. */
static int copy_pages(struct participant *p, struct items *it)
{
    struct vmig_migration *m = p->migration;
    if (!m->page_copies)
        m->page_copies = malloc(WIRE_RAM_BYTES_MAX); /* the RAM worker's, until the run ends */
    if (!m->page_copies)
        return -ENOMEM;
    for (unsigned i = 0; i < it->num_pages; i++) {
        char *copy = (char *)m->page_copies + (size_t)i * RAM_PAGE_SIZE;
        memcpy(copy, it->page[i], RAM_PAGE_SIZE);
        digest_update(p->digest, copy, RAM_PAGE_SIZE);
        it->page[i] = copy;
    }
    return 0;
}

static int sections_ram(struct participant *p, const struct ram_extent *extents, unsigned count,
                        struct vmig_error *err)
{
    CLEANUP_FREE struct items *it = calloc(1, sizeof(*it));
    CLEANUP_FREE struct iovec *iov = calloc(2 * PAGES_MAX + 1, sizeof(*iov));
    if (!it || !iov)
        return error_set(err, ENOMEM, p->migration->stage, p->id, NULL, "out of memory");
    writer_init(&it->heads);
    open_section(p, &it->heads);
    for (unsigned i = 0; i < count; i++)
        add_pages(it, &extents[i]);
    if (!p->migration->completing) {
        qemu_write_ram_item(&it->heads, 0, QEMU_RAM_EOS, NULL);
        qemu_write_footer(&it->heads, p->section_id);
    }
    int rc = it->heads.error;
    if (rc == 0 && p->migration->ram_digest)
        rc = copy_pages(p, it);
    if (rc == 0)
        rc = send_vector(p->migration, iov, fill_vector(it, iov), 2, err);
    writer_done(&it->heads);
    return rc;
}

/* A file has no rounds; a peer on a lone socket acknowledges them. */
static int sections_round_end(struct vmig_migration *m, unsigned round, struct vmig_error *err)
{
    if (m->one_way)
        return 0;
    uint8_t be[4] = { (uint8_t)(round >> 24), (uint8_t)(round >> 16), (uint8_t)(round >> 8),
                      (uint8_t)round };
    return main_command(m, WIRE_CMD_ROUND, be, sizeof(be), err);
}

const struct carrier_ops carrier_sections = {
    .data = sections_data,
    .initial_sent = sections_initial_sent,
    .end = sections_end,
    .ram = sections_ram,
    .round_end = sections_round_end,
};
