/* SPDX-License-Identifier: BSD-3-Clause */
/* RAM sections: items of one word each, offset and flags in one, with what the flags announce. */
#include <errno.h>
#include <string.h>

#include "lib/stream/qemu.h"

/* Below the smallest page size, 4 KiB, everything is flags; larger pages leave the bits between
 * empty. */
#define FLAGS_MASK 0xfffu

/* Items of features that are not decoded. */
#define FLAG_XBZRLE 0x40u
#define FLAG_HOOK 0x80u
#define FLAG_COMPRESS_PAGE 0x100u
#define FLAG_MULTIFD_FLUSH 0x200u
#define FLAGS_UNSUPPORTED (FLAG_XBZRLE | FLAG_HOOK | FLAG_COMPRESS_PAGE | FLAG_MULTIFD_FLUSH)

static bool is_page_kind(uint32_t kind)
{
    return kind == QEMU_RAM_ZERO || kind == QEMU_RAM_PAGE;
}

/* 0, or why not. */
static int check_flags(uint32_t flags)
{
    uint32_t kind = flags & ~QEMU_RAM_CONTINUE;
    if (is_page_kind(kind) || flags == QEMU_RAM_MEM_SIZE || flags == QEMU_RAM_EOS)
        return 0;
    bool one_kind = kind && (kind & (kind - 1)) == 0;
    return one_kind && (kind & FLAGS_UNSUPPORTED) ? -EOPNOTSUPP : -EINVAL;
}

void qemu_read_ram_item(struct reader *r, struct qemu_ram_item *ret)
{
    uint64_t start = r->offset;
    uint64_t word = reader_u64(r);
    *ret = (struct qemu_ram_item) {
        .offset = word & ~(uint64_t)FLAGS_MASK,
        .flags = (uint32_t)(word & FLAGS_MASK),
    };
    int rc = reader_failed(r) ? 0 : check_flags(ret->flags);
    if (rc < 0)
        reader_fail_at(r, start, rc);
    ret->has_block =
        is_page_kind(ret->flags & ~QEMU_RAM_CONTINUE) && !(ret->flags & QEMU_RAM_CONTINUE);
    if (ret->has_block)
        reader_str8(r, ret->block);
    if (ret->flags & QEMU_RAM_ZERO)
        ret->fill = reader_u8(r);
    if (reader_failed(r))
        *ret = (struct qemu_ram_item) { 0 };
}

void qemu_write_ram_item(struct writer *w, uint64_t offset, uint32_t flags, const char *block)
{
    writer_u64(w, offset | flags);
    if (block)
        writer_str8(w, block);
}

static bool name_taken(const struct qemu_ram_block *blocks, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(blocks[i].name, name) == 0)
            return true;
    return false;
}

static void read_block(struct reader *r, bool with_addr, struct qemu_ram_block *ret)
{
    reader_str8(r, ret->name);
    ret->used_length = reader_u64(r);
    ret->addr = with_addr ? reader_u64(r) : 0;
}

int qemu_read_ram_blocks(struct reader *r, uint64_t total, bool with_addr,
                         struct qemu_ram_block *ret, unsigned max)
{
    unsigned count = 0;
    for (uint64_t rest = total; rest > 0 && !reader_failed(r); count++) {
        uint64_t start = r->offset;
        if (count == max) {
            reader_fail_at(r, start, -EINVAL);
            break;
        }
        struct qemu_ram_block *block = &ret[count];
        read_block(r, with_addr, block);
        if (reader_failed(r))
            break;
        /* an empty block would let a list go on without end */
        if (!block->name[0] || block->used_length == 0 || block->used_length > rest ||
            name_taken(ret, count, block->name))
            reader_fail_at(r, start, -EINVAL);
        rest -= block->used_length;
    }
    return reader_failed(r) ? r->error : (int)count;
}

void qemu_write_ram_blocks(struct writer *w, const struct qemu_ram_block *blocks, unsigned count)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += blocks[i].used_length;
    qemu_write_ram_item(w, total, QEMU_RAM_MEM_SIZE, NULL);
    for (unsigned i = 0; i < count; i++) {
        writer_str8(w, blocks[i].name);
        writer_u64(w, blocks[i].used_length);
    }
}
