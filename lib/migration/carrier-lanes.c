/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Participant data in packets on data channels. RAM goes from guest memory into the socket and is
 * read from the socket into guest memory; device data waits for its participant's credit, so that a
 * slow device at the target holds up its own sender and nobody else.
 */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/migration/migration.h"

/* A target that fails shuts its data channels first and says why on the main channel. */
static void wait_for_reason(struct vmig_migration *m)
{
    uint64_t deadline = clock_ns() + NS_PER_S;
    LOCK_SCOPE(&m->lock);
    while (!m->aborted && clock_ns() < deadline)
        run_wait_locked(m, deadline);
}

static int send_packet(struct lane *lane, struct iovec *iov, unsigned count, struct vmig_error *err)
{
    struct vmig_migration *m = lane->migration;
    size_t length = 0;
    for (unsigned i = 0; i < count; i++)
        length += iov[i].iov_len;
    int rc;
    {
        TURN_SCOPE(&lane->turns);
        rc = channel_writev(lane->channel, iov, count);
    }
    if (rc < 0) {
        wait_for_reason(m);
        int cause = run_check(m, err); /* shut down on purpose? */
        return cause < 0
                   ? cause
                   : error_set(err, rc, m->stage, NULL, "connection-lost",
                               "data channel %u failed after %llu bytes in total: %s", lane->index,
                               (unsigned long long)atomic_load(&m->sent_bytes), strerror(-rc));
    }
    statistics_sent(m, length, true);
    return 0;
}

static struct lane *lane_of(struct participant *p)
{
    return &p->migration->lanes[p->index % p->migration->num_lanes];
}

static int send_head(struct participant *p, enum wire_packet_kind kind, const void *buf,
                     size_t length, struct vmig_error *err)
{
    uint8_t head[WIRE_PACKET_BYTES];
    struct wire_packet packet = {
        .kind = kind, .participant = p->index, .length = length, .sequence = p->sequence++
    };
    wire_packet_encode(&packet, NULL, NULL, buf, head);
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)buf, length } };
    return send_packet(lane_of(p), iov, 2, err);
}

static int take_credit(struct participant *p, size_t length, struct vmig_error *err)
{
    struct vmig_migration *m = p->migration;
    for (;;) {
        {
            LOCK_SCOPE(&m->lock);
            if (p->credit_bytes < length)
                run_wait_locked(m, UINT64_MAX);
            if (p->credit_bytes >= length) {
                p->credit_bytes -= length;
                return 0;
            }
        }
        int rc = run_check(m, err);
        if (rc < 0)
            return rc;
    }
}

static int lanes_data(struct participant *p, const void *buf, size_t length, struct vmig_error *err)
{
    int rc = take_credit(p, length, err);
    return rc < 0 ? rc : send_head(p, WIRE_PACKET_DATA, buf, length, err);
}

static int lanes_initial_sent(struct participant *p, struct vmig_error *err)
{
    return send_head(p, WIRE_PACKET_INITIAL, NULL, 0, err);
}

static int lanes_end_of_data(struct participant *p, struct vmig_error *err)
{
    return send_head(p, WIRE_PACKET_END, NULL, 0, err);
}

static int lanes_ram(struct participant *p, const struct ram_extent *extents, unsigned count,
                     struct vmig_error *err)
{
    uint8_t head[WIRE_PACKET_BYTES + WIRE_LIST_BYTES_MAX];
    uint64_t digests[WIRE_DIGESTS_MAX];
    unsigned num_digests = 0;
    struct wire_extent wire[WIRE_EXTENTS_MAX];
    struct iovec iov[WIRE_EXTENTS_MAX + 1];
    const struct ram *ram = p->migration->ram;
    uint64_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct ram_extent *e = &extents[i];
        wire[i] = (struct wire_extent) { .block = (uint32_t)(e->block - ram->blocks),
                                         .pages = (uint32_t)(e->length_bytes / RAM_PAGE_SIZE),
                                         .offset_bytes = e->offset_bytes };
        iov[i + 1] = (struct iovec) { (char *)e->block->desc.vaddr + e->offset_bytes,
                                      e->zero ? 0 : e->length_bytes };
        length += iov[i + 1].iov_len;
        if (e->zero || !p->migration->ram_digest)
            continue;
        ram_digests(e->block, e->offset_bytes, wire[i].pages, digests + num_digests);
        num_digests += ram_runs(wire[i].pages);
    }
    struct wire_packet packet = {
        .kind = extents[0].zero ? WIRE_PACKET_ZERO : WIRE_PACKET_RAM,
        .participant = p->index,
        .count = count,
        .digests = num_digests,
        .length = length,
        .sequence = p->sequence++,
    };
    iov[0] = (struct iovec) { head, wire_packet_encode(&packet, wire, digests, NULL, head) };
    struct lane *lane = &p->migration->lanes[packet.sequence % p->migration->num_lanes];
    return send_packet(lane, iov, count + 1, err);
}

/* 8 MiB: past what socket buffers swallow at once. */
#define FILL_CHUNKS 8

static int lanes_measure(struct vmig_migration *m, struct vmig_error *err)
{
    CLEANUP_FREE void *fill = calloc(1, WIRE_CHUNK_BYTES);
    uint8_t head[WIRE_PACKET_BYTES];
    struct wire_packet packet = { .kind = WIRE_PACKET_FILL, .length = WIRE_CHUNK_BYTES };
    if (!fill)
        return error_set(err, ENOMEM, m->stage, NULL, NULL, "out of memory");
    wire_packet_encode(&packet, NULL, NULL, fill, head);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < FILL_CHUNKS; i++) {
        struct iovec iov[2] = { { head, sizeof(head) }, { fill, WIRE_CHUNK_BYTES } };
        rc = send_packet(&m->lanes[i % m->num_lanes], iov, 2, err);
    }
    throttle_book(m, FILL_CHUNKS * WIRE_CHUNK_BYTES);
    return rc;
}

static int lanes_round_end(struct vmig_migration *m, unsigned round, struct vmig_error *err)
{
    uint8_t head[WIRE_PACKET_BYTES];
    struct wire_packet packet = { .kind = WIRE_PACKET_BARRIER, .sequence = round };
    wire_packet_encode(&packet, NULL, NULL, NULL, head);
    for (unsigned i = 0; i < m->num_lanes; i++) {
        struct iovec iov = { head, sizeof(head) };
        int rc = send_packet(&m->lanes[i], &iov, 1, err);
        if (rc < 0)
            return rc;
    }
    return carrier_sections.round_end(m, round, err);
}

const struct carrier_ops carrier_lanes = {
    .data = lanes_data,
    .initial_sent = lanes_initial_sent,
    .end = lanes_end_of_data,
    .ram = lanes_ram,
    .round_end = lanes_round_end,
    .measure = lanes_measure,
};
