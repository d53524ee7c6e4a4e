/* SPDX-License-Identifier: BSD-3-Clause */
/* Which backend an address belongs to. The first that knows its form takes it. */
#include "lib/device/device.h"

static const struct backend_ops *const backends[] = {
    &backend_vfio_user,
    &backend_group,
    NULL,
};

const struct backend_ops *backend_find(const char *address)
{
    for (const struct backend_ops *const *ops = backends; *ops; ops++)
        if ((*ops)->matches(address))
            return *ops;
    return NULL;
}
