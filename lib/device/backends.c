/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which backend carries an address.
 *
 * A PCI or mediated device can be opened in two ways: by a character device of its own, or by its
 * IOMMU group. The first is taken where the host offers it to this user; else the second. A device
 * that is busy or broken one way is so the other way too, so only "there is no such thing here" and
 * "not for you" lead on.
 */
#include <errno.h>
#include <string.h>

#include "lib/device/device.h"
#include "lib/error.h"

static const struct backend_ops *const backends[] = {
    &backend_vfio_user,
    &backend_cdev,
    &backend_group,
};
#define NUM_BACKENDS (sizeof(backends) / sizeof(backends[0]))

static bool is_auto(const char *wish)
{
    return !wish || !strcmp(wish, "auto");
}

static int check_wish(const char *wish, struct vmig_error *err)
{
    for (size_t i = 0; i < NUM_BACKENDS; i++)
        if (is_auto(wish) || !strcmp(wish, backends[i]->name))
            return 0;
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "no-such-backend",
                     "there is no backend '%.40s'; use auto, cdev, group or vfio-user", wish);
}

int backend_choose(const char *address, const char *wish, struct backend_choice *ret,
                   struct vmig_error *err)
{
    unsigned count = 0, known = 0;
    int rc = check_wish(wish, err);
    if (rc)
        return rc;
    *ret = (struct backend_choice) { 0 };
    for (size_t i = 0; i < NUM_BACKENDS; i++) {
        if (!backends[i]->matches(address))
            continue;
        known++;
        if (count < BACKEND_CHOICES_MAX && (is_auto(wish) || !strcmp(wish, backends[i]->name)))
            ret->ops[count++] = backends[i];
    }
    if (known && !count)
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                         "'%.200s' is no address for the backend %s", address, wish);
    return count ? 0 : -EINVAL;
}

static bool leads_on(const struct vmig_error *cause)
{
    static const char *const reasons[] = { "no-cdev", "no-device-node", "no-iommufd",
                                           "no-permission", "no-vfio-driver" };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (!strcmp(cause->reason, reasons[i]))
            return true;
    return false;
}

int backend_open(const struct backend_choice *choice, const char *address,
                 const struct backend_options *options, const struct backend_ops **ret_ops,
                 void **ret_self, struct vmig_error *err)
{
    const struct backend_ops *const *ops = choice->ops;
    struct vmig_error first = { 0 }, second = { 0 };
    int rc = ops[0]->open(address, options, ret_self, &first);
    *ret_ops = ops[0];
    if (!rc)
        return 0;
    if (!ops[1] || !leads_on(&first))
        return error_copy(err, &first), rc;
    rc = ops[1]->open(address, options, ret_self, &second);
    *ret_ops = ops[1];
    if (!rc)
        return 0;
    if (!strcmp(first.text, second.text)) /* what neither could get past */
        return error_copy(err, &second), rc;
    return error_set(err, rc, second.stage, second.device, second.reason,
                     "by its %s: %.240s; by its %s: %.240s", ops[1]->name, second.text,
                     ops[0]->name, first.text);
}
