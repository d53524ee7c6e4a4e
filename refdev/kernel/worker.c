// SPDX-License-Identifier: GPL-2.0-only
/* The device's own work: a thread from open to close that sleeps for as long as the model says. */
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>

#include "refdev/kernel/internal.h"

/* Work comes in pieces of this; finer waits would only burn the processor. */
#define TICK_NS 500000ull

/* The ns until there is more. */
static u64 work(struct krefdev *dev)
{
    u64 wait_ns = UINT64_MAX;

    WRITE_ONCE(dev->kicked, false);
    /* Nothing signals this thread; a wait of that kind is not taken for one that is stuck. */
    if (mutex_lock_interruptible(&dev->lock))
        return TICK_NS;
    if (!dev->gone && !dev->closing)
        wait_ns = refdev_tick(dev->model, ktime_get_ns());
    mutex_unlock(&dev->lock);
    return wait_ns;
}

static int run(void *arg)
{
    struct krefdev *dev = arg;

    while (!kthread_should_stop()) {
        u64 wait_ns = work(dev);
        ktime_t wait = KTIME_MAX;

        if (!wait_ns) {
            cond_resched();
            continue;
        }
        if (wait_ns < KTIME_MAX)
            wait = ns_to_ktime(max(wait_ns, TICK_NS));
        /* Awake or timed out: both are a reason to look. */
        (void)wait_event_interruptible_hrtimeout(
            dev->work, READ_ONCE(dev->kicked) || kthread_should_stop(), wait);
    }
    return 0;
}

int krefdev_worker_start(struct krefdev *dev)
{
    struct task_struct *worker = kthread_run(run, dev, "refdev/%s", dev_name(dev->vdev.dev));

    if (IS_ERR(worker))
        return PTR_ERR(worker);
    dev->worker = worker;
    return 0;
}

void krefdev_worker_stop(struct krefdev *dev)
{
    kthread_stop(dev->worker);
    dev->worker = NULL;
}

void krefdev_kick(struct krefdev *dev)
{
    WRITE_ONCE(dev->kicked, true);
    wake_up(&dev->work);
}
