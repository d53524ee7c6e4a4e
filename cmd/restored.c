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
#include "lib/error.h"
#include "lib/stream/manifest.h"

/* The manifest stands near the end, whatever is in between: look for its name there. */
#define TAIL_BYTES (256u << 10)
/* Behind the name: instance and version, both u32; then the identity. */
#define BEHIND_NAME 8

int restored_identity(const char *path, char ret[33], struct vmig_error *err)
{
    ret[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "opening %s: %s", path,
                         strerror(errno));
    char *tail = malloc(TAIL_BYTES);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, size > (long)TAIL_BYTES ? size - (long)TAIL_BYTES : 0, SEEK_SET);
    size_t length = tail ? fread(tail, 1, TAIL_BYTES, file) : 0;
    const size_t name = strlen(MANIFEST_IDSTR);
    const unsigned char *at = NULL,
                        *next = tail ? memmem(tail, length, MANIFEST_IDSTR, name) : NULL;
    while (next) { /* the last one: data of a device may hold the name, too */
        at = next;
        next = memmem(at + 1, length - (size_t)((const char *)at + 1 - tail), MANIFEST_IDSTR, name);
    }
    if (at && (size_t)((const char *)at - tail) + name + BEHIND_NAME + 16 <= length)
        for (int i = 0; i < 16; i++)
            snprintf(ret + 2 * i, 3, "%02x", at[name + BEHIND_NAME + (size_t)i]);
    free(tail);
    fclose(file);
    return 0;
}

/* The folder, made if need be; -1 when there is no place for it. */
static int folder(char *ret, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && state[0])
        snprintf(ret, size, "%s/vfio-migrate/restored", state);
    else if (home && home[0])
        snprintf(ret, size, "%s/.local/state/vfio-migrate/restored", home);
    else
        return -1;
    for (char *slash = strchr(ret + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(ret, 0700);
        *slash = '/';
    }
    mkdir(ret, 0700);
    return 0;
}

static int marker(const char *identity, char *ret, size_t size)
{
    char dir[3000];
    if (!identity[0] || folder(dir, sizeof(dir)) < 0)
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

void restored_note(const char *path, const char *identity)
{
    char name[4096];
    (void)path;
    if (marker(identity, name, sizeof(name)) < 0)
        return;
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}
