/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions and interrupts of the kernel module through the device layer, over its group and over its
 * character device: it has what edu lacks, a region of which a part may be mapped, and MSI-X.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
#include <vfio-migrate/device.h>

#include "refdev/registers.h"
#include "tests/rig/instance.h"

#define VECTORS REFDEV_MSIX_VECTORS

struct fixture {
    struct instance instance;
    struct vmig_device *device;
    int fds[VECTORS];
};

static struct vmig_device *x_open(struct fixture *f, const char *backend, bool no_mmap)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options),
                                           .backend = backend,
                                           .no_mmap = no_mmap };
    if (vmig_device_open(f->instance.uuid, &options, &device, &err))
        fail_msg("%s", err.text);
    return device;
}

static int setup_with(const char *backend, void **state)
{
    static struct fixture f;
    instance_create(&f.instance, "default");
    x_set(&f.instance, "state_size", "1M");
    f.device = x_open(&f, backend, false);
    for (unsigned i = 0; i < VECTORS; i++)
        f.fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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
    for (unsigned i = 0; i < VECTORS; i++)
        close(f->fds[i]);
    instance_remove(&f->instance);
    return 0;
}

/* ---- regions ---- */

static struct vmig_region_info shared_region(struct vmig_device *device)
{
    struct vmig_region_info bar;
    assert_int_equal(vmig_device_region_info(device, REFDEV_BAR_SHARED, &bar, NULL), 0);
    assert_int_equal(bar.size_bytes, REFDEV_SHARED_BYTES);
    return bar;
}

static void a_part_of_one_region_may_be_mapped_and_is_the_devices(void **state)
{
    struct fixture *f = *state;
    struct vmig_region_info bar = shared_region(f->device);
    char text[8] = "mapped", back[8] = "";
    void *part = NULL, *again = NULL;
    assert_int_equal(bar.num_areas, 1);
    assert_int_equal(bar.areas[0].offset_bytes, REFDEV_SHARED_MAP_OFFSET);
    assert_int_equal(bar.areas[0].size_bytes, REFDEV_SHARED_BYTES - REFDEV_SHARED_MAP_OFFSET);
    assert_int_equal(vmig_device_region_map(f->device, REFDEV_BAR_SHARED, 0, &part, NULL), 0);
    assert_int_equal(vmig_device_region_map(f->device, REFDEV_BAR_SHARED, 0, &again, NULL), 0);
    assert_ptr_equal(part, again);
    assert_int_equal(vmig_device_region_map(f->device, REFDEV_BAR_SHARED, 1, &again, NULL),
                     -EINVAL);
    memcpy((char *)part + 100, text, sizeof(text));
    assert_int_equal(vmig_device_region_read(f->device, REFDEV_BAR_SHARED,
                                             REFDEV_SHARED_MAP_OFFSET + 100, back, sizeof(back),
                                             NULL),
                     0);
    assert_string_equal(back, text);
}

static void with_no_mmap_it_is_only_read_and_written(void **state)
{
    struct fixture *f = *state;
    struct vmig_device_info info;
    void *part = NULL;
    assert_int_equal(vmig_device_info(f->device, &info, NULL), 0);
    vmig_device_close(f->device);
    f->device = x_open(f, info.backend, true);
    struct vmig_region_info bar = shared_region(f->device);
    assert_int_equal(bar.flags, VMIG_REGION_READ | VMIG_REGION_WRITE);
    assert_int_equal(bar.num_areas, 0);
    assert_int_equal(vmig_device_region_map(f->device, REFDEV_BAR_SHARED, 0, &part, NULL),
                     -EOPNOTSUPP);
}

/* ---- MSI-X ---- */

static void raise_vector(struct fixture *f, uint64_t vector)
{
    assert_int_equal(vmig_device_region_write(f->device, REFDEV_BAR_REGISTERS, REFDEV_REG_INTERRUPT,
                                              &vector, sizeof(vector), NULL),
                     0);
}

/* The module raises a vector before its register's write returns. */
static unsigned raised(struct fixture *f)
{
    unsigned vectors = 0;
    for (unsigned i = 0; i < VECTORS; i++) {
        uint64_t count = 0;
        if (read(f->fds[i], &count, sizeof(count)) == sizeof(count))
            vectors |= 1u << i;
    }
    return vectors;
}

static void each_MSIX_vector_comes_through_its_eventfd(void **state)
{
    struct fixture *f = *state;
    struct vmig_irq_info irq;
    assert_int_equal(vmig_device_irq_info(f->device, VMIG_IRQ_MSIX, &irq, NULL), 0);
    assert_int_equal(irq.count, VECTORS);
    assert_int_equal(vmig_device_set_irqs(f->device, VMIG_IRQ_MSIX, 0, VECTORS, f->fds, NULL), 0);
    for (unsigned i = 0; i < VECTORS; i++) {
        raise_vector(f, i);
        assert_int_equal(raised(f), 1u << i);
    }
    assert_int_equal(vmig_device_set_irqs(f->device, VMIG_IRQ_MSIX, 1, VECTORS, f->fds, NULL),
                     -EINVAL);
}

static void a_vector_is_detached_alone_and_the_kind_as_a_whole(void **state)
{
    struct fixture *f = *state;
    const int none = -1;
    assert_int_equal(vmig_device_set_irqs(f->device, VMIG_IRQ_MSIX, 0, VECTORS, f->fds, NULL), 0);
    assert_int_equal(vmig_device_set_irqs(f->device, VMIG_IRQ_MSIX, 2, 1, &none, NULL), 0);
    raise_vector(f, 2);
    assert_int_equal(raised(f), 0);
    raise_vector(f, 3);
    assert_int_equal(raised(f), 1u << 3);
    assert_int_equal(vmig_device_set_irqs(f->device, VMIG_IRQ_MSIX, 0, 0, NULL, NULL), 0);
    raise_vector(f, 3);
    assert_int_equal(raised(f), 0);
}

static void a_reset_is_seen_in_the_registers(void **state)
{
    struct fixture *f = *state;
    uint64_t value = 0x1234;
    struct vmig_error err = { 0 };
    assert_int_equal(vmig_device_region_write(f->device, REFDEV_BAR_REGISTERS, REFDEV_REG_SCRATCH,
                                              &value, sizeof(value), NULL),
                     0);
    if (vmig_device_reset(f->device, &err))
        fail_msg("%s", err.text);
    assert_int_equal(vmig_device_region_read(f->device, REFDEV_BAR_REGISTERS, REFDEV_REG_SCRATCH,
                                             &value, sizeof(value), NULL),
                     0);
    assert_int_equal(value, 0);
    assert_int_equal(vmig_device_health(f->device), VMIG_HEALTH_OK);
}

int main(void)
{
#define TEST(test)                                                                                 \
    { "group: " #test, test, setup_group, teardown, NULL },                                        \
    {                                                                                              \
        "cdev: " #test, test, setup_cdev, teardown, NULL                                           \
    }
    const struct CMUnitTest tests[] = {
        TEST(a_part_of_one_region_may_be_mapped_and_is_the_devices),
        TEST(with_no_mmap_it_is_only_read_and_written),
        TEST(each_MSIX_vector_comes_through_its_eventfd),
        TEST(a_vector_is_detached_alone_and_the_kind_as_a_whole),
        TEST(a_reset_is_seen_in_the_registers),
    };
    instances_required();
    return cmocka_run_group_tests_name("module-parts", tests, NULL, NULL);
}
