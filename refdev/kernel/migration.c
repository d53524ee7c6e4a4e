// SPDX-License-Identifier: GPL-2.0-only
/*
 * States and data fds. The model knows the arcs; a request is walked here one arc at a time, so that
 * a data fd begins and ends on exactly the arc where the state machine (lib/device/fsm.c) says so,
 * also when a later arc of the same request fails.
 *
 * A data fd is alive while the device points to it. It holds a reference to the device, so whoever
 * keeps it for longer gets ENODEV and nothing worse.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "lib/device/fsm.h"
#include "refdev/kernel/internal.h"

struct krefdev_stream {
    struct krefdev *dev;
    struct file *file;
};

/* ---- data fds ---- */

static void set_stream(struct krefdev *dev, struct krefdev_stream *stream)
{
    spin_lock(&dev->stream_lock);
    dev->stream = stream;
    spin_unlock(&dev->stream_lock);
}

void krefdev_stream_settle(struct krefdev *dev)
{
    switch (refdev_state(dev->model)) {
    case VMIG_STATE_STOP_COPY:
    case VMIG_STATE_RESUMING:
    case VMIG_STATE_PRE_COPY:
    case VMIG_STATE_PRE_COPY_P2P:
        break;
    default:
        set_stream(dev, NULL);
    }
}

static int stream_release(struct inode *inode, struct file *file)
{
    struct krefdev_stream *stream = file->private_data;
    struct krefdev *dev = stream->dev;

    spin_lock(&dev->stream_lock);
    if (dev->stream == stream)
        dev->stream = NULL;
    spin_unlock(&dev->stream_lock);
    kfree(stream);
    vfio_put_device(&dev->vdev);
    return 0;
}

static int stream_enter(struct krefdev_stream *stream, enum refdev_fault_command command)
{
    struct krefdev *dev = stream->dev;
    int rc = krefdev_lock(dev);

    if (rc)
        return rc;
    if (dev->stream != stream) {
        mutex_unlock(&dev->lock); /* there may be no model any more */
        return -ENODEV;
    }
    rc = krefdev_ask(dev, command);
    if (rc)
        krefdev_leave(dev);
    return rc;
}

/* ---- saving ---- */

static int copy_segments(const struct krefdev *dev, unsigned int count, char __user *buf)
{
    unsigned int i;

    for (i = 0; i < count; i++) {
        const struct refdev_segment *segment = &dev->segments[i];

        if (copy_to_user(buf, segment->data, segment->length_bytes))
            return -EFAULT;
        buf += segment->length_bytes;
    }
    return 0;
}

/* What the model hands out is gone from it, so the buffer is tried before. One that goes away
 * between the two ends the stream: a part of the state is lost. */
static ssize_t stream_read(struct file *file, char __user *buf, size_t length, loff_t *pos)
{
    struct krefdev_stream *stream = file->private_data;
    struct krefdev *dev = stream->dev;
    unsigned int count;
    ssize_t got;

    if (length > REFDEV_DATA_MAX)
        length = REFDEV_DATA_MAX;
    if (length) {
        length -= fault_in_writeable(buf, length);
        if (!length)
            return -EFAULT;
    }
    got = stream_enter(stream, REFDEV_COMMAND_DATA_READ);
    if (got)
        return got;
    got = refdev_data_read(dev->model, length, dev->segments, &count);
    if (got > 0 && copy_segments(dev, count, buf)) {
        set_stream(dev, NULL);
        got = -EFAULT;
    }
    krefdev_leave(dev);
    return got;
}

static int precopy_info(struct krefdev *dev, struct vfio_precopy_info *info)
{
    uint64_t initial, dirty;
    int rc = refdev_precopy_info(dev->model, &initial, &dirty);

    if (rc)
        return rc;
    info->initial_bytes = initial;
    info->dirty_bytes = dirty;
    if (!(dev->profile->quirks & REFDEV_QUIRK_ECHO_INFO_FLAGS))
        info->flags = refdev_precopy_flags(dev->model);
    return 0;
}

static long stream_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
    struct krefdev_stream *stream = file->private_data;
    const size_t size = offsetofend(struct vfio_precopy_info, dirty_bytes);
    struct vfio_precopy_info info;
    int rc;

    if (cmd != VFIO_MIG_GET_PRECOPY_INFO)
        return -ENOTTY;
    if (copy_from_user(&info, (void __user *)arg, size))
        return -EFAULT;
    if (info.argsz < size)
        return -EINVAL;
    rc = stream_enter(stream, REFDEV_COMMAND_INFO);
    if (rc)
        return rc;
    rc = precopy_info(stream->dev, &info);
    krefdev_leave(stream->dev);
    if (!rc && copy_to_user((void __user *)arg, &info, size))
        rc = -EFAULT;
    return rc;
}

static const struct file_operations save_fops = {
    .owner = THIS_MODULE,
    .read = stream_read,
    .unlocked_ioctl = stream_ioctl,
    .compat_ioctl = compat_ptr_ioctl,
    .release = stream_release,
};

/* ---- loading ---- */

/* From the user to where the model wants it. Returns the bytes taken: all, or those before memory
 * that cannot be read. */
static ssize_t load(struct krefdev *dev, const char __user *buf, size_t length)
{
    size_t done = 0;

    while (done < length) {
        uint64_t room;
        void *place;
        size_t part;
        int rc = refdev_data_place(dev->model, &place, &room);

        if (rc)
            return rc;
        part = min_t(u64, room, length - done);
        part -= copy_from_user(place, buf + done, part);
        if (!part || fatal_signal_pending(current))
            return done ? done : part ? -EINTR : -EFAULT;
        rc = refdev_data_placed(dev->model, part);
        if (rc)
            return rc;
        done += part;
        cond_resched();
    }
    return done;
}

static ssize_t stream_write(struct file *file, const char __user *buf, size_t length, loff_t *pos)
{
    struct krefdev_stream *stream = file->private_data;
    ssize_t rc = stream_enter(stream, REFDEV_COMMAND_DATA_WRITE);

    if (rc)
        return rc;
    rc = refdev_data_write_begin(stream->dev->model, length);
    if (!rc)
        rc = load(stream->dev, buf, length);
    krefdev_leave(stream->dev);
    return rc;
}

static const struct file_operations load_fops = {
    .owner = THIS_MODULE,
    .write = stream_write,
    .release = stream_release,
};

/* ---- states ---- */

static struct krefdev_stream *make_stream(struct krefdev *dev, bool saves)
{
    struct krefdev_stream *stream = kzalloc(sizeof(*stream), GFP_KERNEL_ACCOUNT);
    struct file *file;

    if (!stream)
        return ERR_PTR(-ENOMEM);
    stream->dev = dev;
    file = anon_inode_getfile("vfio-migrate-refdev", saves ? &save_fops : &load_fops, stream,
                              saves ? O_RDONLY : O_WRONLY);
    if (IS_ERR(file)) {
        kfree(stream);
        return ERR_CAST(file);
    }
    get_device(&dev->vdev.device);
    stream_open(file->f_inode, file);
    stream->file = file;
    return stream;
}

/* One arc. A new data fd is made before it, since afterwards it would be too late to fail. */
static int walk_arc(struct krefdev *dev, unsigned int next, struct file **opened)
{
    struct krefdev_stream *stream = NULL;
    unsigned int from = refdev_state(dev->model);
    int rc;

    if (fsm_arc_opens_data(from, next))
        stream = make_stream(dev, next != VMIG_STATE_RESUMING);
    if (IS_ERR(stream))
        return PTR_ERR(stream);
    rc = refdev_set_state(dev->model, next);
    if (!rc && fsm_arc_ends_data(from, next))
        set_stream(dev, NULL);
    if (!stream)
        return rc;
    if (rc) {
        fput(stream->file);
        return rc;
    }
    set_stream(dev, stream);
    *opened = stream->file;
    return 0;
}

static struct file *set_state(struct vfio_device *vdev, enum vfio_device_mig_state target)
{
    struct krefdev *dev = to_krefdev(vdev);
    struct file *opened = NULL;
    unsigned int state;
    int rc = krefdev_enter(dev, REFDEV_COMMAND_SET_STATE);

    if (rc)
        return ERR_PTR(rc);
    while (!rc && (state = refdev_state(dev->model)) != target) {
        int next = fsm_next(refdev_flags(dev->model), state, (enum vmig_state)target);

        rc = next < 0 ? next : walk_arc(dev, (unsigned int)next, &opened);
    }
    krefdev_kick(dev);
    krefdev_leave(dev);
    return rc ? ERR_PTR(rc) : opened;
}

static int get_state(struct vfio_device *vdev, enum vfio_device_mig_state *state)
{
    struct krefdev *dev = to_krefdev(vdev);
    uint64_t answer;
    int rc = krefdev_enter(dev, REFDEV_COMMAND_GET_STATE);

    if (rc)
        return rc;
    answer = refdev_state(dev->model);
    refdev_fault_lie(dev->model, REFDEV_COMMAND_GET_STATE, &answer);
    *state = (enum vfio_device_mig_state)answer;
    krefdev_leave(dev);
    return 0;
}

static int get_data_size(struct vfio_device *vdev, unsigned long *stop_copy_length)
{
    struct krefdev *dev = to_krefdev(vdev);
    uint64_t bytes;
    int rc = krefdev_enter(dev, REFDEV_COMMAND_SIZE);

    if (rc)
        return rc;
    rc = refdev_data_size(dev->model, &bytes);
    krefdev_leave(dev);
    if (!rc)
        *stop_copy_length = bytes;
    return rc;
}

const struct vfio_migration_ops krefdev_migration_ops = {
    .migration_set_state = set_state,
    .migration_get_state = get_state,
    .migration_get_data_size = get_data_size,
};
