/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/error.h"
#include "lib/migration/target.h"
#include "lib/participant/device.h"
#include "lib/stream/vfio-section.h"

int target_damaged(struct target *t, const struct qemu_section *s, struct vmig_error *err,
                   const char *what)
{
    int rc = t->reader.error ? t->reader.error : -EPROTO;
    char why[100] = "";
    if (rc == -ENODATA)
        snprintf(why, sizeof(why), " (the stream is cut short)");
    else if (rc != -EPROTO && rc != -EBADMSG)
        snprintf(why, sizeof(why), " (reading failed: %s)", strerror(-rc));
    return error_set(err, rc, t->m->stage, NULL, "bad-stream",
                     "section \"%s\" at offset %" PRIu64 ", at byte %" PRIu64
                     ": %s%s; nothing was started, send or save again",
                     s->idstr, s->offset, t->reader.offset, what, why);
}

/* ---- memory ---- */

static int on_ram_blocks(struct target *t, const struct qemu_section *s, uint64_t total,
                         struct vmig_error *err)
{
    struct qemu_ram_block list[RAM_BLOCKS_MAX];
    int count = qemu_read_ram_blocks(&t->reader, total, false, list, RAM_BLOCKS_MAX);
    if (count < 0)
        return target_damaged(t, s, err, "the list of memory blocks does not add up");
    for (int i = 0; i < count; i++) {
        const struct ram_block *b = ram_find(t->m->ram, list[i].name);
        if (!b || b->desc.size_bytes != list[i].used_length)
            return error_set(err, EINVAL, t->m->stage, "ram", "layout-mismatch",
                             "the stream has memory block \"%.60s\" of %" PRIu64
                             " bytes, the target has %" PRIu64 "; make them the same",
                             list[i].name, list[i].used_length, b ? b->desc.size_bytes : 0);
    }
    return 0;
}

static int on_ram_page(struct target *t, const struct qemu_section *s, struct participant *p,
                       const struct qemu_ram_item *item, struct vmig_error *err)
{
    if (item->has_block)
        t->block = ram_find(t->m->ram, item->block);
    if (!t->block || item->offset >= t->block->desc.size_bytes)
        return target_damaged(t, s, err, "a page outside of all memory blocks");
    if (item->flags & QEMU_RAM_ZERO) {
        if (item->fill)
            return target_damaged(t, s, err, "a filled page whose byte is not zero");
        atomic_fetch_add(&t->m->counters.zero_pages, 1);
        return ram_load_zero(t->block, item->offset, RAM_PAGE_SIZE, err);
    }
    ram_arrives(t->block, item->offset / RAM_PAGE_SIZE, 1);
    t->reader.digest = NULL; /* of the stream, that is: pages change while they are sent */
    reader_bytes(&t->reader, (char *)t->block->desc.vaddr + item->offset, RAM_PAGE_SIZE);
    t->reader.digest = t->m->heard;
    if (t->m->ram_digest || t->m->one_way) /* which does not say beforehand */
        digest_update(p->digest, (char *)t->block->desc.vaddr + item->offset, RAM_PAGE_SIZE);
    atomic_fetch_add(&t->m->counters.normal_pages, 1);
    return 0;
}

int target_load_ram(struct target *t, const struct qemu_section *s, struct participant *p,
                    struct vmig_error *err)
{
    for (;;) {
        struct qemu_ram_item item;
        if (s->type == QEMU_SECTION_END)
            target_wait(t);
        qemu_read_ram_item(&t->reader, &item);
        if (reader_failed(&t->reader))
            return target_damaged(t, s, err, "a memory item that is unknown or cut short");
        int rc = 0;
        if (item.flags & QEMU_RAM_EOS)
            return 0;
        if (item.flags & QEMU_RAM_MEM_SIZE)
            rc = on_ram_blocks(t, s, item.offset, err);
        else
            rc = on_ram_page(t, s, p, &item, err);
        if (rc < 0)
            return rc;
    }
}

/* ---- devices ---- */

static int on_data(struct target *t, struct qemu_vfio_reader *v, struct participant *p,
                   struct vmig_error *err)
{
    for (;;) {
        void *buf = inbox_buffer(&p->inbox);
        if (!buf)
            return error_set(err, ENOMEM, t->m->stage, p->id, NULL, "out of memory");
        ssize_t n = qemu_vfio_data(v, buf, WIRE_CHUNK_BYTES, err);
        if (n <= 0) {
            inbox_give_back(&p->inbox, buf);
            return (int)n;
        }
        if (v->section->type == QEMU_SECTION_PART)
            p->precopy_bytes += (uint64_t)n;
        int rc = load_data(p, buf, (size_t)n, err);
        if (rc < 0)
            return rc;
    }
}

int target_load_device(struct target *t, const struct qemu_section *s, struct participant *p,
                       struct vmig_error *err)
{
    struct qemu_vfio_reader v;
    qemu_vfio_begin(&v, &t->reader, s);
    for (;;) {
        enum qemu_vfio_record record;
        uint64_t length;
        if (s->type == QEMU_SECTION_END) /* whose records come as the device makes them */
            target_wait(t);
        int rc = qemu_vfio_next(&v, &record, &length, err);
        if (rc == 0 && record == QEMU_VFIO_DATA)
            rc = on_data(t, &v, p, err);
        else if (rc == 0 && record == QEMU_VFIO_CONFIG && p->kind == PARTICIPANT_DEVICE)
            rc = participant_device_read_config(p->opaque, &t->reader, err);
        else if (rc == 0 && record == QEMU_VFIO_CONFIG)
            rc = target_damaged(t, s, err, "configuration of what is no device");
        else if (rc == 0 && record == QEMU_VFIO_INITIAL_SENT)
            return load_mark(p, INBOX_INITIAL, err);
        else if (rc == 0 && record != QEMU_VFIO_SETUP)
            return s->type == QEMU_SECTION_END ? load_mark(p, INBOX_END, err) : 0;
        error_locate(err, t->m->stage, p->id);
        if (rc < 0)
            return rc;
    }
}
