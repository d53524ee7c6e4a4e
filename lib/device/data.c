/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data stream and its sizes.
 *
 * One value, one meaning: devices answer an empty read where the uAPI says ENOMSG (mtty, hisi_acc,
 * qat), so what an empty read means is decided by the state that our own last request reached. It
 * is looked at before the read: an empty read begun in PRE_COPY stays "drained for now", even when
 * the device gets to STOP_COPY meanwhile.
 */
#include <errno.h>
#include <inttypes.h>

#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/trace/trace.h"

static enum vmig_state known_state(const struct vmig_device *device)
{
    return (enum vmig_state)atomic_load(&device->state);
}

static bool is_precopy(enum vmig_state state)
{
    return state == VMIG_STATE_PRE_COPY || state == VMIG_STATE_PRE_COPY_P2P;
}

/* ---- out ---- */

static ssize_t judge_read(struct vmig_device *device, enum vmig_state state, ssize_t got,
                          size_t asked, struct vmig_error *err)
{
    if (got > (ssize_t)asked)
        return device_refuse(device, err, EPROTO, "%zd bytes of data where %zu were asked for", got,
                             asked);
    if (got == 0)
        return state == VMIG_STATE_STOP_COPY ? 0 : -ENOMSG;
    if (got == -ENOMSG && state == VMIG_STATE_STOP_COPY)
        return device_refuse(device, err, EPROTO,
                             "it has no data for now in STOP_COPY, where only data and the end of "
                             "data may come");
    return got;
}

VMIG_EXPORT ssize_t vmig_device_data_read(struct vmig_device *device, void *buf, size_t size_bytes,
                                          struct vmig_error *err)
{
    enum vmig_state state = known_state(device);
    int rc = device_enter_data(device, err);
    if (rc)
        return rc;
    if (!device->ops->data_read || !device->migration.flags)
        rc = -ENOTTY;
    else if (!size_bytes)
        rc = device_refuse(device, err, EINVAL, "a read of 0 bytes could not be told from the end");
    else if (!is_precopy(state) && state != VMIG_STATE_STOP_COPY)
        rc =
            device_refuse(device, err, EINVAL, "no data can be read in %s", vmig_state_name(state));
    if (rc)
        return device_leave_data(device, rc, err, "reading its data");
    size_t asked = size_bytes < DEVICE_CHUNK_MAX ? size_bytes : DEVICE_CHUNK_MAX;
    ssize_t got = device->ops->data_read(device->backend, buf, asked, err);
    got = judge_read(device, state, got, asked, err);
    if (got == 0)
        TRACE(vfio_data_end, device->id);
    return device_leave_data(device, (int)got, err, "reading its data");
}

/* ---- in ---- */

static int check_resuming(struct vmig_device *device, struct vmig_error *err)
{
    enum vmig_state state = known_state(device);
    if (!device->ops->data_write || !device->migration.flags)
        return -ENOTTY;
    if (state != VMIG_STATE_RESUMING)
        return device_refuse(device, err, EINVAL, "no data can be written in %s",
                             vmig_state_name(state));
    if (atomic_load(&device->broken))
        return device_refuse(device, err, EIO,
                             "it refused data before; reset it and load it from the start");
    return 0;
}

VMIG_EXPORT int vmig_device_data_write(struct vmig_device *device, const void *buf,
                                       size_t length_bytes, struct vmig_error *err)
{
    int rc = device_enter_data(device, err);
    if (rc)
        return rc;
    const uint8_t *at = buf;
    rc = check_resuming(device, err);
    for (size_t left = length_bytes, part; !rc && left; at += part, left -= part) {
        part = left < DEVICE_CHUNK_MAX ? left : DEVICE_CHUNK_MAX;
        rc = device->ops->data_write(device->backend, at, part, err);
        if (rc)
            atomic_store(&device->broken, true);
    }
    return device_leave_data(device, rc, err, "writing its data");
}

VMIG_EXPORT int vmig_device_data_flush(struct vmig_device *device, struct vmig_error *err)
{
    int rc = device_enter_data(device, err);
    if (rc)
        return rc;
    rc = check_resuming(device, err);
    if (!rc && device->ops->data_flush) {
        rc = device->ops->data_flush(device->backend, err);
        if (rc)
            atomic_store(&device->broken, true);
    }
    return device_leave_data(device, rc, err, "writing its data");
}

/* ---- sizes ---- */

/* Drivers have stored a negative errno there: a number that large is an error, not a size. */
#define SIZE_SANE_MAX ((uint64_t)INT64_MAX)

VMIG_EXPORT int vmig_device_data_size(struct vmig_device *device, uint64_t *ret_bytes,
                                      struct vmig_error *err)
{
    uint64_t size = 0;
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = device->ops->data_size && device->migration.has_data_size
             ? device->ops->data_size(device->backend, &size, err)
             : -ENOTTY;
    if (!rc && size > SIZE_SANE_MAX)
        rc =
            device_refuse(device, err, EOVERFLOW,
                          "claims %" PRIu64 " bytes of state, which must be an error (%" PRId64 ")",
                          size, (int64_t)size);
    if (!rc)
        *ret_bytes = size;
    return device_leave(device, rc, err, "asking for the size of its state");
}

static int ask_precopy_info(struct vmig_device *device, struct vmig_precopy_info *ret,
                            struct vmig_error *err)
{
    struct vmig_precopy_info info = { 0 };
    enum vmig_state state = known_state(device);
    if (!device->ops->precopy_info || !device->migration.has_precopy_info)
        return -ENOTTY;
    if (!is_precopy(state))
        return device_refuse(device, err, EINVAL, "no pre-copy sizes can be asked in %s",
                             vmig_state_name(state));
    int rc = device->ops->precopy_info(device->backend, &info, err);
    if (rc)
        return rc;
    /* Estimates: saturate, so that their sum cannot wrap. */
    ret->initial_bytes = info.initial_bytes > SIZE_SANE_MAX ? SIZE_SANE_MAX : info.initial_bytes;
    ret->dirty_bytes = info.dirty_bytes > SIZE_SANE_MAX ? SIZE_SANE_MAX : info.dirty_bytes;
    /* old kernels echo any flag */
    ret->reinit = info.reinit && atomic_load(&device->reinit);
    return 0;
}

VMIG_EXPORT int vmig_device_precopy_info(struct vmig_device *device, struct vmig_precopy_info *ret,
                                         struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = ask_precopy_info(device, ret, err);
    return device_leave(device, rc, err, "asking for its pre-copy sizes");
}

VMIG_EXPORT int vmig_device_enable_reinit(struct vmig_device *device, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    if (!device->ops->enable_reinit || !device->migration.has_reinit)
        rc = -ENOTTY;
    else if (!atomic_load(&device->reinit))
        rc = device->ops->enable_reinit(device->backend, err);
    if (rc == -EINVAL)
        rc = -ENOTTY; /* what kernels that do not know it say, too */
    if (!rc)
        atomic_store(&device->reinit, true);
    return device_leave(device, rc, err, "asking for announcements of new initial bytes");
}
