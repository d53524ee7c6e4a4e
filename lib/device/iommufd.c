/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "lib/device/iommufd.h"
#include "lib/device/uapi.h"

int iommufd_request(int fd, unsigned long number, void *argument)
{
    return ioctl(fd, number, argument) < 0 ? -errno : 0;
}

int iommufd_ioas_alloc(int fd, uint32_t *ret_id)
{
    struct uapi_ioas_alloc alloc = { .size = sizeof(alloc) };
    int rc = iommufd_request(fd, UAPI_IOMMU_IOAS_ALLOC, &alloc);
    if (!rc)
        *ret_id = alloc.out_ioas_id;
    return rc;
}

/* A question with room for no answer: that there is one is enough. */
int iommufd_ioas_check(int fd, uint32_t ioas_id)
{
    struct uapi_ioas_iova_ranges ranges = { .size = sizeof(ranges), .ioas_id = ioas_id };
    int rc = iommufd_request(fd, UAPI_IOMMU_IOAS_IOVA_RANGES, &ranges);
    return rc == -EMSGSIZE ? 0 : rc;
}

int iommufd_destroy(int fd, uint32_t id)
{
    struct uapi_iommu_destroy destroy = { .size = sizeof(destroy), .id = id };
    return iommufd_request(fd, UAPI_IOMMU_DESTROY, &destroy);
}

int iommufd_map(const struct iommufd_place *place, const struct vmig_dma_map *map)
{
    struct uapi_ioas_map request_map = {
        .size = sizeof(request_map),
        .flags = UAPI_IOAS_MAP_FIXED_IOVA | UAPI_IOAS_MAP_READABLE |
                 (map->writable ? UAPI_IOAS_MAP_WRITEABLE : 0),
        .ioas_id = place->ioas_id,
        .user_va = (uintptr_t)map->vaddr,
        .length = map->size_bytes,
        .iova = map->iova,
    };
    return iommufd_request(place->fd, UAPI_IOMMU_IOAS_MAP, &request_map);
}

int iommufd_unmap(const struct iommufd_place *place, uint64_t iova, uint64_t size,
                  uint64_t *ret_bytes)
{
    struct uapi_ioas_unmap unmap = {
        .size = sizeof(unmap),
        .ioas_id = place->ioas_id,
        .iova = iova,
        .length = size,
    };
    int rc = iommufd_request(place->fd, UAPI_IOMMU_IOAS_UNMAP, &unmap);
    if (!rc)
        *ret_bytes = unmap.length;
    return rc;
}
