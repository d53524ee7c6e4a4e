/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data channels at both ends: connecting and accepting them, and at the target the thread that
 * reads each: RAM lands in guest memory, device data goes to its participant's inbox.
 *
 * Barrier: a lane that has read BARRIER k waits until all lanes have, so that no page overtakes its
 * own newer copy on another lane.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/thread.h"
#include "lib/trace/trace.h"

/* ---- source ---- */

static int send_hello(struct lane *lane, struct vmig_error *err)
{
    uint8_t head[WIRE_PACKET_BYTES];
    struct vmig_migration *m = lane->migration;
    struct wire_packet packet = { .kind = WIRE_PACKET_HELLO,
                                  .length = sizeof(m->identity),
                                  .sequence = lane->index };
    wire_packet_encode(&packet, NULL, NULL, m->identity, head);
    struct iovec iov[2] = { { head, sizeof(head) }, { m->identity, sizeof(m->identity) } };
    int rc = channel_writev(lane->channel, iov, 2);
    if (rc < 0)
        return error_set(err, rc, VMIG_STAGE_PREPARE, NULL, "connection-lost",
                         "data channel %u: %s", lane->index, strerror(-rc));
    statistics_sent(m, sizeof(head) + sizeof(m->identity), true);
    return 0;
}

static struct lane *lane_open(struct vmig_migration *m, struct channel *take_channel)
{
    LOCK_SCOPE(&m->lock);
    struct lane *lane = &m->lanes[m->num_lanes];
    *lane = (struct lane) { .migration = m, .index = m->num_lanes, .channel = take_channel };
    turnstile_init(&lane->turns);
    m->num_lanes++;
    return lane;
}

int lanes_connect(struct vmig_migration *m, const struct address *address, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->lanes_wanted; i++) {
        struct channel *channel;
        int rc = channel_connect(address, m->end_fd, &channel, err);
        if (rc == 0)
            rc = send_hello(lane_open(m, channel), err);
        if (rc < 0)
            return rc;
        TRACE(multifd_new_send_channel_async, i);
    }
    return 0;
}

/* ---- target ---- */

static int broken(struct lane *lane, const char *what, struct vmig_error *err)
{
    return error_set(err, EPROTO, lane->migration->stage, NULL, "bad-stream",
                     "data channel %u: %s; the stream is damaged or from another version, send "
                     "again",
                     lane->index, what);
}

static int changed(struct lane *lane, const char *device, const char *what, struct vmig_error *err)
{
    return error_set(
        err, EBADMSG, lane->migration->stage, device, "corrupt-data",
        "data channel %u: %s was changed on its way; the source goes on, migrate again",
        lane->index, what);
}

static int read_exact(struct lane *lane, void *buf, size_t length, struct vmig_error *err)
{
    struct iovec iov = { buf, length };
    int rc = channel_readv_full(lane->channel, &iov, 1);
    if (rc < 0)
        return error_set(err, rc, lane->migration->stage, NULL, "connection-lost",
                         "data channel %u ended: %s", lane->index, strerror(-rc));
    statistics_received(lane->migration, length, true);
    return 0;
}

static int land_extent(struct lane *lane, const struct wire_extent *e, struct ram_block **ret,
                       struct vmig_error *err)
{
    struct ram *ram = lane->migration->ram;
    if (e->block >= ram->num_blocks)
        return broken(lane, "memory for a block that does not exist", err);
    struct ram_block *block = &ram->blocks[e->block];
    uint64_t length = (uint64_t)e->pages * RAM_PAGE_SIZE;
    if (!e->pages || e->offset_bytes % RAM_PAGE_SIZE || e->offset_bytes > block->desc.size_bytes ||
        length > block->desc.size_bytes - e->offset_bytes)
        return broken(lane, "memory beyond the end of its block", err);
    *ret = block;
    return 0;
}

static int on_zero(struct lane *lane, const struct wire_packet *packet, const uint8_t *list,
                   struct vmig_error *err)
{
    for (uint32_t i = 0; i < packet->count; i++) {
        struct wire_extent e;
        struct ram_block *block = NULL;
        wire_extent_decode(list + i * WIRE_EXTENT_BYTES, &e);
        int rc = land_extent(lane, &e, &block, err);
        if (rc < 0)
            return rc;
        LOCK_SCOPE(&lane->migration->ram_lock);
        rc = ram_load_zero(block, e.offset_bytes, (uint64_t)e.pages * RAM_PAGE_SIZE, err);
        if (rc < 0)
            return rc;
        if (block->suspect)
            bitmap_clear_range(block->suspect, e.offset_bytes / RAM_PAGE_SIZE, e.pages);
        atomic_fetch_add(&lane->migration->counters.zero_pages, e.pages);
    }
    return 0;
}

/* Compare what landed with what was sent; a device or another lane does not touch it now. How many
 * digests that took. */
static unsigned compare_extent(struct lane *lane, const struct wire_packet *packet,
                               const uint8_t *list, unsigned index, unsigned first_digest)
{
    struct vmig_migration *m = lane->migration;
    uint64_t sent[WIRE_DIGESTS_MAX], arrived[WIRE_DIGESTS_MAX];
    struct wire_extent e;
    wire_extent_decode(list + index * WIRE_EXTENT_BYTES, &e);
    struct ram_block *block = &m->ram->blocks[e.block];
    for (unsigned i = 0; i < ram_runs(e.pages); i++)
        sent[i] = wire_digest_decode(packet, list, first_digest + i);
    ram_digests(block, e.offset_bytes, e.pages, arrived);
    LOCK_SCOPE(&m->ram_lock);
    suspect_compare(block, e.offset_bytes, e.pages, sent, arrived);
    return ram_runs(e.pages);
}

static int on_ram(struct lane *lane, const struct wire_packet *packet, const uint8_t *list,
                  struct vmig_error *err)
{
    struct iovec iov[WIRE_EXTENTS_MAX];
    uint64_t total = 0, runs = 0;
    for (uint32_t i = 0; i < packet->count; i++) {
        struct wire_extent e;
        struct ram_block *block = NULL;
        wire_extent_decode(list + i * WIRE_EXTENT_BYTES, &e);
        int rc = land_extent(lane, &e, &block, err);
        if (rc < 0)
            return rc;
        iov[i] = (struct iovec) { (char *)block->desc.vaddr + e.offset_bytes,
                                  (size_t)e.pages * RAM_PAGE_SIZE };
        total += iov[i].iov_len;
        runs += ram_runs(e.pages);
        LOCK_SCOPE(&lane->migration->ram_lock);
        ram_arrives(block, e.offset_bytes / RAM_PAGE_SIZE, e.pages);
    }
    if (total != packet->length)
        return broken(lane, "a packet whose length is not the sum of its extents", err);
    if (packet->digests != (lane->migration->ram_digest ? runs : 0))
        return broken(lane, "a packet with a digest too many or too few", err);
    int rc = channel_readv_full(lane->channel, iov, packet->count);
    if (rc < 0)
        return error_set(err, rc, lane->migration->stage, "ram", "connection-lost",
                         "data channel %u ended inside memory: %s", lane->index, strerror(-rc));
    for (unsigned i = 0, digest = 0; packet->digests && i < packet->count; i++)
        digest += compare_extent(lane, packet, list, i, digest);
    statistics_received(lane->migration, total, true);
    atomic_fetch_add(&lane->migration->counters.normal_pages, total / RAM_PAGE_SIZE);
    return 0;
}

static int on_data(struct lane *lane, const struct wire_packet *packet, const uint8_t *list,
                   struct vmig_error *err)
{
    (void)list;
    struct participant *p = lane->migration->participants[packet->participant];
    void *buf = inbox_buffer(&p->inbox);
    if (!buf)
        return error_set(err, ENOMEM, lane->migration->stage, p->id, NULL, "out of memory");
    int rc = read_exact(lane, buf, packet->length, err);
    if (rc == 0 && !wire_body_intact(packet, buf, packet->length))
        rc = changed(lane, p->id, "a packet of its data", err); /* and the device does not see it */
    if (rc == 0)
        return load_data(p, buf, packet->length, err);
    free(buf);
    return rc;
}

static int on_fill(struct lane *lane, const struct wire_packet *packet, const uint8_t *list,
                   struct vmig_error *err)
{
    CLEANUP_FREE void *buf = malloc(packet->length);
    (void)list;
    if (!buf)
        return error_set(err, ENOMEM, lane->migration->stage, NULL, NULL, "out of memory");
    int rc = read_exact(lane, buf, packet->length, err);
    bool intact = rc == 0 && wire_body_intact(packet, buf, packet->length);
    return rc < 0 || intact ? rc : changed(lane, NULL, "a packet without meaning", err);
}

static int on_mark(struct lane *lane, const struct wire_packet *packet, const uint8_t *list,
                   struct vmig_error *err)
{
    (void)list;
    struct participant *p = lane->migration->participants[packet->participant];
    if (packet->kind == WIRE_PACKET_END)
        statistics_switched(p);
    if (p->kind == PARTICIPANT_RAM)
        return 0; /* its end is the last barrier */
    return load_mark(p, packet->kind == WIRE_PACKET_END ? INBOX_END : INBOX_INITIAL, err);
}

static int on_barrier(struct lane *lane, const struct wire_packet *packet, const uint8_t *list,
                      struct vmig_error *err)
{
    struct vmig_migration *m = lane->migration;
    (void)list;
    LOCK_SCOPE(&m->lock);
    if (packet->sequence != m->barrier_round + 1u)
        return broken(lane, "a barrier out of order", err);
    if (++m->lanes_at_barrier == m->num_lanes) {
        m->lanes_at_barrier = 0;
        m->barrier_round++;
        statistics_round(m);
        pthread_cond_broadcast(&m->changed);
    }
    while (m->barrier_round < packet->sequence && !m->aborted)
        run_wait_locked(m, UINT64_MAX);
    return m->aborted ? -ECANCELED : 0;
}

static const struct {
    int (*handle)(struct lane *lane, const struct wire_packet *packet, const uint8_t *list,
                  struct vmig_error *err);
    bool ram, device; /* whose packet it is */
} handlers[WIRE_PACKET_KINDS] = {
    [WIRE_PACKET_RAM] = { on_ram, true, false },
    [WIRE_PACKET_ZERO] = { on_zero, true, false },
    [WIRE_PACKET_DATA] = { on_data, false, true },
    [WIRE_PACKET_INITIAL] = { on_mark, false, true },
    [WIRE_PACKET_END] = { on_mark, true, true },
    [WIRE_PACKET_BARRIER] = { on_barrier, true, true },
    [WIRE_PACKET_FILL] = { on_fill, true, true },
};

static bool right_participant(struct vmig_migration *m, const struct wire_packet *packet)
{
    if (packet->participant >= m->num_participants)
        return false;
    bool ram = m->participants[packet->participant]->kind == PARTICIPANT_RAM;
    return ram ? handlers[packet->kind].ram : handlers[packet->kind].device;
}

/* 1: the channel ended between packets. */
static int read_packet(struct lane *lane, struct vmig_error *err)
{
    uint8_t head[WIRE_PACKET_BYTES], list[WIRE_LIST_BYTES_MAX];
    struct wire_packet packet;
    ssize_t n = channel_read(lane->channel, head, 1);
    if (n == 0)
        return 1;
    int rc = n < 0 ? error_set(err, (int)n, lane->migration->stage, NULL, "connection-lost",
                               "data channel %u: %s", lane->index, strerror((int)-n))
                   : read_exact(lane, head + 1, sizeof(head) - 1, err);
    if (rc < 0)
        return rc;
    statistics_received(lane->migration, 1, true);
    rc = wire_packet_decode(head, &packet);
    if (rc == -EBADMSG)
        return changed(lane, NULL, "a packet's header", err);
    if (rc < 0 || !handlers[packet.kind].handle)
        return broken(lane, "a packet header that makes no sense", err);
    unsigned length = wire_list_bytes(&packet);
    rc = read_exact(lane, list, length, err);
    if (rc < 0)
        return rc;
    if (length && !wire_body_intact(&packet, list, length))
        return changed(lane, NULL, "a packet's list", err);
    if (!right_participant(lane->migration, &packet))
        return broken(lane, "a packet for a participant that takes no such packets", err);
    return handlers[packet.kind].handle(lane, &packet, list, err);
}

/* How long the main channel has to explain why a data channel ended. */
#define EXPLANATION_S 2

/* A source that gives up closes its data channels after it has said so, and one whose target runs
 * after that. Otherwise the link broke here, and both sides would wait for each other. */
static int channel_ended(struct lane *lane, struct vmig_error *err)
{
    struct vmig_migration *m = lane->migration;
    uint64_t deadline = clock_ns() + EXPLANATION_S * NS_PER_S;
    LOCK_SCOPE(&m->lock);
    while (!m->aborted && m->handover == HANDOVER_NONE && clock_ns() < deadline)
        run_wait_locked(m, deadline);
    if (m->aborted || m->handover != HANDOVER_NONE)
        return 1;
    return error_set(err, ECONNRESET, m->stage, NULL, "connection-lost",
                     "data channel %u was cut; the source goes on, try again", lane->index);
}

static void *lane_main(void *opaque)
{
    struct lane *lane = opaque;
    struct vmig_error err = { 0 };
    int rc;
    do
        rc = read_packet(lane, &err);
    while (rc == 0);
    if (rc == 1)
        rc = channel_ended(lane, &err);
    if (rc < 0 && err.code)
        run_abort(lane->migration, &err);
    return NULL;
}

/* Who connects and says nothing holds nobody up for longer than this. */
#define HELLO_PATIENCE_S 10

static int accept_hello(struct vmig_migration *m, struct channel *channel, unsigned index,
                        struct vmig_error *err)
{
    uint8_t bytes[WIRE_PACKET_BYTES + sizeof(m->identity)];
    struct wire_packet packet;
    int rc = channel_read_unless(channel, bytes, sizeof(bytes), m->end_fd,
                                 clock_ns() + HELLO_PATIENCE_S * NS_PER_S);
    if (rc == -ECANCELED)
        return run_check(m, err);
    if (rc < 0)
        return error_set(err, rc, VMIG_STAGE_PREPARE, NULL, "not-a-data-channel",
                         "data channel %u: %s", index, strerror(-rc));
    if (wire_packet_decode(bytes, &packet) < 0 || packet.kind != WIRE_PACKET_HELLO ||
        !wire_body_intact(&packet, bytes + WIRE_PACKET_BYTES, sizeof(m->identity)) ||
        packet.sequence != index ||
        memcmp(bytes + WIRE_PACKET_BYTES, m->identity, sizeof(m->identity)) != 0)
        return error_set(err, EPROTO, VMIG_STAGE_PREPARE, NULL, "not-a-data-channel",
                         "data channel %u does not belong to this migration; is another source "
                         "using the same address?",
                         index);
    statistics_received(m, sizeof(bytes), true);
    return 0;
}

static int start_lane(struct lane *lane, struct vmig_error *err)
{
    int rc = thread_start(&lane->thread, lane_main, lane);
    if (rc != 0)
        return error_set(err, rc, VMIG_STAGE_PREPARE, NULL, NULL,
                         "no thread for a data channel: %s", strerror(-rc));
    lane->running = true;
    return 0;
}

/* A source connects all of them at once, and then waits for us. One that was turned away may have
 * been the source's all the same, broken before it said so: then no other will come. */
#define CONNECTION_PATIENCE_S 30
#define CONNECTION_PATIENCE_TURNED_AWAY_S 3

/* The source may go away before it has connected all of them. */
static int wait_connection(struct vmig_migration *m, int listen_fd, bool turned_away,
                           struct vmig_error *err)
{
    struct pollfd p[3] = { { .fd = listen_fd, .events = POLLIN },
                           { .fd = m->end_fd, .events = POLLIN },
                           { .fd = m->main->fd, .events = POLLRDHUP } };
    int patience_s = turned_away ? CONNECTION_PATIENCE_TURNED_AWAY_S : CONNECTION_PATIENCE_S;
    int ready;
    while ((ready = poll(p, 3, patience_s * 1000)) < 0)
        if (errno != EINTR)
            return error_set(err, errno, VMIG_STAGE_PREPARE, NULL, NULL,
                             "waiting for data channels: %s", strerror(errno));
    if (p[0].revents || p[1].revents)
        return 0;
    if (!ready)
        return error_set(err, ETIMEDOUT, VMIG_STAGE_PREPARE, NULL, "connection-lost",
                         "data channel %u of %u did not come within %d s; the source goes on, try "
                         "again",
                         m->num_lanes, m->lanes_wanted, patience_s);
    return error_set(err, ECONNRESET, VMIG_STAGE_PREPARE, NULL, "connection-lost",
                     "the source went away before all data channels were connected");
}

static int accept_lane(struct vmig_migration *m, int listen_fd, bool turned_away,
                       struct vmig_error *err)
{
    unsigned index = m->num_lanes;
    struct channel *channel;
    int rc = wait_connection(m, listen_fd, turned_away, err);
    if (rc == 0)
        rc = channel_accept(listen_fd, m->end_fd, &channel, err);
    if (rc < 0)
        return rc;
    rc = accept_hello(m, channel, index, err);
    if (rc == 0)
        lane_open(m, channel);
    else
        channel_free(channel);
    if (rc == 0)
        TRACE(multifd_recv_new_channel, index);
    return rc;
}

/* Connections of others, a second source or a port scanner, are turned away; so many at most. */
#define STRANGERS_MAX 8

int lanes_accept(struct vmig_migration *m, int listen_fd, struct vmig_error *err)
{
    unsigned strangers = 0;
    while (m->num_lanes < m->lanes_wanted) {
        struct vmig_error refused = { 0 };
        int rc = accept_lane(m, listen_fd, strangers > 0, &refused);
        bool stranger = rc < 0 && strcmp(refused.reason, "not-a-data-channel") == 0;
        if (rc < 0 && (!stranger || ++strangers > STRANGERS_MAX))
            return error_copy(err, &refused);
    }
    return 0;
}

int lanes_start(struct vmig_migration *m, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_lanes; i++) {
        int rc = start_lane(&m->lanes[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int lanes_wait_barrier(struct vmig_migration *m, unsigned round, struct vmig_error *err)
{
    for (;;) {
        int rc = run_check(m, err);
        if (rc < 0)
            return rc;
        LOCK_SCOPE(&m->lock);
        if (!m->num_lanes || m->barrier_round >= round)
            return 0;
        run_wait_locked(m, UINT64_MAX);
    }
}

/* ---- both ---- */

static void lanes_shutdown(struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_lanes; i++)
        channel_shutdown(m->lanes[i].channel);
}

void lanes_end(struct vmig_migration *m)
{
    lanes_shutdown(m);
    for (unsigned i = 0; i < m->num_lanes; i++) {
        struct lane *lane = &m->lanes[i];
        if (lane->running)
            pthread_join(lane->thread, NULL);
        lane->channel = channel_free(lane->channel);
        turnstile_done(&lane->turns);
    }
    LOCK_SCOPE(&m->lock);
    m->num_lanes = 0;
}
