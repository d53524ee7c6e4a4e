// SPDX-License-Identifier: GPL-2.0-only
/*
 * sysfs: the folder refdev/ of an instance. Names, units and limits are those of the options of
 * vfio-migrate-refdev(1). A knob is a row: the 64-bit number that it sets, and how that is written.
 */
#include <linux/kstrtox.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "lib/device/fsm.h"
#include "refdev/kernel/internal.h"

/* ---- knobs: what the next open makes the device with ---- */

enum knob_unit { UNIT_NONE, UNIT_BYTES, UNIT_TIME };

struct knob {
    struct device_attribute attr;
    size_t offset; /* of the number in struct krefdev */
    enum knob_unit unit;
};

static u64 *number_of(struct krefdev *dev, const struct knob *knob)
{
    return (u64 *)((char *)dev + knob->offset);
}

static bool fits(const struct krefdev *dev)
{
    const struct refdev_knobs *knobs = &dev->knobs;

    return refdev_knobs_fit(knobs, dev->state_size) &&
           (dev->profile->has_dma || (!knobs->dma_rate && !knobs->slot_count));
}

static ssize_t knob_show(struct device *device, struct device_attribute *attr, char *buf)
{
    const struct knob *knob = container_of(attr, struct knob, attr);
    struct krefdev *dev = dev_get_drvdata(device);

    return sysfs_emit(buf, "%llu%s\n", READ_ONCE(*number_of(dev, knob)),
                      knob->unit == UNIT_TIME ? "ns" : "");
}

static bool parse(const char *text, enum knob_unit unit, u64 *ret)
{
    switch (unit) {
    case UNIT_BYTES:
        return refdev_parse_bytes(text, ret);
    case UNIT_TIME:
        return refdev_parse_time(text, ret);
    default:
        return !kstrtou64(text, 0, ret);
    }
}

/* Set a number, and @other of them too unless it is NULL; or neither. */
static int change(struct krefdev *dev, u64 *number, u64 value, u64 *other, u64 other_value)
{
    u64 old, other_old = 0;
    int rc = 0;

    mutex_lock(&dev->config_lock);
    old = *number;
    *number = value;
    if (other) {
        other_old = *other;
        *other = other_value;
    }
    if (dev->open)
        rc = -EBUSY;
    else if (!fits(dev))
        rc = -EINVAL;
    if (rc) {
        *number = old;
        if (other)
            *other = other_old;
    } else {
        dev->stale = true;
    }
    mutex_unlock(&dev->config_lock);
    return rc;
}

static ssize_t knob_store(struct device *device, struct device_attribute *attr, const char *buf,
                          size_t count)
{
    const struct knob *knob = container_of(attr, struct knob, attr);
    struct krefdev *dev = dev_get_drvdata(device);
    u64 *number = number_of(dev, knob), value;
    char *text = kstrdup(buf, GFP_KERNEL);
    bool good;
    int rc;

    if (!text)
        return -ENOMEM;
    good = parse(strim(text), knob->unit, &value);
    kfree(text);
    if (!good)
        return -EINVAL;
    if (number == &dev->state_size && !value)
        value = dev->profile->default_local_bytes;
    rc = change(dev, number, value, NULL, 0);
    return rc ? rc : count;
}

#define KNOB(name, member, unit)                                                                   \
    static struct knob name##_knob = { __ATTR(name, 0644, knob_show, knob_store),                  \
                                       offsetof(struct krefdev, member), unit }

KNOB(state_size, state_size, UNIT_BYTES);
KNOB(transition_latency, knobs.transition_ns, UNIT_TIME);
KNOB(dirty_rate, knobs.dirty_rate, UNIT_NONE);
KNOB(dirty_set, knobs.dirty_set_bytes, UNIT_BYTES);
KNOB(dma_rate, knobs.dma_rate, UNIT_NONE);
KNOB(seed, knobs.seed, UNIT_NONE);
KNOB(log_page_size, knobs.log_pgsize, UNIT_BYTES);

/* ---- COUNT@IOVA ---- */

static ssize_t dma_slots_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);
    ssize_t length;

    mutex_lock(&dev->config_lock);
    length = sysfs_emit(buf, "%llu@0x%llx\n", dev->knobs.slot_count, dev->knobs.slot_base);
    mutex_unlock(&dev->config_lock);
    return length;
}

static bool parse_slots(char *text, u64 *count, u64 *base)
{
    char *at = strchr(text, '@');

    if (!at)
        return false;
    *at = '\0';
    return !kstrtou64(text, 0, count) && !kstrtou64(at + 1, 0, base);
}

static ssize_t dma_slots_store(struct device *device, struct device_attribute *attr,
                               const char *buf, size_t count)
{
    struct krefdev *dev = dev_get_drvdata(device);
    char *text = kstrdup(buf, GFP_KERNEL);
    u64 slots, base;
    bool good;
    int rc;

    if (!text)
        return -ENOMEM;
    good = parse_slots(strim(text), &slots, &base);
    kfree(text);
    if (!good)
        return -EINVAL;
    rc = change(dev, &dev->knobs.slot_count, slots, &dev->knobs.slot_base, base);
    return rc ? rc : count;
}
static DEVICE_ATTR_RW(dma_slots);

/* ---- faults ---- */

static ssize_t faults_show(struct device *device, struct device_attribute *attr, char *buf)
{
    return krefdev_plan_show(dev_get_drvdata(device), buf);
}

static ssize_t faults_store(struct device *device, struct device_attribute *attr, const char *buf,
                            size_t count)
{
    int rc = krefdev_plan_store(dev_get_drvdata(device), buf);

    return rc ? rc : count;
}
static DEVICE_ATTR_RW(faults);

/* ---- what it is and how it stands ---- */

static ssize_t profile_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);

    return sysfs_emit(buf, "%s\n", dev->profile->name);
}
static DEVICE_ATTR_RO(profile);

static ssize_t vendor_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);

    return sysfs_emit(buf, "0x%04x\n", dev->profile->vendor_id);
}
static DEVICE_ATTR_RO(vendor);

static ssize_t device_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);

    return sysfs_emit(buf, "0x%04x\n", dev->profile->device_id);
}
static DEVICE_ATTR_RO(device);

static ssize_t class_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);

    return sysfs_emit(buf, "0x%06x\n", dev->profile->class_code);
}
static DEVICE_ATTR_RO(class);

/* Without the model's lock, which a device that hangs keeps: a number that may be old already. The
 * model itself only goes while config_lock is held. */
static ssize_t state_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);
    unsigned int state = VMIG_STATE_RUNNING;

    mutex_lock(&dev->config_lock);
    if (dev->model)
        state = refdev_state(dev->model);
    mutex_unlock(&dev->config_lock);
    return sysfs_emit(buf, "%s\n", vmig_state_name(state));
}
static DEVICE_ATTR_RO(state);

static ssize_t refused_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);
    ssize_t length;

    mutex_lock(&dev->plan.lock);
    length = sysfs_emit(buf, "%s\n", dev->plan.refused);
    mutex_unlock(&dev->plan.lock);
    return length;
}
static DEVICE_ATTR_RO(refused);

static ssize_t pinned_pages_show(struct device *device, struct device_attribute *attr, char *buf)
{
    struct krefdev *dev = dev_get_drvdata(device);

    return sysfs_emit(buf, "%u\n", READ_ONCE(dev->pins.count));
}
static DEVICE_ATTR_RO(pinned_pages);

static struct attribute *attributes[] = {
    &state_size_knob.attr.attr,
    &transition_latency_knob.attr.attr,
    &dirty_rate_knob.attr.attr,
    &dirty_set_knob.attr.attr,
    &dma_rate_knob.attr.attr,
    &dev_attr_dma_slots.attr,
    &seed_knob.attr.attr,
    &log_page_size_knob.attr.attr,
    &dev_attr_faults.attr,
    &dev_attr_profile.attr,
    &dev_attr_vendor.attr,
    &dev_attr_device.attr,
    &dev_attr_class.attr,
    &dev_attr_state.attr,
    &dev_attr_refused.attr,
    &dev_attr_pinned_pages.attr,
    NULL,
};

static const struct attribute_group group = {
    .name = "refdev",
    .attrs = attributes,
};

const struct attribute_group *krefdev_attribute_groups[] = { &group, NULL };
