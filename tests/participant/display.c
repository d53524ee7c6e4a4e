/* SPDX-License-Identifier: BSD-3-Clause */
/* Displays: what settings come to, in all combinations, against the rules told one after the other; what
 * a guest may have written; machine versions. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/migration/compat.h"
#include "lib/migration/migration.h"
#include "lib/participant/display.h"

/* ---- settings ---- */

static int save(void *opaque, struct vmig_pci_state *state, struct vmig_error *err)
{
    (void)opaque;
    (void)state;
    (void)err;
    return 0;
}

static int load(void *opaque, const struct vmig_pci_state *state, struct vmig_error *err)
{
    (void)opaque;
    (void)state;
    (void)err;
    return 0;
}

static const struct vmig_pci_ops both = { sizeof(both), save, load };

/* Code of the refusal or "", warning or not, moves or not. */
struct expected {
    const char *reason;
    bool warned, moves;
};

/* The rules as they are told, first things first. */
static struct expected by_the_rules(const struct vmig_device_settings *s, bool old_machine)
{
    struct expected e = { .reason = "" };
    enum vmig_on_off_auto migrate = s->ramfb_migrate;
    if (s->hotplugged && s->ramfb)
        return (struct expected) { .reason = "ramfb-hotplugged" };
    if (old_machine && migrate == VMIG_AUTO)
        migrate = VMIG_OFF;
    /* on without ramfb warns and becomes off */
    if (migrate == VMIG_ON && !s->ramfb) {
        e.warned = true;
        migrate = VMIG_OFF;
    }
    /* with enable-migration=off auto becomes off, on is an error */
    if (s->enable_migration == VMIG_OFF) {
        if (migrate == VMIG_AUTO)
            migrate = VMIG_OFF;
        else if (migrate == VMIG_ON)
            return (struct expected) { .reason = "ramfb-disabled" };
    }
    /* auto follows ramfb */
    if (migrate == VMIG_AUTO)
        migrate = s->ramfb ? VMIG_ON : VMIG_OFF;
    e.moves = migrate == VMIG_ON;
    return e;
}

static void check(const struct vmig_device_settings *s, bool old_machine)
{
    struct vmig_error err = { 0 };
    struct display got;
    struct expected e = by_the_rules(s, old_machine);
    int rc = display_resolve(s, old_machine, "0000:00:05.0", &got, &err);
    assert_string_equal(err.reason, e.reason);
    assert_int_equal(rc, e.reason[0] ? -EINVAL : 0);
    if (rc < 0) {
        assert_string_equal(err.device, "0000:00:05.0");
        return;
    }
    assert_int_equal(got.moves, e.moves);
    assert_int_equal(got.ignored_on, e.warned);
    assert_int_equal(got.ramfb, s->ramfb);
    assert_int_equal(got.shown, s->display || s->ramfb); /* ramfb implies a display */
}

static void all_settings_come_to_what_the_rules_say(void **state)
{
    (void)state;
    static const enum vmig_on_off_auto all[] = { VMIG_AUTO, VMIG_ON, VMIG_OFF };
    for (unsigned i = 0; i < 3 * 3 * 16; i++) {
        struct vmig_device_settings s = {
            .size = sizeof(s),
            .enable_migration = all[i % 3],
            .ramfb_migrate = all[i / 3 % 3],
            .ramfb = i / 9 & 1,
            .display = i / 9 & 2,
            .hotplugged = i / 9 & 4,
            .pci = &both,
        };
        check(&s, i / 9 & 8);
    }
}

static void what_moves_needs_somebody_who_has_it(void **state)
{
    (void)state;
    static const struct vmig_pci_ops none = { sizeof(none), NULL, NULL };
    static const struct vmig_pci_ops only_save = { sizeof(none), save, NULL };
    static const struct vmig_pci_ops only_load = { sizeof(none), NULL, load };
    const struct vmig_pci_ops *const lacking[] = { NULL, &none, &only_save, &only_load };
    for (unsigned i = 0; i < 4; i++) {
        struct vmig_device_settings s = { .size = sizeof(s), .ramfb = true, .pci = lacking[i] };
        struct vmig_error err = { 0 };
        struct display got;
        assert_int_equal(display_resolve(&s, false, "a", &got, &err), -EINVAL);
        assert_string_equal(err.reason, "bad-settings");
        s.ramfb_migrate = VMIG_OFF;
        assert_int_equal(display_resolve(&s, false, "a", &got, NULL), 0);
    }
}

static void a_fourth_value_is_refused(void **state)
{
    (void)state;
    struct vmig_device_settings s = { .size = sizeof(s),
                                      .ramfb_migrate = (enum vmig_on_off_auto)3 };
    struct vmig_error err = { 0 };
    struct display got;
    assert_int_equal(display_resolve(&s, false, "a", &got, &err), -EINVAL);
    assert_string_equal(err.reason, "bad-settings");
}

/* ---- at the target ---- */

static void a_display_that_comes_unwanted_is_refused_and_one_that_lacks_is_not(void **state)
{
    (void)state;
    static struct vmig_pci_state theirs; /* large */
    struct vmig_error err = { 0 };
    for (unsigned moves = 0; moves < 2; moves++)
        assert_int_equal(display_check(moves, &theirs, "a", NULL), 0);
    theirs.has_ramfb = true;
    assert_int_equal(display_check(true, &theirs, "a", NULL), 0);
    assert_int_equal(display_check(false, &theirs, "a", &err), -EINVAL);
    assert_string_equal(err.reason, "display-mismatch");
    assert_non_null(strstr(err.text, "vfio-pci-nohotplug.x-ramfb-migrate"));
}

/* ---- what a guest may have written ---- */

#define XR24 0x34325258

static bool shows(struct vmig_ramfb ramfb)
{
    struct vmig_error err = { 0 };
    int rc = ramfb_check(&ramfb, "a", &err);
    assert_string_equal(err.reason, rc < 0 ? "display-mismatch" : "");
    struct vmig_ramfb after = ramfb, none = { 0 };
    ramfb_sanitize(&after);
    assert_memory_equal(&after, rc < 0 ? &none : &ramfb, RAMFB_BYTES);
    return rc == 0;
}

static void a_picture_is_plausible_or_there_is_none(void **state)
{
    (void)state;
    struct vmig_ramfb good = { 0x7f000000, XR24, 0, 1024, 768, 4096 }, r;
    assert_true(shows(good));
    assert_true(shows((struct vmig_ramfb) { 0 }));
    r = good;
    r.stride_bytes = 0; /* lines follow each other */
    assert_true(shows(r));
    r = good;
    r.width = r.height = 16384;
    r.stride_bytes = 65536;
    assert_true(shows(r));
    r.width = 16385;
    assert_false(shows(r));
    r.width = 16384;
    r.height = 16385;
    assert_false(shows(r));
    r = good;
    r.stride_bytes = 2047; /* 1,024 pixels of two bytes are the least */
    assert_false(shows(r));
    r.stride_bytes = 2048;
    assert_true(shows(r));
    r.stride_bytes = 16384 * 16;
    assert_true(shows(r));
    r.stride_bytes++;
    assert_false(shows(r));
    r = good;
    r.addr = UINT64_MAX - 4096 * 768;
    assert_true(shows(r));
    r.addr++;
    assert_false(shows(r));
    r.width = 0; /* no picture, wherever it would be */
    assert_true(shows(r));
}

/* ---- machine versions ---- */

static void machines_up_to_8_1_move_no_ramfb(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool off;
    } rows[] = {
        { "1.0", true },  { "2.12", true }, { "7.2", true },   { "8.0", true },   { "8.1", true },
        { "8.2", false }, { "9.0", false }, { "10.0", false }, { "11.1", false },
    };
    struct compat_version version = { 0 };
    for (unsigned p = 0; p < COMPAT_COUNT; p++)
        assert_false(compat_turns_off(&version, (enum compat_property)p)); /* the newest */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(compat_parse(rows[i].text, &version, NULL), 0);
        for (unsigned p = 0; p < COMPAT_COUNT; p++)
            assert_int_equal(compat_turns_off(&version, (enum compat_property)p), rows[i].off);
    }
}

static void what_is_no_version_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = { "",     "8",   "8.",    ".1",    "8.1.2",         "8.1 ",
                                         " 8.1", "8,1", "-8.1",  "+8.1",  "pc-8.1",        "0.1",
                                         "8.-1", "8.x", "8.+1",  "8. 1",  "99999999999.1", "latest",
                                         "x.y",  "1e1", "8.1\n", "8.0x1", "8..1" };
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct vmig_error err = { 0 };
        if (vmig_migration_set_compat(m, texts[i], &err) != -EINVAL)
            fail_msg("\"%s\" is taken", texts[i]);
        assert_string_equal(err.reason, "bad-settings");
        assert_int_equal(m->compat.major, 0);
    }
    assert_int_equal(vmig_migration_set_compat(m, "8.1", NULL), 0);
    assert_int_equal(m->compat.major * 100 + m->compat.minor, 801);
    assert_int_equal(vmig_migration_set_compat(m, NULL, NULL), 0);
    assert_int_equal(m->compat.major, 0);
    vmig_migration_free(m);
}

/* ---- a ramfb of its own ---- */

static int save_ramfb(void *opaque, struct vmig_ramfb *ret, struct vmig_error *err)
{
    (void)err;
    *ret = *(struct vmig_ramfb *)opaque;
    return 0;
}

static int load_ramfb(void *opaque, const struct vmig_ramfb *ramfb, struct vmig_error *err)
{
    (void)err;
    *(struct vmig_ramfb *)opaque = *ramfb;
    return 0;
}

static void a_ramfb_device_needs_both_operations_and_comes_once(void **state)
{
    (void)state;
    struct vmig_ramfb ramfb;
    struct vmig_ramfb_ops ops = { sizeof(ops), save_ramfb, load_ramfb };
    struct vmig_ramfb_ops no_load = { sizeof(ops), save_ramfb, NULL };
    struct vmig_ramfb_ops no_save = { sizeof(ops), NULL, load_ramfb };
    struct vmig_ramfb_ops old = { sizeof(ops) - 1, save_ramfb, load_ramfb };
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    assert_int_equal(vmig_migration_add_ramfb(m, &no_load, &ramfb, NULL), -EINVAL);
    assert_int_equal(vmig_migration_add_ramfb(m, &no_save, &ramfb, NULL), -EINVAL);
    assert_int_equal(vmig_migration_add_ramfb(m, &old, &ramfb, NULL), -EINVAL);
    assert_int_equal(vmig_migration_add_ramfb(m, NULL, NULL, NULL), -ENOENT);
    assert_int_equal(vmig_migration_add_ramfb(m, &ops, &ramfb, NULL), 0);
    assert_int_equal(vmig_migration_add_ramfb(m, &ops, &ops, NULL), -EEXIST);
    assert_ptr_equal(m->ramfb.opaque, &ramfb);
    assert_int_equal(vmig_migration_add_ramfb(m, NULL, NULL, NULL), 0);
    assert_int_equal(vmig_migration_add_ramfb(m, &ops, &ramfb, NULL), 0);
    vmig_migration_free(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_settings_come_to_what_the_rules_say),
        cmocka_unit_test(what_moves_needs_somebody_who_has_it),
        cmocka_unit_test(a_fourth_value_is_refused),
        cmocka_unit_test(a_display_that_comes_unwanted_is_refused_and_one_that_lacks_is_not),
        cmocka_unit_test(a_picture_is_plausible_or_there_is_none),
        cmocka_unit_test(machines_up_to_8_1_move_no_ramfb),
        cmocka_unit_test(what_is_no_version_is_refused),
        cmocka_unit_test(a_ramfb_device_needs_both_operations_and_comes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
