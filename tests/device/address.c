/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of kernel devices: their forms, which backend they belong to, and when the second backend
 * is tried. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/device/backend.h"
#include "lib/device/fd-address.h"
#include "lib/error.h"

#define UUID "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

/* ---- fd: ---- */

static struct fd_address x_parse(const char *address)
{
    struct fd_address parsed;
    struct vmig_error err = { 0 };
    if (fd_address_parse(address, &parsed, &err))
        fail_msg("%s: %s", address, err.text);
    return parsed;
}

static void an_unbound_device_comes_with_its_iommufd(void **unused)
{
    (void)unused;
    struct fd_address a = x_parse("fd:7,iommufd=8");
    assert_int_equal(a.device, 7);
    assert_int_equal(a.iommufd, 8);
    assert_int_equal(a.container, -1);
    assert_int_equal(a.group, -1);
    assert_int_equal(a.ioas, 0);
    assert_false(a.established);
    assert_string_equal(a.name, "");
    a = x_parse("fd:0,ioas=4294967295,name=0000:3B:00.2,iommufd=2147483647");
    assert_int_equal(a.device, 0);
    assert_int_equal(a.iommufd, 2147483647);
    assert_true(a.ioas == UINT32_MAX);
    assert_string_equal(a.name, "0000:3b:00.2");
}

static void a_groups_device_comes_with_its_container(void **unused)
{
    (void)unused;
    struct fd_address a = x_parse("fd:7,container=8,name=" UUID);
    assert_int_equal(a.device, 7);
    assert_int_equal(a.container, 8);
    assert_int_equal(a.iommufd, -1);
    assert_string_equal(a.name, UUID);
}

static void what_is_written_is_read_again(void **unused)
{
    (void)unused;
    const struct fd_address written[] = {
        { 3, 4, -1, -1, 5, 6, 0, true, UUID },
        { 3, 4, -1, -1, 1, 1, 1, true, "" },
        { 3, -1, 4, 5, 0, 0, 0, true, "0000:3b:00.2" },
        { 2147483647, 2147483646, -1, -1, UINT32_MAX, UINT32_MAX, UINT32_MAX, true, UUID },
    };
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        char text[256], cut[256];
        assert_int_equal(fd_address_write(&written[i], text, sizeof(text), NULL), 0);
        struct fd_address read = x_parse(text);
        assert_int_equal(read.device, written[i].device);
        assert_int_equal(read.iommufd, written[i].iommufd);
        assert_int_equal(read.container, written[i].container);
        assert_int_equal(read.group, written[i].group);
        assert_true(read.ioas == written[i].ioas && read.devid == written[i].devid &&
                    read.hwpt == written[i].hwpt);
        assert_true(read.established);
        assert_string_equal(read.name, written[i].name);
        size_t length = strlen(text);
        assert_int_equal(fd_address_write(&written[i], cut, length, NULL), -ENOSPC);
        assert_int_equal(fd_address_write(&written[i], cut, length + 1, NULL), 0);
        assert_string_equal(cut, text);
    }
}

static void what_makes_no_sense_is_named(void **unused)
{
    (void)unused;
    static const struct {
        const char *address, *says;
    } bad[] = {
        { "fd:", "no file descriptor" },
        { "fd:x,iommufd=3", "'x' is no file descriptor" },
        { "fd:-1,iommufd=3", "'-1' is no file descriptor" },
        { "fd:99999999999,iommufd=3", "no file descriptor" },
        { "fd:7", "iommufd=M or container=M' is missing" },
        { "fd:7,iommufd=", "'iommufd=' is no number" },
        { "fd:7,iommufd=8x", "'iommufd=8x' is no number" },
        { "fd:7,iommufd=2147483648", "no number" },
        { "fd:7,iommufd=8,iommufd=8", "comes twice" },
        { "fd:7,iommufd=8,ioas=0", "'ioas=0' is no number" },
        { "fd:7,iommufd=8,ioas=4294967296", "no number" },
        { "fd:7,iommufd=7", "two things" },
        { "fd:7,container=7", "two things" },
        { "fd:7,container=8,group=8,established=1", "two things" },
        { "fd:7,iommufd=8,container=9", "'container' does not go together" },
        { "fd:7,iommufd=8,group=9", "'group' does not go together" },
        { "fd:7,container=8,ioas=1", "'ioas' does not go together" },
        { "fd:7,container=8,devid=1", "'devid' does not go together" },
        { "fd:7,container=8,hwpt=1", "'hwpt' does not go together" },
        { "fd:7,iommufd=8,devid=1", "'devid' belongs to" },
        { "fd:7,iommufd=8,hwpt=1", "'hwpt' belongs to" },
        { "fd:7,container=8,group=9", "'group' belongs to" },
        { "fd:7,iommufd=8,established=1", "'devid' is missing" },
        { "fd:7,iommufd=8,devid=1,established=1", "'ioas' is missing" },
        { "fd:7,iommufd=8,ioas=1,devid=1,established=2", "established=2" },
        { "fd:7,iommufd=8,shoe=1", "'shoe=1' is not understood" },
        { "fd:7,iommufd=8,", "'' is not understood" },
        { "fd:7,8,9," UUID, "'8' is not understood" }, /* as it was before there were keys */
        { "fd:7,iommufd=8,name=eth0", "'eth0' is no PCI address" },
        { "fd:7,iommufd=8,name=" UUID ",name=" UUID, "comes twice" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fd_address parsed;
        struct vmig_error err = { 0 };
        assert_int_equal(fd_address_parse(bad[i].address, &parsed, &err), -EINVAL);
        assert_string_equal(err.reason, "bad-address");
        if (!strstr(err.text, bad[i].says))
            fail_msg("%s: '%s' does not say '%s'", bad[i].address, err.text, bad[i].says);
    }
}

/* ---- which backend ---- */

static void assert_choice(const char *address, const char *wish, const struct backend_ops *first,
                          const struct backend_ops *second)
{
    struct backend_choice choice;
    assert_int_equal(backend_choose(address, wish, &choice, NULL), 0);
    assert_ptr_equal(choice.ops[0], first);
    assert_ptr_equal(choice.ops[1], second);
    assert_null(choice.ops[BACKEND_CHOICES_MAX]);
}

static void a_PCI_or_mediated_device_has_two_ways(void **unused)
{
    (void)unused;
    const char *const names[] = { "0000:3b:00.2", UUID, "0000:3B:1F.7" };
    for (unsigned i = 0; i < 3; i++) {
        assert_choice(names[i], NULL, &backend_cdev, &backend_group);
        assert_choice(names[i], "auto", &backend_cdev, &backend_group);
        assert_choice(names[i], "cdev", &backend_cdev, NULL);
        assert_choice(names[i], "group", &backend_group, NULL);
    }
}

static void other_addresses_have_one(void **unused)
{
    (void)unused;
    assert_choice("/dev/vfio/devices/vfio0", NULL, &backend_cdev, NULL);
    assert_choice("fd:7,iommufd=8", NULL, &backend_cdev, NULL);
    assert_choice("fd:7,container=8", NULL, &backend_group, NULL);
    assert_choice("fd:7", NULL, &backend_group, NULL); /* which says what is missing */
    assert_choice("vfio-user:/run/a", NULL, &backend_vfio_user, NULL);
    assert_choice("vfio-user:/run/a", "vfio-user", &backend_vfio_user, NULL);
}

static void a_wish_that_cannot_be_met_is_refused(void **unused)
{
    (void)unused;
    struct backend_choice choice;
    struct vmig_error err = { 0 };
    assert_int_equal(backend_choose(UUID, "iommufd", &choice, &err), -EINVAL);
    assert_string_equal(err.reason, "no-such-backend");
    assert_non_null(strstr(err.text, "auto, cdev, group or vfio-user"));
    memset(&err, 0, sizeof(err));
    assert_int_equal(backend_choose("vfio-user:/run/a", "cdev", &choice, &err), -EINVAL);
    assert_string_equal(err.reason, "bad-address");
    assert_non_null(strstr(err.text, "backend cdev"));
    memset(&err, 0, sizeof(err));
    assert_int_equal(backend_choose("eth0", NULL, &choice, &err), -EINVAL);
    assert_int_equal(err.code, 0); /* what addresses there are is said above */
}

/* ---- when the second is tried ---- */

static struct {
    const char *reason; /* of the first's failure; NULL: it opens */
    bool second_fails;
    unsigned opened[2];
} play;

static int open_first(const char *address, const struct backend_options *options, void **ret_self,
                      struct vmig_error *err)
{
    (void)address;
    (void)options;
    play.opened[0]++;
    if (play.reason)
        return error_set(err, EACCES, VMIG_STAGE_OPEN, NULL, play.reason, "the first would not");
    *ret_self = &play;
    return 0;
}

static int open_second(const char *address, const struct backend_options *options, void **ret_self,
                       struct vmig_error *err)
{
    (void)address;
    (void)options;
    play.opened[1]++;
    if (play.second_fails)
        return error_set(err, EBUSY, VMIG_STAGE_OPEN, NULL, "device-busy", "the second neither");
    *ret_self = &play;
    return 0;
}

static const struct backend_ops first = { .name = "one", .open = open_first };
static const struct backend_ops second = { .name = "two", .open = open_second };
static const struct backend_choice both = { .ops = { &first, &second } };

static int try(const char *reason, bool second_fails, const struct backend_ops **ret_ops,
               struct vmig_error *err)
{
    void *self = NULL;
    struct backend_options options = { 0 };
    memset(&play, 0, sizeof(play));
    play.reason = reason;
    play.second_fails = second_fails;
    int rc = backend_open(&both, "an address", &options, ret_ops, &self, err);
    assert_true(rc ? !self : self == &play);
    return rc;
}

static void what_is_not_offered_or_not_permitted_is_tried_the_other_way(void **unused)
{
    (void)unused;
    static const char *const reasons[] = { "no-cdev", "no-device-node", "no-iommufd",
                                           "no-permission", "no-vfio-driver" };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        const struct backend_ops *ops = NULL;
        struct vmig_error err = { 0 };
        assert_int_equal(try(reasons[i], false, &ops, &err), 0);
        assert_ptr_equal(ops, &second);
        assert_int_equal(err.code, 0);
    }
}

static void what_is_busy_or_broken_is_not(void **unused)
{
    (void)unused;
    static const char *const reasons[] = { "device-busy",    "group-not-viable", "not-pci",
                                           "no-such-device", "no-iommu-group",   "" };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        const struct backend_ops *ops = NULL;
        struct vmig_error err = { 0 };
        assert_int_equal(try(reasons[i], false, &ops, &err), -EACCES);
        assert_string_equal(err.reason, reasons[i]);
        assert_string_equal(err.text, "the first would not");
        assert_int_equal(play.opened[1], 0);
    }
}

static void what_opens_is_not_tried_again(void **unused)
{
    (void)unused;
    const struct backend_ops *ops = NULL;
    assert_int_equal(try(NULL, false, &ops, NULL), 0);
    assert_ptr_equal(ops, &first);
    assert_int_equal(play.opened[1], 0);
}

static void when_both_fail_the_message_tells_of_both(void **unused)
{
    (void)unused;
    const struct backend_ops *ops = NULL;
    struct vmig_error err = { 0 };
    assert_int_equal(try("no-permission", true, &ops, &err), -EBUSY);
    assert_string_equal(err.reason, "device-busy");
    assert_string_equal(err.text,
                        "by its two: the second neither; by its one: the first would not");
    assert_int_equal(try("no-permission", true, &ops, NULL), -EBUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unbound_device_comes_with_its_iommufd),
        cmocka_unit_test(a_groups_device_comes_with_its_container),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(what_makes_no_sense_is_named),
        cmocka_unit_test(a_PCI_or_mediated_device_has_two_ways),
        cmocka_unit_test(other_addresses_have_one),
        cmocka_unit_test(a_wish_that_cannot_be_met_is_refused),
        cmocka_unit_test(what_is_not_offered_or_not_permitted_is_tried_the_other_way),
        cmocka_unit_test(what_is_busy_or_broken_is_not),
        cmocka_unit_test(what_opens_is_not_tried_again),
        cmocka_unit_test(when_both_fail_the_message_tells_of_both),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
