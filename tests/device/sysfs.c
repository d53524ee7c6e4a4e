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

static void sysfs_spells_names_in_lower_case(void **unused)
{
    (void)unused;
    char name[SYSFS_NAME_MAX];
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
    assert_non_null(strstr(err.text, "probe --all"));
    memset(&err, 0, sizeof(err));
    assert_int_equal(sysfs_find_group(root, "00000000-0000-0000-0000-000000000000", &group, &err),
                     -ENOENT);
    assert_non_null(strstr(err.text, "mediated"));
}

static void without_sysfs_no_device_is_said_not_to_exist(void **unused)
{
    (void)unused;
    unsigned group;
    struct vmig_error err = { 0 };
    assert_int_equal(sysfs_find_group("/nonexistent", "0000:3b:00.2", &group, &err), -ENOENT);
    assert_string_equal(err.reason, "no-sysfs");
}

static void a_device_without_a_group_needs_the_iommu(void **unused)
{
    (void)unused;
    unsigned group;
    struct vmig_error err = { 0 };
    assert_int_equal(sysfs_find_group(root, "0000:3b:00.3", &group, &err), -ENODEV);
    assert_string_equal(err.reason, "no-iommu-group");
    assert_non_null(strstr(err.text, "intel_iommu=on"));
    assert_non_null(strstr(err.text, "AMD-Vi"));
    assert_non_null(strstr(err.text, "ARM SMMU"));
}

static void a_pci_device_that_vfio_has_without_an_iommu_is_refused(void **unused)
{
    (void)unused;
    unsigned group = 0;
    struct vmig_error err = { 0 };
    make("mkdir -p bus/pci/devices/0000:05:00.0 kernel/iommu_groups/5 && "
         "ln -s ../../../../kernel/iommu_groups/5 bus/pci/devices/0000:05:00.0/iommu_group && "
         "echo vfio-noiommu >kernel/iommu_groups/5/name");
    assert_int_equal(sysfs_find_safe_group(root, "0000:05:00.0", &group, &err), -EOPNOTSUPP);
    assert_string_equal(err.reason, "noiommu-mode");
    assert_non_null(strstr(err.text, "/dev/vfio/noiommu-5"));
    assert_int_equal(sysfs_find_group(root, "0000:05:00.0", &group, NULL), 0);
    assert_int_equal(group, 5);
}

static void a_mediated_device_may_be_in_a_group_that_vfio_made_up(void **unused)
{
    (void)unused;
    unsigned group = 0;
    make("mkdir -p kernel/iommu_groups/3 && echo vfio-noiommu >kernel/iommu_groups/3/name");
    assert_int_equal(sysfs_find_safe_group(root, UUID, &group, NULL), 0);
    assert_int_equal(group, 3);
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

static void a_device_is_vfios_by_what_sysfs_or_its_drivers_name_says(void **unused)
{
    (void)unused;
    make("mkdir -p bus/pci/devices/0000:06:00.0/vfio-dev bus/pci/devices/0000:06:00.1");
    assert_true(sysfs_is_vfio(root, "0000:06:00.0", "nvidia"));
    assert_false(sysfs_is_vfio(root, "0000:06:00.1", "nvidia"));
    assert_true(sysfs_is_vfio(root, "0000:06:00.1", "vfio-pci"));
    assert_false(sysfs_is_vfio(root, "0000:06:00.0", ""));
}

static void a_driver_with_a_hostile_name_is_shown_harmless(void **unused)
{
    (void)unused;
    char driver[SYSFS_NAME_MAX];
    make("mkdir -p bus/pci/devices/0000:07:00.0 bus/pci/devices/0000:07:00.1 && "
         "ln -s \"$(printf '../evil\\033[2J\\n\\377name')\" bus/pci/devices/0000:07:00.0/driver && "
         "ln -s \"../$(printf %0200d 0)\" bus/pci/devices/0000:07:00.1/driver");
    sysfs_find_driver(root, "0000:07:00.0", driver);
    assert_string_equal(driver, "evil?[2J??name");
    sysfs_find_driver(root, "0000:07:00.1", driver);
    assert_int_equal(strlen(driver), SYSFS_NAME_MAX - 1);
}

static void links_in_a_circle_are_no_device(void **unused)
{
    (void)unused;
    unsigned group;
    make("ln -s 0000:08:00.1 bus/pci/devices/0000:08:00.0 && "
         "ln -s 0000:08:00.0 bus/pci/devices/0000:08:00.1");
    assert_int_equal(sysfs_find_group(root, "0000:08:00.0", &group, NULL), -ENOENT);
}

static void devices_of_the_group_that_others_hold_are_listed(void **unused)
{
    (void)unused;
    char text[200];
    sysfs_find_foreign(root, 17, text, sizeof(text));
    assert_string_equal(text, "0000:3b:00.3 (e1000e)");
    sysfs_find_foreign(root, 18, text, sizeof(text));
    assert_string_equal(text, "");
}

static void those_that_do_not_fit_are_counted(void **unused)
{
    (void)unused;
    char text[60];
    make("for i in 0 1 2 3; do mkdir -p bus/pci/devices/0000:09:00.$i "
         "kernel/iommu_groups/9/devices/0000:09:00.$i; "
         "ln -s ../e1000e bus/pci/devices/0000:09:00.$i/driver; done");
    sysfs_find_foreign(root, 9, text, sizeof(text));
    assert_non_null(strstr(text, "0000:09:00."));
    assert_non_null(strstr(text, " and 3 more"));
    sysfs_find_foreign(root, 9, text, 30);
    assert_string_equal(text, "4 more");
}

static void port_drivers_and_pci_stub_do_not_keep_vfio_away(void **unused)
{
    (void)unused;
    char text[200];
    make("for i in 0 1 2 3; do mkdir -p bus/pci/devices/0000:0a:00.$i "
         "kernel/iommu_groups/10/devices/0000:0a:00.$i; done && "
         "ln -s ../pcieport bus/pci/devices/0000:0a:00.0/driver && "
         "ln -s ../pci-stub bus/pci/devices/0000:0a:00.1/driver && "
         "ln -s ../vfio-pci bus/pci/devices/0000:0a:00.2/driver");
    sysfs_find_foreign(root, 10, text, sizeof(text));
    assert_string_equal(text, "");
}

static void a_group_that_is_not_viable_is_refused_with_who_is_in_it(void **unused)
{
    (void)unused;
    struct vmig_error err = { 0 };
    assert_int_equal(sysfs_refuse_group(17, "0000:3b:00.3 (e1000e)", &err), -EPERM);
    assert_string_equal(err.reason, "group-not-viable");
    assert_non_null(strstr(err.text, "IOMMU group 17"));
    assert_non_null(strstr(err.text, "0000:3b:00.3 (e1000e)"));
}

static void a_pci_functions_identity_is_its_modalias(void **unused)
{
    (void)unused;
    struct sysfs_pci pci;
    make("mkdir -p bus/pci/devices/0000:0b:00.0 bus/pci/devices/0000:0b:00.1/physfn && "
         "echo pci:v000015B3d0000101Esv000015B3sd00000061bc02sc00i00 "
         ">bus/pci/devices/0000:0b:00.0/modalias && "
         "echo pci:nonsense >bus/pci/devices/0000:0b:00.1/modalias");
    assert_true(sysfs_find_pci(root, "0000:0b:00.0", &pci));
    assert_int_equal(pci.vendor, 0x15b3);
    assert_int_equal(pci.device, 0x101e);
    assert_int_equal(pci.subvendor, 0x15b3);
    assert_int_equal(pci.subdevice, 0x61);
    assert_int_equal(pci.class_code, 0x020000);
    assert_false(pci.is_virtual);
    assert_false(sysfs_is_bridge(&pci));
    assert_false(sysfs_find_pci(root, "0000:0b:00.1", &pci));
    assert_false(sysfs_find_pci(root, "0000:0b:00.2", &pci));
    make("echo pci:v00008086d00001901sv00000000sd00000000bc06sc04i00 "
         ">bus/pci/devices/0000:0b:00.1/modalias");
    assert_true(sysfs_find_pci(root, "0000:0b:00.1", &pci));
    assert_true(pci.is_virtual);
    assert_true(sysfs_is_bridge(&pci));
}

static int count_until_two(const char *name, void *opaque)
{
    unsigned *count = opaque;
    assert_true(sysfs_is_pci(name));
    return ++*count == 2 ? -ECANCELED : 0;
}

static void the_walk_over_a_bus_ends_when_it_is_told_to(void **unused)
{
    (void)unused;
    unsigned count = 0;
    make("touch bus/pci/devices/nonsense");
    assert_int_equal(sysfs_each_device(root, "pci", count_until_two, &count), -ECANCELED);
    assert_int_equal(count, 2);
    assert_int_equal(sysfs_each_device(root, "nubus", count_until_two, &count), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pci_address_has_domain_bus_slot_and_function),
        cmocka_unit_test(a_uuid_has_32_hexadecimal_digits_in_five_groups),
        cmocka_unit_test(sysfs_spells_names_in_lower_case),
        cmocka_unit_test(the_group_is_where_the_link_points),
        cmocka_unit_test(a_device_that_does_not_exist_is_named_so),
        cmocka_unit_test(without_sysfs_no_device_is_said_not_to_exist),
        cmocka_unit_test(a_device_without_a_group_needs_the_iommu),
        cmocka_unit_test(a_pci_device_that_vfio_has_without_an_iommu_is_refused),
        cmocka_unit_test(a_mediated_device_may_be_in_a_group_that_vfio_made_up),
        cmocka_unit_test(a_group_that_is_no_number_is_refused),
        cmocka_unit_test(a_device_may_have_no_driver),
        cmocka_unit_test(a_device_is_vfios_by_what_sysfs_or_its_drivers_name_says),
        cmocka_unit_test(a_driver_with_a_hostile_name_is_shown_harmless),
        cmocka_unit_test(links_in_a_circle_are_no_device),
        cmocka_unit_test(devices_of_the_group_that_others_hold_are_listed),
        cmocka_unit_test(those_that_do_not_fit_are_counted),
        cmocka_unit_test(port_drivers_and_pci_stub_do_not_keep_vfio_away),
        cmocka_unit_test(a_group_that_is_not_viable_is_refused_with_who_is_in_it),
        cmocka_unit_test(a_pci_functions_identity_is_its_modalias),
        cmocka_unit_test(the_walk_over_a_bus_ends_when_it_is_told_to),
    };
    return cmocka_run_group_tests_name("sysfs", tests, begin, end);
}
