/* SPDX-License-Identifier: BSD-3-Clause */
/* The target's half of a participant: received data on its way through the inbox to the worker that
 * loads it, and the check that what arrived is what was sent. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/digest.h"
#include "lib/error.h"
#include "lib/migration/migration.h"

static int after_end(struct participant *p, struct vmig_error *err)
{
    return error_set(err, EPROTO, p->migration->stage, p->id, "bad-stream",
                     "data came after the end of its data; the stream is damaged, send again");
}

int load_data(struct participant *p, void *take_buf, size_t length, struct vmig_error *err)
{
    struct vmig_migration *m = p->migration;
    while (m->carrier == &carrier_sections &&
           inbox_wait_room(&p->inbox, length, clock_ns() + CREW_WATCH_MS * NS_PER_MS) == -EAGAIN)
        crew_watch(m); /* one channel has one reader, which is the engine */
    int rc = inbox_put(&p->inbox, INBOX_DATA, take_buf, length);
    if (rc == -EPROTO)
        return after_end(p, err);
    if (rc == -EOVERFLOW)
        return error_set(err, EPROTO, m->stage, p->id, "bad-stream",
                         "the source sent more than the %u bytes it had credit for",
                         WIRE_WINDOW_BYTES);
    if (rc == -ECANCELED)
        return run_check(m, err);
    return rc < 0 ? error_set(err, rc, m->stage, p->id, NULL, "out of memory") : 0;
}

int load_mark(struct participant *p, enum inbox_kind kind, struct vmig_error *err)
{
    if (kind == INBOX_INITIAL && p->migration->one_way)
        return 0; /* nobody waits for an acknowledgement */
    int rc = kind == INBOX_INITIAL ? announce_arrived(p, err) : 0;
    if (rc < 0)
        return rc;
    rc = inbox_put(&p->inbox, kind, NULL, 0);
    if (rc == -ECANCELED)
        return run_check(p->migration, err);
    if (rc == -EPROTO)
        return after_end(p, err);
    return rc < 0 ? error_set(err, rc, p->migration->stage, p->id, NULL, "out of memory") : 0;
}

static int give_credit(struct participant *p, uint64_t bytes, struct vmig_error *err)
{
    if (p->migration->carrier != &carrier_lanes)
        return 0;
    struct writer w;
    writer_init(&w);
    writer_u32(&w, p->index);
    writer_u64(&w, bytes);
    int rc = w.error ? w.error : main_return(p->migration, WIRE_RP_CREDIT, w.buf, w.length, err);
    writer_done(&w);
    return rc;
}

/* In sections nothing tells that the data is damaged before its end, and the device may notice first:
 * then that is a reason, too. */
static void name_refusal(struct vmig_error *err)
{
    if (!err->reason[0] && err->code != -ENOMEM)
        snprintf(err->reason, sizeof(err->reason), "data-refused");
}

static int load_one(struct participant *p, const struct inbox_item *item, struct vmig_error *err)
{
    digest_update(p->digest, item->buf, item->length_bytes);
    p->data_bytes += item->length_bytes;
    uint64_t start = clock_ns();
    int rc = p->ops->load(p->opaque, item->buf, item->length_bytes, err);
    p->loading_ms = p->loading_ms + clock_ms_since(start);
    if (rc == 0)
        rc = crew_enter_channel(p, err);
    return rc < 0 ? rc : crew_leave_channel(p, give_credit(p, item->length_bytes, err));
}

int load_run(struct participant *p, struct vmig_error *err)
{
    for (;;) {
        struct inbox_item item;
        int rc = inbox_take(&p->inbox, &item);
        if (rc < 0) {
            rc = run_check(p->migration, err);
            return rc < 0 ? rc : error_set(err, ECANCELED, 0, p->id, NULL, "loading was ended");
        }
        if (item.kind == INBOX_DATA)
            rc = load_one(p, &item, err);
        else if (item.kind == INBOX_INITIAL)
            rc = announce_loaded(p, err);
        p->ended = item.kind == INBOX_END;
        inbox_give_back(&p->inbox, item.buf);
        if (rc < 0) {
            /* at once: who waits for this participant, here or at the source, would wait for ever
             */
            error_set(err, rc, VMIG_STAGE_NONE, p->id, NULL, "loading its state: %s",
                      strerror(-rc));
            error_locate(err, p->migration->stage, p->id);
            name_refusal(err);
            crew_abort(p, err);
        }
        inbox_loaded(&p->inbox);
        if (rc < 0 || item.kind == INBOX_END)
            return rc;
    }
}
