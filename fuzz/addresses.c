/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of channels and devices. They come from command lines and configuration files, and
 * through vmig_device_hand_on() from another process. Nothing is opened here.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/channel/channel.h"
#include "lib/device/backend-vfio-user.h"
#include "lib/device/sysfs.h"

/* A channel's address holds what was written, in full. */
static void try_channel(const char *text)
{
    struct address a;
    struct vmig_error err = { 0 };
    int rc = address_parse(text, &a, &err);
    MUST(rc == err.code);
    if (rc < 0) {
        MUST(err.text[0]);
        return;
    }
    const char *rest = strchr(text, ':') + 1;
    if (a.kind == ADDRESS_TCP)
        MUST(strstr(rest, a.host) && strstr(rest, a.port) && a.port[0]);
    else if (a.kind == ADDRESS_FD)
        MUST(a.fd >= 0);
    else
        MUST(strcmp(a.path, rest) == 0);
}

static void try_sysfs(const char *text)
{
    char name[SYSFS_NAME_MAX];
    if (!sysfs_is_pci(text) && !sysfs_is_uuid(text))
        return;
    sysfs_name(text, name);
    MUST(strcasecmp(name, text) == 0);
}

/* What follows "vfio-user:fd:N,". */
static void try_established(const char *text)
{
    struct vuc v = { 0 };
    struct vuc_established established;
    struct vmig_error err = { 0 };
    if (vuc_established_parse(&v, text, &established, &err) == 0)
        MUST(established.twin_fd >= -1 && established.peer.max_data_xfer_size > 0);
    else
        MUST(err.code < 0);
    free(v.windows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    if (!text)
        return 0;
    try_channel(text);
    try_sysfs(text);
    try_established(text);
    free(text);
    return 0;
}
