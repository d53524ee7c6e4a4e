/* SPDX-License-Identifier: BSD-3-Clause */
/* Writing to the main channel: whole sections, commands and return-path messages. */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/migration/message.h"
#include "lib/migration/migration.h"

/* A target that hangs up has said why; what it said may still be under way to us. */
#define REASON_PATIENCE_NS NS_PER_S

static void await_reason(struct vmig_migration *m)
{
    uint64_t deadline = clock_ns() + REASON_PATIENCE_NS;
    LOCK_SCOPE(&m->lock);
    while (m->return_path_running && m->handover == HANDOVER_NONE && !m->aborted &&
           clock_ns() < deadline)
        run_wait_locked(m, deadline);
}

static int lost(struct vmig_migration *m, int rc, struct vmig_error *err)
{
    if (rc == -EPIPE || rc == -ECONNRESET)
        await_reason(m);
    int cause = run_check(m, err); /* shut down on purpose? */
    if (cause < 0)
        return cause;
    return error_set(err, rc, m->stage, NULL, "connection-lost",
                     "writing to the other side after %llu bytes: %s",
                     (unsigned long long)atomic_load(&m->sent_bytes), strerror(-rc));
}

/* A source that does not read its answers for this long is treated like one that is gone. */
#define ANSWER_PATIENCE_NS (60 * NS_PER_S)

int main_write_locked(struct vmig_migration *m, struct iovec *iov, unsigned count)
{
    uint64_t deadline = m->side == SIDE_TARGET ? clock_ns() + ANSWER_PATIENCE_NS : UINT64_MAX;
    return channel_writev_unless(m->main, iov, count, m->end_fd, deadline);
}

static int sent(struct vmig_migration *m, int rc, size_t length, struct vmig_error *err)
{
    if (rc < 0)
        return lost(m, rc, err);
    if (m->side == SIDE_SOURCE)
        statistics_sent(m, length, false);
    return 0;
}

int main_send(struct vmig_migration *m, struct writer *w, struct vmig_error *err)
{
    int rc = w->error;
    size_t length = w->length;
    if (rc == 0) {
        struct iovec iov = { w->buf, length };
        TURN_SCOPE(&m->main_write);
        XXH3_64bits_update(m->said, w->buf, length);
        rc = main_write_locked(m, &iov, 1);
    }
    writer_reset(w);
    return sent(m, rc, length, err);
}

uint64_t main_digest(struct vmig_migration *m)
{
    TURN_SCOPE(&m->main_write);
    return XXH3_64bits_digest(m->said);
}

/* The digest is of what was written up to this message, so nothing may come in between. */
static int seal_locked(struct vmig_migration *m, struct writer *w)
{
    XXH3_64bits_update(m->said, w->buf, w->length);
    size_t at = w->length;
    writer_u64(w, XXH3_64bits_digest(m->said));
    if (w->error)
        return w->error;
    XXH3_64bits_update(m->said, w->buf + at, w->length - at);
    return 0;
}

static int write_sealed(struct vmig_migration *m, struct writer *w)
{
    TURN_SCOPE(&m->main_write);
    int rc = seal_locked(m, w);
    struct iovec iov = { w->buf, w->length };
    return rc < 0 ? rc : main_write_locked(m, &iov, 1);
}

/* GO must not fail for want of memory, nor LOADED and RUNNING with the times of 64 devices: then nobody
 * would know who owns them. */
#define MESSAGE_ROOM_BYTES 8192

static void begin_message(struct writer *w, uint8_t room[MESSAGE_ROOM_BYTES], bool command,
                          uint16_t type, const void *data, size_t length)
{
    writer_init_in(w, room, MESSAGE_ROOM_BYTES);
    if (command)
        writer_u8(w, QEMU_COMMAND);
    message_write(w, type, data, (uint16_t)length);
}

/* What a peer that does not read now will not read soon; the end of the link tells it, too. One that
 * has said LOADED has read everything, so that there is room for this. */
#define LAST_WORDS_MS 50

void main_last_words(struct vmig_migration *m, bool command, uint16_t type, const char *text)
{
    struct writer w;
    uint8_t room[MESSAGE_ROOM_BYTES];
    size_t length = strlen(text);
    if (!m->main || m->one_way || length > MESSAGE_CONTENT_MAX)
        return;
    begin_message(&w, room, command, type, text, length);
    {
        TURN_SCOPE(&m->main_write);
        int rc = w.error ? w.error : seal_locked(m, &w);
        struct iovec iov = { w.buf, w.length };
        if (rc == 0)
            channel_writev_unless(m->main, &iov, 1, -1, clock_ns() + LAST_WORDS_MS * NS_PER_MS);
    }
    writer_done(&w);
}

static int send_message(struct vmig_migration *m, bool command, uint16_t type, const void *data,
                        size_t length, struct vmig_error *err)
{
    if (length > MESSAGE_CONTENT_MAX)
        return error_set(err, E2BIG, m->stage, NULL, NULL,
                         "a message of %zu bytes does not fit; at most %u can be sent: use fewer "
                         "participants or shorter names",
                         length, MESSAGE_CONTENT_MAX);
    struct writer w;
    uint8_t room[MESSAGE_ROOM_BYTES];
    begin_message(&w, room, command, type, data, length);
    int rc = w.error ? w.error : write_sealed(m, &w);
    length = w.length;
    writer_done(&w);
    return sent(m, rc, length, err);
}

int main_command(struct vmig_migration *m, uint16_t command, const void *data, size_t length,
                 struct vmig_error *err)
{
    return send_message(m, true, command, data, length, err);
}

int main_return(struct vmig_migration *m, uint16_t type, const void *data, size_t length,
                struct vmig_error *err)
{
    if (message_is_ours(type))
        return send_message(m, false, type, data, length, err);
    struct writer w;
    writer_init(&w);
    qemu_write_return(&w, type, data, (uint16_t)length);
    int rc = main_send(m, &w, err);
    writer_done(&w);
    return rc;
}
