/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference device as a kernel module, asked by bare ioctls: what it is, its regions and
 * interrupts, its states and data fds, its faults, and what is left of it when its user is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/device/fsm.h"
#include "lib/device/uapi.h"
#include "refdev/registers.h"
#include "tests/rig/instance.h"

#define S VMIG_STATE_STOP
#define R VMIG_STATE_RUNNING
#define SC VMIG_STATE_STOP_COPY
#define RS VMIG_STATE_RESUMING
#define RP VMIG_STATE_RUNNING_P2P
#define PC VMIG_STATE_PRE_COPY
#define PP VMIG_STATE_PRE_COPY_P2P

struct fixture {
    struct instance instance;
    struct raw raw;
};

static int setup_profile(void **state, const char *profile, const char *state_size)
{
    static struct fixture f;
    instance_create(&f.instance, profile);
    if (state_size)
        x_set(&f.instance, "state_size", state_size);
    x_raw_open(&f.instance, &f.raw);
    *state = &f;
    return 0;
}

static int setup(void **state)
{
    return setup_profile(state, "default", "1M");
}

static int setup_mtty(void **state)
{
    return setup_profile(state, "mtty", NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    raw_close(&f->raw);
    instance_remove(&f->instance);
    return 0;
}

static void go(struct fixture *f, unsigned state, int *ret_data_fd)
{
    int rc = raw_set_state(&f->raw, state, ret_data_fd);
    if (rc)
        fail_msg("going to %s: %s", vmig_state_name(state), strerror(-rc));
}

/* A page that can be neither read nor written. */
static void *no_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    return page;
}

/* ---- what it is ---- */

static void its_types_are_the_profiles(void **state)
{
    static const char *const profiles[] = { "default", "mtty", "hisi_acc", "pds",
                                            "mlx5",    "qat",  "virtio",   "xe" };
    (void)state;
    for (unsigned i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
        char path[256];
        snprintf(path, sizeof(path),
                 "/sys/class/mdev_bus/refdev/mdev_supported_types/refdev-%s/available_instances",
                 profiles[i]);
        assert_int_equal(access(path, R_OK), 0);
    }
}

static void it_is_a_PCI_device_that_can_be_reset(void **state)
{
    struct fixture *f = *state;
    struct vfio_device_info info = { .argsz = sizeof(info) };
    uint32_t id;
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_GET_INFO, &info), 0);
    assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
    assert_int_equal(info.num_regions, 9);
    assert_int_equal(info.num_irqs, 5);
    assert_int_equal(pread(f->raw.device, &id, sizeof(id),
                           (off_t)raw_region(&f->raw, VFIO_PCI_CONFIG_REGION_INDEX)),
                     4);
    assert_int_equal(id, 0x0001524d);
    assert_string_equal(instance_get(&f->instance, "vendor"), "0x524d");
    assert_string_equal(instance_get(&f->instance, "device"), "0x0001");
    info.argsz = 15;
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_GET_INFO, &info), -1);
    assert_int_equal(errno, EINVAL);
}

static void a_reset_clears_registers_and_ends_every_state(void **state)
{
    struct fixture *f = *state;
    raw_write_register(&f->raw, REFDEV_REG_SCRATCH, 77);
    assert_int_equal(raw_register(&f->raw, REFDEV_REG_SCRATCH), 77);
    go(f, SC, NULL);
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_RESET), 0);
    assert_int_equal(raw_state(&f->raw), R);
    assert_int_equal(raw_register(&f->raw, REFDEV_REG_SCRATCH), 0);
}

/* ---- regions ---- */

static void a_part_of_one_region_may_be_mapped(void **state)
{
    struct fixture *f = *state;
    union {
        struct vfio_region_info info;
        uint8_t bytes[256];
    } answer = { .info = { .argsz = sizeof(answer.info), .index = REFDEV_BAR_SHARED } };
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_GET_REGION_INFO, &answer), 0);
    assert_int_equal(answer.info.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
                                            VFIO_REGION_INFO_FLAG_MMAP |
                                            VFIO_REGION_INFO_FLAG_CAPS);
    assert_int_equal(answer.info.cap_offset, 0); /* no room */
    assert_true(answer.info.argsz > sizeof(answer.info) && answer.info.argsz <= sizeof(answer));
    answer.info.index = REFDEV_BAR_SHARED;
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_GET_REGION_INFO, &answer), 0);
    assert_int_equal(answer.info.size, REFDEV_SHARED_BYTES);
    struct vfio_region_info_cap_sparse_mmap sparse;
    struct vfio_region_sparse_mmap_area area;
    memcpy(&sparse, answer.bytes + answer.info.cap_offset, sizeof(sparse));
    memcpy(&area, answer.bytes + answer.info.cap_offset + sizeof(sparse), sizeof(area));
    assert_int_equal(sparse.header.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
    assert_int_equal(sparse.header.next, 0);
    assert_int_equal(sparse.nr_areas, 1);
    assert_int_equal(area.offset, REFDEV_SHARED_MAP_OFFSET);
    assert_int_equal(area.size, REFDEV_SHARED_BYTES - REFDEV_SHARED_MAP_OFFSET);
}

static void *map_shared(struct fixture *f, uint64_t offset, size_t length, int flags)
{
    return mmap(NULL, length, PROT_READ | PROT_WRITE, flags, f->raw.device,
                (off_t)(raw_region(&f->raw, REFDEV_BAR_SHARED) + offset));
}

static void what_is_written_through_a_mapping_is_in_the_region(void **state)
{
    struct fixture *f = *state;
    uint64_t region = raw_region(&f->raw, REFDEV_BAR_SHARED), value = 0;
    uint64_t *mapped = map_shared(f, 8192, 8192, MAP_SHARED);
    assert_true(mapped != MAP_FAILED);
    mapped[1] = 42;
    assert_int_equal(pread(f->raw.device, &value, 8, (off_t)region + 8192 + 8), 8);
    assert_int_equal(value, 42);
    value = 43;
    assert_int_equal(pwrite(f->raw.device, &value, 8, (off_t)region + 16384 - 8), 8);
    assert_int_equal(mapped[1023], 43);
    munmap(mapped, 8192);
}

/* A pipe holds the page for longer than the mapping and the device are there. */
static void a_page_that_was_mapped_is_not_one_of_the_next_user(void **state)
{
    struct fixture *f = *state;
    uint64_t *mapped = map_shared(f, REFDEV_SHARED_MAP_OFFSET, 4096, MAP_SHARED), value = 42;
    struct iovec held = { mapped, sizeof(value) };
    int fds[2];
    assert_true(mapped != MAP_FAILED);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(vmsplice(fds[1], &held, 1, 0), sizeof(value));
    munmap(mapped, 4096);
    raw_close(&f->raw);
    x_raw_open(&f->instance, &f->raw);
    off_t at = (off_t)raw_region(&f->raw, REFDEV_BAR_SHARED) + REFDEV_SHARED_MAP_OFFSET;
    assert_int_equal(pwrite(f->raw.device, &value, sizeof(value), at), sizeof(value));
    assert_int_equal(read(fds[0], &value, sizeof(value)), sizeof(value));
    assert_int_equal(value, 0);
    close(fds[0]);
    close(fds[1]);
}

static void mapping_anything_else_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t offset;
        size_t length;
        int flags;
    } wrong[] = { { 0, 4096, MAP_SHARED },
                  { 4096, 16384, MAP_SHARED },
                  { 16384, 4096, MAP_SHARED },
                  { 4096, 4096, MAP_PRIVATE } };
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_true(map_shared(f, wrong[i].offset, wrong[i].length, wrong[i].flags) == MAP_FAILED);
        assert_int_equal(errno, EINVAL);
    }
    uint64_t registers = raw_region(&f->raw, REFDEV_BAR_REGISTERS);
    assert_true(mmap(NULL, 4096, PROT_READ, MAP_SHARED, f->raw.device, (off_t)registers) ==
                MAP_FAILED);
}

static void an_access_past_a_region_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t registers = raw_region(&f->raw, REFDEV_BAR_REGISTERS), value = 0;
    assert_int_equal(pread(f->raw.device, &value, 8, (off_t)registers + 4096 - 4), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(pwrite(f->raw.device, &value, 8, (off_t)registers + 4096), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(pread(f->raw.device, no_memory(), 8, (off_t)registers), -1);
    assert_int_equal(errno, EFAULT);
}

/* ---- interrupts ---- */

/* @data: eventfds or bools, as @flags say. */
static int set_irqs(struct fixture *f, uint32_t flags, unsigned index, unsigned start,
                    unsigned count, const void *data, size_t data_bytes)
{
    union {
        struct vfio_irq_set set;
        uint8_t bytes[128];
    } request = { .set = { (uint32_t)(sizeof(request.set) + data_bytes), flags, index, start,
                           count } };
    if (data_bytes)
        memcpy(request.bytes + sizeof(request.set), data, data_bytes);
    return ioctl(f->raw.device, VFIO_DEVICE_SET_IRQS, &request) ? -errno : 0;
}

#define WIRE (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define RAISE (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define MASK (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK)
#define UNMASK (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK)

static int x_wire(struct fixture *f, unsigned index, unsigned vector)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(set_irqs(f, WIRE, index, vector, 1, &fd, sizeof(fd)), 0);
    return fd;
}

/* How often it was raised since the last look. */
static unsigned raised(int fd)
{
    uint64_t count = 0;
    return read(fd, &count, sizeof(count)) == sizeof(count) ? (unsigned)count : 0;
}

static void each_MSIX_vector_has_its_eventfd(void **state)
{
    struct fixture *f = *state;
    int fds[REFDEV_MSIX_VECTORS];
    for (unsigned i = 0; i < REFDEV_MSIX_VECTORS; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(
        set_irqs(f, WIRE, VFIO_PCI_MSIX_IRQ_INDEX, 0, REFDEV_MSIX_VECTORS, fds, sizeof(fds)), 0);
    raw_write_register(&f->raw, REFDEV_REG_INTERRUPT, 3);
    raw_write_register(&f->raw, REFDEV_REG_INTERRUPT, 7);
    for (unsigned i = 0; i < REFDEV_MSIX_VECTORS; i++)
        assert_int_equal(raised(fds[i]), i == 3 || i == 7);
    /* -1 detaches one, count 0 all. */
    int none = -1;
    assert_int_equal(set_irqs(f, WIRE, VFIO_PCI_MSIX_IRQ_INDEX, 3, 1, &none, sizeof(none)), 0);
    raw_write_register(&f->raw, REFDEV_REG_INTERRUPT, 3);
    assert_int_equal(raised(fds[3]), 0);
    assert_int_equal(set_irqs(f, RAISE, VFIO_PCI_MSIX_IRQ_INDEX, 0, 0, NULL, 0), 0);
    raw_write_register(&f->raw, REFDEV_REG_INTERRUPT, 7);
    assert_int_equal(raised(fds[7]), 0);
    for (unsigned i = 0; i < REFDEV_MSIX_VECTORS; i++)
        close(fds[i]);
}

static void a_user_raises_interrupts_by_number_and_by_list(void **state)
{
    struct fixture *f = *state;
    const uint8_t list[2] = { 0, 1 };
    int first = x_wire(f, VFIO_PCI_MSIX_IRQ_INDEX, 0),
        second = x_wire(f, VFIO_PCI_MSIX_IRQ_INDEX, 1);
    assert_int_equal(set_irqs(f, RAISE, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, NULL, 0), 0);
    assert_int_equal(raised(first), 1);
    assert_int_equal(raised(second), 1);
    assert_int_equal(set_irqs(f, VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER,
                              VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, list, sizeof(list)),
                     0);
    assert_int_equal(raised(first), 0);
    assert_int_equal(raised(second), 1);
    close(first);
    close(second);
}

static void INTx_is_masked_when_raised_and_comes_again_when_unmasked(void **state)
{
    struct fixture *f = *state;
    int fd = x_wire(f, VFIO_PCI_INTX_IRQ_INDEX, 0);
    assert_int_equal(set_irqs(f, RAISE, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0), 0);
    assert_int_equal(set_irqs(f, RAISE, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0), 0);
    assert_int_equal(raised(fd), 1);
    assert_int_equal(set_irqs(f, UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0), 0);
    assert_int_equal(raised(fd), 1);
    assert_int_equal(set_irqs(f, UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0), 0);
    assert_int_equal(raised(fd), 0);
    assert_int_equal(set_irqs(f, MASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0), 0);
    assert_int_equal(set_irqs(f, RAISE, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0), 0);
    assert_int_equal(raised(fd), 0);
    close(fd);
}

static void MSI_works_where_a_profile_has_it(void **state)
{
    struct fixture *f = *state;
    struct vfio_device_info info = { .argsz = sizeof(info) };
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    /* mtty's way: nothing before the device info was read. */
    assert_int_equal(set_irqs(f, WIRE, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, &fd, sizeof(fd)), -EINVAL);
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_GET_INFO, &info), 0);
    assert_int_equal(set_irqs(f, WIRE, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, &fd, sizeof(fd)), 0);
    assert_int_equal(set_irqs(f, RAISE, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, NULL, 0), 0);
    assert_int_equal(raised(fd), 1);
    close(fd);
}

static void senseless_interrupt_calls_are_refused(void **state)
{
    struct fixture *f = *state;
    const unsigned index = VFIO_PCI_MSIX_IRQ_INDEX;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(set_irqs(f, WIRE, index, 8, 1, &fd, sizeof(fd)), -EINVAL);
    assert_int_equal(set_irqs(f, WIRE, index, 7, 2, &fd, sizeof(fd)), -EINVAL);
    assert_int_equal(set_irqs(f, WIRE, index, 0, 1, NULL, 0), -EINVAL); /* no data */
    assert_int_equal(set_irqs(f, WIRE | MASK, index, 0, 1, &fd, sizeof(fd)), -EINVAL);
    assert_int_equal(set_irqs(f, MASK, index, 0, 1, NULL, 0), -EINVAL); /* not maskable */
    assert_int_equal(set_irqs(f, RAISE, 9, 0, 1, NULL, 0), -EINVAL);
    assert_int_equal(set_irqs(f, WIRE, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, &fd, sizeof(fd)), -EINVAL);
    assert_int_equal(set_irqs(f, WIRE, index, 0, 1, &file, sizeof(file)), -EINVAL);
    /* One bad descriptor, and none of them is wired. */
    int both[2] = { fd, file };
    assert_int_equal(set_irqs(f, WIRE, index, 0, 2, both, sizeof(both)), -EINVAL);
    raw_write_register(&f->raw, REFDEV_REG_INTERRUPT, 0);
    assert_int_equal(raised(fd), 0);
    close(fd);
    close(file);
}

/* ---- states ---- */

/* Every pair of states, by the state machine's table. */
static void check_every_pair(const char *profile, uint64_t flags)
{
    struct fixture f;
    instance_create(&f.instance, profile);
    x_raw_open(&f.instance, &f.raw);
    for (unsigned from = 0; from < VMIG_STATE_COUNT; from++) {
        for (unsigned to = 0; to <= VMIG_STATE_COUNT; to++) {
            bool there = fsm_has_state(flags, from) && from != VMIG_STATE_ERROR && from != RS;
            int way = fsm_next(flags, from, to);
            if (!there)
                continue;
            go(&f, from, NULL);
            int rc = raw_set_state(&f.raw, to, NULL);
            if (rc != (way < 0 ? -EINVAL : 0))
                fail_msg("%s: %s to %u: %d", profile, vmig_state_name(from), to, rc);
            assert_int_equal(raw_state(&f.raw), way < 0 ? from : to);
            assert_int_equal(ioctl(f.raw.device, VFIO_DEVICE_RESET), 0);
        }
    }
    raw_close(&f.raw);
    instance_remove(&f.instance);
}

static void every_way_that_the_table_has_and_no_other(void **state)
{
    (void)state;
    check_every_pair("qat",
                     VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P | VMIG_MIGRATION_PRE_COPY);
    check_every_pair("hisi_acc", VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_PRE_COPY);
    check_every_pair("pds", VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P);
}

static void one_stream_goes_from_PRE_COPY_to_STOP_COPY(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[1 << 16];
    int data, more;
    go(f, PC, &data);
    assert_true(data >= 0);
    go(f, PP, &more);
    assert_int_equal(more, -1);
    go(f, SC, &more);
    assert_int_equal(more, -1);
    size_t total = 0;
    ssize_t n;
    while ((n = read(data, buf, sizeof(buf))) > 0)
        total += (size_t)n;
    assert_int_equal(n, 0);
    assert_true(total > 1 << 20);
    go(f, S, &more);
    assert_int_equal(more, -1);
    assert_int_equal(read(data, buf, 1), -1);
    assert_int_equal(errno, ENODEV);
    close(data);
}

static int info_of(int data, struct uapi_precopy_info *info)
{
    return ioctl(data, UAPI_MIG_GET_PRECOPY_INFO, info) ? -errno : 0;
}

static void a_drained_stream_says_ENOMSG_and_its_sizes_are_0(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[1 << 20];
    struct uapi_precopy_info info = { .argsz = sizeof(info) };
    int data;
    ssize_t n;
    size_t total = 0;
    go(f, PC, &data);
    assert_int_equal(info_of(data, &info), 0);
    uint64_t initial = info.initial_bytes;
    while ((n = read(data, buf, sizeof(buf))) > 0)
        total += (size_t)n;
    assert_int_equal(n, -1);
    assert_int_equal(errno, ENOMSG);
    assert_int_equal(total, initial);
    assert_int_equal(info_of(data, &info), 0);
    assert_int_equal(info.initial_bytes + info.dirty_bytes, 0);
    info.argsz = sizeof(info) - 1;
    assert_int_equal(info_of(data, &info), -EINVAL);
    info.argsz = sizeof(info);
    go(f, SC, NULL);
    assert_int_equal(info_of(data, &info), -EINVAL);
    close(data);
}

static void a_stream_goes_one_way_and_forwards(void **state)
{
    struct fixture *f = *state;
    struct uapi_precopy_info info = { .argsz = sizeof(info) };
    uint8_t byte = 0;
    int save, load;
    go(f, SC, &save);
    assert_int_equal(write(save, &byte, 1), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(lseek(save, 0, SEEK_SET), -1);
    assert_int_equal(errno, ESPIPE);
    assert_int_equal(pread(save, &byte, 1, 0), -1);
    assert_int_equal(errno, ESPIPE);
    go(f, RS, &load);
    assert_int_equal(read(load, &byte, 1), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(info_of(load, &info), -ENOTTY);
    close(save);
    close(load);
}

static size_t read_all(int fd, uint8_t *buf, size_t size)
{
    size_t done = 0;
    ssize_t n;
    while ((n = read(fd, buf + done, size - done)) > 0)
        done += (size_t)n;
    assert_int_equal(n, 0);
    return done;
}

static void write_all(int fd, const uint8_t *buf, size_t length)
{
    while (length) {
        ssize_t n = write(fd, buf, length);
        assert_true(n > 0);
        buf += n;
        length -= (size_t)n;
    }
}

/* The digests in the state find a byte that was lost. */
static void a_buffer_that_cannot_be_written_costs_no_byte_of_the_state(void **state)
{
    struct fixture *f = *state;
    const size_t room = 2 << 20;
    uint8_t *buf = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int data;
    assert_true(buf != MAP_FAILED);
    go(f, SC, &data);
    assert_int_equal(read(data, no_memory(), 4096), -1);
    assert_int_equal(errno, EFAULT);
    /* A page that is there before one that is not: as much as fits. */
    assert_int_equal(munmap(buf + 4096, 4096), 0);
    assert_int_equal(read(data, buf, 8192), 4096);
    assert_true(mmap(buf + 4096, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    size_t length = 4096 + read_all(data, buf + 4096, room - 4096);
    close(data);
    go(f, RS, &data);
    assert_int_equal(write(data, no_memory(), 100), -1);
    assert_int_equal(errno, EFAULT);
    write_all(data, buf, length);
    go(f, R, NULL);
    close(data);
    munmap(buf, room);
}

static void a_corrupt_state_is_refused_and_sysfs_says_why(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[2 << 20];
    int data;
    go(f, SC, &data);
    size_t length = read_all(data, buf, sizeof(buf));
    close(data);
    go(f, RS, &data);
    buf[length / 2] ^= 1;
    ssize_t n = write(data, buf, length);
    assert_int_equal(n, -1);
    assert_int_equal(errno, EINVAL);
    assert_non_null(strstr(instance_get(&f->instance, "refused"), "digest"));
    assert_int_equal(raw_set_state(&f->raw, S, NULL), -EINVAL);
    assert_int_equal(raw_state(&f->raw), RS);
    close(data);
}

static void the_size_is_that_of_what_is_read(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[2 << 20];
    struct {
        uint32_t argsz, flags;
        struct uapi_feature_data_size size;
    } feature = { .argsz = sizeof(feature),
                  .flags = VFIO_DEVICE_FEATURE_GET | UAPI_FEATURE_MIG_DATA_SIZE };
    int data;
    go(f, SC, &data);
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_FEATURE, &feature), 0);
    assert_int_equal(read_all(data, buf, sizeof(buf)), feature.size.stop_copy_length);
    close(data);
}

/* ---- faults ---- */

static void a_fault_strikes_once_and_leaves_the_state_before(void **state)
{
    struct fixture *f = *state;
    x_set(&f->instance, "faults", "fail:EBUSY@arc/STOP_COPY\nfail:EIO@command/size#2\n");
    assert_string_equal(instance_get(&f->instance, "faults"),
                        "fail:EBUSY@arc/STOP_COPY 0\nfail:EIO@command/size#2 0");
    assert_int_equal(raw_set_state(&f->raw, SC, NULL), -EBUSY);
    assert_int_equal(raw_state(&f->raw), S);
    assert_string_equal(instance_get(&f->instance, "state"), "STOP");
    assert_string_equal(instance_get(&f->instance, "faults"),
                        "fail:EBUSY@arc/STOP_COPY 1\nfail:EIO@command/size#2 0");
    go(f, SC, NULL);
}

static void a_device_in_ERROR_is_ended_by_a_reset(void **state)
{
    struct fixture *f = *state;
    uint8_t byte;
    int data;
    go(f, PC, &data);
    x_set(&f->instance, "faults", "error@read");
    assert_int_equal(read(data, &byte, 1), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(raw_state(&f->raw), VMIG_STATE_ERROR);
    assert_int_equal(read(data, &byte, 1), -1);
    assert_int_equal(errno, ENODEV);
    assert_int_equal(raw_set_state(&f->raw, R, NULL), -EINVAL);
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_RESET), 0);
    assert_int_equal(raw_state(&f->raw), R);
    close(data);
}

static void senseless_faults_are_refused(void **state)
{
    struct fixture *f = *state;
    x_set(&f->instance, "faults", "late:1ms@read");
    assert_int_equal(instance_set(&f->instance, "faults", "fail@nowhere"), -EINVAL);
    /* What the kernel answers without asking the device cannot go wrong in it. */
    assert_int_equal(instance_set(&f->instance, "faults", "fail@command/flags"), -EOPNOTSUPP);
    assert_int_equal(instance_set(&f->instance, "faults",
                                  "hang@read hang@read hang@read hang@read hang@read "
                                  "hang@read hang@read hang@read hang@read"),
                     -E2BIG);
    assert_string_equal(instance_get(&f->instance, "faults"), "late:1ms@read 0");
    x_set(&f->instance, "faults", "\n");
    assert_string_equal(instance_get(&f->instance, "faults"), "");
}

static void *stop_copy(void *arg)
{
    struct fixture *f = arg;
    return (void *)(intptr_t)raw_set_state(&f->raw, SC, NULL);
}

static void a_device_that_hangs_goes_on_with_the_next_plan(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    void *rc = NULL;
    x_set(&f->instance, "faults", "hang@arc/STOP_COPY");
    assert_int_equal(pthread_create(&thread, NULL, stop_copy, f), 0);
    await_attribute(&f->instance, "faults", "hang@arc/STOP_COPY 1");
    assert_string_equal(instance_get(&f->instance, "state"), "STOP");
    x_set(&f->instance, "faults", "\n");
    pthread_join(thread, &rc);
    assert_int_equal((intptr_t)rc, 0);
    assert_int_equal(raw_state(&f->raw), SC);
}

/* A process that does @what with the device and is killed when @attribute is @value. */
static void kill_while(struct fixture *f, void (*what)(struct fixture *f), const char *attribute,
                       const char *value)
{
    int status;
    raw_close(&f->raw);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!raw_open(&f->instance, &f->raw))
            what(f);
        _exit(1);
    }
    await_attribute(&f->instance, attribute, value);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    x_raw_open(&f->instance, &f->raw);
    assert_int_equal(raw_state(&f->raw), R);
}

static void hang_in_STOP_COPY(struct fixture *f)
{
    raw_set_state(&f->raw, SC, NULL);
}

static void a_process_is_killed_out_of_a_device_that_hangs(void **state)
{
    struct fixture *f = *state;
    x_set(&f->instance, "faults", "hang@arc/STOP_COPY");
    kill_while(f, hang_in_STOP_COPY, "faults", "hang@arc/STOP_COPY 1");
    go(f, SC, NULL);
}

static void hang_twice(struct fixture *f)
{
    pthread_t thread;
    pthread_create(&thread, NULL, stop_copy, f);
    raw_state(&f->raw); /* waits behind it */
    pause();
}

static void nor_do_those_who_wait_behind_it_keep_it(void **state)
{
    struct fixture *f = *state;
    x_set(&f->instance, "faults", "hang@arc/STOP_COPY");
    kill_while(f, hang_twice, "faults", "hang@arc/STOP_COPY 1");
}

static void take_an_hour(struct fixture *f)
{
    raw_set_state(&f->raw, S, NULL);
}

static void a_process_is_killed_out_of_a_slow_state_change(void **state)
{
    struct fixture *f = *state;
    x_set(&f->instance, "faults", "late:60m@arc/STOP");
    kill_while(f, take_an_hour, "faults", "late:60m@arc/STOP 1");
}

static unsigned held_state;
static void hold_state(struct fixture *f)
{
    int data;
    if (!raw_set_state(&f->raw, held_state, &data))
        pause();
}

static void whoever_is_killed_in_whatever_state_leaves_it_usable(void **state)
{
    struct fixture *f = *state;
    for (held_state = S; held_state < VMIG_STATE_COUNT; held_state++)
        if (held_state != R)
            kill_while(f, hold_state, "state", vmig_state_name(held_state));
}

static void a_device_that_vanished_is_back_with_the_next_plan(void **state)
{
    struct fixture *f = *state;
    x_set(&f->instance, "faults", "vanish@arc/STOP");
    assert_int_equal(raw_set_state(&f->raw, S, NULL), -ENODEV);
    assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_RESET), -1);
    assert_int_equal(errno, ENODEV);
    raw_close(&f->raw);
    assert_int_equal(raw_open(&f->instance, &f->raw), -ENODEV);
    raw_close(&f->raw);
    x_set(&f->instance, "faults", "\n");
    x_raw_open(&f->instance, &f->raw);
    go(f, S, NULL);
}

/* ---- the DMA log ---- */

/* 0, or the errno. */
static int log_start(struct fixture *f, uint64_t iova, uint64_t length)
{
    struct vfio_device_feature_dma_logging_range range = { iova, length };
    struct {
        uint32_t argsz, flags;
        struct vfio_device_feature_dma_logging_control control;
    } request = { sizeof(request),
                  VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
                  { .page_size = 4096, .num_ranges = 1, .ranges = (uintptr_t)&range } };
    return ioctl(f->raw.device, VFIO_DEVICE_FEATURE, &request) ? errno : 0;
}

static int log_report(struct fixture *f, uint64_t length, uint64_t page_size, uint64_t *bits)
{
    struct {
        uint32_t argsz, flags;
        struct vfio_device_feature_dma_logging_report report;
    } request = { sizeof(request),
                  VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
                  { 0, length, page_size, (uintptr_t)bits } };
    return ioctl(f->raw.device, VFIO_DEVICE_FEATURE, &request) ? errno : 0;
}

/* Nobody could be killed out of it, and it would be for ever. */
static void a_report_of_all_addresses_comes_to_its_end(void **state)
{
    struct fixture *f = *state;
    uint64_t bits[2] = { 0 };
    assert_int_equal(log_start(f, 0, UINT64_C(1) << 62), 0);
    int code = log_report(f, UINT64_MAX - 4095, UINT64_C(1) << 57, bits);
    if (code == EOPNOTSUPP)
        return; /* a kernel that can read nobody's log */
    assert_int_equal(code, 0);
    assert_int_equal(bits[0] | bits[1], 0);
}

/* ---- knobs and life ---- */

static void knobs_are_for_the_next_one_who_opens_it(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(instance_set(&f->instance, "state_size", "2M"), -EBUSY);
    assert_int_equal(instance_set(&f->instance, "dma_slots", "1@0"), -EBUSY);
    raw_close(&f->raw);
    x_set(&f->instance, "state_size", "2M\n");
    x_set(&f->instance, "seed", "77");
    x_set(&f->instance, "dma_slots", "16@0x100000");
    x_set(&f->instance, "transition_latency", "1us");
    assert_string_equal(instance_get(&f->instance, "state_size"), "2097152");
    assert_string_equal(instance_get(&f->instance, "transition_latency"), "1000ns");
    assert_string_equal(instance_get(&f->instance, "dma_slots"), "16@0x100000");
    x_raw_open(&f->instance, &f->raw);
    assert_int_equal(raw_register(&f->raw, REFDEV_REG_LOCAL_PAGES), 512);
    assert_int_equal(raw_register(&f->raw, REFDEV_REG_SEED), 77);
    assert_int_equal(raw_register(&f->raw, REFDEV_REG_SLOT_COUNT), 16);
}

static void knobs_that_do_not_fit_are_refused(void **state)
{
    struct fixture *f = *state;
    raw_close(&f->raw);
    static const char *const wrong[][2] = {
        { "state_size", "1000" },      { "state_size", "1X" }, { "state_size", "2T" },
        { "dirty_set", "2M" },         { "dma_slots", "16" },  { "dma_slots", "16@1" },
        { "transition_latency", "5" }, { "dma_rate", "1e3" },  { "log_page_size", "5000" },
    };
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (instance_set(&f->instance, wrong[i][0], wrong[i][1]) != -EINVAL)
            fail_msg("%s=%s is taken", wrong[i][0], wrong[i][1]);
    assert_string_equal(instance_get(&f->instance, "state_size"), "1048576");
    x_raw_open(&f->instance, &f->raw);
}

static void a_data_fd_outlives_its_device(void **state)
{
    struct fixture *f = *state;
    uint8_t byte;
    int data;
    go(f, SC, &data);
    raw_close(&f->raw);
    instance_remove(&f->instance);
    assert_int_equal(read(data, &byte, 1), -1);
    assert_int_equal(errno, ENODEV);
    close(data);
    instance_create(&f->instance, "default");
}

static void *remove_instance(void *arg)
{
    struct fixture *f = arg;
    instance_remove(&f->instance);
    return NULL;
}

static void removing_an_open_device_asks_for_it_and_waits(void **state)
{
    struct fixture *f = *state;
    int fd = x_wire(f, VFIO_PCI_REQ_IRQ_INDEX, 0);
    struct pollfd asked = { .fd = fd, .events = POLLIN };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, remove_instance, f), 0);
    assert_int_equal(poll(&asked, 1, 60000), 1);
    assert_int_equal(raw_state(&f->raw), R); /* still there */
    raw_close(&f->raw);
    pthread_join(thread, NULL);
    close(fd);
    instance_create(&f->instance, "default");
}

/* ---- without memory ---- */

#define FAILSLAB "/sys/kernel/debug/failslab"
#define FAIL_PAGES "/sys/kernel/debug/fail_page_alloc"

static void x_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* So that it is made anew. */
static void close_it(struct fixture *f)
{
    close(f->raw.device);
    x_set(&f->instance, "seed", "1");
}

static int open_it(struct fixture *f)
{
    f->raw.device = ioctl(f->raw.group, VFIO_GROUP_GET_DEVICE_FD, f->instance.uuid);
    return f->raw.device < 0 ? -errno : 0;
}

static int take_its_state(struct fixture *f)
{
    return raw_set_state(&f->raw, SC, NULL);
}

static int wire_it(struct fixture *f)
{
    const int none[REFDEV_MSIX_VECTORS] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return set_irqs(f, WIRE, VFIO_PCI_MSIX_IRQ_INDEX, 0, REFDEV_MSIX_VECTORS, none, sizeof(none));
}

static int log_it(struct fixture *f)
{
    return -log_start(f, 0x100000, 4096);
}

static int plan_faults(struct fixture *f)
{
    return instance_set(&f->instance, "faults", "late:1ms@read");
}

/* Let the @nth allocation of this thread from now on fail. */
static int fail_nth(unsigned nth)
{
    char text[16];
    int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    snprintf(text, sizeof(text), "%u", nth);
    assert_true(write(fd, text, strlen(text)) > 0);
    return fd;
}

/* Was there an @nth one? @take_fd: of fail_nth(). */
static bool has_failed(int take_fd)
{
    char text[16] = "";
    assert_true(pread(take_fd, text, sizeof(text) - 1, 0) > 0);
    assert_int_equal(pwrite(take_fd, "0", 1, 0), 1);
    close(take_fd);
    return atoi(text) == 0;
}

static void check_call(struct fixture *f, void (*prepare)(struct fixture *f),
                       int (*call)(struct fixture *f))
{
    bool failed = true;
    for (unsigned nth = 1; failed; nth++) {
        assert_true(nth < 1000);
        if (prepare)
            prepare(f);
        int fd = fail_nth(nth), rc = call(f);
        failed = has_failed(fd);
        if (rc && rc != -ENOMEM)
            fail_msg("without allocation %u: %s", nth, strerror(-rc));
        if (f->raw.device < 0)
            assert_int_equal(open_it(f), 0);
        assert_int_equal(ioctl(f->raw.device, VFIO_DEVICE_RESET), 0);
        assert_int_equal(raw_state(&f->raw), R);
    }
}

static void an_allocation_that_fails_breaks_nothing(void **state)
{
    struct fixture *f = *state;
    /* Those that wait for memory, too; and no word for each in the kernel's log. */
    x_write(FAILSLAB "/ignore-gfp-wait", "N");
    x_write(FAIL_PAGES "/ignore-gfp-wait", "N");
    x_write(FAILSLAB "/verbose", "0");
    x_write(FAIL_PAGES "/verbose", "0");
    check_call(f, close_it, open_it);
    check_call(f, NULL, take_its_state);
    check_call(f, NULL, wire_it);
    check_call(f, NULL, log_it);
    check_call(f, NULL, plan_faults);
    x_write(FAILSLAB "/ignore-gfp-wait", "Y");
    x_write(FAIL_PAGES "/ignore-gfp-wait", "Y");
    go(f, SC, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_types_are_the_profiles),
        TEST(it_is_a_PCI_device_that_can_be_reset),
        TEST(a_reset_clears_registers_and_ends_every_state),
        TEST(a_part_of_one_region_may_be_mapped),
        TEST(what_is_written_through_a_mapping_is_in_the_region),
        TEST(a_page_that_was_mapped_is_not_one_of_the_next_user),
        TEST(mapping_anything_else_is_refused),
        TEST(an_access_past_a_region_is_refused),
        TEST(each_MSIX_vector_has_its_eventfd),
        TEST(a_user_raises_interrupts_by_number_and_by_list),
        TEST(INTx_is_masked_when_raised_and_comes_again_when_unmasked),
        cmocka_unit_test_setup_teardown(MSI_works_where_a_profile_has_it, setup_mtty, teardown),
        TEST(senseless_interrupt_calls_are_refused),
        cmocka_unit_test(every_way_that_the_table_has_and_no_other),
        TEST(one_stream_goes_from_PRE_COPY_to_STOP_COPY),
        TEST(a_drained_stream_says_ENOMSG_and_its_sizes_are_0),
        TEST(a_stream_goes_one_way_and_forwards),
        TEST(a_buffer_that_cannot_be_written_costs_no_byte_of_the_state),
        TEST(a_corrupt_state_is_refused_and_sysfs_says_why),
        TEST(the_size_is_that_of_what_is_read),
        TEST(a_fault_strikes_once_and_leaves_the_state_before),
        TEST(a_device_in_ERROR_is_ended_by_a_reset),
        TEST(senseless_faults_are_refused),
        TEST(a_device_that_hangs_goes_on_with_the_next_plan),
        TEST(a_process_is_killed_out_of_a_device_that_hangs),
        TEST(nor_do_those_who_wait_behind_it_keep_it),
        TEST(a_process_is_killed_out_of_a_slow_state_change),
        TEST(whoever_is_killed_in_whatever_state_leaves_it_usable),
        TEST(a_device_that_vanished_is_back_with_the_next_plan),
        TEST(a_report_of_all_addresses_comes_to_its_end),
        TEST(knobs_are_for_the_next_one_who_opens_it),
        TEST(knobs_that_do_not_fit_are_refused),
        TEST(a_data_fd_outlives_its_device),
        TEST(removing_an_open_device_asks_for_it_and_waits),
    };
    const struct CMUnitTest memory_tests[] = { TEST(an_allocation_that_fails_breaks_nothing) };
    instances_required();
    int failed = cmocka_run_group_tests_name("module", tests, NULL, NULL);
    if (access(FAILSLAB, F_OK) == 0)
        failed += cmocka_run_group_tests_name("module without memory", memory_tests, NULL, NULL);
    else
        puts("1..0 # SKIP this kernel cannot let allocations fail (CONFIG_FAILSLAB)");
    return failed;
}
