/* SPDX-License-Identifier: BSD-3-Clause */
/* Writing to the main channel: whole sections, commands and return-path messages. */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/message.h"
#include "lib/migration/migration.h"

static int lost(struct vmig_migration *m, int rc, struct vmig_error *err)
{
    int cause = run_check(m, err); /* shut down on purpose? */
    if (cause < 0)
        return cause;
    return error_set(err, rc, m->stage, NULL, "connection-lost",
                     "writing to the other side after %llu bytes: %s",
                     (unsigned long long)atomic_load(&m->sent_bytes), strerror(-rc));
}

static int sent(struct vmig_migration *m, int rc, size_t length, struct vmig_error *err)
{
    if (rc < 0)
        return lost(m, rc, err);
    if (m->side == SIDE_SOURCE)
        atomic_fetch_add(&m->sent_bytes, length);
    return 0;
}

int main_send(struct vmig_migration *m, struct writer *w, struct vmig_error *err)
{
    int rc = w->error;
    size_t length = w->length;
    if (rc == 0) {
        LOCK_SCOPE(&m->main_write);
        XXH3_64bits_update(m->said, w->buf, length);
        rc = channel_write(m->main, w->buf, length);
    }
    writer_reset(w);
    return sent(m, rc, length, err);
}

uint64_t main_digest(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->main_write);
    return XXH3_64bits_digest(m->said);
}

/* The digest is of what was written up to this message, so nothing may come in between. */
static int write_sealed(struct vmig_migration *m, struct writer *w)
{
    LOCK_SCOPE(&m->main_write);
    XXH3_64bits_update(m->said, w->buf, w->length);
    size_t at = w->length;
    writer_u64(w, XXH3_64bits_digest(m->said));
    if (w->error)
        return w->error;
    XXH3_64bits_update(m->said, w->buf + at, w->length - at);
    return channel_write(m->main, w->buf, w->length);
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
    writer_init(&w);
    if (command)
        writer_u8(&w, QEMU_COMMAND);
    message_write(&w, type, data, (uint16_t)length);
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
