/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device behind a real (if emulated) IOMMU, through the public interface: QEMU's `edu` copies
 * between a buffer of its own and memory. What is proved is that a mapping reaches the memory it
 * names, and stops to when it is gone.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <vfio-migrate.h>

#include "tests/rig/devices.h"

/* edu's registers in BAR 0: a DMA engine with a buffer at 0x40000 of its own address space. */
#define EDU_SOURCE 0x80
#define EDU_TARGET 0x88
#define EDU_COUNT 0x90
#define EDU_COMMAND 0x98
#define EDU_BUFFER 0x40000u
#define EDU_RUN 1u
#define EDU_TO_MEMORY 2u

#define PCI_COMMAND 4
#define PCI_COMMAND_MEMORY_AND_MASTER 6u

#define PAGE 4096u
#define COPIED (PAGE / 2) /* QEMU 7.2 dies of a copy that fills the buffer to its last byte */
#define IOVA 0x200000u

struct fixture {
    struct vmig_device *device;
    uint8_t *memory;
};

static int setup_with(const char *backend, void **state)
{
    static struct fixture f;
    struct vmig_error err = { 0 };
    struct vmig_device_info info;
    struct vmig_device_options options = { .size = sizeof(options), .backend = backend };
    uint16_t command = PCI_COMMAND_MEMORY_AND_MASTER;
    edu_bind();
    if (vmig_device_open(EDU, &options, &f.device, &err))
        fail_msg("%s", err.text);
    assert_int_equal(vmig_device_info(f.device, &info, NULL), 0);
    assert_string_equal(info.backend, backend);
    f.memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f.memory != MAP_FAILED);
    assert_int_equal(vmig_device_region_write(f.device, VMIG_REGION_CONFIG, PCI_COMMAND, &command,
                                              sizeof(command), NULL),
                     0);
    *state = &f;
    return 0;
}

static int setup_group(void **state)
{
    return setup_with("group", state);
}

static int setup_cdev(void **state)
{
    return setup_with("cdev", state);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vmig_device_close(f->device);
    munmap(f->memory, 2 * PAGE);
    edu_unbind();
    return 0;
}

static void map(struct fixture *f, uint64_t iova, void *vaddr)
{
    struct vmig_error err = { 0 };
    struct vmig_dma_map request = {
        .iova = iova,
        .size_bytes = PAGE,
        .vaddr = vaddr,
        .fd = -1,
        .writable = true,
    };
    if (vmig_device_dma_map(f->device, &request, &err))
        fail_msg("%s", err.text);
}

static void set_register(struct fixture *f, uint64_t offset, uint32_t value)
{
    assert_int_equal(vmig_device_region_write(f->device, 0, offset, &value, 4, NULL), 0);
}

static uint32_t get_register(struct fixture *f, uint64_t offset)
{
    uint32_t value = 0;
    assert_int_equal(vmig_device_region_read(f->device, 0, offset, &value, 4, NULL), 0);
    return value;
}

/* The engine takes a tenth of a second; a hundred times that is a hang. */
static void copy(struct fixture *f, uint32_t source, uint32_t target, uint32_t direction)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    set_register(f, EDU_SOURCE, source);
    set_register(f, EDU_TARGET, target);
    set_register(f, EDU_COUNT, COPIED);
    set_register(f, EDU_COMMAND, EDU_RUN | direction);
    for (int i = 0; i < 1000; i++) {
        if (!(get_register(f, EDU_COMMAND) & EDU_RUN))
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("edu's DMA engine does not end");
}

static void the_device_reads_and_writes_the_memory_that_is_mapped(void **state)
{
    struct fixture *f = *state;
    map(f, IOVA, f->memory);
    map(f, IOVA + PAGE, f->memory + PAGE);
    memset(f->memory, 0xa7, PAGE);
    copy(f, IOVA, EDU_BUFFER, 0);
    copy(f, EDU_BUFFER, IOVA + PAGE, EDU_TO_MEMORY);
    assert_memory_equal(f->memory, f->memory + PAGE, COPIED);
}

static void memory_that_was_unmapped_is_out_of_reach(void **state)
{
    struct fixture *f = *state;
    map(f, IOVA, f->memory);
    memset(f->memory, 0xa7, PAGE);
    copy(f, IOVA, EDU_BUFFER, 0);
    memset(f->memory, 0, PAGE);
    assert_int_equal(vmig_device_dma_unmap(f->device, IOVA, PAGE, NULL), 0);
    copy(f, EDU_BUFFER, IOVA, EDU_TO_MEMORY);
    for (unsigned i = 0; i < PAGE; i++)
        assert_int_equal(f->memory[i], 0);
}

static void a_region_that_is_mapped_is_the_devices(void **state)
{
    struct fixture *f = *state;
    void *bar = NULL;
    uint32_t value = 0x12345678;
    assert_int_equal(vmig_device_region_map(f->device, 0, 0, &bar, NULL), 0);
    /* Register 4 answers with the complement of what was written. */
    *(volatile uint32_t *)((uint8_t *)bar + 4) = value;
    assert_int_equal(get_register(f, 4), ~value);
}

static void the_interrupt_window_and_what_is_too_high_cannot_be_mapped(void **state)
{
    struct fixture *f = *state;
    const uint64_t places[] = { 0xfee00000, UINT64_C(1) << 62 };
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_error err = { 0 };
        struct vmig_dma_map request = {
            .iova = places[i], .size_bytes = PAGE, .vaddr = f->memory, .fd = -1
        };
        assert_int_equal(vmig_device_dma_map(f->device, &request, &err), -EINVAL);
        assert_non_null(strstr(err.text, "0xfee00000 to 0xfeefffff"));
        assert_string_equal(err.reason, "");
    }
}

/* Raising an interrupt is a write to one register, acknowledging it one to the next. */
#define EDU_RAISE 0x60
#define EDU_ACKNOWLEDGE 0x64

static bool comes_within_seconds(int eventfd_, int seconds)
{
    struct pollfd p = { .fd = eventfd_, .events = POLLIN };
    uint64_t count = 0;
    return poll(&p, 1, seconds * 1000) == 1 && read(eventfd_, &count, sizeof(count)) == 8 &&
           count == 1;
}

static void an_interrupt_comes_through_its_eventfd(struct fixture *f, unsigned kind)
{
    struct vmig_irq_info irq;
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(vmig_device_irq_info(f->device, kind, &irq, NULL), 0);
    assert_int_equal(irq.count, 1);
    assert_int_equal(vmig_device_set_irqs(f->device, kind, 0, 1, &fd, NULL), 0);
    set_register(f, EDU_RAISE, 1);
    assert_true(comes_within_seconds(fd, 10));
    set_register(f, EDU_ACKNOWLEDGE, 1);
    assert_int_equal(vmig_device_set_irqs(f->device, kind, 0, 0, NULL, NULL), 0);
    set_register(f, EDU_RAISE, 1);
    assert_false(comes_within_seconds(fd, 0));
    set_register(f, EDU_ACKNOWLEDGE, 1);
    close(fd);
}

static void INTx_comes_through_its_eventfd(void **state)
{
    an_interrupt_comes_through_its_eventfd(*state, VMIG_IRQ_INTX);
}

static void MSI_comes_through_its_eventfd(void **state)
{
    an_interrupt_comes_through_its_eventfd(*state, VMIG_IRQ_MSI);
}

static void edu_has_no_MSIX(void **state)
{
    struct fixture *f = *state;
    struct vmig_irq_info irq;
    int fd = -1;
    assert_int_equal(vmig_device_irq_info(f->device, VMIG_IRQ_MSIX, &irq, NULL), 0);
    assert_int_equal(irq.count, 0);
    assert_int_equal(vmig_device_set_irqs(f->device, VMIG_IRQ_MSIX, 0, 1, &fd, NULL), -EINVAL);
}

static void with_no_mmap_regions_are_only_read_and_written(void **state)
{
    struct fixture *f = *state;
    struct vmig_region_info bar;
    struct vmig_device_info info;
    void *mapped = NULL;
    assert_int_equal(vmig_device_info(f->device, &info, NULL), 0);
    struct vmig_device_options options = { .size = sizeof(options),
                                           .no_mmap = true,
                                           .backend = info.backend };
    vmig_device_close(f->device);
    assert_int_equal(vmig_device_open(EDU, &options, &f->device, NULL), 0);
    assert_int_equal(vmig_device_region_info(f->device, 0, &bar, NULL), 0);
    assert_int_equal(bar.flags, VMIG_REGION_READ | VMIG_REGION_WRITE);
    assert_int_equal(bar.num_areas, 0);
    assert_int_equal(vmig_device_region_map(f->device, 0, 0, &mapped, NULL), -EOPNOTSUPP);
}

static void a_device_without_migration_says_why_and_refuses_every_state(void **state)
{
    struct fixture *f = *state;
    struct vmig_migration_info info = { 0 };
    struct vmig_error err = { 0 };
    uint64_t bytes;
    enum vmig_state at;
    assert_int_equal(vmig_device_migration_info(f->device, &info, NULL), 0);
    assert_int_equal(info.flags, 0);
    assert_string_equal(info.reason, "vfio-no-kernel-support");
    assert_int_equal(
        vmig_device_set_state(f->device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, &err),
        -EOPNOTSUPP);
    assert_string_equal(err.reason, "vfio-no-kernel-support");
    assert_true(vmig_device_get_state(f->device, &at, NULL) < 0);
    assert_int_equal(vmig_device_data_size(f->device, &bytes, NULL), -ENOTTY);
    assert_int_equal(vmig_device_health(f->device), VMIG_HEALTH_OK);
}

static void a_device_without_migration_is_accepted_with_a_blocker_unless_it_must_move(void **state)
{
    struct fixture *f = *state;
    struct vmig_device_settings on = { .size = sizeof(on), .enable_migration = VMIG_ON };
    struct vmig_blocker b;
    struct vmig_error err = { 0 };
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    assert_non_null(m);
    assert_int_equal(vmig_migration_add_device_with(m, f->device, &on, &err), -EOPNOTSUPP);
    assert_string_equal(err.reason, "vfio-no-kernel-support");
    assert_int_equal(vmig_migration_blockers(m, NULL, 0), 0);
    assert_int_equal(vmig_migration_add_device(m, f->device, NULL), 0);
    assert_int_equal(vmig_migration_blockers(m, &b, 1), 1);
    assert_string_equal(b.code, "vfio-no-kernel-support");
    assert_string_equal(b.device, vmig_device_id(f->device));
    assert_true(b.receive_too);
    assert_int_equal(vmig_migration_send(m, "file:/nowhere/at/all", NULL), -EOPNOTSUPP);
    assert_int_equal(vmig_migration_receive(m, "file:/nowhere/at/all", NULL), -EOPNOTSUPP);
    assert_int_equal(vmig_migration_remove_device(m, f->device, NULL), 0);
    assert_int_equal(vmig_migration_blockers(m, NULL, 0), 0);
    vmig_migration_free(m);
}

int main(void)
{
#define TEST(test)                                                                                 \
    { "group: " #test, test, setup_group, teardown, NULL },                                        \
    {                                                                                              \
        "cdev: " #test, test, setup_cdev, teardown, NULL                                           \
    }
    const struct CMUnitTest tests[] = {
        TEST(the_device_reads_and_writes_the_memory_that_is_mapped),
        TEST(memory_that_was_unmapped_is_out_of_reach),
        TEST(a_region_that_is_mapped_is_the_devices),
        TEST(the_interrupt_window_and_what_is_too_high_cannot_be_mapped),
        TEST(INTx_comes_through_its_eventfd),
        TEST(MSI_comes_through_its_eventfd),
        TEST(edu_has_no_MSIX),
        TEST(with_no_mmap_regions_are_only_read_and_written),
        TEST(a_device_without_migration_says_why_and_refuses_every_state),
        TEST(a_device_without_migration_is_accepted_with_a_blocker_unless_it_must_move),
    };
    return cmocka_run_group_tests_name("edu", tests, NULL, NULL);
}
