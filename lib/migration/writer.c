/* SPDX-License-Identifier: BSD-3-Clause */
/* What participants write through: cut into chunks, counted, hashed in the private buffer in which
 * the bytes pass, and given to whatever carries them. */
#include "lib/digest.h"
#include "lib/export.h"
#include "lib/migration/migration.h"

static int put_chunk(struct participant *p, const void *buf, size_t length, struct vmig_error *err)
{
    struct vmig_migration *m = p->migration;
    int rc = throttle_wait(m, length, err);
    if (rc == 0)
        rc = crew_enter_channel(p, err);
    if (rc < 0)
        return rc;
    digest_update(p->digest, buf, length);
    rc = crew_leave_channel(p, m->carrier->data(p, buf, length, err));
    if (rc == 0)
        p->data_bytes += length;
    return rc;
}

VMIG_EXPORT int vmig_writer_put(struct vmig_writer *writer, const void *buf, size_t length_bytes,
                                struct vmig_error *err)
{
    const char *at = buf;
    while (length_bytes) {
        size_t n = length_bytes < WIRE_CHUNK_BYTES ? length_bytes : WIRE_CHUNK_BYTES;
        int rc = put_chunk(writer->participant, at, n, err);
        if (rc < 0)
            return rc;
        at += n;
        length_bytes -= n;
    }
    return 0;
}
