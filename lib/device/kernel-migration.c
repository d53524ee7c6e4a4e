/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The migration features of a kernel VFIO device, its data stream and its reset.
 *
 * SET blocks in the kernel for as long as the driver takes and cannot be interrupted; no deadline
 * is possible here. Whoever needs one gives the device a thread of its own and abandons it.
 *
 * The data fd: PRE_COPY, PRE_COPY_P2P and STOP_COPY share one stream; a request that leaves it ends
 * it even when it enters another stream on the way (STOP_COPY to RESUMING). A new fd that comes
 * where the old stream should have gone on means that somebody reset the device in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/fsm.h"
#include "lib/device/kernel.h"
#include "lib/device/sysfs.h"
#include "lib/device/uapi.h"
#include "lib/device/variant.h"
#include "lib/error.h"

struct kernel_stream {
    int fd;
    atomic_uint refs;
};

int kernel_feature(struct kernel_device *device, uint32_t operation, uint32_t feature,
                   void *payload, size_t size)
{
    union {
        struct vfio_device_feature header;
        /* u64 so that the payload behind the 8 bytes of header is aligned. */
        uint64_t words[1 + KERNEL_FEATURE_PAYLOAD_MAX / sizeof(uint64_t)];
    } request = { .header = { .argsz = (uint32_t)(sizeof(request.header) + size),
                              .flags = operation | feature } };
    if (size > KERNEL_FEATURE_PAYLOAD_MAX)
        return -EINVAL;
    if (size)
        memcpy(&request.words[1], payload, size);
    int rc = ioctl(device->fd, VFIO_DEVICE_FEATURE, &request) < 0 ? -errno : 0;
    if (size)
        memcpy(payload, &request.words[1], size);
    return rc;
}

static bool has_feature(struct kernel_device *device, uint32_t operation, uint32_t feature)
{
    return !kernel_feature(device, VFIO_DEVICE_FEATURE_PROBE | operation, feature, NULL, 0);
}

/* ---- what it can ---- */

/* Its identity, as far as it is known without a handle. */
static bool read_pci(struct kernel_device *device, struct sysfs_pci *ret)
{
    uint8_t id[48];
    if (sysfs_find_pci("/sys", device->name, ret))
        return true;
    if (kernel_region_read(device, VMIG_REGION_CONFIG, 0, id, sizeof(id), NULL))
        return false;
    *ret = (struct sysfs_pci) {
        .vendor = (uint16_t)(id[0] | id[1] << 8),
        .device = (uint16_t)(id[2] | id[3] << 8),
        .subvendor = (uint16_t)(id[44] | id[45] << 8),
        .subdevice = (uint16_t)(id[46] | id[47] << 8),
        .class_code = (uint32_t)(id[9] | id[10] << 8 | id[11] << 16),
        .is_virtual = true, /* rather name a driver in vain than none */
    };
    return true;
}

static void explain_driver(struct kernel_device *device, struct vmig_migration_info *ret)
{
    struct vmig_device_info info = { 0 };
    struct sysfs_pci pci;
    struct kernel_tree tree;
    char driver[SYSFS_NAME_MAX];
    sysfs_find_driver("/sys", device->name, driver);
    if (kernel_info(device, &info, NULL) || !info.pci || sysfs_is_uuid(device->name) ||
        !read_pci(device, &pci)) {
        snprintf(ret->reason, sizeof(ret->reason), "vfio-no-kernel-support");
        snprintf(ret->remedy, sizeof(ret->remedy),
                 "its driver%s%.40s cannot migrate it; a newer version of it may",
                 driver[0] ? " " : "", driver);
        return;
    }
    kernel_tree_init(&tree);
    struct variants *variants = variants_new(&tree);
    variants_explain(variants, &pci, driver, ret->reason, ret->remedy);
    variants_free(variants);
}

static void explain_no_migration(struct kernel_device *device, struct vmig_migration_info *ret)
{
    if (kernel_has_v1_region(device)) {
        snprintf(ret->reason, sizeof(ret->reason), "vfio-old-protocol");
        snprintf(ret->remedy, sizeof(ret->remedy),
                 "its driver offers only the old region-based protocol (v1); use a driver with "
                 "protocol v2 (Linux 5.18 or later)");
        return;
    }
    explain_driver(device, ret);
}

int kernel_migration_info(void *self, struct vmig_migration_info *ret, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct vfio_device_feature_migration migration = { 0 };
    *ret = (struct vmig_migration_info) { 0 };
    int rc = kernel_feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIGRATION,
                            &migration, sizeof(migration));
    if (rc && rc != -ENOTTY && rc != -EINVAL)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "asking whether it can migrate: %s",
                         strerror(-rc));
    ret->has_dma_logging =
        has_feature(device, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_DMA_LOGGING_START) &&
        has_feature(device, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP) &&
        has_feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT);
    if (rc || !(migration.flags & VMIG_MIGRATION_STOP_COPY)) {
        explain_no_migration(device, ret);
        return 0;
    }
    device->flags = ret->flags = migration.flags;
    ret->has_precopy_info = migration.flags & VMIG_MIGRATION_PRE_COPY;
    ret->has_reinit = ret->has_precopy_info &&
                      has_feature(device, VFIO_DEVICE_FEATURE_SET, UAPI_FEATURE_MIG_PRECOPY_INFO2);
    ret->has_data_size = has_feature(device, VFIO_DEVICE_FEATURE_GET, UAPI_FEATURE_MIG_DATA_SIZE);
    return 0;
}

/* ---- the stream's life ---- */

static void stream_unref(struct kernel_stream *stream)
{
    if (stream && atomic_fetch_sub(&stream->refs, 1) == 1) {
        close(stream->fd);
        free(stream);
    }
}

static struct kernel_stream *stream_ref(struct kernel_device *device)
{
    LOCK_SCOPE(&device->lock);
    if (device->stream)
        atomic_fetch_add(&device->stream->refs, 1);
    return device->stream;
}

static void replace_stream(struct kernel_device *device, struct kernel_stream *stream)
{
    struct kernel_stream *old;
    {
        LOCK_SCOPE(&device->lock);
        old = device->stream;
        device->stream = stream;
    }
    stream_unref(old);
}

void kernel_drop_stream(struct kernel_device *device)
{
    replace_stream(device, NULL);
}

static bool has_stream(enum vmig_state state)
{
    return fsm_arc_ends_data(state, VMIG_STATE_STOP);
}

/* Does the stream of @from go on through the whole way to @to? */
static bool stream_goes_on(uint64_t flags, enum vmig_state from, enum vmig_state to)
{
    while (from != to) {
        int next = fsm_next(flags, from, to);
        if (next < 0 || fsm_arc_ends_data(from, (enum vmig_state)next))
            return false;
        from = (enum vmig_state)next;
    }
    return has_stream(to);
}

/* The request to @target succeeded and brought @data_fd (-1: none): which stream is open now? */
static int settle_stream(struct kernel_device *device, enum vmig_state target, int data_fd,
                         struct vmig_error *err)
{
    CLEANUP_FD int fd = data_fd;
    bool goes_on = device->stream && stream_goes_on(device->flags, device->state, target);
    if (goes_on && fd >= 0) {
        kernel_drop_stream(device);
        return error_set(err, EBADF, VMIG_STAGE_NONE, NULL, "device-out-of-sync",
                         "a second data stream came while one is open: out of sync, the device was "
                         "reset meanwhile; both are closed, start its stream again");
    }
    if (goes_on)
        return 0;
    kernel_drop_stream(device);
    if (!has_stream(target))
        return 0;
    if (fd < 0)
        return error_set(err, EBADF, VMIG_STAGE_NONE, NULL, NULL, "%s came without a data stream",
                         vmig_state_name(target));
    struct kernel_stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    stream->fd = take_fd(&fd);
    atomic_store(&stream->refs, 1);
    replace_stream(device, stream);
    return 0;
}

/* ---- states ---- */

int kernel_get_state(void *self, enum vmig_state *ret, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct vfio_device_feature_mig_state state = { .data_fd = -1 };
    int rc = kernel_feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
                            &state, sizeof(state));
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "asking for its state: %s",
                         strerror(-rc));
    if (state.device_state >= VMIG_STATE_COUNT)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL, "it is in an unknown state %u",
                         state.device_state);
    *ret = device->state = (enum vmig_state)state.device_state;
    return 0;
}

/* A signal in the middle would leave the device half way: none comes in here. */
static int request_state(struct kernel_device *device, enum vmig_state target, int *ret_fd)
{
    struct vfio_device_feature_mig_state state = { .device_state = target, .data_fd = -1 };
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = kernel_feature(device, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
                            &state, sizeof(state));
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    *ret_fd = state.data_fd;
    return rc;
}

int kernel_set_state(void *self, enum vmig_state target, struct vmig_error *err)
{
    struct kernel_device *device = self;
    int data_fd = -1;
    /* Without a free number the transition happens and its stream is lost: keep one in hand. */
    cleanup_fd_(&device->reserve_fd);
    device->reserve_fd = -1;
    int rc = request_state(device, target, &data_fd);
    if (rc)
        error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "%s", strerror(-rc));
    else
        rc = settle_stream(device, target, data_fd, err);
    if (!rc)
        device->state = target;
    device->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return rc;
}

#define RESET_TRIES 20 /* the PCI core's locks are held by others for a moment: EAGAIN */

int kernel_reset(void *self, struct vmig_error *err)
{
    struct kernel_device *device = self;
    const struct timespec pause = { .tv_nsec = 50000000 };
    int rc = -EAGAIN;
    for (unsigned i = 0; rc == -EAGAIN && i < RESET_TRIES; i++) {
        if (i)
            nanosleep(&pause, NULL);
        rc = ioctl(device->fd, VFIO_DEVICE_RESET) ? -errno : 0;
    }
    kernel_drop_stream(device);
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "reset: %s", strerror(-rc));
    device->state = VMIG_STATE_RUNNING;
    return 0;
}

/* ---- sizes and data ---- */

int kernel_data_size(void *self, uint64_t *ret, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct uapi_feature_data_size size = { 0 };
    int rc = kernel_feature(device, VFIO_DEVICE_FEATURE_GET, UAPI_FEATURE_MIG_DATA_SIZE, &size,
                            sizeof(size));
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "asking for its state's size: %s",
                         strerror(-rc));
    *ret = size.stop_copy_length;
    return 0;
}

static int no_stream(struct vmig_error *err)
{
    return error_set(err, ENODEV, VMIG_STAGE_NONE, NULL, NULL, "no data stream is open");
}

int kernel_precopy_info(void *self, struct vmig_precopy_info *ret, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct uapi_precopy_info info = { .argsz = sizeof(info) };
    struct kernel_stream *stream = stream_ref(device);
    if (!stream)
        return no_stream(err);
    int rc;
    do
        rc = ioctl(stream->fd, UAPI_MIG_GET_PRECOPY_INFO, &info) ? -errno : 0;
    while (rc == -EINTR);
    stream_unref(stream);
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "asking for pre-copy sizes: %s",
                         strerror(-rc));
    ret->initial_bytes = info.initial_bytes;
    ret->dirty_bytes = info.dirty_bytes;
    ret->reinit = info.flags & UAPI_PRECOPY_INFO_REINIT;
    return 0;
}

int kernel_enable_reinit(void *self, struct vmig_error *err)
{
    int rc = kernel_feature(self, VFIO_DEVICE_FEATURE_SET, UAPI_FEATURE_MIG_PRECOPY_INFO2, NULL, 0);
    return rc ? error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                          "asking for announcements of new initial bytes: %s", strerror(-rc))
              : 0;
}

static ssize_t read_once(int fd, void *buf, size_t size)
{
    ssize_t got = read(fd, buf, size);
    return got < 0 ? -errno : got;
}

ssize_t kernel_data_read(void *self, void *buf, size_t size, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct kernel_stream *stream = stream_ref(device);
    if (!stream)
        return no_stream(err);
    ssize_t got;
    do
        got = read_once(stream->fd, buf, size);
    while (got == -EINTR);
    stream_unref(stream);
    if (got < 0 && got != -ENOMSG)
        return error_set(err, (int)got, VMIG_STAGE_NONE, NULL, NULL, "reading its data: %s%s",
                         strerror((int)-got), got == -ENODEV ? "; the stream has ended" : "");
    return got;
}

int kernel_data_write(void *self, const void *buf, size_t length, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct kernel_stream *stream = stream_ref(device);
    size_t done = 0;
    int rc = 0;
    if (!stream)
        return no_stream(err);
    while (!rc && done < length) {
        ssize_t put = write(stream->fd, (const uint8_t *)buf + done, length - done);
        if (put > 0)
            done += (size_t)put;
        else if (put == 0 || errno != EINTR)
            rc = put ? -errno : -EIO;
    }
    stream_unref(stream);
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                         "it took %zu of %zu bytes of data and refused the rest: %s", done, length,
                         strerror(-rc));
    return 0;
}
