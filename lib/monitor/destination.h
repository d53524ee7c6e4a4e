/* SPDX-License-Identifier: BSD-3-Clause */
/* Where to or from: QEMU's argument "uri", or its later "channels", both to an address of ours. */
#ifndef LIB_MONITOR_DESTINATION_H
#define LIB_MONITOR_DESTINATION_H

#include <jansson.h>
#include <vfio-migrate/error.h>

/* *ret is malloc'd. 0, -EINVAL or -ENOMEM. */
int destination_read(const json_t *arguments, char **ret, struct vmig_error *err);
/* "tcp:HOST:PORT" as QMP's SocketAddress; NULL for what is no socket. */
json_t *destination_socket(const char *address);

#endif
