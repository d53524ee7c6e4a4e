/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "tests/device/fake-kernel.h"

struct fake_kernel fake_kernel;

void fake_kernel_begin(void)
{
    fake_kernel = (struct fake_kernel) {
        .device = memfd_create("device", MFD_CLOEXEC),
        .iommufd = memfd_create("iommufd", MFD_CLOEXEC),
        .container = memfd_create("container", MFD_CLOEXEC),
        .group = memfd_create("group", MFD_CLOEXEC),
        .info_flags = VFIO_DEVICE_FLAGS_PCI,
        .state = 2,
    };
}

void fake_kernel_end(void)
{
    cleanup_fd_(&fake_kernel.device);
    cleanup_fd_(&fake_kernel.iommufd);
    cleanup_fd_(&fake_kernel.container);
    cleanup_fd_(&fake_kernel.group);
}

void fake_kernel_add_cap(unsigned index, const void *cap, uint32_t size)
{
    struct vfio_region_info *info = &fake_kernel.regions[index];
    uint32_t *used = &fake_kernel.caps_bytes[index];
    struct vfio_info_cap_header header;
    uint8_t *caps = fake_kernel.caps[index];
    assert_true(*used + size <= FAKE_KERNEL_CAPS);
    if (!*used)
        info->cap_offset = sizeof(*info);
    for (uint32_t at = 0; at < *used;) { /* link it to the last */
        memcpy(&header, caps + at, sizeof(header));
        uint32_t next = header.next ? header.next - (uint32_t)sizeof(*info) : *used;
        if (!header.next) {
            header.next = *used + (uint32_t)sizeof(*info);
            memcpy(caps + at, &header, sizeof(header));
        }
        at = next;
    }
    memcpy(caps + *used, cap, size);
    *used += size;
    info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
}

/* ---- what each descriptor answers: 0, or an errno ---- */

static void note(const char *what)
{
    size_t used = strlen(fake_kernel.history);
    snprintf(fake_kernel.history + used, sizeof(fake_kernel.history) - used, "%s ", what);
}

static int get_info(struct vfio_device_info *info)
{
    info->flags = fake_kernel.info_flags;
    info->num_regions = FAKE_KERNEL_REGIONS;
    info->num_irqs = 0;
    return 0;
}

static int get_region(struct vfio_region_info *info)
{
    uint32_t room = info->argsz, index = info->index;
    if (index >= FAKE_KERNEL_REGIONS)
        return EINVAL;
    *info = fake_kernel.regions[index];
    info->index = index;
    info->argsz = (uint32_t)sizeof(*info) + fake_kernel.caps_bytes[index];
    if (room >= info->argsz)
        memcpy(info + 1, fake_kernel.caps[index], fake_kernel.caps_bytes[index]);
    else
        info->cap_offset = 0;
    return 0;
}

static int get_hot_reset(struct vfio_pci_hot_reset_info *info)
{
    if (fake_kernel.hot_reset_errno && fake_kernel.hot_reset_errno != ENOSPC)
        return fake_kernel.hot_reset_errno;
    info->flags = fake_kernel.hot_reset_flags;
    info->count = fake_kernel.hot_reset_count;
    if (fake_kernel.hot_reset_errno)
        return ENOSPC;
    memcpy(info + 1, fake_kernel.hot_reset,
           fake_kernel.hot_reset_count * sizeof(fake_kernel.hot_reset[0]));
    return 0;
}

static int feature(struct vfio_device_feature *request)
{
    uint32_t number = request->flags & VFIO_DEVICE_FEATURE_MASK;
    struct vfio_device_feature_mig_state state = { fake_kernel.state, -1 };
    if (!fake_kernel.migration || number > VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)
        return ENOTTY;
    if (request->flags & VFIO_DEVICE_FEATURE_PROBE)
        return 0;
    if (number == VFIO_DEVICE_FEATURE_MIGRATION)
        memcpy(request->data, &fake_kernel.migration, sizeof(fake_kernel.migration));
    else if (number == VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE &&
             request->flags & VFIO_DEVICE_FEATURE_GET)
        memcpy(request->data, &state, sizeof(state));
    else
        return EINVAL;
    return 0;
}

static int bind_iommufd(struct uapi_bind_iommufd *bind)
{
    note("bind");
    if (fake_kernel.bind_errno)
        return fake_kernel.bind_errno;
    if (fake_kernel.bound)
        return EINVAL;
    fake_kernel.bound = true;
    bind->out_devid = FAKE_KERNEL_DEVID;
    return 0;
}

static int ask_device(unsigned long request, void *argument)
{
    if (request == UAPI_DEVICE_BIND_IOMMUFD)
        return bind_iommufd(argument);
    if (!fake_kernel.bound)
        return EINVAL;
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        return get_info(argument);
    case VFIO_DEVICE_GET_REGION_INFO:
        return get_region(argument);
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return get_hot_reset(argument);
    case VFIO_DEVICE_FEATURE:
        return feature(argument);
    case VFIO_DEVICE_RESET:
        note("reset");
        fake_kernel.state = 2;
        return 0;
    case UAPI_DEVICE_ATTACH_IOMMUFD_PT:
        note("attach");
        fake_kernel.attached = ((struct uapi_attach_pt *)argument)->pt_id;
        return fake_kernel.attach_errno;
    case UAPI_DEVICE_DETACH_IOMMUFD_PT:
        note("detach");
        return 0;
    default:
        return ENOTTY;
    }
}

static int switch_tracking(const struct uapi_hwpt_set_dirty_tracking *set)
{
    if (set->hwpt_id != FAKE_KERNEL_TABLE)
        return ENOENT;
    fake_kernel.tracking = set->flags & UAPI_HWPT_DIRTY_TRACKING_ENABLE;
    return 0;
}

static int ask_iommufd(unsigned long request, void *argument)
{
    switch (request) {
    case UAPI_IOMMU_GET_HW_INFO:
        ((struct uapi_hw_info *)argument)->out_capabilities =
            fake_kernel.tracks ? UAPI_HW_CAP_DIRTY_TRACKING : 0;
        return 0;
    case UAPI_IOMMU_HWPT_ALLOC:
        note("table");
        ((struct uapi_hwpt_alloc *)argument)->out_hwpt_id = FAKE_KERNEL_TABLE;
        return 0;
    case UAPI_IOMMU_HWPT_SET_DIRTY_TRACKING:
        return switch_tracking(argument);
    case UAPI_IOMMU_IOAS_ALLOC:
        note("alloc");
        ((struct uapi_ioas_alloc *)argument)->out_ioas_id = FAKE_KERNEL_IOAS;
        return 0;
    case UAPI_IOMMU_IOAS_IOVA_RANGES:
        return ((struct uapi_ioas_iova_ranges *)argument)->ioas_id == FAKE_KERNEL_IOAS ? EMSGSIZE
                                                                                       : ENOENT;
    case UAPI_IOMMU_DESTROY:
        note("destroy");
        return 0;
    case UAPI_IOMMU_IOAS_MAP:
        return fake_kernel.map_errno;
    default:
        return ENOTTY;
    }
}

/* Without the capability it can nothing. */
static int get_container_info(struct vfio_iommu_type1_info *info)
{
    struct vfio_iommu_type1_info_cap_migration can = {
        .header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, .version = 1 },
        .pgsize_bitmap = 4096,
        .max_dirty_bitmap_size = 0x10000000,
    };
    uint32_t room = info->argsz;
    if (!fake_kernel.container_logs)
        return 0;
    info->flags = VFIO_IOMMU_INFO_CAPS;
    info->argsz = sizeof(*info) + sizeof(can);
    if (room < info->argsz)
        return 0;
    info->cap_offset = sizeof(*info);
    memcpy(info + 1, &can, sizeof(can));
    return 0;
}

static int ask_container(unsigned long request, void *argument)
{
    if (request == VFIO_IOMMU_MAP_DMA)
        return fake_kernel.map_errno;
    if (request == VFIO_IOMMU_GET_INFO)
        return get_container_info(argument);
    if (request == VFIO_IOMMU_UNMAP_DMA || request == VFIO_IOMMU_DIRTY_PAGES)
        return 0;
    return request == VFIO_GET_API_VERSION ? 0 : ENOTTY;
}

static bool is_same(int a, int b)
{
    struct stat one, other;
    return a >= 0 && b >= 0 && !fstat(a, &one) && !fstat(b, &other) && one.st_ino == other.st_ino &&
           one.st_dev == other.st_dev;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    int code = ENOTTY;
    if (++fake_kernel.calls == fake_kernel.fail_at)
        code = EIO;
    else if (is_same(fd, fake_kernel.device))
        code = ask_device(request, argument);
    else if (is_same(fd, fake_kernel.iommufd))
        code = ask_iommufd(request, argument);
    else if (is_same(fd, fake_kernel.container))
        code = ask_container(request, argument);
    else if (is_same(fd, fake_kernel.group))
        code = request == VFIO_GROUP_GET_STATUS ? 0 : ENOTTY;
    else if (fcntl(fd, F_GETFD) < 0)
        code = EBADF;
    errno = code;
    return code ? -1 : 0;
}
