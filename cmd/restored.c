/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/restored.h"
#include "cmd/state.h"
#include "lib/error.h"
#include "lib/participant/device.h"
#include "lib/stream/manifest.h"

/* The manifest stands near the end, before the state of emulated devices and the description: look for
 * its name in more and more of the end. */
#define TAIL_BYTES_LEAST ((size_t)256 << 10)
#define TAIL_BYTES_MOST ((size_t)256 << 20)
/* As a section has it; the description has the name without its length. */
#define NAME "\x15" MANIFEST_IDSTR
_Static_assert(sizeof(MANIFEST_IDSTR) - 1 == 0x15, "the length byte");
/* Behind the name: instance and version, both u32; then the identity. */
#define BEHIND_NAME 8

static size_t read_tail(FILE *file, char *tail, size_t most)
{
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, size > (long)most ? size - (long)most : 0, SEEK_SET);
    return fread(tail, 1, most, file);
}

/* What follows the last such name (data of a device may hold it, too), or NULL. */
static const char *find_last(const char *tail, size_t length, size_t *ret_length)
{
    const size_t name = strlen(NAME);
    const char *at = NULL, *next = memmem(tail, length, NAME, name);
    while (next) {
        at = next + name;
        *ret_length = length - (size_t)(at - tail);
        next = memmem(at, *ret_length, NAME, name);
    }
    return at;
}

/* The end of the file and in it what follows the manifest's name; NULL when there is none. The caller
 * frees *ret_tail. */
static int find_manifest(const char *path, char **ret_tail, const char **ret_at, size_t *ret_length,
                         struct vmig_error *err)
{
    *ret_tail = NULL;
    *ret_at = NULL;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "opening %s: %s", path,
                         strerror(errno));
    bool whole = false;
    for (size_t most = TAIL_BYTES_LEAST; !*ret_at && !whole && most <= TAIL_BYTES_MOST; most *= 8) {
        free(*ret_tail);
        *ret_tail = malloc(most);
        size_t length = *ret_tail ? read_tail(file, *ret_tail, most) : 0;
        *ret_at = *ret_tail ? find_last(*ret_tail, length, ret_length) : NULL;
        whole = length < most;
    }
    fclose(file);
    return 0;
}

int restored_identity(const char *path, char ret[33], struct vmig_error *err)
{
    char *tail;
    const char *at;
    size_t length;
    ret[0] = '\0';
    int rc = find_manifest(path, &tail, &at, &length, err);
    if (rc == 0 && at && length >= BEHIND_NAME + 16)
        for (int i = 0; i < 16; i++)
            snprintf(ret + 2 * i, 3, "%02x", (unsigned char)at[BEHIND_NAME + i]);
    free(tail);
    return rc;
}

static int compare_identity(const char *path, struct vmig_device *device,
                            const struct manifest *manifest, struct vmig_error *err)
{
    char ours[160];
    int rc = participant_device_identity(device, ours, sizeof(ours), err);
    for (unsigned i = 0; rc == 0 && i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        if (entry->kind == MANIFEST_DEVICE && strcmp(entry->identity, ours) != 0)
            return error_set(err, EINVAL, VMIG_STAGE_PREPARE, vmig_device_id(device),
                             "foreign-device",
                             "%s holds the state of a device %s, this one is %s; use a device of "
                             "the same kind. Nothing was touched",
                             path, entry->identity, ours);
    }
    return rc;
}

int restored_fits(const char *path, struct vmig_device *device, struct vmig_error *err)
{
    char *tail;
    const char *at;
    size_t length;
    struct reader reader;
    struct manifest manifest;
    int rc = find_manifest(path, &tail, &at, &length, err);
    if (rc == 0 && at && length > BEHIND_NAME) {
        reader_init_memory(&reader, at + BEHIND_NAME, length - BEHIND_NAME);
        /* what is damaged is refused with its offset when the stream is read */
        if (manifest_read(&reader, MANIFEST_VERSION, &manifest, NULL) == 0)
            rc = compare_identity(path, device, &manifest, err);
        manifest_done(&manifest);
    }
    free(tail);
    return rc;
}

static int marker(const char *identity, char *ret, size_t size)
{
    char dir[3000];
    if (!identity[0] || state_folder("restored", dir, sizeof(dir)) < 0)
        return -1;
    return snprintf(ret, size, "%s/%s", dir, identity) < (int)size ? 0 : -1;
}

int restored_check(const char *path, const char *identity, struct vmig_error *err)
{
    char name[4096], when[64] = "before";
    struct stat st;
    if (marker(identity, name, sizeof(name)) < 0 || stat(name, &st) != 0)
        return 0;
    struct tm tm;
    if (localtime_r(&st.st_mtime, &tm))
        strftime(when, sizeof(when), "on %F at %T", &tm);
    return error_set(err, EEXIST, VMIG_STAGE_PREPARE, NULL, "restored-before",
                     "%s (stream %s) was restored %s already; two devices would hold one state: "
                     "--again restores it all the same",
                     path, identity, when);
}

bool restored_note(const char *identity)
{
    char name[4096];
    if (marker(identity, name, sizeof(name)) < 0)
        return false;
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}
