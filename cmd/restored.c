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

/* The manifest stands near the end, whatever is in between: look for its name there. */
#define TAIL_BYTES (256u << 10)
/* Behind the name: instance and version, both u32; then the identity. */
#define BEHIND_NAME 8

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
    char *tail = *ret_tail = malloc(TAIL_BYTES);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, size > (long)TAIL_BYTES ? size - (long)TAIL_BYTES : 0, SEEK_SET);
    size_t length = tail ? fread(tail, 1, TAIL_BYTES, file) : 0;
    fclose(file);
    const size_t name = strlen(MANIFEST_IDSTR);
    const char *next = tail ? memmem(tail, length, MANIFEST_IDSTR, name) : NULL;
    while (next) { /* the last one: data of a device may hold the name, too */
        *ret_at = next + name;
        *ret_length = length - (size_t)(*ret_at - tail);
        next = memmem(*ret_at, *ret_length, MANIFEST_IDSTR, name);
    }
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
