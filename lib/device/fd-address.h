/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of kernel devices that are open descriptors already:
 *
 *   fd:N,iommufd=M[,ioas=ID][,name=NAME]       N a character device, not bound yet
 *   fd:N,container=M[,name=NAME]               N from a group, in a container with its IOMMU set
 *   fd:N,iommufd=M,ioas=ID,devid=ID[,hwpt=ID][,name=NAME],established=1
 *   fd:N,container=M[,group=G][,name=NAME],established=1
 *
 * The last two are what vmig_device_hand_on() writes.
 */
#ifndef LIB_DEVICE_FD_ADDRESS_H
#define LIB_DEVICE_FD_ADDRESS_H

#include <stdint.h>

#include "lib/device/sysfs.h"

struct fd_address {
    int device;
    int iommufd, container, group; /* -1: not given */
    uint32_t ioas, devid, hwpt;    /* 0: not given */
    bool established;              /* goes on where another owner stopped */
    char name[SYSFS_NAME_MAX];     /* in sysfs; "": not given */
};

/* "fd:...": a kernel device by descriptors? With "iommufd=" it is one of the character devices. */
bool fd_address_matches(const char *address);
bool fd_address_is_cdev(const char *address);

/* -EINVAL ("bad-address") when it is none of the forms above. */
int fd_address_parse(const char *address, struct fd_address *ret, struct vmig_error *err);

/* -ENOSPC when it does not fit. */
int fd_address_write(const struct fd_address *address, char *ret, size_t size,
                     struct vmig_error *err);

/* From its new owner's descriptors: close-on-exec from now on (-1 is left out), or no more. */
void fd_address_keep(const int *fds, unsigned count);
void fd_address_release(int *fds[], unsigned count);

#endif
