/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening, identity, and the checks that keep senseless requests away from backends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/device/device.h"
#include "tests/device/fake-backend.h"

static struct fake fake;
static struct vmig_device *device;
static struct vmig_error err;
static char page[2 * 4096] __attribute__((aligned(4096)));

static int begin(void **unused)
{
    (void)unused;
    fake_init(&fake);
    memset(&err, 0, sizeof(err));
    int rc = fake_open(&fake, NULL, &device, &err);
    fake.history[0] = '\0';
    return rc;
}

static int end(void **unused)
{
    (void)unused;
    device = vmig_device_close(device);
    return 0;
}

/* Open a fake that was prepared; fails with @rc. */
static void open_fails(int rc, const char *text)
{
    struct vmig_device *none = NULL;
    memset(&err, 0, sizeof(err));
    assert_int_equal(fake_open(&fake, NULL, &none, &err), rc);
    assert_null(none);
    assert_non_null(strstr(err.text, text));
    assert_int_equal(err.stage, VMIG_STAGE_OPEN);
}

/* ---- opening ---- */

static void identity_is_what_config_space_says(void **unused)
{
    (void)unused;
    struct vmig_device_info info;
    assert_int_equal(vmig_device_info(device, &info, NULL), 0);
    assert_int_equal(info.vendor_id, 0x1234);
    assert_int_equal(info.device_id, 0x5678);
    assert_int_equal(info.revision, 0x09);
    assert_int_equal(info.class_code, 0x010203);
    assert_int_equal(info.subsystem_vendor_id, 0xabcd);
    assert_int_equal(info.subsystem_id, 0xbeef);
    assert_string_equal(info.backend, "fake");
}

static void a_device_without_config_space_has_no_identity(void **unused)
{
    (void)unused;
    static const uint64_t sizes[] = { 0, 0x2f };
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_device_info info;
        struct vmig_device *other;
        fake_init(&fake);
        fake.regions[VMIG_REGION_CONFIG].size_bytes = sizes[i];
        assert_int_equal(fake_open(&fake, NULL, &other, NULL), 0);
        assert_int_equal(vmig_device_info(other, &info, NULL), 0);
        assert_int_equal(info.vendor_id, 0xffff);
        vmig_device_close(other);
    }
}

static void an_address_of_no_known_form_is_refused_with_the_forms(void **unused)
{
    (void)unused;
    struct vmig_device *none = NULL;
    assert_int_equal(vmig_device_open("eth0", NULL, &none, &err), -EINVAL);
    assert_null(none);
    assert_non_null(strstr(err.text, "'eth0'"));
    assert_non_null(strstr(err.text, "vfio-user:PATH"));
}

static void a_backend_that_cannot_open_is_reported_and_nothing_stays_open(void **unused)
{
    (void)unused;
    fake_init(&fake);
    fake.open_rc = -EBUSY;
    open_fails(-EBUSY, "busy");
    assert_false(fake.closed);
    fake_init(&fake);
    fake.gets[0] = -EIO;
    open_fails(-EIO, "Input/output error");
    assert_true(fake.closed);
}

static void more_regions_than_make_sense_are_refused(void **unused)
{
    (void)unused;
    fake_init(&fake);
    fake.info.num_regions = DEVICE_REGIONS_MAX + 1;
    open_fails(-EPROTO, "257 regions");
    fake_init(&fake);
    fake.info.num_irqs = UINT32_MAX;
    open_fails(-EPROTO, "4294967295 interrupt kinds");
}

static void the_id_is_the_address_unless_one_is_given(void **unused)
{
    (void)unused;
    struct vmig_device_options options = { .size = sizeof(options), .id = "net0" };
    assert_string_equal(vmig_device_id(device), vmig_device_address(device));
    struct vmig_device *other;
    assert_int_equal(fake_open(&fake, &options, &other, NULL), 0);
    assert_string_equal(vmig_device_id(other), "net0");
    vmig_device_close(other);
}

static void an_id_has_1_to_63_bytes(void **unused)
{
    (void)unused;
    char id[65];
    memset(id, 'x', sizeof(id));
    id[64] = '\0';
    struct vmig_device_options options = { .size = sizeof(options), .id = id };
    struct vmig_device *other;
    assert_int_equal(fake_open(&fake, &options, &other, NULL), -EINVAL);
    id[63] = '\0';
    assert_int_equal(fake_open(&fake, &options, &other, NULL), 0);
    vmig_device_close(other);
    id[0] = '\0';
    assert_int_equal(fake_open(&fake, &options, &other, NULL), -EINVAL);
}

static void flags_without_stop_copy_mean_no_migration(void **unused)
{
    (void)unused;
    struct vmig_migration_info info;
    struct vmig_device *other;
    fake_init(&fake);
    fake.flags = VMIG_MIGRATION_P2P | VMIG_MIGRATION_PRE_COPY;
    assert_int_equal(fake_open(&fake, NULL, &other, NULL), 0);
    assert_int_equal(vmig_device_migration_info(other, &info, NULL), 0);
    assert_int_equal(info.flags, 0);
    assert_string_equal(info.reason, "vfio-no-stop-copy");
    vmig_device_close(other);
}

static void unknown_migration_flags_are_not_shown(void **unused)
{
    (void)unused;
    struct vmig_migration_info info;
    struct vmig_device *other;
    fake_init(&fake);
    fake.flags |= 0xff00;
    assert_int_equal(fake_open(&fake, NULL, &other, NULL), 0);
    assert_int_equal(vmig_device_migration_info(other, &info, NULL), 0);
    assert_int_equal(info.flags, 7);
    vmig_device_close(other);
}

/* ---- regions ---- */

static void access_ends_where_the_region_ends(void **unused)
{
    (void)unused;
    char buf[16];
    assert_int_equal(vmig_device_region_read(device, 0, 8191, buf, 1, NULL), 0);
    assert_int_equal(vmig_device_region_read(device, 0, 8191, buf, 2, &err), -EINVAL);
    assert_non_null(strstr(err.text, "8192"));
    assert_int_equal(vmig_device_region_read(device, 0, 8192, buf, 1, NULL), -EINVAL);
    assert_int_equal(vmig_device_region_read(device, 0, UINT64_MAX, buf, 2, NULL), -EINVAL);
    assert_int_equal(vmig_device_region_read(device, 0, 0, buf, 0, NULL), -EINVAL);
    assert_int_equal(vmig_device_region_write(device, 0, 8190, buf, 2, NULL), 0);
    assert_int_equal(vmig_device_region_write(device, 0, 8190, buf, 3, NULL), -EINVAL);
}

static void a_region_that_does_not_exist_is_refused(void **unused)
{
    (void)unused;
    char buf[1];
    struct vmig_region_info info;
    assert_int_equal(vmig_device_region_info(device, 9, &info, &err), -EINVAL);
    assert_int_equal(vmig_device_region_read(device, 9, 0, buf, 1, NULL), -EINVAL);
    assert_int_equal(vmig_device_region_read(device, 3, 0, buf, 1, NULL), -EINVAL);
}

static void a_region_that_cannot_be_written_is_not(void **unused)
{
    (void)unused;
    char buf[1] = { 0 };
    assert_int_equal(vmig_device_region_read(device, 2, 0, buf, 1, NULL), 0);
    assert_int_equal(vmig_device_region_write(device, 2, 0, buf, 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cannot be written"));
}

static void region_facts_are_asked_once(void **unused)
{
    (void)unused;
    struct vmig_region_info info;
    char buf[4];
    assert_int_equal(vmig_device_region_info(device, 0, &info, NULL), 0);
    assert_int_equal(vmig_device_region_info(device, 0, &info, NULL), 0);
    assert_int_equal(vmig_device_region_read(device, 0, 0, buf, 4, NULL), 0);
    assert_string_equal(fake.history, "region ");
}

static void a_region_or_interrupt_that_the_device_refuses_to_tell_of_is_empty(void **unused)
{
    (void)unused;
    struct vmig_region_info region;
    struct vmig_irq_info irq;
    fake.region_info_rc = fake.irq_info_rc = -EINVAL;
    assert_int_equal(vmig_device_region_info(device, 8, &region, &err), 0);
    assert_int_equal(region.size_bytes, 0);
    assert_int_equal(vmig_device_irq_info(device, 2, &irq, &err), 0);
    assert_int_equal(irq.count, 0);
    assert_int_equal(err.code, 0);
    fake.region_info_rc = fake.irq_info_rc = -EIO;
    assert_int_equal(vmig_device_region_info(device, 1, &region, &err), -EIO);
    assert_int_equal(vmig_device_irq_info(device, 2, &irq, NULL), -EIO);
}

static void an_area_beyond_its_region_is_refused(void **unused)
{
    (void)unused;
    struct vmig_region_info info;
    fake.regions[1].areas[0].size_bytes = 65536;
    assert_int_equal(vmig_device_region_info(device, 1, &info, &err), -EPROTO);
    fake.regions[1].areas[0] = (struct vmig_region_area) { UINT64_MAX, 2 };
    assert_int_equal(vmig_device_region_info(device, 1, &info, NULL), -EPROTO);
    fake.regions[1].num_areas = VMIG_REGION_AREAS_MAX + 1;
    assert_int_equal(vmig_device_region_info(device, 1, &info, NULL), -EPROTO);
}

static void mapping_an_area_twice_gives_the_same_memory(void **unused)
{
    (void)unused;
    void *first = NULL, *second = NULL;
    assert_int_equal(vmig_device_region_map(device, 1, 0, &first, NULL), 0);
    assert_int_equal(vmig_device_region_map(device, 1, 0, &second, NULL), 0);
    assert_ptr_equal(first, second);
    assert_string_equal(fake.history, "region map ");
    assert_int_equal(vmig_device_region_map(device, 1, 1, &first, NULL), -EINVAL);
    assert_int_equal(vmig_device_region_map(device, 0, 0, &first, NULL), -EOPNOTSUPP);
}

static void without_mmap_no_region_offers_it(void **unused)
{
    (void)unused;
    struct vmig_device_options options = { .size = sizeof(options), .no_mmap = true };
    struct vmig_region_info info;
    struct vmig_device *other;
    void *map;
    assert_int_equal(fake_open(&fake, &options, &other, NULL), 0);
    assert_int_equal(vmig_device_region_info(other, 1, &info, NULL), 0);
    assert_int_equal(info.flags & VMIG_REGION_MMAP, 0);
    assert_int_equal(vmig_device_region_map(other, 1, 0, &map, NULL), -EOPNOTSUPP);
    vmig_device_close(other);
}

/* ---- interrupts ---- */

static void vectors_end_where_the_interrupt_kind_ends(void **unused)
{
    (void)unused;
    static const int fds[] = { -1, -1, -1, -1, -1 };
    assert_int_equal(vmig_device_set_irqs(device, 2, 0, 4, fds, NULL), 0);
    assert_int_equal(vmig_device_set_irqs(device, 2, 3, 1, fds, NULL), 0);
    assert_int_equal(vmig_device_set_irqs(device, 2, 0, 0, NULL, NULL), 0);
    assert_string_equal(fake.history, "irqs:2:0+4 irqs:2:3+1 irqs:2:0+0 ");
    assert_int_equal(vmig_device_set_irqs(device, 2, 0, 5, fds, &err), -EINVAL);
    assert_int_equal(vmig_device_set_irqs(device, 2, 4, 1, fds, NULL), -EINVAL);
    assert_int_equal(vmig_device_set_irqs(device, 2, UINT32_MAX, 2, fds, NULL), -EINVAL);
    assert_int_equal(vmig_device_set_irqs(device, 2, 1, 0, NULL, NULL), -EINVAL);
    assert_int_equal(vmig_device_set_irqs(device, 2, 0, 1, NULL, NULL), -EINVAL);
    assert_int_equal(vmig_device_set_irqs(device, 3, 0, 0, NULL, NULL), -EINVAL);
}

static void only_what_can_be_masked_is_unmasked(void **unused)
{
    (void)unused;
    assert_int_equal(vmig_device_unmask_irqs(device, VMIG_IRQ_INTX, 0, 1, &err), 0);
    assert_int_equal(vmig_device_unmask_irqs(device, VMIG_IRQ_MSIX, 0, 0, &err), 0);
    assert_string_equal(fake.history, "unmask:0:0+1 ");
    assert_int_equal(vmig_device_unmask_irqs(device, VMIG_IRQ_INTX, 0, 2, NULL), -EINVAL);
    assert_int_equal(vmig_device_unmask_irqs(device, VMIG_IRQ_INTX, 1, 1, NULL), -EINVAL);
    assert_int_equal(vmig_device_unmask_irqs(device, VMIG_IRQ_MSIX, 0, 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cannot be masked"));
}

/* ---- DMA ---- */

static int map_at(uint64_t iova, uint64_t size)
{
    struct vmig_dma_map map = { .iova = iova, .size_bytes = size, .vaddr = page, .fd = -1 };
    return vmig_device_dma_map(device, &map, NULL);
}

static void mappings_do_not_overlap(void **unused)
{
    (void)unused;
    assert_int_equal(map_at(0x10000, 0x2000), 0);
    assert_int_equal(map_at(0x11000, 0x1000), -EEXIST);
    assert_int_equal(map_at(0xf000, 0x2000), -EEXIST);
    assert_int_equal(map_at(0xf000, 0x4000), -EEXIST);
    assert_int_equal(map_at(0xf000, 0x1000), 0);
    assert_int_equal(map_at(0x12000, 0x1000), 0);
    assert_string_equal(fake.history, "dma_map dma_map dma_map ");
}

static void mappings_are_whole_pages_below_the_end_of_the_address_space(void **unused)
{
    (void)unused;
    assert_int_equal(map_at(0x10001, 0x1000), -EINVAL);
    assert_int_equal(map_at(0x10000, 0x1001), -EINVAL);
    assert_int_equal(map_at(0x10000, 0), -EINVAL);
    assert_int_equal(map_at(UINT64_MAX - 0xfff, 0x1000), -EINVAL);
    assert_int_equal(map_at(UINT64_MAX - 0x1fff, 0x1000), 0);
    struct vmig_dma_map map = { .iova = 0, .size_bytes = 4096, .vaddr = page + 1, .fd = -1 };
    assert_int_equal(vmig_device_dma_map(device, &map, NULL), -EINVAL);
    map.vaddr = NULL;
    assert_int_equal(vmig_device_dma_map(device, &map, NULL), -EINVAL);
}

static void a_mapping_is_undone_as_it_was_made(void **unused)
{
    (void)unused;
    assert_int_equal(map_at(0x10000, 0x2000), 0);
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x1000, &err), -ENOENT);
    assert_int_equal(vmig_device_dma_unmap(device, 0x11000, 0x1000, NULL), -ENOENT);
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x2000, NULL), 0);
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x2000, NULL), -ENOENT);
    assert_int_equal(map_at(0x10000, 0x1000), 0);
}

static void a_mapping_that_the_device_refused_does_not_exist(void **unused)
{
    (void)unused;
    fake.map_rc = -ENOMEM;
    assert_int_equal(map_at(0x10000, 0x2000), -ENOMEM);
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x2000, NULL), -ENOENT);
    fake.map_rc = 0;
    assert_int_equal(map_at(0x10000, 0x2000), 0);
    fake.unmap_rc = -EIO;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x2000, NULL), -EIO);
    assert_int_equal(map_at(0x10000, 0x1000), -EEXIST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(identity_is_what_config_space_says),
        TEST(a_device_without_config_space_has_no_identity),
        TEST(an_address_of_no_known_form_is_refused_with_the_forms),
        TEST(a_backend_that_cannot_open_is_reported_and_nothing_stays_open),
        TEST(more_regions_than_make_sense_are_refused),
        TEST(the_id_is_the_address_unless_one_is_given),
        TEST(an_id_has_1_to_63_bytes),
        TEST(flags_without_stop_copy_mean_no_migration),
        TEST(unknown_migration_flags_are_not_shown),
        TEST(access_ends_where_the_region_ends),
        TEST(a_region_that_does_not_exist_is_refused),
        TEST(a_region_that_cannot_be_written_is_not),
        TEST(region_facts_are_asked_once),
        TEST(a_region_or_interrupt_that_the_device_refuses_to_tell_of_is_empty),
        TEST(an_area_beyond_its_region_is_refused),
        TEST(mapping_an_area_twice_gives_the_same_memory),
        TEST(without_mmap_no_region_offers_it),
        TEST(vectors_end_where_the_interrupt_kind_ends),
        TEST(only_what_can_be_masked_is_unmasked),
        TEST(mappings_do_not_overlap),
        TEST(mappings_are_whole_pages_below_the_end_of_the_address_space),
        TEST(a_mapping_is_undone_as_it_was_made),
        TEST(a_mapping_that_the_device_refused_does_not_exist),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
