/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel devices on a fake kernel (fake-kernel.h), by descriptors: how they are bound, what happens
 * to the descriptors, and what is made of answers that no kernel at hand gives.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <vfio-migrate.h>

#include "lib/device/device.h"
#include "lib/device/kernel.h"
#include "tests/device/fake-kernel.h"

#define PAGE 4096u

static struct fake_kernel *const k = &fake_kernel;
static char address[200];
static struct vmig_error err;

static int begin(void **unused)
{
    (void)unused;
    fake_kernel_begin();
    err = (struct vmig_error) { 0 };
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    fake_kernel_end();
    return 0;
}

/* ---- vocabulary ---- */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static const char *by_iommufd(const char *more)
{
    snprintf(address, sizeof(address), "fd:%d,iommufd=%d%s", k->device, k->iommufd, more);
    return address;
}

/* A device of a group is usable from the beginning. */
static const char *by_container(const char *more)
{
    k->bound = true;
    snprintf(address, sizeof(address), "fd:%d,container=%d%s", k->device, k->container, more);
    return address;
}

static struct vmig_device *x_open(const char *at)
{
    struct vmig_device *device = NULL;
    if (vmig_device_open(at, NULL, &device, &err))
        fail_msg("%s: %s", at, err.text);
    return device;
}

/* The descriptor of the device was taken: the fake must not close it a second time. */
static void x_close(struct vmig_device *device)
{
    vmig_device_close(device);
    assert_false(is_open(k->device));
    k->device = -1;
}

static void refused(const char *at, int code, const char *reason, const char *says)
{
    struct vmig_device *device = NULL;
    err = (struct vmig_error) { 0 };
    int rc = vmig_device_open(at, NULL, &device, &err);
    if (rc != code || strcmp(err.reason, reason) || !strstr(err.text, says) || device)
        fail_msg("%s: %d [%s] %s, not %d [%s] ...%s", at, rc, err.reason, err.text, code, reason,
                 says);
    assert_true(is_open(k->device) && is_open(k->iommufd) && is_open(k->container));
}

static void make_bar(void)
{
    k->regions[0].flags = VMIG_REGION_READ | VMIG_REGION_WRITE | VMIG_REGION_MMAP;
    k->regions[0].size = 4 * PAGE;
}

/* ---- binding ---- */

static void a_device_is_bound_attached_and_given_an_address_space(void **unused)
{
    (void)unused;
    struct vmig_device *device = x_open(by_iommufd(""));
    assert_string_equal(k->history, "bind alloc attach ");
    x_close(device);
    assert_string_equal(k->history, "bind alloc attach destroy ");
    assert_true(is_open(k->iommufd));
}

static void a_given_address_space_is_used_and_left(void **unused)
{
    (void)unused;
    x_close(x_open(by_iommufd(",ioas=5")));
    assert_string_equal(k->history, "bind attach ");
    fake_kernel_end();
    fake_kernel_begin();
    refused(by_iommufd(",ioas=6"), -EINVAL, "", "has no address space 6");
    assert_string_equal(k->history, "");
}

static void every_errno_of_a_bind_says_what_is_in_the_way(void **unused)
{
    (void)unused;
    static const struct {
        int code, rc;
        const char *reason, *says;
    } cases[] = {
        { EBUSY, -EBUSY, "device-busy", "in use by another process" },
        { EINVAL, -EBUSY, "device-busy", "in use by another process" },
        { EPERM, -EPERM, "group-not-viable", "another device of its IOMMU group" },
        { ENOTTY, -EINVAL, "", "no character device of VFIO" },
        { EBADFD, -EINVAL, "", "is no /dev/iommu" },
        { EIO, -EIO, "", "Input/output error" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        k->bind_errno = cases[i].code;
        refused(by_iommufd(""), cases[i].rc, cases[i].reason, cases[i].says);
    }
    k->bind_errno = 0;
    k->bound = true;
    refused(by_iommufd(""), -EINVAL, "", "bound to an iommufd already");
}

static void what_fails_after_the_bind_leaves_nothing_in_the_iommufd(void **unused)
{
    (void)unused;
    k->attach_errno = ENOSPC;
    refused(by_iommufd(""), -ENOSPC, "", "address space 5");
    assert_string_equal(k->history, "bind alloc attach detach destroy ");
}

static unsigned count_open(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += is_open(fd);
    return count;
}

/* Whichever ioctl fails: the descriptors stay the caller's, nothing else stays open, and what was made
 * in the iommufd is gone. A question about what the device can may go unanswered. */
static void every_ioctl_of_opening_may_fail(void **unused)
{
    (void)unused;
    unsigned refusals = 0;
    for (unsigned n = 1;; n++) {
        struct vmig_device *device = NULL;
        bool container = n % 2;
        fake_kernel_end();
        fake_kernel_begin();
        make_bar();
        k->migration = VMIG_MIGRATION_STOP_COPY;
        k->state = VMIG_STATE_STOP;
        k->fail_at = (n + 1) / 2;
        unsigned before = count_open();
        err = (struct vmig_error) { 0 };
        int rc =
            vmig_device_open(container ? by_container("") : by_iommufd(""), NULL, &device, &err);
        if (rc) {
            refusals++;
            assert_true(err.code == rc && err.text[0] && err.stage == VMIG_STAGE_OPEN);
            assert_int_equal(count_open(), before);
            assert_int_equal(!strstr(k->history, "alloc"), !strstr(k->history, "destroy"));
            continue;
        }
        bool all_done = k->calls < k->fail_at;
        x_close(device);
        if (all_done && !container)
            break;
    }
    assert_true(refusals > 10);
}

static void nor_is_what_was_handed_on_closed_by_a_failure(void **unused)
{
    (void)unused;
    unsigned refusals = 0;
    for (unsigned n = 1;; n++) {
        struct vmig_device *device = NULL;
        fake_kernel_end();
        fake_kernel_begin();
        k->migration = VMIG_MIGRATION_STOP_COPY;
        k->bound = true;
        k->fail_at = n;
        fcntl(k->device, F_SETFD, 0);
        fcntl(k->iommufd, F_SETFD, 0);
        unsigned before = count_open();
        int rc = vmig_device_open(by_iommufd(",ioas=5,devid=77,hwpt=9,established=1"), NULL,
                                  &device, NULL);
        if (!rc && k->calls < n) {
            x_close(device);
            assert_false(is_open(k->iommufd));
            k->iommufd = -1;
            break;
        }
        if (!rc) {
            vmig_device_close(device);
            k->device = k->iommufd = -1;
            continue;
        }
        refusals++;
        assert_int_equal(count_open(), before);
        assert_int_equal(fcntl(k->device, F_GETFD) | fcntl(k->iommufd, F_GETFD), 0);
        assert_string_equal(k->history, "");
    }
    assert_true(refusals > 3);
}

static void a_device_that_is_not_RUNNING_is_reset(void **unused)
{
    (void)unused;
    k->migration = VMIG_MIGRATION_STOP_COPY;
    k->state = VMIG_STATE_STOP;
    x_close(x_open(by_iommufd("")));
    assert_string_equal(k->history, "bind alloc attach reset destroy ");
}

static void one_that_was_handed_on_is_left_as_it_is(void **unused)
{
    (void)unused;
    char next[200];
    enum vmig_state at;
    k->migration = VMIG_MIGRATION_STOP_COPY;
    struct vmig_device *device = x_open(by_iommufd(""));
    assert_int_equal(vmig_device_hand_on(device, next, sizeof(next), NULL), 0);
    vmig_device_close(device);
    assert_true(is_open(k->device));
    assert_non_null(strstr(next, "ioas=5,devid=77,established=1"));
    k->state = VMIG_STATE_STOP;
    device = x_open(next);
    assert_int_equal(vmig_device_get_state(device, &at, NULL), 0);
    assert_int_equal(at, VMIG_STATE_STOP);
    x_close(device);
    assert_string_equal(k->history, "bind alloc attach ");
}

static void what_its_IOMMU_tells_goes_on_being_told(void **unused)
{
    (void)unused;
    char next[200];
    uint64_t pgsize = 0;
    k->tracks = true;
    struct vmig_device *device = x_open(by_iommufd(""));
    assert_string_equal(k->history, "bind alloc table attach ");
    assert_int_equal(k->attached, FAKE_KERNEL_TABLE);
    assert_int_equal(vmig_device_hand_on(device, next, sizeof(next), NULL), 0);
    vmig_device_close(device);
    assert_string_equal(k->history, "bind alloc table attach ");
    device = x_open(next);
    assert_int_equal(vmig_device_iommu_log_start(device, &pgsize, &err), 0);
    assert_true(k->tracking);
    assert_int_equal(vmig_device_iommu_log_stop(device, NULL), 0);
    assert_false(k->tracking);
    x_close(device);
    assert_string_equal(k->history, "bind alloc table attach destroy ");
}

static void a_groups_device_leaves_the_container_to_its_owner(void **unused)
{
    (void)unused;
    x_close(x_open(by_container("")));
    assert_true(is_open(k->container));
    fake_kernel_end();
    fake_kernel_begin();
    snprintf(address, sizeof(address), "fd:%d,container=%d", k->device, k->container);
    refused(address, -EINVAL, "", "no VFIO device"); /* not bound, or no device at all */
    k->bound = true;
    snprintf(address, sizeof(address), "fd:%d,container=%d", k->device, k->iommufd);
    refused(address, -EINVAL, "", "no VFIO container");
}

/* ---- what it is ---- */

static void a_device_that_is_not_PCI_is_refused_by_its_kind(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t flags;
        const char *says;
    } kinds[] = {
        { VFIO_DEVICE_FLAGS_PLATFORM, "a platform device" },
        { VFIO_DEVICE_FLAGS_AP | VFIO_DEVICE_FLAGS_RESET, "crypto" },
        { VFIO_DEVICE_FLAGS_CCW, "channel" },
        { 0, "unknown kind" },
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        k->info_flags = kinds[i].flags;
        refused(by_iommufd(""), -ENODEV, "not-pci", kinds[i].says);
        refused(by_container(""), -ENODEV, "not-pci", kinds[i].says);
        k->bound = false;
    }
    assert_null(strstr(k->history, "alloc"));
}

static const struct vfio_region_info_cap_type v1_type = {
    .header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
    .type = UAPI_REGION_TYPE_MIGRATION_V1,
    .subtype = UAPI_REGION_SUBTYPE_MIGRATION_V1,
};
static const struct vfio_region_info_cap_type other_type = {
    .header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
    .type = 1,
    .subtype = 1,
};

static void assert_reason(struct vmig_device *device, const char *reason)
{
    struct vmig_migration_info info;
    assert_int_equal(vmig_device_migration_info(device, &info, NULL), 0);
    assert_string_equal(info.reason, reason);
    assert_int_equal(info.flags, reason[0] ? 0 : VMIG_MIGRATION_STOP_COPY);
}

static void the_old_protocol_is_recognised_and_refused(void **unused)
{
    (void)unused;
    fake_kernel_add_cap(9, &v1_type, sizeof(v1_type));
    struct vmig_device *device = x_open(by_container(""));
    assert_reason(device, "vfio-old-protocol");
    assert_int_equal(vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, &err),
                     -EOPNOTSUPP);
    assert_string_equal(err.reason, "vfio-old-protocol");
    x_close(device);
}

static void the_new_protocol_counts_where_both_are(void **unused)
{
    (void)unused;
    fake_kernel_add_cap(9, &v1_type, sizeof(v1_type));
    k->migration = VMIG_MIGRATION_STOP_COPY;
    struct vmig_device *device = x_open(by_container(""));
    assert_reason(device, "");
    x_close(device);
}

static void regions_of_other_types_and_in_other_places_are_not_the_old_protocol(void **unused)
{
    (void)unused;
    fake_kernel_add_cap(9, &other_type, sizeof(other_type));
    fake_kernel_add_cap(2, &v1_type, sizeof(v1_type)); /* a BAR */
    struct vmig_device *device = x_open(by_container(""));
    assert_reason(device, "vfio-no-kernel-support");
    x_close(device);
}

/* ---- regions ---- */

#define AREAS_AT offsetof(struct vfio_region_info_cap_sparse_mmap, areas)

/* Areas at 0 and 3 * PAGE, as behind @head. */
static void add_two_areas(const struct vfio_region_info_cap_sparse_mmap *head)
{
    const struct vfio_region_sparse_mmap_area areas[2] = { { 0, PAGE }, { 3 * PAGE, PAGE } };
    uint8_t cap[AREAS_AT + sizeof(areas)];
    memcpy(cap, head, AREAS_AT);
    memcpy(cap + AREAS_AT, areas, sizeof(areas));
    fake_kernel_add_cap(0, cap, sizeof(cap));
}

static const struct vfio_region_info_cap_sparse_mmap two_areas = {
    .header = { .id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1 },
    .nr_areas = 2,
};

static unsigned count_areas(struct vmig_device *device, struct vmig_region_info *ret)
{
    assert_int_equal(vmig_device_region_info(device, 0, ret, NULL), 0);
    return ret->num_areas;
}

static void only_the_areas_of_a_sparse_region_may_be_mapped(void **unused)
{
    (void)unused;
    struct vmig_region_info bar;
    void *first = NULL, *second = NULL;
    make_bar();
    fake_kernel_add_cap(0, &other_type, sizeof(other_type)); /* it is not the first */
    add_two_areas(&two_areas);
    assert_int_equal(ftruncate(k->device, 4 * PAGE), 0);
    assert_int_equal(pwrite(k->device, "second", 6, 3 * PAGE), 6);
    struct vmig_device *device = x_open(by_container(""));
    assert_int_equal(count_areas(device, &bar), 2);
    assert_int_equal(bar.areas[1].offset_bytes, 3 * PAGE);
    assert_int_equal(vmig_device_region_map(device, 0, 0, &first, NULL), 0);
    assert_int_equal(vmig_device_region_map(device, 0, 1, &second, NULL), 0);
    assert_memory_equal(second, "second", 6);
    assert_ptr_not_equal(first, second);
    assert_int_equal(vmig_device_region_map(device, 0, 2, &first, NULL), -EINVAL);
    x_close(device);
}

static void a_region_that_is_not_sparse_is_one_area(void **unused)
{
    (void)unused;
    struct vmig_region_info bar;
    make_bar();
    struct vmig_device *device = x_open(by_container(""));
    assert_int_equal(count_areas(device, &bar), 1);
    assert_int_equal(bar.areas[0].size_bytes, 4 * PAGE);
    x_close(device);
}

static void with_no_mmap_nothing_may_be_mapped(void **unused)
{
    (void)unused;
    struct vmig_region_info bar;
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options), .no_mmap = true };
    make_bar();
    assert_int_equal(vmig_device_open(by_container(""), &options, &device, NULL), 0);
    assert_int_equal(count_areas(device, &bar), 0);
    assert_int_equal(bar.flags, VMIG_REGION_READ | VMIG_REGION_WRITE);
    x_close(device);
}

/* Whatever a driver writes there, reading it ends, and inside of what was read. */
static void a_chain_of_capabilities_that_makes_no_sense_ends(void **unused)
{
    (void)unused;
    const uint32_t base = sizeof(struct vfio_region_info);
    const uint32_t places[] = { base, base + 1, base + 4, base + 8, 1, UINT32_MAX, 0x80000000u };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct vmig_region_info bar;
        struct vfio_region_info_cap_sparse_mmap head = two_areas;
        fake_kernel_end();
        fake_kernel_begin();
        make_bar();
        head.header = (struct vfio_info_cap_header) { 99, 1, places[i] }; /* no such id */
        add_two_areas(&head);
        struct vmig_device *device = x_open(by_container(""));
        count_areas(device, &bar);
        x_close(device);
    }
}

static void more_areas_than_there_are_bytes_for_are_left_out(void **unused)
{
    (void)unused;
    struct vmig_region_info bar;
    struct vfio_region_info_cap_sparse_mmap head = two_areas;
    make_bar();
    head.nr_areas = UINT32_MAX;
    add_two_areas(&head);
    struct vmig_device *device = x_open(by_container(""));
    assert_int_equal(count_areas(device, &bar), 2);
    x_close(device);
}

/* ---- memory ---- */

static int map(struct vmig_device *device, uint64_t bytes)
{
    static char memory[4 * PAGE] __attribute__((aligned(PAGE)));
    struct vmig_dma_map request = {
        .iova = 0x100000, .size_bytes = bytes, .vaddr = memory, .fd = -1, .writable = true
    };
    err = (struct vmig_error) { 0 };
    return vmig_device_dma_map(device, &request, &err);
}

static void ENOMEM_names_the_limit_only_where_there_is_one(void **unused)
{
    (void)unused;
    struct rlimit before, low = { 0 };
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    low = (struct rlimit) { 8192, before.rlim_max };
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_device *device = x_open(i ? by_container("") : by_iommufd(""));
        k->map_errno = ENOMEM;
        assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
        assert_int_equal(map(device, 3 * PAGE), -ENOMEM);
        assert_string_equal(err.reason, "memlock");
        assert_non_null(strstr(err.text, "8192"));
        assert_non_null(strstr(err.text, "12288"));
        setrlimit(RLIMIT_MEMLOCK, &before);
        k->map_errno = EINVAL;
        assert_int_equal(map(device, PAGE), -EINVAL);
        assert_string_equal(err.reason, "");
        k->map_errno = 0;
        assert_int_equal(map(device, PAGE), 0);
        x_close(device);
        fake_kernel_end();
        fake_kernel_begin();
    }
}

static void what_was_unmapped_while_its_writes_were_tracked_is_not_locked_any_more(void **unused)
{
    (void)unused;
    struct rlimit low, before;
    uint64_t pgsize;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    low = (struct rlimit) { 2 * PAGE, before.rlim_max };
    k->container_logs = true;
    struct vmig_device *device = x_open(by_container(""));
    assert_int_equal(map(device, 2 * PAGE), 0);
    assert_int_equal(vmig_device_iommu_log_start(device, &pgsize, &err), 0);
    assert_int_equal(vmig_device_dma_unmap(device, 0x100000, 2 * PAGE, &err), 0);
    k->map_errno = ENOMEM;
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    assert_int_equal(map(device, 3 * PAGE), -ENOMEM);
    setrlimit(RLIMIT_MEMLOCK, &before);
    assert_non_null(strstr(err.text, "needs 12288"));
    x_close(device);
}

/* ---- memory that somebody else maps ---- */

static int tell(struct vmig_device *device)
{
    struct vmig_dma_map told = { .iova = 0x100000, .size_bytes = PAGE, .fd = -1 };
    err = (struct vmig_error) { 0 };
    return vmig_device_dma_map(device, &told, &err);
}

static void the_owner_of_an_address_space_tells_what_is_mapped(void **unused)
{
    (void)unused;
    k->map_errno = EEXIST; /* the kernel is not asked */
    struct vmig_device *device = x_open(by_iommufd(",ioas=5"));
    assert_int_equal(vmig_device_dma_unmap(device, 0x100000, PAGE, NULL), -ENOENT);
    assert_int_equal(tell(device), 0);
    assert_true(device_is_mapped(device, 0x100000, PAGE));
    assert_int_equal(tell(device), -EEXIST);
    assert_int_equal(vmig_device_dma_unmap(device, 0x100000, PAGE, NULL), 0);
    assert_false(device_is_mapped(device, 0x100000, PAGE));
    x_close(device);
}

static void nobody_else_maps_in_an_address_space_of_our_own(void **unused)
{
    (void)unused;
    struct vmig_device *device = x_open(by_iommufd(""));
    assert_int_equal(tell(device), -EINVAL);
    assert_non_null(strstr(err.text, "nobody else"));
    x_close(device);
}

/* ---- hot reset ---- */

static struct vfio_pci_dependent_device function(uint32_t id, uint16_t segment, uint8_t bus,
                                                 uint8_t devfn)
{
    return (struct vfio_pci_dependent_device) {
        .group_id = id, .segment = segment, .bus = bus, .devfn = devfn
    };
}

static int ask_hot_reset(struct vmig_device *device, struct vmig_hot_reset_info *ret)
{
    err = (struct vmig_error) { 0 };
    return vmig_device_hot_reset_info(device, ret, &err);
}

static void by_device_ids_the_kernel_says_what_is_ours(void **unused)
{
    (void)unused;
    struct vmig_hot_reset_info info;
    struct vmig_device *device = x_open(by_iommufd(""));
    k->hot_reset_flags = UAPI_HOT_RESET_DEV_ID | UAPI_HOT_RESET_DEV_ID_OWNED;
    k->hot_reset_count = 2;
    k->hot_reset[0] = function(FAKE_KERNEL_DEVID, 1, 0x3b, 0x02);
    k->hot_reset[1] = function(0, 1, 0x3b, 0xff);
    assert_int_equal(ask_hot_reset(device, &info), 0);
    assert_true(info.all_owned);
    assert_int_equal(info.num_devices, 2);
    assert_int_equal(info.devices[0].dev_id, FAKE_KERNEL_DEVID);
    assert_int_equal(info.devices[0].group, -1);
    assert_int_equal(info.devices[1].segment, 1);
    assert_int_equal(info.devices[1].bus, 0x3b);
    assert_int_equal(info.devices[1].device, 0x1f);
    assert_int_equal(info.devices[1].function, 7);
    assert_int_equal(info.devices[1].dev_id, 0);
    k->hot_reset[1] = function(UAPI_HOT_RESET_NOT_OWNED, 1, 0x3b, 0xff);
    assert_int_equal(ask_hot_reset(device, &info), 0);
    assert_false(info.all_owned || info.devices[1].owned);
    assert_true(info.devices[0].owned);
    assert_int_equal(info.devices[1].dev_id, 0);
    x_close(device);
}

/* Without a name the group of a device is not known, and so none is taken for ours. */
static void by_groups_only_our_own_is_ours(void **unused)
{
    (void)unused;
    struct vmig_hot_reset_info info;
    struct vmig_device *device = x_open(by_container(""));
    k->hot_reset_count = 1;
    k->hot_reset[0] = function(17, 0, 0x3b, 0x02);
    assert_int_equal(ask_hot_reset(device, &info), 0);
    assert_int_equal(info.devices[0].group, 17);
    assert_int_equal(info.devices[0].dev_id, 0);
    assert_false(info.all_owned || info.devices[0].owned);
    ((struct kernel_device *)device->backend)->group = 17;
    assert_int_equal(ask_hot_reset(device, &info), 0);
    assert_true(info.all_owned && info.devices[0].owned);
    x_close(device);
}

static void what_cannot_be_told_of_a_hot_reset_is_an_error(void **unused)
{
    (void)unused;
    static const struct {
        int code;
        uint32_t count;
        int rc;
    } cases[] = {
        { ENOTTY, 0, -ENOTTY }, { ENODEV, 0, -ENODEV },
        { EPERM, 0, -EPERM },   { ENOSPC, VMIG_HOT_RESET_DEVICES_MAX + 1, -EPROTO },
        { ENOSPC, 1, -EPROTO },
    };
    struct vmig_hot_reset_info info;
    struct vmig_device *device = x_open(by_container(""));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        k->hot_reset_errno = cases[i].code;
        k->hot_reset_count = cases[i].count;
        info.num_devices = 12345;
        assert_int_equal(ask_hot_reset(device, &info), cases[i].rc);
        assert_int_equal(info.num_devices, 12345);
        assert_true(err.text[0]);
    }
    x_close(device);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_device_is_bound_attached_and_given_an_address_space),
        TEST(a_given_address_space_is_used_and_left),
        TEST(every_errno_of_a_bind_says_what_is_in_the_way),
        TEST(what_fails_after_the_bind_leaves_nothing_in_the_iommufd),
        TEST(every_ioctl_of_opening_may_fail),
        TEST(nor_is_what_was_handed_on_closed_by_a_failure),
        TEST(a_device_that_is_not_RUNNING_is_reset),
        TEST(one_that_was_handed_on_is_left_as_it_is),
        TEST(what_its_IOMMU_tells_goes_on_being_told),
        TEST(a_groups_device_leaves_the_container_to_its_owner),
        TEST(a_device_that_is_not_PCI_is_refused_by_its_kind),
        TEST(the_old_protocol_is_recognised_and_refused),
        TEST(the_new_protocol_counts_where_both_are),
        TEST(regions_of_other_types_and_in_other_places_are_not_the_old_protocol),
        TEST(only_the_areas_of_a_sparse_region_may_be_mapped),
        TEST(a_region_that_is_not_sparse_is_one_area),
        TEST(with_no_mmap_nothing_may_be_mapped),
        TEST(a_chain_of_capabilities_that_makes_no_sense_ends),
        TEST(more_areas_than_there_are_bytes_for_are_left_out),
        TEST(ENOMEM_names_the_limit_only_where_there_is_one),
        TEST(what_was_unmapped_while_its_writes_were_tracked_is_not_locked_any_more),
        TEST(the_owner_of_an_address_space_tells_what_is_mapped),
        TEST(nobody_else_maps_in_an_address_space_of_our_own),
        TEST(by_device_ids_the_kernel_says_what_is_ours),
        TEST(by_groups_only_our_own_is_ours),
        TEST(what_cannot_be_told_of_a_hot_reset_is_an_error),
    };
    return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
