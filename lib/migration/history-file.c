/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file that migrations are remembered in. Writers take turns with a lock on the file itself, which
 * a rename replaces: so after the lock was got, the name may belong to another file, and then it is
 * tried again with that one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/history.h"

static int refuse(struct vmig_error *err, int rc, const char *path, const char *why)
{
    return error_set(err, rc, VMIG_STAGE_NONE, NULL, "history-unusable", "%s: %s", path,
                     why ? why : strerror(rc < 0 ? -rc : rc));
}

static int read_all(int fd, const char *path, char **ret_text, size_t *ret_length,
                    struct vmig_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return refuse(err, errno, path, NULL);
    if (!S_ISREG(st.st_mode))
        return refuse(err, EINVAL, path, "is no file that measurements could be kept in");
    if (st.st_size > HISTORY_FILE_BYTES_MAX)
        return refuse(err, EPROTO, path, "is too large for what it should be; it is ignored");
    CLEANUP_FREE char *text = malloc((size_t)st.st_size + 1);
    if (!text)
        return refuse(err, ENOMEM, path, NULL);
    size_t length = 0;
    while (length < (size_t)st.st_size) {
        ssize_t n = pread(fd, text + length, (size_t)st.st_size - length, (off_t)length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(err, errno, path, NULL);
        if (n == 0)
            break;
        length += (size_t)n;
    }
    *ret_text = take_ptr(text);
    *ret_length = length;
    return 0;
}

static int read_history(int fd, const char *path, uint64_t now_s, struct history *history,
                        struct vmig_error *err)
{
    CLEANUP_FREE char *text = NULL;
    size_t length = 0;
    int rc = read_all(fd, path, &text, &length, err);
    if (rc < 0 || length == 0) /* empty: somebody is about to write the first one */
        return rc;
    rc = history_parse(text, length, now_s, history);
    if (rc == -ENOTSUP)
        return refuse(err, rc, path, "was written by another version; it is ignored");
    if (rc < 0)
        return refuse(err, rc, path, "is damaged; what earlier migrations took is forgotten");
    return 0;
}

int history_load(const char *path, uint64_t now_s, struct history *history, struct vmig_error *err)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : refuse(err, errno, path, NULL);
    return read_history(fd, path, now_s, history, err);
}

/* ---- writing ---- */

static bool is_still_named(int fd, const char *path)
{
    struct stat open_one, named;
    return fstat(fd, &open_one) == 0 && stat(path, &named) == 0 &&
           open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
}

/* A writer holds the lock for as long as a small file takes. */
#define LOCK_TRIES 200
#define LOCK_WAIT_NS 5000000

/* The file, locked, made when it is not there; negative errno. */
static int open_locked(const char *path)
{
    for (unsigned i = 0; i < LOCK_TRIES; i++) {
        CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK && errno != EINTR)
                return -errno;
            nanosleep(&(struct timespec) { .tv_nsec = LOCK_WAIT_NS }, NULL);
        } else if (is_still_named(fd, path)) {
            return take_fd(&fd);
        }
    }
    return -EBUSY;
}

static int write_all(int fd, const char *text)
{
    size_t length = strlen(text);
    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, text + done, length - done);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    while (fsync(fd) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int replace(const char *path, const char *text)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof(name), "%s.XXXXXX", path) >= (int)sizeof(name))
        return -ENAMETOOLONG;
    CLEANUP_FD int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, text);
    if (rc == 0 && rename(name, path) != 0)
        rc = -errno;
    if (rc < 0)
        unlink(name);
    return rc;
}

static int save(const char *path, uint64_t now_s, const struct history *news, struct history *all,
                struct vmig_error *err)
{
    CLEANUP_FD int fd = open_locked(path);
    if (fd < 0)
        return refuse(err, fd, path, NULL);
    int rc = read_history(fd, path, now_s, all, err);
    if (rc < 0 && rc != -EPROTO)
        return rc;
    for (unsigned i = 0; i < news->count; i++)
        for (unsigned k = news->kinds[i].count; k > 0; k--)
            history_add(all, news->kinds[i].name, &news->kinds[i].samples[k - 1]);
    CLEANUP_FREE char *text = history_format(all);
    rc = text ? replace(path, text) : -ENOMEM;
    return rc < 0 ? refuse(err, rc, path, NULL) : 0;
}

int history_save(const char *path, uint64_t now_s, const struct history *news,
                 struct vmig_error *err)
{
    CLEANUP_FREE struct history *all = history_new();
    return all ? save(path, now_s, news, all, err) : refuse(err, ENOMEM, path, NULL);
}
