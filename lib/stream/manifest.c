/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "lib/error.h"
#include "lib/stream/manifest.h"
#include "lib/stream/qemu.h"

static const char *const kind_names[MANIFEST_KINDS] = {
    [MANIFEST_RAM] = "ram",
    [MANIFEST_DEVICE] = "device",
    [MANIFEST_OTHER] = "other",
    [MANIFEST_VMSTATE] = "vmstate",
};

int manifest_new_identity(uint8_t ret[16], struct vmig_error *err)
{
    ssize_t n;
    do
        n = getrandom(ret, 16, 0); /* up to 256 bytes come whole */
    while (n < 0 && errno == EINTR);
    if (n != 16)
        return error_set(err, n < 0 ? errno : EIO, VMIG_STAGE_PREPARE, NULL, NULL,
                         "no random identity for the stream: %s", strerror(n < 0 ? errno : EIO));
    ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40); /* RFC 4122: version 4, variant 1 */
    ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
    return 0;
}

void manifest_init(struct manifest *m, const uint8_t identity[16])
{
    *m = (struct manifest) { 0 };
    memcpy(m->identity, identity, sizeof(m->identity));
}

void manifest_done(struct manifest *m)
{
    free(m->entries);
    *m = (struct manifest) { 0 };
}

const struct manifest_entry *manifest_find(const struct manifest *m, const char *id)
{
    for (unsigned i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].id, id) == 0)
            return &m->entries[i];
    return NULL;
}

static struct manifest_entry *new_entry(struct manifest *m)
{
    if (m->count == m->size) {
        unsigned size = m->size ? 2 * m->size : 8;
        struct manifest_entry *entries = realloc(m->entries, size * sizeof(*entries));
        if (!entries)
            return NULL;
        m->entries = entries;
        m->size = size;
    }
    return &m->entries[m->count];
}

int manifest_add(struct manifest *m, const struct manifest_entry *entry, struct vmig_error *err)
{
    if (!entry->id[0])
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "manifest: an entry without a name");
    if ((unsigned)entry->kind >= MANIFEST_KINDS)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, entry->id, "bad-stream",
                         "manifest: kind %u; %u is the highest", (unsigned)entry->kind,
                         MANIFEST_KINDS - 1);
    if (manifest_find(m, entry->id))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, entry->id, "bad-stream",
                         "manifest: \"%s\" is listed twice", entry->id);
    if (m->count == MANIFEST_ENTRIES_MAX)
        return error_set(err, E2BIG, VMIG_STAGE_NONE, entry->id, "bad-stream",
                         "manifest: more than %u entries", MANIFEST_ENTRIES_MAX);
    struct manifest_entry *to = new_entry(m);
    if (!to)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, entry->id, NULL, "out of memory");
    *to = *entry;
    m->count++;
    return 0;
}

void manifest_write(struct writer *w, uint32_t section_id, const struct manifest *m)
{
    qemu_write_full(w, section_id, MANIFEST_IDSTR, 0, MANIFEST_VERSION);
    writer_bytes(w, m->identity, sizeof(m->identity));
    writer_u32(w, m->count);
    for (unsigned i = 0; i < m->count; i++) {
        const struct manifest_entry *e = &m->entries[i];
        writer_str8(w, e->id);
        writer_u8(w, (uint8_t)e->kind);
        writer_u64(w, e->length_bytes);
        writer_u64(w, e->digest);
        writer_u32(w, e->format_version);
        writer_str8(w, e->identity);
    }
}

uint64_t manifest_bytes(const struct manifest *m)
{
    uint64_t bytes = sizeof(m->identity) + 4 + 8;
    for (unsigned i = 0; i < m->count; i++)
        bytes += 1 + strlen(m->entries[i].id) + 1 + 8 + 8 + 4 + 1 + strlen(m->entries[i].identity);
    return bytes;
}

void manifest_seal(struct writer *w, uint32_t section_id, uint64_t digest)
{
    writer_u64(w, digest);
    qemu_write_footer(w, section_id);
}

static void read_entry(struct reader *r, struct manifest_entry *ret)
{
    *ret = (struct manifest_entry) { 0 };
    reader_str8(r, ret->id);
    ret->kind = (enum manifest_kind)reader_u8(r);
    ret->length_bytes = reader_u64(r);
    ret->digest = reader_u64(r);
    ret->format_version = reader_u32(r);
    reader_str8(r, ret->identity);
}

static int read_entries(struct reader *r, uint32_t count, struct manifest *m,
                        struct vmig_error *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        struct manifest_entry entry;
        uint64_t start = r->offset;
        read_entry(r, &entry);
        rc = reader_error(r, "manifest", err);
        if (rc < 0)
            break;
        struct vmig_error why = { 0 };
        rc = manifest_add(m, &entry, &why);
        error_prefix(&why, "offset %" PRIu64, start);
        if (rc < 0) {
            error_copy(err, &why);
            reader_fail_at(r, start, rc);
        }
    }
    return rc;
}

/* The last field. Where nothing was taken (@r began in the middle) there is nothing to compare. */
static int read_seal(struct reader *r, struct vmig_error *err)
{
    uint64_t start = r->offset, arrived = r->digest ? XXH3_64bits_digest(r->digest) : 0;
    uint64_t sent = reader_u64(r);
    int rc = reader_error(r, "manifest", err);
    if (rc < 0 || !r->digest || sent == arrived)
        return rc;
    reader_fail_at(r, start, -EBADMSG);
    return error_set(err, EBADMSG, VMIG_STAGE_NONE, NULL, "corrupt-data",
                     "offset %" PRIu64 ": manifest: the stream up to here has digest %016" PRIx64
                     " and was sent with %016" PRIx64
                     ": it was changed on its way; nothing of it may run, migrate again",
                     start, arrived, sent);
}

int manifest_read(struct reader *r, uint32_t version_id, struct manifest *ret,
                  struct vmig_error *err)
{
    uint8_t identity[16] = { 0 };
    manifest_init(ret, identity);
    if (version_id != MANIFEST_VERSION)
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, "protocol-version",
                         "manifest: the stream has version %" PRIu32 " and this side knows %u; use "
                         "the same version on both sides",
                         version_id, MANIFEST_VERSION);
    reader_bytes(r, ret->identity, sizeof(ret->identity));
    uint64_t start = r->offset;
    uint32_t count = reader_u32(r);
    int rc = reader_error(r, "manifest", err);
    if (rc == 0 && count > MANIFEST_ENTRIES_MAX) {
        reader_fail_at(r, start, -EINVAL);
        rc =
            error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream",
                      "offset %" PRIu64 ": manifest: %" PRIu32 " entries are announced; %u are the "
                      "most",
                      start, count, MANIFEST_ENTRIES_MAX);
    }
    if (rc == 0)
        rc = read_entries(r, count, ret, err);
    return rc < 0 ? rc : read_seal(r, err);
}

static void hex(const uint8_t identity[16], char ret[33])
{
    for (unsigned i = 0; i < 16; i++)
        snprintf(ret + 2 * i, 3, "%02x", identity[i]);
}

static int compare_identity(const struct manifest *sent, const struct manifest *arrived,
                            struct vmig_error *err)
{
    if (memcmp(sent->identity, arrived->identity, sizeof(sent->identity)) == 0)
        return 0;
    char a[33], b[33];
    hex(sent->identity, a);
    hex(arrived->identity, b);
    return error_set(err, EBADMSG, VMIG_STAGE_NONE, NULL, "bad-stream",
                     "the manifest belongs to stream %s and the data to %s", a, b);
}

static int compare_entry(const struct manifest_entry *s, const struct manifest_entry *a,
                         struct vmig_error *err)
{
    if (s->kind != a->kind)
        return error_set(err, EBADMSG, VMIG_STAGE_NONE, s->id, "layout-mismatch",
                         "\"%s\" is of kind %s at the source and %s here", s->id,
                         kind_names[s->kind], kind_names[a->kind]);
    if (strcmp(s->identity, a->identity) != 0)
        return error_set(err, EBADMSG, VMIG_STAGE_NONE, s->id, "foreign-device",
                         "\"%s\" is %.150s at the source and %.150s here; use a device of the "
                         "same kind",
                         s->id, s->identity, a->identity);
    if (s->format_version != a->format_version)
        return error_set(err, EBADMSG, VMIG_STAGE_NONE, s->id, "format-version",
                         "\"%s\" was sent in format version %" PRIu32 " and loaded as %" PRIu32,
                         s->id, s->format_version, a->format_version);
    if (s->length_bytes != a->length_bytes)
        return error_set(err, EBADMSG, VMIG_STAGE_NONE, s->id, "corrupt-data",
                         "the source sent %" PRIu64 " bytes of \"%s\" and %" PRIu64
                         " arrived; nothing of it may run, migrate again",
                         s->length_bytes, s->id, a->length_bytes);
    bool taken = s->kind != MANIFEST_RAM || s->digest;
    if (taken && s->digest != a->digest)
        return error_set(err, EBADMSG, VMIG_STAGE_NONE, s->id, "corrupt-data",
                         "the digest of \"%s\" (%" PRIu64 " bytes) is %016" PRIx64
                         " at the source and %016" PRIx64
                         " here: the data was changed on its way; nothing of it may run, migrate "
                         "again",
                         s->id, s->length_bytes, s->digest, a->digest);
    return 0;
}

int manifest_compare(const struct manifest *sent, const struct manifest *arrived,
                     struct vmig_error *err)
{
    int rc = compare_identity(sent, arrived, err);
    for (unsigned i = 0; rc == 0 && i < sent->count; i++) {
        const struct manifest_entry *s = &sent->entries[i];
        const struct manifest_entry *a = manifest_find(arrived, s->id);
        if (!a)
            return error_set(err, EBADMSG, VMIG_STAGE_NONE, s->id, "layout-mismatch",
                             "the source sent %" PRIu64 " bytes of \"%s\", which is not here",
                             s->length_bytes, s->id);
        rc = compare_entry(s, a, err);
    }
    for (unsigned i = 0; rc == 0 && i < arrived->count; i++)
        if (!manifest_find(sent, arrived->entries[i].id))
            return error_set(err, EBADMSG, VMIG_STAGE_NONE, arrived->entries[i].id,
                             "layout-mismatch",
                             "%" PRIu64 " bytes of \"%s\" arrived, which the source did not list",
                             arrived->entries[i].length_bytes, arrived->entries[i].id);
    return rc;
}
