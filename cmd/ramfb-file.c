/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/ramfb-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/stream/config.h"

static int open_file(const char *name, int flags)
{
    char path[4096];
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(name, ","), name);
    return open(path, flags | O_CLOEXEC, 0600);
}

static int fail(struct vmig_error *err, int code, const char *path, const char *what)
{
    return error_set(err, code, VMIG_STAGE_NONE, NULL, "ramfb-file", "ramfb file %.*s: %s",
                     (int)strcspn(path, ","), path, what);
}

static int read_file(void *opaque, struct vmig_ramfb *ret, struct vmig_error *err)
{
    const char *path = opaque;
    uint8_t bytes[RAMFB_BYTES + 1];
    struct reader r;
    *ret = (struct vmig_ramfb) { 0 };
    CLEANUP_FD int fd = open_file(path, O_RDONLY);
    if (fd < 0 && errno == ENOENT)
        return 0;
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
    if (n < 0)
        return fail(err, errno, path, strerror(errno));
    if (n != 0 && n != RAMFB_BYTES)
        return fail(err, EINVAL, path, "it has 28 bytes, or none");
    if (n == 0)
        return 0;
    reader_init_memory(&r, bytes, RAMFB_BYTES);
    ramfb_read(&r, ret);
    return 0;
}

static int write_file(void *opaque, const struct vmig_ramfb *ramfb, struct vmig_error *err)
{
    const char *path = opaque;
    struct writer w;
    CLEANUP_FD int fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0)
        return fail(err, errno, path, strerror(errno));
    writer_init(&w);
    ramfb_write(&w, ramfb);
    int rc = w.error;
    if (rc == 0 && write(fd, w.buf, w.length) != (ssize_t)w.length)
        rc = fail(err, errno ? errno : EIO, path, "it cannot be written");
    writer_done(&w);
    return rc;
}

static int save_pci(void *opaque, struct vmig_pci_state *state, struct vmig_error *err)
{
    return read_file(opaque, &state->ramfb, err);
}

static int load_pci(void *opaque, const struct vmig_pci_state *state, struct vmig_error *err)
{
    return state->has_ramfb ? write_file(opaque, &state->ramfb, err) : 0;
}

const struct vmig_pci_ops ramfb_file_pci_ops = { sizeof(ramfb_file_pci_ops), save_pci, load_pci };
const struct vmig_ramfb_ops ramfb_file_ops = { sizeof(ramfb_file_ops), read_file, write_file };
