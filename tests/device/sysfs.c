/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of kernel devices, and finding their group and driver in a made-up sysfs. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/device/device.h"
#include "lib/device/sysfs.h"

#define UUID "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

static char root[64];

static void make(const char *command)
{
    char text[1024];
    snprintf(text, sizeof(text), "cd %s && %s", root, command);
    assert_int_equal(system(text), 0);
}

static int begin(void **unused)
{
    (void)unused;
    snprintf(root, sizeof(root), "/tmp/vfio-migrate-sysfs-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    make("mkdir -p bus/pci/devices/0000:3b:00.2 bus/pci/devices/0000:3b:00.3 "
         "bus/pci/devices/0000:3b:00.4 bus/mdev/devices/" UUID " kernel/iommu_groups/17/devices");
    make("ln -s ../../../../kernel/iommu_groups/17 bus/pci/devices/0000:3b:00.2/iommu_group");
    make("ln -s ../../../../bus/pci/drivers/mlx5_vfio_pci bus/pci/devices/0000:3b:00.2/driver");
    make("ln -s ../../../../bus/pci/drivers/e1000e bus/pci/devices/0000:3b:00.3/driver");
    make("ln -s nowhere/x17 bus/pci/devices/0000:3b:00.4/iommu_group");
    make("ln -s ../../../../kernel/iommu_groups/3 bus/mdev/devices/" UUID "/iommu_group");
    make("touch kernel/iommu_groups/17/devices/0000:3b:00.2 "
         "kernel/iommu_groups/17/devices/0000:3b:00.3");
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    char text[128];
    snprintf(text, sizeof(text), "rm -r %s", root);
    return system(text);
}

static void a_pci_address_has_domain_bus_slot_and_function(void **unused)
{
    (void)unused;
    assert_true(sysfs_is_pci("0000:3b:00.2"));
    assert_true(sysfs_is_pci("0000:3B:1f.7"));
    assert_true(sysfs_is_pci("10000:01:00.0")); /* domains behind a VMD have 5 digits */
    assert_false(sysfs_is_pci("3b:00.2"));
    assert_false(sysfs_is_pci("0000:3b:00.2 "));
    assert_false(sysfs_is_pci("0000:3b:00.2/.."));
    assert_false(sysfs_is_pci(""));
    assert_false(sysfs_is_pci(UUID));
}

static void a_uuid_has_32_hexadecimal_digits_in_five_groups(void **unused)
{
    (void)unused;
    assert_true(sysfs_is_uuid(UUID));
    assert_true(sysfs_is_uuid("83B8F4F2-509F-382F-3C1E-E6BFE0FA1001"));
    assert_false(sysfs_is_uuid("83b8f4f2-509f-382f-3c1e-e6bfe0fa100"));
    assert_false(sysfs_is_uuid("83b8f4f2-509f-382f-3c1e-e6bfe0fa10011"));
    assert_false(sysfs_is_uuid("83b8f4f2_509f-382f-3c1e-e6bfe0fa1001"));
}

static void both_belong_to_the_group_backend_in_any_case_of_letters(void **unused)
{
    (void)unused;
    char name[SYSFS_NAME_MAX];
    assert_ptr_equal(backend_find("0000:3b:00.2"), &backend_group);
    assert_ptr_equal(backend_find(UUID), &backend_group);
    sysfs_name("0000:3B:1F.7", name);
    assert_string_equal(name, "0000:3b:1f.7");
}

static void the_group_is_where_the_link_points(void **unused)
{
    (void)unused;
    unsigned group = 0;
    assert_int_equal(sysfs_find_group(root, "0000:3b:00.2", &group, NULL), 0);
    assert_int_equal(group, 17);
    assert_int_equal(sysfs_find_group(root, UUID, &group, NULL), 0);
    assert_int_equal(group, 3);
}

static void a_device_that_does_not_exist_is_named_so(void **unused)
{
    (void)unused;
    unsigned group;
    struct vmig_error err = { 0 };
    assert_int_equal(sysfs_find_group(root, "0000:00:00.0", &group, &err), -ENOENT);
    assert_string_equal(err.reason, "no-such-device");
    assert_non_null(strstr(err.text, "lspci"));
    memset(&err, 0, sizeof(err));
    assert_int_equal(sysfs_find_group(root, "00000000-0000-0000-0000-000000000000", &group, &err),
                     -ENOENT);
    assert_non_null(strstr(err.text, "mediated"));
}

static void a_device_without_a_group_needs_the_iommu(void **unused)
{
    (void)unused;
    unsigned group;
    struct vmig_error err = { 0 };
    assert_int_equal(sysfs_find_group(root, "0000:3b:00.3", &group, &err), -ENODEV);
    assert_string_equal(err.reason, "no-iommu-group");
    assert_non_null(strstr(err.text, "intel_iommu=on"));
}

static void a_group_that_is_no_number_is_refused(void **unused)
{
    (void)unused;
    unsigned group;
    assert_int_equal(sysfs_find_group(root, "0000:3b:00.4", &group, NULL), -EPROTO);
}

static void a_device_may_have_no_driver(void **unused)
{
    (void)unused;
    char driver[SYSFS_NAME_MAX] = "x";
    sysfs_find_driver(root, "0000:3b:00.2", driver);
    assert_string_equal(driver, "mlx5_vfio_pci");
    sysfs_find_driver(root, "0000:3b:00.4", driver);
    assert_string_equal(driver, "");
}

static void devices_of_the_group_that_others_hold_are_listed(void **unused)
{
    (void)unused;
    char text[200], small[8];
    sysfs_find_foreign(root, 17, text, sizeof(text));
    assert_string_equal(text, "0000:3b:00.3 (e1000e)");
    sysfs_find_foreign(root, 17, small, sizeof(small));
    assert_string_equal(small, "0000:3b");
    sysfs_find_foreign(root, 18, text, sizeof(text));
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pci_address_has_domain_bus_slot_and_function),
        cmocka_unit_test(a_uuid_has_32_hexadecimal_digits_in_five_groups),
        cmocka_unit_test(both_belong_to_the_group_backend_in_any_case_of_letters),
        cmocka_unit_test(the_group_is_where_the_link_points),
        cmocka_unit_test(a_device_that_does_not_exist_is_named_so),
        cmocka_unit_test(a_device_without_a_group_needs_the_iommu),
        cmocka_unit_test(a_group_that_is_no_number_is_refused),
        cmocka_unit_test(a_device_may_have_no_driver),
        cmocka_unit_test(devices_of_the_group_that_others_hold_are_listed),
    };
    return cmocka_run_group_tests_name("sysfs", tests, begin, end);
}
