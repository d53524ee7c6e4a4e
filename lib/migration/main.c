/* SPDX-License-Identifier: BSD-3-Clause */
/* Writing to the main channel: whole sections, commands and return-path messages. */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
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

int main_send(struct vmig_migration *m, struct writer *w, struct vmig_error *err)
{
    int rc = w->error;
    if (rc == 0) {
        LOCK_SCOPE(&m->main_write);
        rc = channel_write(m->main, w->buf, w->length);
    }
    size_t length = w->length;
    writer_reset(w);
    if (rc < 0)
        return lost(m, rc, err);
    if (m->side == SIDE_SOURCE)
        atomic_fetch_add(&m->sent_bytes, length);
    return 0;
}

int main_command(struct vmig_migration *m, uint16_t command, const void *data, size_t length,
                 struct vmig_error *err)
{
    if (length > UINT16_MAX)
        return error_set(
            err, E2BIG, m->stage, NULL, NULL,
            "a command of %zu bytes does not fit; at most 65535 can be sent: use fewer "
            "participants or shorter names",
            length);
    struct writer w;
    writer_init(&w);
    qemu_write_command(&w, command, data, (uint16_t)length);
    int rc = main_send(m, &w, err);
    writer_done(&w);
    return rc;
}

int main_return(struct vmig_migration *m, uint16_t type, const void *data, size_t length,
                struct vmig_error *err)
{
    if (length > UINT16_MAX)
        return error_set(err, E2BIG, m->stage, NULL, NULL, "a message of %zu bytes does not fit",
                         length);
    struct writer w;
    writer_init(&w);
    qemu_write_return(&w, type, data, (uint16_t)length);
    int rc = main_send(m, &w, err);
    writer_done(&w);
    return rc;
}
