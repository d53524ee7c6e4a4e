/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of a host's devices, in made-up hosts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/device/list.h"

#define UUID "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
#define ENTRIES_MAX 16

static char root[64];
static struct kernel_tree tree;

/* ---- a host ---- */

static void make(const char *format, ...)
{
    char command[1024], text[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    snprintf(text, sizeof(text), "cd %s && %s", root, command);
    assert_int_equal(system(text), 0);
}

/* A PCI function; no @driver or no @group where they are "". @id as in a modalias. */
static void add_pci(const char *name, const char *id, const char *driver, const char *group)
{
    make("d=sys/bus/pci/devices/%s; mkdir -p $d && echo pci:%s >$d/modalias && "
         "if [ '%s' ]; then ln -s ../../../drivers/%s $d/driver; fi && "
         "if [ '%s' ]; then ln -s ../../../../kernel/iommu_groups/%s $d/iommu_group && "
         "mkdir -p sys/kernel/iommu_groups/%s/devices/%s; fi",
         name, id, driver, driver, group, group, group, name);
}

static void add_mdev(const char *uuid, const char *driver, const char *group)
{
    make("d=sys/bus/mdev/devices/%s; mkdir -p $d && ln -s ../../../drivers/%s $d/driver && "
         "ln -s ../../../../kernel/iommu_groups/%s $d/iommu_group && "
         "mkdir -p sys/kernel/iommu_groups/%s/devices/%s && "
         "echo vfio-noiommu >sys/kernel/iommu_groups/%s/name",
         uuid, driver, group, group, uuid, group);
}

#define MLX5 "v000015B3d0000101Esv000015B3sd00000061bc02sc00i00"
#define PDS "v00001DD8d00001003sv00001DD8sd00001000bc02sc00i00"
#define EDU "v00001234d000011E8sv00001AF4sd00001100bc00scFFi00"
#define NIC "v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00"
#define BRIDGE "v00008086d00001901sv00000000sd00000000bc06sc04i00"

static int begin(void **unused)
{
    (void)unused;
    /* Ten thousand devices are forty thousand files: in memory, where that is possible. */
    snprintf(root, sizeof(root), "%s/vfio-migrate-list-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(root) || chmod(root, 0755))
        return -1;
    snprintf(tree.sys, sizeof(tree.sys), "%.40s/sys", root);
    snprintf(tree.dev, sizeof(tree.dev), "%.40s/dev", root);
    snprintf(tree.modules, sizeof(tree.modules), "%s/modules", root);
    strcpy(tree.release, "6.12.0");
    make("mkdir -p sys/kernel sys/bus/pci/devices sys/bus/mdev/devices sys/class/vfio modules "
         "dev/vfio/devices && touch dev/vfio/vfio && chmod 666 dev/vfio/vfio && "
         "echo 'alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci' "
         ">modules/modules.alias");
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    char text[128];
    snprintf(text, sizeof(text), "rm -r %s", root);
    return system(text);
}

/* ---- its list ---- */

static struct vmig_device_entry entries[ENTRIES_MAX];
static unsigned num_entries;

static int keep(const struct vmig_device_entry *entry, void *unused)
{
    (void)unused;
    assert_true(num_entries < ENTRIES_MAX);
    entries[num_entries++] = *entry;
    return 0;
}

static void list(unsigned flags)
{
    struct vmig_error err = { 0 };
    num_entries = 0;
    if (device_list(&tree, flags, keep, NULL, &err))
        fail_msg("%s", err.text);
}

static const struct vmig_device_entry *only(void)
{
    list(0);
    assert_int_equal(num_entries, 1);
    return &entries[0];
}

static void expect_none(const char *reason, const char *words)
{
    struct vmig_error err = { 0 };
    num_entries = 0;
    assert_int_equal(device_list(&tree, 0, keep, NULL, &err), -ENODEV);
    assert_int_equal(num_entries, 0);
    assert_string_equal(err.reason, reason);
    assert_int_equal(err.stage, VMIG_STAGE_NONE);
    assert_non_null(strstr(err.text, words));
}

static void expect_words(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("'%s' does not say '%s'", text, words);
}

/* ---- which are listed ---- */

static void first_what_vfio_has_then_what_it_could_have(void **unused)
{
    (void)unused;
    add_pci("0000:01:00.0", MLX5, "mlx5_core", "1");
    add_pci("0000:02:00.0", NIC, "e1000e", "2");
    add_pci("0000:03:00.1", EDU, "vfio-pci", "3");
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "4");
    add_pci("0000:00:01.0", BRIDGE, "pcieport", "5");
    add_mdev(UUID, "mtty", "6");
    list(0);
    assert_int_equal(num_entries, 4);
    assert_string_equal(entries[0].address, "0000:03:00.0");
    assert_string_equal(entries[1].address, "0000:03:00.1");
    assert_string_equal(entries[2].address, UUID);
    assert_string_equal(entries[3].address, "0000:01:00.0");
}

static void everything_but_bridges_when_all_is_wanted(void **unused)
{
    (void)unused;
    add_pci("0000:01:00.0", MLX5, "mlx5_core", "1");
    add_pci("0000:02:00.0", NIC, "e1000e", "2");
    add_pci("0000:00:01.0", BRIDGE, "pcieport", "5");
    make("mkdir sys/bus/pci/devices/0000:04:00.0");
    list(VMIG_LIST_ALL);
    assert_int_equal(num_entries, 3);
    assert_string_equal(entries[0].address, "0000:01:00.0");
    assert_string_equal(entries[1].address, "0000:02:00.0");
    assert_string_equal(entries[2].address, "0000:04:00.0");
    assert_int_equal(entries[2].vendor_id, 0xffff);
    assert_string_equal(entries[2].reason, "no-iommu-group");
}

static int refuse(const struct vmig_device_entry *entry, void *opaque)
{
    (void)entry;
    ++*(unsigned *)opaque;
    return -EINTR;
}

static void the_callers_refusal_ends_the_list(void **unused)
{
    (void)unused;
    unsigned calls = 0;
    add_pci("0000:03:00.0", EDU, "vfio-pci", "3");
    add_pci("0000:03:00.1", EDU, "vfio-pci", "4");
    assert_int_equal(device_list(&tree, 0, refuse, &calls, NULL), -EINTR);
    assert_int_equal(calls, 1);
}

/* ---- what is told ---- */

static void identity_driver_group_and_nodes(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "17");
    make("mkdir -p sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2 && "
         "echo 511:2 >sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2/dev && "
         "touch dev/vfio/17");
    const struct vmig_device_entry *entry = only();
    assert_false(entry->mediated);
    assert_true(entry->vfio);
    assert_string_equal(entry->driver, "mlx5_vfio_pci");
    assert_int_equal(entry->group, 17);
    assert_string_equal(entry->group_node, "/dev/vfio/17");
    assert_string_equal(entry->cdev_node, "/dev/vfio/devices/vfio2");
    assert_int_equal(entry->vendor_id, 0x15b3);
    assert_int_equal(entry->device_id, 0x101e);
    assert_int_equal(entry->class_code, 0x020000);
    assert_int_equal(entry->prospect, VMIG_PROSPECT_LIKELY);
    assert_string_equal(entry->reason, "");
    assert_string_equal(entry->remedy, "");
    assert_string_equal(entry->blocked, "");
}

static void a_mediated_devices_driver_tells_its_prospect(void **unused)
{
    (void)unused;
    static const struct {
        const char *driver;
        enum vmig_prospect prospect;
    } rows[] = {
        { "mtty", VMIG_PROSPECT_LIKELY },
        { "vfio_migrate_refdev", VMIG_PROSPECT_LIKELY },
        { "vfio_ap_mdev", VMIG_PROSPECT_NO },
        { "some_vendors", VMIG_PROSPECT_UNKNOWN },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        add_mdev(UUID, rows[i].driver, "6");
        const struct vmig_device_entry *entry = only();
        assert_true(entry->mediated && entry->vfio);
        assert_int_equal(entry->group, 6);
        assert_string_equal(entry->group_node, "/dev/vfio/6");
        assert_int_equal(entry->prospect, rows[i].prospect);
        if (entry->prospect == VMIG_PROSPECT_NO) {
            assert_string_equal(entry->reason, "vfio-no-kernel-support");
            expect_words(entry->remedy, rows[i].driver);
        }
        make("rm -r sys/bus/mdev/devices/" UUID);
    }
}

static void vfio_pci_where_a_variant_driver_is_there(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "vfio-pci", "17");
    const struct vmig_device_entry *entry = only();
    assert_int_equal(entry->prospect, VMIG_PROSPECT_NO);
    assert_string_equal(entry->reason, "vfio-variant-driver-available");
    expect_words(entry->remedy, "mlx5_vfio_pci");
}

static void vfio_pci_where_a_newer_kernel_has_the_variant_driver(void **unused)
{
    (void)unused;
    strcpy(tree.release, "6.1.0-13-amd64");
    add_pci("0000:03:00.0", PDS, "vfio-pci", "17");
    const struct vmig_device_entry *entry = only();
    assert_string_equal(entry->reason, "vfio-variant-driver-missing");
    expect_words(entry->remedy, "Linux 6.6");
}

static void a_function_that_waits_for_its_variant_driver(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "mlx5_core", "17");
    const struct vmig_device_entry *entry = only();
    assert_false(entry->vfio);
    assert_string_equal(entry->group_node, "");
    assert_string_equal(entry->reason, "no-vfio-driver");
    expect_words(entry->remedy, "bind it to mlx5_vfio_pci");
    assert_string_equal(entry->blocked, "");
}

static void an_unknown_driver_that_is_registered_with_vfio(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", NIC, "vendor-vgpu", "17");
    make("mkdir -p sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio0");
    const struct vmig_device_entry *entry = only();
    assert_true(entry->vfio);
    assert_string_equal(entry->cdev_node, "");
    assert_int_equal(entry->prospect, VMIG_PROSPECT_UNKNOWN);
}

static void a_function_without_a_group_needs_the_iommu(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "mlx5_core", "");
    const struct vmig_device_entry *entry = only();
    assert_int_equal(entry->group, -1);
    assert_string_equal(entry->reason, "no-iommu-group");
    expect_words(entry->remedy, "intel_iommu=on");
}

static void a_function_that_vfio_has_without_an_iommu(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "17");
    make("echo vfio-noiommu >sys/kernel/iommu_groups/17/name");
    const struct vmig_device_entry *entry = only();
    assert_int_equal(entry->prospect, VMIG_PROSPECT_NO);
    assert_string_equal(entry->reason, "noiommu-mode");
    assert_string_equal(entry->group_node, "/dev/vfio/noiommu-17");
}

/* ---- could it be opened? ---- */

static void a_group_shared_with_another_driver_is_blocked(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "17");
    add_pci("0000:03:00.1", NIC, "e1000e", "17");
    make("touch dev/vfio/17");
    const struct vmig_device_entry *entry = only();
    assert_int_equal(entry->prospect, VMIG_PROSPECT_LIKELY);
    assert_string_equal(entry->blocked, "group-not-viable");
    expect_words(entry->blocked_text, "0000:03:00.1 (e1000e)");
}

static void a_node_that_a_container_was_not_given(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "17");
    const struct vmig_device_entry *entry = only();
    assert_string_equal(entry->blocked, "no-device-node");
    expect_words(entry->blocked_text, "/dev/vfio/17 is not there");
    make("mkdir -p sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2 && "
         "echo 511:2 >sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2/dev");
    expect_words(only()->blocked_text, "/dev/vfio/17 or /dev/vfio/devices/vfio2 is not there");
}

static void a_node_without_permission(void **unused)
{
    (void)unused;
    uid_t user = geteuid();
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "17");
    make("touch dev/vfio/17 && chmod 400 dev/vfio/17");
    assert_int_equal(user ? 0 : seteuid(65534), 0);
    const struct vmig_device_entry *entry = only();
    assert_int_equal(seteuid(user), 0);
    assert_string_equal(entry->blocked, "no-permission");
    expect_words(entry->blocked_text, "/dev/vfio/17");
}

static void the_node_that_is_in_the_way_is_named(void **unused)
{
    (void)unused;
    uid_t user = geteuid();
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "17");
    make("mkdir -p sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2 && "
         "echo 511:2 >sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2/dev && "
         "touch dev/vfio/devices/vfio2 dev/iommu && chmod 666 dev/vfio/devices/vfio2 && "
         "chmod 400 dev/iommu");
    assert_int_equal(user ? 0 : seteuid(65534), 0);
    const struct vmig_device_entry *entry = only();
    assert_int_equal(seteuid(user), 0);
    assert_string_equal(entry->blocked, "no-permission");
    expect_words(entry->blocked_text, "read and write /dev/iommu;");
}

static void one_way_to_open_it_is_enough(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", MLX5, "mlx5_vfio_pci", "17");
    make("mkdir -p sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2 && "
         "echo 511:2 >sys/bus/pci/devices/0000:03:00.0/vfio-dev/vfio2/dev && "
         "touch dev/vfio/devices/vfio2");
    assert_string_equal(only()->blocked, "no-device-node");
    expect_words(only()->blocked_text, "/dev/vfio/17 or /dev/iommu is not there");
    make("touch dev/iommu");
    assert_string_equal(only()->blocked, "");
}

/* ---- an empty list says why ---- */

static void nothing_is_bound(void **unused)
{
    (void)unused;
    add_pci("0000:02:00.0", NIC, "e1000e", "2");
    expect_none("no-vfio-driver", "bind one");
}

static void vfio_is_not_loaded(void **unused)
{
    (void)unused;
    add_pci("0000:02:00.0", NIC, "e1000e", "2");
    make("rm -r sys/class dev");
    expect_none("vfio-not-loaded", "modprobe vfio-pci");
}

static void there_is_no_iommu(void **unused)
{
    (void)unused;
    add_pci("0000:02:00.0", NIC, "e1000e", "");
    expect_none("no-iommu-group", "AMD-Vi");
}

static void there_is_no_device(void **unused)
{
    (void)unused;
    expect_none("no-such-device", "no PCI device");
    make("rm -r sys/bus/pci sys/bus/mdev");
    expect_none("no-such-device", "no PCI device");
}

static void there_is_no_sysfs(void **unused)
{
    (void)unused;
    struct vmig_error err = { 0 };
    make("rm -r sys && mkdir sys");
    assert_int_equal(device_list(&tree, 0, keep, NULL, &err), -ENOENT);
    assert_string_equal(err.reason, "no-sysfs");
    expect_words(err.text, "container");
}

/* ---- hosts that nobody should have ---- */

static void names_links_and_files_that_make_no_sense(void **unused)
{
    (void)unused;
    add_pci("0000:03:00.0", "nonsense", "vfio-pci", "17");
    make("cd sys/bus/pci/devices && mkdir '0000:03:00.0;rm' '..evil' -- '-x' && "
         "ln -s loop loop && ln -s 0000:05:00.0 0000:05:00.0 && "
         "mkdir 0000:06:00.0 && ln -s driver 0000:06:00.0/driver && "
         "ln -s iommu_group 0000:06:00.0/iommu_group && mkdir 0000:06:00.0/modalias && "
         "ln -s ../nowhere 0000:07:00.0 && "
         "mkdir 0000:08:00.0 && ln -s \"../$(printf 'a\\nb\\033[2J')vfio\" 0000:08:00.0/driver && "
         "ln -s ../99999999999999999999 0000:08:00.0/iommu_group");
    list(VMIG_LIST_ALL);
    for (unsigned i = 0; i < num_entries; i++)
        for (const char *at = entries[i].driver; *at; at++)
            assert_true(*at >= 0x20 && *at <= 0x7e);
    assert_string_equal(entries[0].address, "0000:03:00.0");
    assert_int_equal(entries[0].vendor_id, 0xffff);
    assert_string_equal(entries[0].reason, "vfio-no-kernel-support");
    assert_string_equal(entries[1].address, "0000:08:00.0");
    assert_int_equal(entries[1].group, -1);
    assert_string_equal(entries[1].reason, "no-iommu-group");
}

static int count(const struct vmig_device_entry *entry, void *opaque)
{
    unsigned *n = opaque;
    char name[16];
    snprintf(name, sizeof(name), "%04x:00:00.0", *n);
    assert_string_equal(entry->address, name);
    ++*n;
    return 0;
}

/* Also all in one group, which is looked at for each of them. */
static void ten_thousand_devices_come_in_order(void **unused)
{
    (void)unused;
    unsigned n = 0;
    make("mkdir -p sys/kernel/iommu_groups/1/devices");
    for (unsigned i = 0; i < 10000; i++) {
        char name[16], path[160];
        snprintf(name, sizeof(name), "%04x:00:00.0", i);
        snprintf(path, sizeof(path), "%s/kernel/iommu_groups/1/devices/%s", tree.sys, name);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", tree.sys, name);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/driver", tree.sys, name);
        assert_int_equal(symlink("../../../drivers/vfio-pci", path), 0);
        snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/iommu_group", tree.sys, name);
        assert_int_equal(symlink("../../../../kernel/iommu_groups/1", path), 0);
    }
    assert_int_equal(device_list(&tree, 0, count, &n, NULL), 0);
    assert_int_equal(n, 10000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(first_what_vfio_has_then_what_it_could_have),
        TEST(everything_but_bridges_when_all_is_wanted),
        TEST(the_callers_refusal_ends_the_list),
        TEST(identity_driver_group_and_nodes),
        TEST(a_mediated_devices_driver_tells_its_prospect),
        TEST(vfio_pci_where_a_variant_driver_is_there),
        TEST(vfio_pci_where_a_newer_kernel_has_the_variant_driver),
        TEST(a_function_that_waits_for_its_variant_driver),
        TEST(an_unknown_driver_that_is_registered_with_vfio),
        TEST(a_function_without_a_group_needs_the_iommu),
        TEST(a_function_that_vfio_has_without_an_iommu),
        TEST(a_group_shared_with_another_driver_is_blocked),
        TEST(a_node_that_a_container_was_not_given),
        TEST(a_node_without_permission),
        TEST(the_node_that_is_in_the_way_is_named),
        TEST(one_way_to_open_it_is_enough),
        TEST(nothing_is_bound),
        TEST(vfio_is_not_loaded),
        TEST(there_is_no_iommu),
        TEST(there_is_no_device),
        TEST(there_is_no_sysfs),
        TEST(names_links_and_files_that_make_no_sense),
        TEST(ten_thousand_devices_come_in_order),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
