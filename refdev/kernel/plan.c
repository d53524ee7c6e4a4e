// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door's part in the fault plan. sysfs replaces it at any time, also while the device hangs with
 * the model's lock held: the new one waits here until the user's next call, or the hang, takes it
 * over.
 */
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "lib/device/fsm.h"
#include "refdev/kernel/internal.h"

#define COMMAND(name) (1u << REFDEV_COMMAND_##name)

/* What the kernel's VFIO answers without asking its driver. */
#define NOT_ASKED                                                                                  \
    (COMMAND(VERSION) | COMMAND(DMA_MAP) | COMMAND(DMA_UNMAP) | COMMAND(PROBE) | COMMAND(FLAGS) |  \
     COMMAND(REINIT))

void krefdev_plan_init(struct krefdev *dev)
{
    mutex_init(&dev->plan.lock);
    init_waitqueue_head(&dev->plan.wake);
}

void krefdev_plan_adopt(struct krefdev *dev)
{
    struct krefdev_plan *plan = &dev->plan;
    unsigned int i;

    mutex_lock(&plan->lock);
    if (plan->replaced) {
        for (i = 0; i < plan->count; i++)
            plan->faults[i].seen = 0;
        refdev_set_faults(dev->model, plan->faults, plan->count);
        WRITE_ONCE(plan->replaced, false);
        dev->gone = false;
    }
    mutex_unlock(&plan->lock);
}

/* ---- what the model asks ---- */

void krefdev_faulted(void *door, const struct refdev_fault *fault)
{
    struct krefdev *dev = door;
    struct krefdev_plan *plan = &dev->plan;
    unsigned int i;

    dev_notice(dev->vdev.dev, "fault %s, in state %s\n", fault->text,
               vmig_state_name(refdev_state(dev->model)));
    mutex_lock(&plan->lock);
    for (i = 0; !plan->replaced && i < plan->count; i++) {
        if (strcmp(plan->faults[i].text, fault->text))
            continue;
        plan->faults[i].seen++;
        break;
    }
    mutex_unlock(&plan->lock);
    sysfs_notify(&dev->vdev.dev->kobj, "refdev", "faults");
}

static bool breaks_off(const struct krefdev *dev)
{
    return READ_ONCE(dev->closing) || fatal_signal_pending(current);
}

int krefdev_hang(void *door)
{
    struct krefdev *dev = door;

    if (wait_event_killable(dev->plan.wake,
                            READ_ONCE(dev->plan.replaced) || READ_ONCE(dev->closing)) ||
        breaks_off(dev))
        return -EINTR;
    krefdev_plan_adopt(dev);
    return 0;
}

int krefdev_sleep_ns(void *door, uint64_t ns)
{
    struct krefdev *dev = door;
    ktime_t end = ktime_add_ns(ktime_get(), ns);
    DEFINE_WAIT(wait);

    for (;;) {
        prepare_to_wait(&dev->plan.wake, &wait, TASK_KILLABLE);
        if (breaks_off(dev) || !ktime_before(ktime_get(), end))
            break;
        schedule_hrtimeout(&end, HRTIMER_MODE_ABS);
    }
    finish_wait(&dev->plan.wake, &wait);
    return breaks_off(dev) ? -EINTR : 0;
}

void krefdev_vanish(void *door)
{
    struct krefdev *dev = door;

    dev->gone = true;
}

void krefdev_refused(void *door, const char *why, uint64_t offset)
{
    struct krefdev *dev = door;

    dev_warn_ratelimited(dev->vdev.dev, "state refused at byte %llu: %s\n", offset, why);
    mutex_lock(&dev->plan.lock);
    scnprintf(dev->plan.refused, sizeof(dev->plan.refused), "byte %llu: %s", offset, why);
    mutex_unlock(&dev->plan.lock);
}

/* ---- as text ---- */

ssize_t krefdev_plan_show(struct krefdev *dev, char *buf)
{
    struct krefdev_plan *plan = &dev->plan;
    ssize_t length = 0;
    unsigned int i;

    mutex_lock(&plan->lock);
    for (i = 0; i < plan->count; i++)
        length +=
            sysfs_emit_at(buf, length, "%s %llu\n", plan->faults[i].text, plan->faults[i].seen);
    mutex_unlock(&plan->lock);
    return length;
}

static int parse_fault(struct krefdev *dev, const char *text, struct refdev_fault *ret)
{
    struct refdev_fault_error error;

    if (refdev_fault_parse_why(text, ret, &error)) {
        dev_notice(dev->vdev.dev, "faults: '%.*s' %s\n", (int)error.length, text + error.at,
                   error.why);
        return -EINVAL;
    }
    if (ret->where == REFDEV_AT_COMMAND && ret->names != ~0u && !(ret->names & ~NOT_ASKED)) {
        dev_notice(dev->vdev.dev, "faults: '%s' cannot be: the kernel answers that itself\n", text);
        return -EOPNOTSUPP;
    }
    ret->seen = 0;
    return 0;
}

static int parse_faults(struct krefdev *dev, char *text, struct refdev_fault *faults,
                        unsigned int *count)
{
    char *word;

    while ((word = strsep(&text, " \t\n"))) {
        int rc;

        if (!*word)
            continue;
        if (*count == REFDEV_FAULTS_MAX)
            return -E2BIG;
        rc = parse_fault(dev, word, &faults[*count]);
        if (rc)
            return rc;
        ++*count;
    }
    return 0;
}

static void replace(struct krefdev_plan *plan, const struct refdev_fault *faults,
                    unsigned int count)
{
    mutex_lock(&plan->lock);
    memcpy(plan->faults, faults, count * sizeof(*faults));
    plan->count = count;
    WRITE_ONCE(plan->replaced, true);
    mutex_unlock(&plan->lock);
    wake_up_all(&plan->wake);
}

int krefdev_plan_store(struct krefdev *dev, const char *text)
{
    struct refdev_fault *faults = kcalloc(REFDEV_FAULTS_MAX, sizeof(*faults), GFP_KERNEL);
    char *copy = kstrdup(text, GFP_KERNEL);
    unsigned int count = 0;
    int rc = -ENOMEM;

    if (faults && copy)
        rc = parse_faults(dev, copy, faults, &count);
    if (!rc)
        replace(&dev->plan, faults, count);
    kfree(copy);
    kfree(faults);
    return rc;
}
