/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest sees of its devices moves with them: config space, MSI-X table, what a VMM makes of both,
 * and displays. Devices of profile hisi_acc have none of that in their data.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vfio-migrate/vmstate.h>

#include "lib/device/device.h"
#include "lib/stream/config.h"
#include "tests/migration/world.h"

#define MSIX 0x50 /* of the reference device's capabilities */
#define EXPRESS 0x60
#define VENDOR 0x90 /* where there is none: a VMM's */

static const struct world_plan bare = { .devices = 1, .no_ram = true, .profile = "hisi_acc" };

static struct vmig_device *device_of(struct party *side)
{
    return side->devices[0].device;
}

static void write_config(struct party *side, unsigned at, uint32_t value, unsigned length)
{
    uint8_t bytes[4];
    pci_put32(bytes, value);
    x(vmig_device_region_write(device_of(side), VMIG_REGION_CONFIG, at, bytes, length, &err));
}

static void read_config(struct party *side, uint8_t *ret, size_t length)
{
    x(vmig_device_region_read(device_of(side), VMIG_REGION_CONFIG, 0, ret, length, &err));
}

/* Over everything that a config record can travel in. */
static const struct world_plan links[] = {
    { .link = WORLD_TCP },
    { .link = WORLD_TCP, .lone_main = true },
    { .link = WORLD_FD },
    { .link = WORLD_FILE },
};
#define LINKS (sizeof(links) / sizeof(links[0]))

static struct world_plan over(size_t link)
{
    struct world_plan plan = bare;
    plan.link = links[link].link;
    plan.lone_main = links[link].lone_main;
    return plan;
}

/* ---- the device itself ---- */

/* What a guest's driver does to a device, as far as it leaves something in config space. */
static void drive(struct party *side)
{
    write_config(side, 0x10, 0xfebf0000, 4);
    write_config(side, 0x18, 0xc0000000, 4);
    write_config(side, 0x1c, 0x00000038, 4); /* above 4 GiB */
    write_config(side, 0x20, 0xfebf1000, 4);
    write_config(side, 0x0c, 0x10, 1);
    write_config(side, 0x3c, 0x0b, 1);
    write_config(side, EXPRESS + 8, 0x502f, 2);
    write_config(side, EXPRESS + 16, 0x0003, 2);
    write_config(side, 0x04, 0x0507, 2);
    write_config(side, MSIX + 2, 0x8007, 2);
}

static void config_space_and_MSIX_table_move(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINKS; i++) {
        struct world w;
        struct world_plan plan = over(i);
        uint8_t before[256], after[256], table[16 * REFDEV_MSIX_VECTORS], found[sizeof(table)];
        world_open(&w, &plan);
        drive(w.source);
        for (unsigned at = 0; at < sizeof(table); at++)
            table[at] = (uint8_t)(at % 16 == 12 ? at / 16 % 2 : at % 16 > 12 ? 0 : 0x10 + at);
        x(vmig_device_region_write(device_of(w.source), REFDEV_BAR_MSIX, 0, table, sizeof(table),
                                   &err));
        read_config(w.source, before, sizeof(before));
        assert_int_equal(before[4], 7);
        assert_int_equal(before[MSIX + 3], 0x80);
        world_move(&w);
        world_moved(&w);
        read_config(w.target, after, sizeof(after));
        assert_memory_equal(after, before, sizeof(before));
        x(vmig_device_region_read(device_of(w.target), REFDEV_BAR_MSIX, 0, found, sizeof(found),
                                  &err));
        assert_memory_equal(found, table, sizeof(table));
        world_close(&w);
    }
}

static void BARs_of_a_conventional_device_move(void **state)
{
    (void)state;
    struct world w;
    struct world_plan plan = bare;
    uint8_t before[64], after[64];
    plan.profile = "mtty";
    world_open(&w, &plan);
    write_config(w.source, 0x10, 0xc060, 4);
    write_config(w.source, 0x14, 0xc068, 4);
    write_config(w.source, 0x3c, 0x0a, 1);
    write_config(w.source, 0x04, 0x0103, 2);
    read_config(w.source, before, sizeof(before));
    assert_int_equal(pci_get32(before + 0x10), 0xc061); /* I/O */
    world_move(&w);
    world_moved(&w);
    read_config(w.target, after, sizeof(after));
    assert_memory_equal(after, before, sizeof(before));
    world_close(&w);
}

/* Ids at both ends are those of the slots there; where one device moves alone, a file's need not be
 * ours. */
static void a_device_in_another_slot_takes_a_file(void **state)
{
    (void)state;
    struct world w;
    struct world_plan plan = bare;
    plan.link = WORLD_FILE;
    world_open(&w, &plan);
    struct participant *p = participant_find(w.target->m, "device0");
    snprintf(p->id, sizeof(p->id), "0000:af:00.2");
    snprintf(p->idstr, sizeof(p->idstr), "0000:af:00.2/vfio");
    write_config(w.source, 0x10, 0xfebf0000, 4);
    world_move(&w);
    world_moved(&w);
    uint8_t after[0x14];
    read_config(w.target, after, sizeof(after));
    assert_int_equal(pci_get32(after + 0x10), 0xfebf0000);
    world_close(&w);
}

/* ---- what does not fit ---- */

static void goes_on_at_the_source(struct world *w, const char *reason, const char *text)
{
    world_move(w);
    party_failed(w->target, -EINVAL, reason, text);
    if (w->plan.link != WORLD_FILE) {
        party_failed(w->source, -EINVAL, reason, text);
        world_runs_at(w, w->source);
    }
    assert_int_equal(party_state(w->target, 0), VMIG_STATE_RUNNING);
    assert_int_equal(w->target->starts, 0);
    world_close(w);
}

/* Nothing of the target is touched where both sides speak to each other first. */
static void a_device_of_another_subsystem_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINKS; i++) {
        struct world w;
        struct world_plan plan = over(i);
        const char *text = i == 3 ? "19e5:a256, subsystem 524d:0001" : "19e5:a256 524d:0001";
        world_open(&w, &plan);
        struct vmig_device *device = device_of(w.target);
        x(vmig_migration_remove_device(w.target->m, device, &err));
        device->info.subsystem_id = 0x0002;
        x(vmig_migration_add_device(w.target->m, device, &err));
        world_move(&w);
        party_failed(w.target, -EINVAL, "foreign-device", text);
        if (!strstr(w.target->err.text, "524d:0002"))
            fail_msg("%s", w.target->err.text);
        assert_int_equal(party_was_in(w.target, VMIG_STAGE_SETUP), i == 3);
        assert_int_equal(party_state(w.target, 0), VMIG_STATE_RUNNING);
        world_close(&w);
    }
}

/* ---- a VMM's view ---- */

/* What it makes of the device's: all that follows is put in where it is not 0. */
struct vmm {
    uint8_t revision;
    uint8_t vendor[4]; /* contents of a vendor capability */
    bool has_vendor, emulates_msix;
    struct vmig_ramfb ramfb;
    int save_rc, load_rc;
    /* what came */
    unsigned saves, loads;
    enum vmig_state state_at_load;
    struct vmig_device *device;
    struct vmig_pci_state loaded;
};

static int vmm_save(void *opaque, struct vmig_pci_state *state, struct vmig_error *err)
{
    struct vmm *v = opaque;
    (void)err;
    v->saves++;
    assert_int_equal(state->size, sizeof(*state));
    assert_int_equal(state->num_vectors, REFDEV_MSIX_VECTORS);
    if (v->revision)
        state->config[8] = v->revision;
    if (v->has_vendor) {
        state->config[EXPRESS + 1] = VENDOR;
        state->config[VENDOR] = 0x09;
        state->config[VENDOR + 2] = 7;
        memcpy(state->config + VENDOR + 3, v->vendor, 4);
    }
    if (v->emulates_msix) {
        memset(state->msix_table, 0xa5, 16 * (size_t)REFDEV_MSIX_VECTORS);
        state->msix_pending[0] = 0x42;
        state->irq_state[2] = 1;
    }
    state->ramfb = v->ramfb;
    return v->save_rc;
}

static int vmm_load(void *opaque, const struct vmig_pci_state *state, struct vmig_error *err)
{
    struct vmm *v = opaque;
    v->loads++;
    v->loaded = *state;
    return vmig_device_get_state(v->device, &v->state_at_load, err) ? -EIO : v->load_rc;
}

static const struct vmig_pci_ops vmm_ops = { sizeof(vmm_ops), vmm_save, vmm_load };

static void settle(struct party *side, struct vmm *vmm, struct vmig_device_settings settings)
{
    struct vmig_device *device = device_of(side);
    settings.size = sizeof(settings);
    settings.pci = &vmm_ops;
    settings.pci_opaque = vmm;
    vmm->device = device;
    x(vmig_migration_remove_device(side->m, device, &err));
    x(vmig_migration_add_device_with(side->m, device, &settings, &err));
}

static void a_VMM_gives_and_gets_what_its_guest_sees(void **state)
{
    (void)state;
    static struct vmm here, there; /* large; tests have one thread */
    for (size_t i = 0; i < LINKS; i++) {
        struct world w;
        struct world_plan plan = over(i);
        here = (struct vmm) { .emulates_msix = true };
        there = (struct vmm) { 0 };
        world_open(&w, &plan);
        settle(w.source, &here, (struct vmig_device_settings) { 0 });
        settle(w.target, &there, (struct vmig_device_settings) { 0 });
        drive(w.source);
        world_move(&w);
        world_moved(&w);
        assert_int_equal(here.saves, 1);
        assert_int_equal(here.loads, 0);
        assert_int_equal(there.loads, 1);
        assert_string_equal(vmig_state_name(there.state_at_load), "STOP");
        assert_int_equal(there.loaded.num_vectors, REFDEV_MSIX_VECTORS);
        for (unsigned at = 0; at < 16 * REFDEV_MSIX_VECTORS; at++)
            assert_int_equal(there.loaded.msix_table[at], 0xa5);
        assert_int_equal(there.loaded.msix_pending[0], 0x42);
        assert_int_equal(there.loaded.irq_state[2], 1);
        assert_int_equal(there.loaded.config[MSIX + 3], 0x80);
        /* and the device got what it can take: it may do DMA */
        uint8_t config[256];
        read_config(w.target, config, sizeof(config));
        assert_int_equal(pci_get16(config + 4), 0x0507);
        assert_int_equal(pci_get32(config + 0x10), 0xfebf0000);
        world_close(&w);
    }
}

static void a_bit_that_no_driver_writes_must_be_equal(void **state)
{
    (void)state;
    static struct vmm here, there;
    for (size_t i = 0; i < LINKS; i++) {
        struct world w;
        struct world_plan plan = over(i);
        here = (struct vmm) { .revision = 0x33 };
        there = (struct vmm) { 0 };
        world_open(&w, &plan);
        settle(w.source, &here, (struct vmig_device_settings) { 0 });
        settle(w.target, &there, (struct vmig_device_settings) { 0 });
        goes_on_at_the_source(&w, "config-mismatch",
                              "offset 0x8 of its config space is 0x33 at the source and 0x01 here");
        assert_int_equal(there.loads, 0);
    }
}

static void move_vendor_capabilities(bool ignore, uint8_t at_source, uint8_t at_target)
{
    static struct vmm here, there;
    struct world w;
    here = (struct vmm) { .has_vendor = true, .vendor = { 1, 2, 3, at_source } };
    there = (struct vmm) { .has_vendor = true, .vendor = { 1, 2, 3, at_target } };
    world_open(&w, &bare);
    settle(w.source, &here, (struct vmig_device_settings) { 0 });
    settle(w.target, &there, (struct vmig_device_settings) { .ignore_vendor_capability = ignore });
    if (at_source != at_target && !ignore) {
        goes_on_at_the_source(
            &w, "config-mismatch",
            "offset 0x96 of its config space is 0x04 at the source and 0x05 here");
        return;
    }
    world_move(&w);
    world_moved(&w);
    assert_memory_equal(there.loaded.config + VENDOR + 3, here.vendor, 4); /* the guest's stay */
    world_close(&w);
}

static void vendor_capabilities_must_be_equal_unless_ignored(void **state)
{
    (void)state;
    move_vendor_capabilities(false, 4, 4);
    move_vendor_capabilities(true, 4, 4);
    move_vendor_capabilities(true, 4, 5);
    move_vendor_capabilities(false, 4, 5);
}

static void a_VMM_that_fails_ends_the_migration_and_the_source_goes_on(void **state)
{
    (void)state;
    static struct vmm here, there;
    static const int codes[][3] = { { -EIO, 0, 0 }, { 0, -EIO, 0 }, { 0, 0, -EIO } };
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        here = (struct vmm) { .save_rc = codes[i][0] };
        there = (struct vmm) { .save_rc = codes[i][1], .load_rc = codes[i][2] };
        world_open(&w, &bare);
        settle(w.source, &here, (struct vmig_device_settings) { 0 });
        settle(w.target, &there, (struct vmig_device_settings) { 0 });
        world_move(&w);
        party_failed(w.source, -EIO, NULL, NULL);
        world_runs_at(&w, w.source);
        assert_int_equal(party_state(w.target, 0), VMIG_STATE_RUNNING);
        here.save_rc = there.save_rc = there.load_rc = 0;
        world_move(&w); /* and the next attempt starts clean */
        world_moved(&w);
        world_close(&w);
    }
}

/* ---- displays ---- */

#define RAMFB_MEMBERS 28 /* the structure has padding behind them */

static const struct vmig_ramfb picture = { 0x7f000000, 0x34325258, 0, 1024, 768, 4096 };

/* @compat: of each side; NULL: the newest. */
static void open_displays(struct world *w, struct vmm *here, struct vmm *there, size_t link,
                          const char *compat_here, const char *compat_there)
{
    struct world_plan plan = over(link);
    *here = (struct vmm) { .ramfb = picture };
    *there = (struct vmm) { 0 };
    world_open(w, &plan);
    x(vmig_migration_set_compat(w->source->m, compat_here, &err));
    settle(w->source, here, (struct vmig_device_settings) { .ramfb = true });
    settle(w->target, there, (struct vmig_device_settings) { .ramfb = true });
    x(vmig_migration_set_compat(w->target->m, compat_there, &err)); /* the order does not matter */
}

static void a_ramfb_moves_with_its_device(void **state)
{
    (void)state;
    static struct vmm here, there;
    for (size_t i = 0; i < LINKS; i++) {
        struct world w;
        open_displays(&w, &here, &there, i, NULL, i % 2 ? "8.2" : NULL);
        world_move(&w);
        world_moved(&w);
        assert_true(there.loaded.has_ramfb);
        assert_memory_equal(&there.loaded.ramfb, &picture, RAMFB_MEMBERS);
        assert_string_equal(w.target->warning, "");
        world_close(&w);
    }
}

static void a_machine_of_8_1_refuses_a_ramfb_that_comes(void **state)
{
    (void)state;
    static struct vmm here, there;
    for (size_t i = 0; i < LINKS; i++) {
        struct world w;
        open_displays(&w, &here, &there, i, NULL, "8.1");
        goes_on_at_the_source(&w, "display-mismatch", "vfio-pci-nohotplug.x-ramfb-migrate");
        assert_int_equal(there.loads, 0);
    }
}

static void a_ramfb_that_a_machine_of_8_1_does_not_send_is_warned_of(void **state)
{
    (void)state;
    static struct vmm here, there;
    for (size_t i = 0; i < LINKS; i++) {
        struct world w;
        open_displays(&w, &here, &there, i, "8.1", NULL);
        world_move(&w);
        world_moved(&w);
        assert_false(there.loaded.has_ramfb);
        assert_non_null(strstr(w.target->warning, "ramfb"));
        world_close(&w);
    }
}

static void what_settings_have_on_moves_in_any_machine(void **state)
{
    (void)state;
    static struct vmm here, there;
    struct world w;
    struct vmig_device_settings on = { .ramfb = true, .ramfb_migrate = VMIG_ON };
    open_displays(&w, &here, &there, 0, "8.1", "8.1");
    settle(w.source, &here, on);
    settle(w.target, &there, on);
    world_move(&w);
    world_moved(&w);
    assert_memory_equal(&there.loaded.ramfb, &picture, RAMFB_MEMBERS);
    world_close(&w);
}

static void a_picture_that_cannot_be_is_sent_as_none(void **state)
{
    (void)state;
    static struct vmm here, there;
    static const struct vmig_ramfb none;
    struct world w;
    open_displays(&w, &here, &there, 0, NULL, NULL);
    here.ramfb.addr = UINT64_MAX - 100;
    world_move(&w);
    world_moved(&w);
    assert_true(there.loaded.has_ramfb);
    assert_memory_equal(&there.loaded.ramfb, &none, RAMFB_MEMBERS);
    world_close(&w);
}

/* Checked before the device is known: what is wrong is said when it is added. */
static void display_settings_that_make_no_sense_are_refused_when_a_device_is_added(void **state)
{
    (void)state;
    static struct vmm here;
    static const struct {
        struct vmig_device_settings settings;
        const char *reason;
    } rows[] = {
        { { .ramfb = true, .hotplugged = true }, "ramfb-hotplugged" },
        { { .ramfb = true, .ramfb_migrate = VMIG_ON, .enable_migration = VMIG_OFF },
          "ramfb-disabled" },
    };
    struct world w;
    world_open(&w, &bare);
    struct vmig_device *device = device_of(w.source);
    settle(w.source, &here, (struct vmig_device_settings) { 0 });
    x(vmig_migration_remove_device(w.source->m, device, &err));
    for (size_t i = 0; i < 2; i++) {
        struct vmig_error err = { 0 };
        struct vmig_device_settings settings = rows[i].settings;
        settings.size = sizeof(settings);
        settings.pci = &vmm_ops;
        settings.pci_opaque = &here;
        assert_int_equal(vmig_migration_add_device_with(w.source->m, device, &settings, &err),
                         -EINVAL);
        assert_string_equal(err.reason, rows[i].reason);
        assert_int_equal(w.source->m->num_participants, 0);
    }
    world_close(&w);
}

static void on_without_a_ramfb_is_a_warning(void **state)
{
    (void)state;
    static struct vmm here;
    struct world w;
    struct vmig_blocker warnings[8];
    unsigned found = 0;
    world_open(&w, &bare);
    settle(w.source, &here, (struct vmig_device_settings) { .ramfb_migrate = VMIG_ON });
    assert_non_null(strstr(w.source->warning, "has no ramfb"));
    unsigned count = vmig_migration_warnings(w.source->m, warnings, 8);
    for (unsigned i = 0; i < count && i < 8; i++)
        found += strcmp(warnings[i].code, "display-no-ramfb") == 0;
    assert_int_equal(found, 1);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
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

static const struct vmig_ramfb_ops ramfb_ops = { sizeof(ramfb_ops), save_ramfb, load_ramfb };

static void move_ramfb_device(size_t link, const char *compat_here, const char *compat_there)
{
    struct world w;
    struct world_plan plan = over(link);
    struct vmig_ramfb here = picture, there = { .width = 16 }, before = there;
    world_open(&w, &plan);
    x(vmig_migration_add_ramfb(w.source->m, &ramfb_ops, &here, &err));
    x(vmig_migration_add_ramfb(w.target->m, &ramfb_ops, &there, &err));
    x(vmig_migration_set_compat(w.source->m, compat_here, &err));
    x(vmig_migration_set_compat(w.target->m, compat_there, &err));
    if (!compat_here && compat_there) {
        goes_on_at_the_source(&w, "display-mismatch", "ramfb.x-migrate");
        assert_memory_equal(&there, &before, RAMFB_MEMBERS);
        return;
    }
    world_move(&w);
    world_moved(&w);
    assert_memory_equal(&there, compat_here ? &before : &picture, RAMFB_MEMBERS);
    world_close(&w);
}

static void a_ramfb_device_moves(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINKS; i++)
        move_ramfb_device(i, NULL, NULL);
}

static void a_machine_of_8_1_refuses_a_ramfb_device_that_comes(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINKS; i++)
        move_ramfb_device(i, NULL, "8.1");
}

static void a_machine_of_8_1_sends_no_ramfb_device_and_the_targets_stays(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINKS; i++)
        move_ramfb_device(i, "8.1", NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_space_and_MSIX_table_move),
        cmocka_unit_test(BARs_of_a_conventional_device_move),
        cmocka_unit_test(a_device_in_another_slot_takes_a_file),
        cmocka_unit_test(a_device_of_another_subsystem_is_refused_by_name),
        cmocka_unit_test(a_VMM_gives_and_gets_what_its_guest_sees),
        cmocka_unit_test(a_bit_that_no_driver_writes_must_be_equal),
        cmocka_unit_test(vendor_capabilities_must_be_equal_unless_ignored),
        cmocka_unit_test(a_VMM_that_fails_ends_the_migration_and_the_source_goes_on),
        cmocka_unit_test(a_ramfb_moves_with_its_device),
        cmocka_unit_test(a_machine_of_8_1_refuses_a_ramfb_that_comes),
        cmocka_unit_test(a_ramfb_that_a_machine_of_8_1_does_not_send_is_warned_of),
        cmocka_unit_test(what_settings_have_on_moves_in_any_machine),
        cmocka_unit_test(a_picture_that_cannot_be_is_sent_as_none),
        cmocka_unit_test(display_settings_that_make_no_sense_are_refused_when_a_device_is_added),
        cmocka_unit_test(on_without_a_ramfb_is_a_warning),
        cmocka_unit_test(a_ramfb_device_moves),
        cmocka_unit_test(a_machine_of_8_1_refuses_a_ramfb_device_that_comes),
        cmocka_unit_test(a_machine_of_8_1_sends_no_ramfb_device_and_the_targets_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
