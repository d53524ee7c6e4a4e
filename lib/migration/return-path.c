/* SPDX-License-Identifier: BSD-3-Clause */
/* The source's ear: a thread that reads the target's messages and notes what they say. One row a
 * message: the length of its content, and what it means. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/migration/message.h"
#include "lib/migration/migration.h"
#include "lib/thread.h"
#include "lib/trace/trace.h"

struct message {
    uint16_t type;
    uint16_t length; /* of the content */
    uint8_t *data;   /* MESSAGE_CONTENT_MAX */
};

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) << 32 | get_u32(at + 4);
}

static int on_hello(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    int rc = hello_accept_reply(m, (const char *)msg->data, msg->length, err);
    LOCK_SCOPE(&m->lock);
    m->peer_hello = rc == 0;
    return rc;
}

static int on_round_loaded(struct vmig_migration *m, const struct message *msg,
                           struct vmig_error *err)
{
    (void)err;
    LOCK_SCOPE(&m->lock);
    m->round_loaded = get_u32(msg->data);
    m->model.data_end_ns = clock_ns(); /* that of the last round counts */
    return 0;
}

static int on_credit(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    uint32_t index = get_u32(msg->data);
    uint64_t bytes = get_u64(msg->data + 4);
    LOCK_SCOPE(&m->lock);
    struct participant *p = index < m->num_participants ? m->participants[index] : NULL;
    if (!p || bytes > m->window_bytes || p->credit_bytes > m->window_bytes - bytes)
        return error_set(err, EPROTO, m->stage, p ? p->id : NULL, "bad-stream",
                         "the target gave more credit than its window of %llu bytes",
                         (unsigned long long)m->window_bytes);
    p->credit_bytes += bytes;
    return 0;
}

static int bad_suspects(struct vmig_migration *m, struct vmig_error *err)
{
    return error_set(err, EPROTO, m->stage, "ram", "bad-stream",
                     "the target calls memory suspect that does not exist, or was not asked");
}

/* What is suspect joins the dirty pages when the RAM worker looks next. */
static int on_suspect(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    if (msg->length % WIRE_EXTENT_BYTES || !m->ram_digest)
        return bad_suspects(m, err);
    LOCK_SCOPE(&m->ram_lock);
    for (unsigned at = 0; at < msg->length; at += WIRE_EXTENT_BYTES) {
        struct wire_extent e;
        wire_extent_decode(msg->data + at, &e);
        struct ram_block *b = e.block < m->ram->num_blocks ? &m->ram->blocks[e.block] : NULL;
        uint64_t page = e.offset_bytes / RAM_PAGE_SIZE;
        if (!b || !b->suspect || page > b->pages || e.pages > b->pages - page)
            return bad_suspects(m, err);
        bitmap_set_range(b->suspect, page, e.pages);
        m->suspects_told = true;
    }
    return 0;
}

static int on_switchover_ack(struct vmig_migration *m, const struct message *msg,
                             struct vmig_error *err)
{
    (void)msg;
    int rc = announce_on_ack(m, err);
    if (rc == 0)
        TRACE(source_return_path_thread_switchover_acked, "", 1);
    return rc;
}

static int on_initial_loaded(struct vmig_migration *m, const struct message *msg,
                             struct vmig_error *err)
{
    uint32_t index = get_u32(msg->data), number = get_u32(msg->data + 4);
    int rc = announce_on_number(m, index, number, err);
    if (rc == 0)
        TRACE(source_return_path_thread_switchover_acked, m->participants[index]->id, number);
    return rc;
}

/* What is not there, or is no time, took none. */
static double sane_ms(json_t *number)
{
    double ms = json_number_value(number);
    return ms > 0 && ms < 1e9 ? ms : 0;
}

/* What the target measured on device @id; advisory, so what does not fit is passed over. */
static double told_ms(json_t *root, const char *id, const char *key)
{
    json_t *devices = json_object_get(root, "devices"), *d;
    size_t i;
    json_array_foreach(devices, i, d)
    {
        const char *whose = json_string_value(json_object_get(d, "id"));
        if (whose && strcmp(whose, id) == 0)
            return sane_ms(json_object_get(d, key));
    }
    return 0;
}

static void note_step(struct vmig_migration *m, json_t *root, const char *key, enum step step)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->step_ms[step] = told_ms(root, m->participants[i]->id, key);
}

static json_t *parse(const struct message *msg)
{
    return json_loadb((const char *)msg->data, msg->length, 0, NULL);
}

static int on_ready(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    (void)err;
    TRACE(source_return_path_thread_handover, "READY");
    json_t *root = parse(msg);
    LOCK_SCOPE(&m->lock);
    for (unsigned i = 0; !m->peer_ready && i < m->num_participants; i++)
        m->participants[i]->learned.target_arc_ms = told_ms(root, m->participants[i]->id, "arc_ms");
    m->peer_ready = true;
    json_decref(root);
    return 0;
}

static int on_loaded(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    (void)err;
    TRACE(source_return_path_thread_handover, "LOADED");
    json_t *root = parse(msg);
    note_step(m, root, "load_ms", STEP_LOAD_COMPLETE);
    double vmstates_ms = sane_ms(json_object_get(root, "vmstates_ms"));
    json_decref(root);
    LOCK_SCOPE(&m->lock);
    m->model.vmstates_load_ms = vmstates_ms;
    m->peer_loaded = true;
    return 0;
}

/* Only a source that gave up can believe it. */
static int on_running(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    TRACE(source_return_path_thread_handover, "RUNNING");
    json_t *root = parse(msg);
    note_step(m, root, "start_p2p_ms", STEP_START_P2P);
    note_step(m, root, "start_ms", STEP_START);
    double workload_ms = sane_ms(json_object_get(root, "workload_ms"));
    json_decref(root);
    LOCK_SCOPE(&m->lock);
    if (m->handover != HANDOVER_GAVE_UP)
        return error_set(err, EPROTO, m->stage, NULL, "bad-stream",
                         "the target says that it runs, but it was not told to");
    m->model.workload_start_ms = workload_ms;
    m->peer_running = true;
    return 0;
}

static int on_failed(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    struct vmig_error theirs = { 0 };
    TRACE(source_return_path_thread_handover, "FAILED");
    hello_read_failure((const char *)msg->data, msg->length, &theirs);
    error_prefix(&theirs, "the target failed");
    LOCK_SCOPE(&m->lock);
    m->peer_failed = true;
    m->peer_error = theirs;
    return error_copy(err, &theirs);
}

static int on_shut(struct vmig_migration *m, const struct message *msg, struct vmig_error *err)
{
    (void)m;
    (void)msg;
    (void)err;
    return 0;
}

#define ANY_LENGTH UINT16_MAX

static const struct {
    uint16_t type, length;
    int (*handle)(struct vmig_migration *m, const struct message *msg, struct vmig_error *err);
} messages[] = {
    { QEMU_RP_SHUT, 4, on_shut },
    { QEMU_RP_PONG, 4, on_shut },
    { QEMU_RP_SWITCHOVER_ACK, 0, on_switchover_ack },
    { WIRE_RP_HELLO, ANY_LENGTH, on_hello },
    { WIRE_RP_READY, ANY_LENGTH, on_ready },
    { WIRE_RP_ROUND_LOADED, 4, on_round_loaded },
    { WIRE_RP_CREDIT, 12, on_credit },
    { WIRE_RP_LOADED, ANY_LENGTH, on_loaded },
    { WIRE_RP_RUNNING, ANY_LENGTH, on_running },
    { WIRE_RP_FAILED, ANY_LENGTH, on_failed },
    { WIRE_RP_INITIAL_LOADED, 8, on_initial_loaded },
    { WIRE_RP_SUSPECT, ANY_LENGTH, on_suspect },
};

/* The row of a message, from its head alone: what is not known is not waited for either. */
static int find_row(struct vmig_migration *m, uint16_t type, uint16_t length,
                    struct vmig_error *err)
{
    unsigned frame = message_is_ours(type) ? MESSAGE_FRAME_BYTES : 0;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        if (messages[i].type == type &&
            (messages[i].length == ANY_LENGTH || messages[i].length + frame == length))
            return (int)i;
    return error_set(
        err, EPROTO, m->stage, NULL, "bad-stream",
        "the other side sent message %#x of %u bytes, which is not known here; is it a "
        "vfio-migrate of another version, or something else altogether?",
        type, length);
}

static ssize_t fill(void *opaque, void *buf, size_t size)
{
    struct vmig_migration *m = opaque;
    return channel_read(m->main, buf, size);
}

static int went_away(struct vmig_migration *m, int rc, struct vmig_error *err)
{
    if (rc == -ENODATA)
        rc = -ECONNRESET;
    return error_set(err, rc, m->stage, NULL, "connection-lost",
                     "the target went away: %s; the source goes on, look at the target's messages "
                     "and try again",
                     strerror(-rc));
}

/* The content of a message whose head was read. */
static int hear_content(struct vmig_migration *m, struct reader *r, uint16_t length,
                        struct message *ret, struct vmig_error *err)
{
    int rc = length;
    if (message_is_ours(ret->type))
        rc = message_read(r, ret->type, length, ret->data);
    else
        reader_bytes(r, ret->data, length);
    if (rc == -EBADMSG)
        return error_set(err, EBADMSG, m->stage, NULL, "corrupt-data",
                         "message %#x of %u bytes: what the target said up to here was changed on "
                         "its way; the source goes on, migrate again",
                         ret->type, length);
    if (reader_failed(r))
        return went_away(m, r->error, err);
    ret->length = (uint16_t)rc;
    return 0;
}

/* Read one message and act on it. */
static int hear_message(struct vmig_migration *m, struct reader *r, struct message *msg,
                        struct vmig_error *err)
{
    msg->type = reader_u16(r);
    uint16_t length = reader_u16(r);
    if (reader_failed(r))
        return went_away(m, r->error, err);
    int row = find_row(m, msg->type, length, err);
    if (row < 0)
        return row;
    int rc = hear_content(m, r, length, msg, err);
    return rc < 0 ? rc : messages[row].handle(m, msg, err);
}

static void *return_path_main(void *opaque)
{
    struct vmig_migration *m = opaque;
    struct vmig_error err = { 0 };
    struct reader reader;
    struct message msg = { .data = malloc(MESSAGE_CONTENT_MAX) };
    int rc = reader_init_fill(&reader, fill, m);
    reader.digest = m->heard;
    if (!msg.data || rc < 0)
        rc = error_set(&err, ENOMEM, m->stage, NULL, NULL, "out of memory");
    while (rc == 0) {
        rc = hear_message(m, &reader, &msg, &err);
        LOCK_SCOPE(&m->lock);
        m->link_dead = rc < 0;
        pthread_cond_broadcast(&m->changed);
    }
    free(msg.data);
    reader_done(&reader);
    TRACE(source_return_path_thread_end, rc);
    run_abort(m, &err);
    return NULL;
}

int return_path_start(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = thread_start(&m->return_path, return_path_main, m);
    if (rc != 0)
        return error_set(err, rc, VMIG_STAGE_PREPARE, NULL, NULL, "no thread: %s", strerror(-rc));
    LOCK_SCOPE(&m->lock);
    m->return_path_running = true;
    return 0;
}

void return_path_end(struct vmig_migration *m)
{
    if (!m->return_path_running)
        return;
    channel_shutdown(m->main);
    pthread_join(m->return_path, NULL);
    LOCK_SCOPE(&m->lock);
    m->return_path_running = false;
}
