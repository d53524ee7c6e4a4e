/* SPDX-License-Identifier: BSD-3-Clause */
/* Which VFIO driver is made for a function: made-up modules folders, real lines. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/device/variant.h"

static struct kernel_tree tree;
static char root[64];

static const struct sysfs_pci mlx5 = { 0x15b3, 0x101e, 0x15b3, 0x61, 0x020000, true };
static const struct sysfs_pci pds = { 0x1dd8, 0x1003, 0x1dd8, 0x1000, 0x020000, true };
static const struct sysfs_pci virtio_vf = { 0x1af4, 0x1041, 0x1af4, 0x1, 0x020000, true };
static const struct sysfs_pci virtio_pf = { 0x1af4, 0x1041, 0x1af4, 0x1, 0x020000, false };
static const struct sysfs_pci edu = { 0x1234, 0x11e8, 0x1af4, 0x1100, 0x00ff00, false };

static const char aliases[] = "# Aliases extracted from modules themselves.\\n"
                              "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\\n"
                              "alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\\n"
                              "alias vfio_pci:v00001AF4d00001041sv*sd*bc*sc*i* virtio_vfio_pci\\n"
                              "alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core\\n";

static void make(const char *command)
{
    char text[2048];
    snprintf(text, sizeof(text), "cd %s && %s", root, command);
    assert_int_equal(system(text), 0);
}

static void write_aliases(const char *lines)
{
    char text[1500];
    snprintf(text, sizeof(text), "printf '%s' >modules/modules.alias", lines);
    make(text);
}

static int begin(void **unused)
{
    (void)unused;
    snprintf(root, sizeof(root), "/tmp/vfio-migrate-variant-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    make("mkdir -p modules sys/bus/pci/drivers");
    snprintf(tree.sys, sizeof(tree.sys), "%.40s/sys", root);
    snprintf(tree.modules, sizeof(tree.modules), "%s/modules", root);
    strcpy(tree.release, "6.12.9-test");
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    char text[128];
    snprintf(text, sizeof(text), "rm -r %s", root);
    return system(text);
}

static void expect_driver(const struct sysfs_pci *pci, const char *driver)
{
    char found[SYSFS_NAME_MAX] = "?";
    struct variants *variants = variants_new(&tree);
    assert_non_null(variants);
    variants_find(variants, pci, found);
    variants_free(variants);
    assert_string_equal(found, driver);
}

static char reason[VARIANT_REASON_MAX], remedy[VARIANT_REMEDY_MAX];

static void explain(const struct sysfs_pci *pci, const char *driver)
{
    struct variants *variants = variants_new(&tree);
    assert_non_null(variants);
    variants_explain(variants, pci, driver, reason, remedy);
    variants_free(variants);
}

static void expect_remedy(const char *words)
{
    if (!strstr(remedy, words))
        fail_msg("'%s' does not say '%s'", remedy, words);
}

static void the_driver_is_the_one_whose_alias_matches(void **unused)
{
    (void)unused;
    write_aliases(aliases);
    expect_driver(&mlx5, "mlx5_vfio_pci");
    expect_driver(&edu, "");
}

static void of_several_the_one_that_knows_the_device_best(void **unused)
{
    (void)unused;
    write_aliases("alias vfio_pci:v00001234d*sv*sd*bc*sc*i* wide_vfio_pci\\n"
                  "alias vfio_pci:v00001234d000011E8sv*sd*bc*sc*i* near_vfio_pci\\n"
                  "alias vfio_pci:v00001234d*sv*sd*bc00sc*i* other_vfio_pci\\n");
    expect_driver(&edu, "near_vfio_pci");
}

static void built_in_drivers_count_too(void **unused)
{
    (void)unused;
    make("rm modules/modules.alias && printf 'vfio.license=GPL\\0"
         "mlx5_vfio_pci.alias=vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i*\\0"
         "vfio_pci.alias=vfio_pci:v*d*sv*sd*bc*sc*i*\\0' >modules/modules.builtin.modinfo");
    expect_driver(&mlx5, "mlx5_vfio_pci");
    make("rm modules/modules.builtin.modinfo");
}

static void lines_that_are_no_aliases_of_ours_do_no_harm(void **unused)
{
    (void)unused;
    make("{ printf 'alias vfio_pci:'; head -c 100000 /dev/zero | tr '\\0' '*'; echo ' evil';"
         "  printf 'alias vfio_pci:**********v* evil\\n';"
         "  printf 'alias vfio_pci:v* '; head -c 300 /dev/zero | tr '\\0' 'x'; echo;"
         "  printf 'alias\\nalias vfio_pci:v*\\n\\n \\n';"
         "  head -c 70000 /dev/urandom | tr -d '\\n'; echo;"
         "  printf 'alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\\n';"
         "  printf 'alias vfio_pci:v00001234d*'; } >modules/modules.alias");
    expect_driver(&mlx5, "mlx5_vfio_pci");
    expect_driver(&edu, "");
}

static void a_driver_that_is_loaded_from_elsewhere_counts_by_its_name(void **unused)
{
    (void)unused;
    write_aliases("alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\\n");
    expect_driver(&pds, "");
    make("mkdir sys/bus/pci/drivers/pds_vfio_pci");
    expect_driver(&pds, "pds_vfio_pci");
    make("rmdir sys/bus/pci/drivers/pds_vfio_pci");
}

static void vfio_pci_is_told_to_give_way_to_the_variant_driver(void **unused)
{
    (void)unused;
    write_aliases(aliases);
    explain(&mlx5, "vfio-pci");
    assert_string_equal(reason, "vfio-variant-driver-available");
    expect_remedy("bind it to mlx5_vfio_pci");
    expect_remedy("instead of vfio-pci");
    explain(&mlx5, "");
    assert_string_equal(reason, "vfio-variant-driver-available");
}

static void a_variant_driver_that_cannot_is_not_told_to_give_way_to_itself(void **unused)
{
    (void)unused;
    write_aliases(aliases);
    explain(&mlx5, "mlx5-vfio-pci");
    assert_string_equal(reason, "vfio-no-kernel-support");
    expect_remedy("firmware");
}

static void a_newer_kernel_is_named_where_that_has_the_driver(void **unused)
{
    (void)unused;
    write_aliases("alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\\n");
    strcpy(tree.release, "6.5.0");
    explain(&pds, "vfio-pci");
    assert_string_equal(reason, "vfio-variant-driver-missing");
    expect_remedy("Linux 6.6 and later");
    expect_remedy("pds_vfio_pci");
    expect_remedy("this is Linux 6.5.0");
    strcpy(tree.release, "6.6.0");
    explain(&pds, "vfio-pci");
    assert_string_equal(reason, "vfio-variant-driver-missing");
    expect_remedy("not among this kernel's modules");
    strcpy(tree.release, "6.12.9-test");
}

static void where_modules_cannot_be_seen_that_is_said(void **unused)
{
    (void)unused;
    make("rm -f modules/modules.alias");
    explain(&pds, "vfio-pci");
    assert_string_equal(reason, "vfio-variant-driver-missing");
    expect_remedy("cannot be read");
}

static void a_driver_that_does_not_migrate_yet_is_not_recommended(void **unused)
{
    (void)unused;
    write_aliases(aliases);
    expect_driver(&virtio_vf, "");
    explain(&virtio_vf, "vfio-pci");
    assert_string_equal(reason, "vfio-variant-driver-missing");
    expect_remedy("Linux 6.13");
    explain(&virtio_vf, "virtio_vfio_pci");
    assert_string_equal(reason, "vfio-no-kernel-support");
    expect_remedy("Linux 6.13");
    strcpy(tree.release, "6.13.0");
    expect_driver(&virtio_vf, "virtio_vfio_pci");
    strcpy(tree.release, "6.12.9-test");
}

static void a_driver_for_virtual_functions_is_not_recommended_for_others(void **unused)
{
    (void)unused;
    write_aliases(aliases);
    strcpy(tree.release, "7.0.0");
    expect_driver(&virtio_pf, "");
    expect_driver(&virtio_vf, "virtio_vfio_pci");
    explain(&virtio_pf, "vfio-pci");
    assert_string_equal(reason, "vfio-no-kernel-support");
    write_aliases("");
    explain(&virtio_pf, "vfio-pci");
    assert_string_equal(reason, "vfio-no-kernel-support");
    explain(&virtio_vf, "vfio-pci");
    assert_string_equal(reason, "vfio-variant-driver-missing");
    strcpy(tree.release, "6.12.9-test");
}

static void a_vendors_own_driver_is_recommended_too(void **unused)
{
    (void)unused;
    write_aliases("alias vfio_pci:v00001234d000011E8sv*sd*bc*sc*i* vendor_vfio_pci\\n");
    explain(&edu, "vfio-pci");
    assert_string_equal(reason, "vfio-variant-driver-available");
    expect_remedy("vendor_vfio_pci");
}

static void a_driver_known_not_to_migrate_is_not_recommended(void **unused)
{
    (void)unused;
    write_aliases("alias vfio_pci:v00001234d000011E8sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\\n");
    expect_driver(&edu, "");
    explain(&edu, "vfio-pci");
    assert_string_equal(reason, "vfio-no-kernel-support");
    explain(&edu, "nvgrace-gpu-vfio-pci");
    assert_string_equal(reason, "vfio-no-kernel-support");
    expect_remedy("none is known");
}

static void without_any_driver_the_vendor_is_named(void **unused)
{
    (void)unused;
    write_aliases(aliases);
    explain(&edu, "vfio-pci");
    assert_string_equal(reason, "vfio-no-kernel-support");
    expect_remedy("vfio-pci does not");
    expect_remedy("vendor");
}

static void skills_depend_on_driver_and_kernel(void **unused)
{
    (void)unused;
    assert_int_equal(variant_skill(&tree, "mlx5-vfio-pci"), VARIANT_MIGRATES);
    assert_int_equal(variant_skill(&tree, "xe-vfio-pci"), VARIANT_TOO_OLD);
    assert_int_equal(variant_skill(&tree, "vfio-pci"), VARIANT_CANNOT);
    assert_int_equal(variant_skill(&tree, "mtty"), VARIANT_MIGRATES);
    assert_int_equal(variant_skill(&tree, "vfio-vendor"), VARIANT_UNKNOWN);
    assert_int_equal(variant_skill(&tree, ""), VARIANT_UNKNOWN);
    strcpy(tree.release, "6.19.1");
    assert_int_equal(variant_skill(&tree, "xe-vfio-pci"), VARIANT_MIGRATES);
    strcpy(tree.release, "gibberish");
    assert_int_equal(variant_skill(&tree, "mtty"), VARIANT_TOO_OLD);
    strcpy(tree.release, "6.12.9-test");
}

static void versions_are_compared_as_numbers(void **unused)
{
    (void)unused;
    struct kernel_tree here;
    assert_true(kernel_tree_is_since(&tree, 6, 12));
    assert_true(kernel_tree_is_since(&tree, 6, 9));
    assert_true(kernel_tree_is_since(&tree, 5, 18));
    assert_false(kernel_tree_is_since(&tree, 6, 13));
    assert_false(kernel_tree_is_since(&tree, 7, 0));
    kernel_tree_init(&here);
    assert_true(kernel_tree_is_since(&here, 2, 6));
    assert_non_null(strstr(here.modules, here.release));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_driver_is_the_one_whose_alias_matches),
        cmocka_unit_test(of_several_the_one_that_knows_the_device_best),
        cmocka_unit_test(built_in_drivers_count_too),
        cmocka_unit_test(lines_that_are_no_aliases_of_ours_do_no_harm),
        cmocka_unit_test(a_driver_that_is_loaded_from_elsewhere_counts_by_its_name),
        cmocka_unit_test(vfio_pci_is_told_to_give_way_to_the_variant_driver),
        cmocka_unit_test(a_variant_driver_that_cannot_is_not_told_to_give_way_to_itself),
        cmocka_unit_test(a_newer_kernel_is_named_where_that_has_the_driver),
        cmocka_unit_test(where_modules_cannot_be_seen_that_is_said),
        cmocka_unit_test(a_driver_that_does_not_migrate_yet_is_not_recommended),
        cmocka_unit_test(a_driver_for_virtual_functions_is_not_recommended_for_others),
        cmocka_unit_test(a_vendors_own_driver_is_recommended_too),
        cmocka_unit_test(a_driver_known_not_to_migrate_is_not_recommended),
        cmocka_unit_test(without_any_driver_the_vendor_is_named),
        cmocka_unit_test(skills_depend_on_driver_and_kernel),
        cmocka_unit_test(versions_are_compared_as_numbers),
    };
    return cmocka_run_group_tests_name("variant", tests, begin, end);
}
