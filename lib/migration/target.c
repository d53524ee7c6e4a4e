/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target: open, read section after section, check, hold, run. Each kind of section and each
 * command is a row with its handler; whatever fails before the source gave up ends in
 * target_fail(): the source is told, devices are reset.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/configuration.h"
#include "lib/migration/handover.h"
#include "lib/migration/message.h"
#include "lib/migration/migration.h"
#include "lib/migration/recovery.h"
#include "lib/migration/sections.h"
#include "lib/migration/target.h"
#include "lib/participant/device.h"
#include "lib/stream/vmdesc-write.h"
#include "lib/stream/vmdescription.h"
#include "lib/trace/trace.h"

/* ---- opening ---- */

/* A length that was changed on its way may promise what never comes. Only our own source is known to
 * send sections in one piece, and who writes a pipe does not wait for an answer. */
static bool may_stall(const struct target *t)
{
    return !t->inside || !t->greeted || t->m->one_way;
}

void target_wait(struct target *t)
{
    t->inside = false;
    reader_peek(&t->reader);
    t->inside = true;
}

static ssize_t read_main(struct vmig_migration *m, void *buf, size_t size)
{
    ssize_t n = channel_read(m->main, buf, size);
    if (n > 0)
        statistics_received(m, (size_t)n, false);
    return n;
}

/* Reads end with the run, whatever stands behind the channel. Once LOADED was said a cancel does not
 * end it: the source may have given up since (rule L2). */
static ssize_t fill(void *opaque, void *buf, size_t size)
{
    struct target *t = opaque;
    struct pollfd p[3] = { { .fd = t->m->main->fd, .events = POLLIN },
                           { .fd = t->m->end_fd, .events = POLLIN },
                           { .fd = t->m->watch.late_fd, .events = POLLIN } };
    uint64_t start_ns = clock_ns();
    for (;;) {
        int n = poll(p, 3, CREW_WATCH_MS);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && p[1].revents)
            return -ECANCELED;
        if (n > 0 && p[0].revents)
            return read_main(t->m, buf, size);
        cancel_name(t->m, false);
        crew_watch(t->m);
        t->stalled = !may_stall(t) && clock_ms_since(start_ns) >= t->m->stall_ms;
        if (t->stalled)
            return -ETIMEDOUT;
    }
}

static int set_main(struct vmig_migration *m, struct channel *channel)
{
    TRACE(migration_set_incoming_channel, channel->one_way);
    LOCK_SCOPE(&m->lock);
    m->main = channel;
    m->one_way = channel->one_way;
    m->carrier = &carrier_sections; /* until HELLO says otherwise */
    return 0;
}

#define SOURCE_PATIENCE_MS 5000

/* A stranger who found the port says nothing, or something else, while the real source waits behind:
 * he is turned away. One that hangs up may be a source whose link broke: that ends this attempt. */
static bool is_source(struct vmig_migration *m, const struct channel *channel)
{
    uint8_t head[4] = { 0 };
    uint64_t deadline = clock_ns() + SOURCE_PATIENCE_MS * NS_PER_MS;
    struct pollfd p[2] = { { .fd = channel->fd, .events = POLLIN | POLLRDHUP },
                           { .fd = m->end_fd, .events = POLLIN } };
    while (clock_ns() < deadline) {
        if (poll(p, 2, 100) <= 0)
            continue;
        if (p[1].revents || p[0].revents & ~POLLIN)
            return true;
        if (recv(channel->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT) == sizeof(head))
            return memcmp(head, "QEVM", sizeof(head)) == 0;
        poll(NULL, 0, 10); /* the rest is under way */
    }
    return false;
}

static int accept_source(struct target *t, struct channel **ret, struct vmig_error *err)
{
    for (;;) {
        int rc = channel_accept(t->listen_fd, t->m->end_fd, ret, err);
        if (rc < 0 || is_source(t->m, *ret))
            return rc;
        run_warning(t->m, "not-a-source",
                    "somebody connected who is no source, and was turned away; still listening");
        *ret = channel_free(*ret);
    }
}

static int listen_and_accept(struct target *t, const struct address *address,
                             struct vmig_error *err)
{
    CLEANUP_FREE char *name = NULL;
    struct channel *channel;
    bool public;
    int rc = channel_listen(address, t->m->end_fd, &t->listen_fd, &name, &public, err);
    if (rc < 0)
        return rc;
    if (public)
        run_warning(
            t->m, "listening-in-the-clear",
            "listening beyond this host without TLS: anybody who can connect can send a state");
    run_event(t->m, VMIG_EVENT_LISTENING, name);
    rc = accept_source(t, &channel, err);
    return rc < 0 ? rc : set_main(t->m, channel);
}

static int target_open(struct target *t, const struct address *address, struct vmig_error *err)
{
    struct channel *channel;
    int rc;
    if (address->kind == ADDRESS_TCP || address->kind == ADDRESS_UNIX) {
        rc = listen_and_accept(t, address, err);
    } else {
        rc = channel_open_read(address, t->m->end_fd, &channel, err);
        if (rc == 0)
            rc = set_main(t->m, channel);
    }
    if (rc == 0)
        rc = reader_init_fill(&t->reader, fill, t);
    t->reader.digest = t->m->heard;
    if (rc == 0)
        rc = qemu_stream_open(&t->stream, &t->reader, err);
    return rc < 0 ? rc : configuration_check(t->m, &t->stream, err);
}

/* ---- setup ---- */

static int get_ready(struct target *t, struct vmig_error *err)
{
    struct vmig_migration *m = t->m;
    run_stage(m, VMIG_STAGE_SETUP);
    m->set_up = true;
    int rc = crew_run(m, STEP_LOAD_SETUP, err);
    if (rc < 0)
        return rc;
    t->ready = true;
    crew_post(m, STEP_LOAD);
    rc = lanes_start(m, err);
    if (rc < 0)
        return rc;
    run_stage(m, VMIG_STAGE_ROUNDS);
    run_status(m, VMIG_STATUS_ACTIVE);
    if (m->one_way)
        return 0;
    return handover_say_ready(m, err);
}

/* ---- commands ---- */

static int on_open_return_path(struct target *t, const uint8_t *data, uint32_t length,
                               struct vmig_error *err)
{
    (void)data;
    (void)length;
    if (t->m->one_way)
        return error_set(err, EPROTO, t->m->stage, NULL, "bad-stream",
                         "the stream wants an answer, but %s cannot carry one; it was recorded "
                         "from a socket",
                         "this address");
    t->return_path = true;
    return 0;
}

static int on_hello(struct target *t, const uint8_t *data, uint32_t length, struct vmig_error *err)
{
    struct vmig_migration *m = t->m;
    if (t->greeted || t->ready || m->one_way)
        return error_set(err, EPROTO, m->stage, NULL, "bad-stream", "HELLO came out of order");
    int rc = hello_accept(m, (const char *)data, length, err);
    if (rc < 0)
        return rc;
    t->greeted = true;
    CLEANUP_FREE char *reply = hello_reply(m);
    rc = reply ? main_return(m, WIRE_RP_HELLO, reply, strlen(reply), err) : -ENOMEM;
    if (rc < 0 || m->carrier != &carrier_lanes)
        return rc;
    if (t->listen_fd < 0)
        return error_set(err, EPROTO, m->stage, NULL, "bad-stream",
                         "the source wants %u data channels, which cannot reach this address",
                         m->lanes_wanted);
    return lanes_accept(m, t->listen_fd, err);
}

static int drain(struct participant *p, struct vmig_error *err)
{
    int rc;
    while ((rc = inbox_drain(&p->inbox, clock_ns() + CREW_WATCH_MS * NS_PER_MS)) == -EAGAIN)
        crew_watch(p->migration);
    return rc < 0 ? run_check(p->migration, err) : 0;
}

/* All that is suspect, whether or not it was told before: the source sends it again. */
static int tell_suspects(struct vmig_migration *m, struct vmig_error *err)
{
    CLEANUP_FREE struct suspect_range *ranges = calloc(WIRE_SUSPECTS_MAX, sizeof(*ranges));
    uint8_t content[WIRE_SUSPECTS_MAX * WIRE_EXTENT_BYTES];
    unsigned count;
    if (!ranges)
        return error_set(err, ENOMEM, m->stage, "ram", NULL, "out of memory");
    {
        LOCK_SCOPE(&m->ram_lock);
        count = suspect_list(m->ram, ranges, WIRE_SUSPECTS_MAX);
    }
    for (unsigned i = 0; i < count; i++)
        wire_extent_encode(&(struct wire_extent) { .block = ranges[i].block,
                                                   .pages = (uint32_t)ranges[i].pages,
                                                   .offset_bytes = ranges[i].page * RAM_PAGE_SIZE },
                           content + i * WIRE_EXTENT_BYTES);
    return count ? main_return(m, WIRE_RP_SUSPECT, content, count * WIRE_EXTENT_BYTES, err) : 0;
}

/* After the first round what nothing came for is a hole at the source. A lane that brings some of it
 * all the same, written since, says so under the same lock before it lands. */
static int clear_stale(struct target *t, struct vmig_error *err)
{
    struct vmig_migration *m = t->m;
    struct ram_cursor cursor = { 0 };
    bool more = !t->cleared;
    int rc = 0;
    while (rc == 0 && more) {
        rc = run_check(m, err);
        LOCK_SCOPE(&m->ram_lock);
        more = ram_clear_stale(m->ram, &cursor);
    }
    t->cleared = rc == 0;
    return rc;
}

/* All of a round is in memory and in the devices before it is acknowledged: then the source's
 * measurement is of the whole way. */
static int on_round(struct target *t, const uint8_t *data, uint32_t length, struct vmig_error *err)
{
    struct vmig_migration *m = t->m;
    uint32_t round =
        (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
    int rc = lanes_wait_barrier(m, round, err);
    if (rc == 0)
        rc = clear_stale(t, err);
    for (unsigned i = 0; rc == 0 && i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (p->ops->load)
            rc = drain(p, err);
        /* not of the last round, which is after the stop; after a cancel it is still the worker's */
        if (rc == 0 && m->carrier == &carrier_lanes && !p->ended)
            p->precopy_bytes = p->data_bytes;
    }
    m->round = round;
    TRACE(migration_round_loaded, round);
    run_event(m, VMIG_EVENT_ROUND, NULL);
    if (rc == 0 && m->ram_digest && m->carrier == &carrier_lanes)
        rc = tell_suspects(m, err);
    return rc < 0 ? rc : main_return(m, WIRE_RP_ROUND_LOADED, data, length, err);
}

static int on_abort(struct target *t, const uint8_t *data, uint32_t length, struct vmig_error *err)
{
    return error_set(err, ECANCELED, t->m->stage, NULL, "source-goes-on",
                     "the source gave the migration up and goes on itself: %.*s",
                     (int)(length < 300 ? length : 300), (const char *)data);
}

#define ANY_LENGTH UINT32_MAX

/* Length is the content's, which is known before the content is here. */
static const struct command_row {
    uint16_t command;
    uint32_t length;
    bool greeted; /* only after HELLO */
    int (*handle)(struct target *t, const uint8_t *data, uint32_t length, struct vmig_error *err);
} commands[] = {
    { QEMU_CMD_OPEN_RETURN_PATH, 0, false, on_open_return_path },
    { WIRE_CMD_HELLO, ANY_LENGTH, false, on_hello },
    { WIRE_CMD_ROUND, 4, true, on_round },
    { WIRE_CMD_ABORT, ANY_LENGTH, false, on_abort },
};

static const struct command_row *find_command(const struct target *t, const struct qemu_section *s)
{
    uint32_t frame = message_is_ours(s->command) ? MESSAGE_FRAME_BYTES : 0;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command_row *row = &commands[i];
        if (row->command == s->command &&
            (row->length == ANY_LENGTH || row->length + frame == s->length) &&
            (t->greeted || !row->greeted))
            return row;
    }
    return NULL;
}

/* The content's length. Of QEMU's commands only those without any are known here. */
static int read_content(struct target *t, const struct qemu_section *s, uint8_t *ret,
                        struct vmig_error *err)
{
    if (!message_is_ours(s->command))
        return 0;
    int rc = message_read(&t->reader, s->command, (uint16_t)s->length, ret);
    if (rc == -EBADMSG)
        return error_set(err, EBADMSG, t->m->stage, NULL, "corrupt-data",
                         "command %#x at offset %" PRIu64 ": what the source said up to here was "
                         "changed on its way; the source goes on, migrate again",
                         s->command, s->offset);
    return rc < 0 ? target_damaged(t, s, err, "a command is cut short") : rc;
}

static int on_command(struct target *t, const struct qemu_section *s, struct vmig_error *err)
{
    const struct command_row *row = find_command(t, s);
    if (!row)
        return error_set(err, EPROTO, t->m->stage, NULL, "bad-stream",
                         "command %#x of %u bytes at offset %" PRIu64
                         " is not known here; is the source another version?",
                         s->command, s->length, s->offset);
    CLEANUP_FREE uint8_t *content = malloc(MESSAGE_CONTENT_MAX);
    if (!content)
        return error_set(err, ENOMEM, t->m->stage, NULL, NULL, "out of memory");
    int length = read_content(t, s, content, err);
    return length < 0 ? length : row->handle(t, content, (uint32_t)length, err);
}

/* ---- the tail ---- */

/* Each END precedes the stream's; a worker would wait for one that is missing for ever. */
static int check_ended(struct vmig_migration *m, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (!p->ops->load || inbox_ended(&p->inbox))
            continue;
        int rc = run_check(m, err);
        return rc < 0 ? rc
                      : error_set(err, EPROTO, m->stage, p->id, "layout-mismatch",
                                  "the stream ended without the end of its data; give the devices "
                                  "that were sent, no others");
    }
    return 0;
}

/* The stream was changed somewhere: if the list at its end tells whose data it was, he is named. */
static void find_damaged(struct target *t, struct vmig_error *err)
{
    struct vmig_error whose = { 0 };
    if (!t->ready || !t->manifest.count || check_ended(t->m, NULL) < 0 ||
        crew_wait(t->m, STEP_LOAD, NULL) < 0)
        return;
    sections_check_manifest(t->m, &t->manifest, t->only_id, &whose);
    if (strcmp(whose.reason, "corrupt-data") == 0)
        *err = whose;
}

static int on_manifest(struct target *t, const struct qemu_section *s, struct vmig_error *err)
{
    if (t->manifest_seen)
        return target_damaged(t, s, err, "a second manifest");
    t->manifest_seen = true;
    int rc = manifest_read(&t->reader, s->version_id, &t->manifest, err);
    if (rc == -EBADMSG && err)
        find_damaged(t, err);
    if (rc == 0 && t->m->one_way)
        run_set_identity(t->m, t->manifest.identity);
    return rc;
}

/* The description is for people and their tools and decides nothing. It is read because who writes a pipe
 * wants to get rid of it, and checked because a file that was changed, even there, is not the one that
 * was saved. A stream that is not ours may lack it. */
static int pass_description(struct target *t, struct vmig_error *err)
{
    struct qemu_section s = { .idstr = "description", .offset = t->reader.offset };
    if (!t->m->one_way)
        return 0;
    if (reader_peek(&t->reader) < 0)
        return t->manifest_seen ? target_damaged(t, &s, err, "it was not saved whole") : 0;
    if (reader_u8(&t->reader) != QEMU_VMDESCRIPTION)
        return target_damaged(t, &s, err, "something else follows the end");
    uint32_t length = reader_u32(&t->reader);
    if (length > VMDESC_MAX_BYTES)
        return target_damaged(t, &s, err, "its length is over all bounds");
    CLEANUP_FREE char *text = malloc(length + 1);
    if (!text)
        return error_set(err, ENOMEM, t->m->stage, NULL, NULL, "out of memory");
    reader_bytes(&t->reader, text, length);
    if (reader_failed(&t->reader))
        return target_damaged(t, &s, err, "it was not saved whole");
    if (t->manifest_seen && !vmdesc_is_intact(text, length))
        return error_set(err, EBADMSG, t->m->stage, NULL, "corrupt-data",
                         "the description at offset %" PRIu64
                         " has another digest than it was saved "
                         "with: the file was changed; nothing was started, save again",
                         s.offset);
    return 0;
}

/* ---- the loop ---- */

static struct participant *participant_of(struct target *t, const struct qemu_section *s)
{
    struct vmig_migration *m = t->m;
    struct participant *device = NULL;
    unsigned devices = 0;
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (strcmp(p->idstr, s->idstr) == 0)
            return p;
        if (p->kind == PARTICIPANT_DEVICE) {
            device = p;
            devices++;
        }
    }
    /* one device in a file and one here: their names need not agree */
    const char *slash = strrchr(s->idstr, '/');
    bool vfio = slash && strcmp(slash, "/vfio") == 0;
    if (!m->one_way || !vfio || devices != 1)
        return NULL;
    size_t length = (size_t)(slash - s->idstr);
    if (!t->only_id[0])
        snprintf(t->only_id, sizeof(t->only_id), "%.*s", (int)length, s->idstr);
    return strlen(t->only_id) == length && strncmp(t->only_id, s->idstr, length) == 0 ? device
                                                                                      : NULL;
}

static int on_participant(struct target *t, const struct qemu_section *s, struct vmig_error *err)
{
    struct participant *p = participant_of(t, s);
    if (!p)
        return error_set(err, ENOENT, t->m->stage, NULL, "layout-mismatch",
                         "the stream has a section \"%.100s\" at offset %" PRIu64
                         " and nothing here takes it; give the devices and memory that were sent",
                         s->idstr, s->offset);
    if (!t->ready) {
        int rc = get_ready(t, err);
        if (rc < 0)
            return rc;
    }
    if (s->type == QEMU_SECTION_END)
        statistics_switched_at(p, s->offset);
    return p->kind == PARTICIPANT_RAM ? target_load_ram(t, s, p, err)
                                      : target_load_device(t, s, p, err);
}

/* QEMU's rules: whoever opens no return path wants no answer, on whatever channel. */
static void note_one_way(struct target *t)
{
    if (t->return_path || t->greeted)
        return;
    LOCK_SCOPE(&t->m->lock);
    t->m->one_way = true;
}

static int on_run_state(struct target *t, const struct qemu_section *s, struct vmig_error *err)
{
    if (t->run_state_seen)
        return target_damaged(t, s, err, "a second run state");
    t->run_state_seen = true;
    return run_state_read(t->m, s->version_id, &t->reader, err);
}

static int on_section(struct target *t, const struct qemu_section *s, struct vmig_error *err)
{
    if (s->type == QEMU_SECTION_START || s->type == QEMU_SECTION_FULL)
        TRACE(qemu_loadvm_state_section_startfull, s->section_id, s->idstr, s->instance_id,
              s->version_id);
    else if (s->type == QEMU_SECTION_END)
        TRACE(qemu_loadvm_state_section_partend, s->section_id);
    note_one_way(t);
    bool full = s->type == QEMU_SECTION_FULL;
    struct vmstate_section *vmstate =
        full ? vmstates_find(&t->m->vmstates, s->idstr, s->instance_id) : NULL;
    int rc;
    if (strcmp(s->idstr, MANIFEST_IDSTR) == 0)
        rc = on_manifest(t, s, err);
    else if (full && strcmp(s->idstr, RUN_STATE_IDSTR) == 0)
        rc = on_run_state(t, s, err);
    else
        rc = vmstate ? vmstates_read(vmstate, s, &t->manifest, &t->reader, err)
                     : on_participant(t, s, err);
    return rc < 0 ? rc : qemu_read_footer(&t->stream, s, err);
}

static int read_sections(struct target *t, struct vmig_error *err)
{
    for (;;) {
        struct qemu_section s;
        target_wait(t);
        int rc = run_check(t->m, err);
        if (rc == 0)
            rc = qemu_read_section(&t->stream, &s, err);
        if (rc < 0)
            return rc;
        if (s.type == QEMU_EOF)
            return pass_description(t, err);
        rc = s.type == QEMU_COMMAND ? on_command(t, &s, err) : on_section(t, &s, err);
        if (rc < 0)
            return rc;
    }
}

static int read_stream(struct target *t, struct vmig_error *err)
{
    struct vmig_error why = { 0 };
    int rc = read_sections(t, &why);
    if (rc < 0 && t->stalled)
        return error_set(err, ETIMEDOUT, t->m->stage, NULL, "stalled",
                         "the source fell silent for %u ms in the middle of a section, at byte "
                         "%" PRIu64 ": a length was changed on its way, or the link is dead; the "
                         "source goes on, migrate again",
                         t->m->stall_ms, t->reader.offset);
    return rc < 0 ? error_copy(err, &why) : 0;
}

/* The source sent again what it was told of, or went on without doing so. */
static int check_suspects(struct vmig_migration *m, struct vmig_error *err)
{
    LOCK_SCOPE(&m->ram_lock);
    uint64_t pages = m->ram_digest ? suspect_pages(m->ram) : 0;
    if (!pages)
        return 0;
    return error_set(err, EBADMSG, m->stage, "ram", "ram-suspect",
                     "%" PRIu64
                     " pages of memory did not arrive as they were sent and did not come "
                     "again; the source goes on, look at the link and migrate again",
                     pages);
}

/* All data is in the devices, and it is what was sent. */
static int check_all(struct target *t, struct vmig_error *err)
{
    struct vmig_migration *m = t->m;
    run_stage(m, VMIG_STAGE_COMPLETE);
    if (!t->ready)
        return error_set(err, EPROTO, m->stage, NULL, "bad-stream",
                         "the stream ended at offset %" PRIu64 " without any state",
                         t->reader.offset);
    int rc = check_ended(m, err);
    if (rc == 0) /* of a stream without rounds */
        rc = clear_stale(t, err);
    if (rc == 0)
        rc = crew_wait(m, STEP_LOAD, err);
    if (rc == 0)
        rc = check_suspects(m, err);
    if (rc == 0 && t->manifest_seen)
        rc = sections_check_manifest(m, &t->manifest, t->only_id, err);
    else if (rc == 0 && t->greeted)
        rc = error_set(err, EPROTO, m->stage, NULL, "bad-stream",
                       "the source sent no manifest, so nothing proves that all is here");
    uint64_t start_ns = clock_ns();
    if (rc == 0)
        rc = vmstates_load(&m->vmstates, err);
    m->model.vmstates_load_ms = clock_ms_since(start_ns);
    if (rc == 0)
        rc = crew_run(m, STEP_LOAD_COMPLETE, err);
    return rc < 0 ? rc : run_check(m, err); /* the last moment at which a cancel ends it */
}

static void target_close(struct target *t)
{
    qemu_stream_close(&t->stream);
    reader_done(&t->reader);
    if (t->manifest_seen)
        manifest_done(&t->manifest);
    if (t->listen_fd >= 0)
        close(t->listen_fd);
    t->listen_fd = -1;
}

/* ---- failure ---- */

static void say_failed(struct vmig_migration *m, const struct vmig_error *err)
{
    CLEANUP_FREE char *text = hello_failure(err);
    if (text)
        main_last_words(m, false, WIRE_RP_FAILED, text);
}

static void target_fail(struct vmig_migration *m, struct vmig_error *err)
{
    bool cancelled = err->code == -ECANCELED;
    enum recovery_point point = recovery_point(m);
    struct vmig_error recovery = { 0 };
    run_abort(m, err);
    statistics_error(m, err);
    if (cancelled)
        run_status(m, VMIG_STATUS_CANCELLING);
    say_failed(m, err);
    lanes_end(m);
    if (m->set_up)
        crew_wait(m, STEP_LOAD, NULL);
    if (recovery_target(m, point, &recovery) < 0) {
        /* worse than what failed first: the device named here needs somebody's attention */
        error_prefix(&recovery, "%.240s; then", err->text);
        *err = recovery;
        cancelled = false;
    }
    if (m->set_up)
        crew_run(m, STEP_CLEANUP, NULL);
    run_state_withdrawn(m);
    {
        LOCK_SCOPE(&m->lock);
        m->handover = HANDOVER_DISCARDED; /* what an unresolved source that asks is told */
    }
    if (cancelled && strcmp(err->reason, "cancelled") == 0)
        snprintf(err->text, sizeof(err->text), "cancelled; %s",
                 m->set_up ? "what was loaded here is dropped and the source goes on"
                           : "nothing had been touched here");
    statistics_error(m, err);
    run_status(m, cancelled ? VMIG_STATUS_CANCELLED : VMIG_STATUS_FAILED);
}

static int receive(struct vmig_migration *m, const struct address *address, struct vmig_error *err)
{
    struct target t = { .m = m, .listen_fd = -1 };
    run_stage(m, VMIG_STAGE_PREPARE);
    int rc = target_open(&t, address, err);
    if (rc == 0)
        rc = read_stream(&t, err);
    if (rc == 0)
        rc = check_all(&t, err);
    if (rc == 0) {
        run_stage(m, VMIG_STAGE_HANDOVER);
        rc = handover_target(m, &t.stream, err);
    }
    target_close(&t);
    return rc;
}

VMIG_EXPORT int vmig_migration_receive(struct vmig_migration *m, const char *address,
                                       struct vmig_error *err)
{
    struct address where;
    struct vmig_error first = { 0 };
    int rc = address_parse(address, &where, err);
    if (rc < 0)
        return rc;
    rc = run_enter(m, SIDE_TARGET, false, err);
    if (rc < 0)
        return rc;
    rc = run_begin(m, &first);
    if (rc == 0)
        rc = receive(m, &where, &first);
    if (rc == -EUCLEAN && m->handover == HANDOVER_LOADED) {
        error_copy(err, &first);
        statistics_error(m, &first);
        return run_hold(m);
    }
    if (rc < 0) {
        int cause = run_check(m, NULL); /* what another thread saw first is the cause */
        if (cause < 0)
            first = m->first_error;
        error_set(&first, rc, m->stage, NULL, NULL, "%s", strerror(-rc));
        error_locate(&first, m->stage, NULL); /* the stream's reader does not know the stage */
    }
    if (rc < 0 && m->handover == HANDOVER_NONE)
        target_fail(m, &first);
    else
        crew_run(m, STEP_CLEANUP, NULL);
    error_copy(err, &first);
    run_stage(m, VMIG_STAGE_NONE);
    if (m->handover == HANDOVER_RUNNING)
        run_status(m, rc < 0 ? VMIG_STATUS_FAILED : VMIG_STATUS_COMPLETED);
    run_end(m);
    return rc < 0 ? first.code : 0;
}
