/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's VMState sections on their way: when hooks are called, and what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/stream/inspect.h"
#include "tests/migration/world.h"

#define MARK UINT32_C(0xc0ffee11)

/* An emulated device, and what became of it. */
struct uart {
    uint32_t divisor;
    uint8_t level; /* of the fifo */
    uint8_t fifo[16];
    bool masked;
    uint8_t masks[2];
    /* not migrated */
    struct party *side;
    unsigned *order, saved, loading, loaded;
    unsigned saved_at, loaded_at; /* the how manieth */
    bool saved_while_running, loaded_while_devices_ran;
    int refuses; /* what post_load returns */
    bool absent; /* not needed */
};

static bool runs(struct party *side)
{
    LOCK_SCOPE(&side->world->lock);
    return side->runs;
}

static int uart_pre_save(void *opaque, struct vmig_error *err)
{
    struct uart *u = opaque;
    (void)err;
    u->saved++;
    u->saved_at = (*u->order)++;
    u->saved_while_running = runs(u->side);
    return 0;
}

static int uart_pre_load(void *opaque, struct vmig_error *err)
{
    struct uart *u = opaque;
    (void)err;
    u->loading++;
    return 0;
}

static int uart_post_load(void *opaque, uint32_t version, struct vmig_error *err)
{
    struct uart *u = opaque;
    assert_int_equal(version, 2);
    u->loaded++;
    u->loaded_at = (*u->order)++;
    for (unsigned i = 0; i < u->side->world->plan.devices; i++)
        u->loaded_while_devices_ran |= party_state(u->side, i) != VMIG_STATE_RESUMING;
    if (u->refuses) {
        err->code = u->refuses;
        snprintf(err->text, sizeof(err->text), "this divisor is for no clock here");
    }
    return u->refuses;
}

static bool is_masked(void *opaque)
{
    return ((struct uart *)opaque)->masked;
}

static const struct vmig_vmstate_field mask_fields[] = {
    VMIG_VMSTATE_UINT8_ARRAY(masks, struct uart),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate mask_table = {
    .name = "uart/masks", .version = 1, .fields = mask_fields, .needed = is_masked
};
static const struct vmig_vmstate *const uart_subsections[] = { &mask_table, NULL };
static const struct vmig_vmstate_field uart_fields[] = {
    VMIG_VMSTATE_UINT32(divisor, struct uart),
    VMIG_VMSTATE_UINT8(level, struct uart),
    VMIG_VMSTATE_VARRAY(UINT8, fifo, struct uart, level, 1),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate uart_table = {
    .name = "uart",
    .version = 2,
    .minimum_version = 2,
    .fields = uart_fields,
    .subsections = uart_subsections,
    .pre_save = uart_pre_save,
    .pre_load = uart_pre_load,
    .post_load = uart_post_load,
};

/* A world with a uart on both sides; the source's holds something. */
struct scene {
    struct world w;
    unsigned order[2];
    struct uart sent, got;
};

static void open_scene(struct scene *s, enum world_link link)
{
    *s = (struct scene) { 0 };
    world_open(&s->w, &(struct world_plan) { .devices = 1, .link = link });
    s->sent = (struct uart) { .divisor = MARK,
                              .level = 3,
                              .fifo = "abc",
                              .masked = true,
                              .masks = { 7, 9 },
                              .side = s->w.source,
                              .order = &s->order[0] };
    s->got = (struct uart) { .side = s->w.target, .order = &s->order[1], .divisor = 1 };
}

static void add(struct party *side, const char *name, unsigned instance,
                const struct vmig_vmstate *table, struct uart *u)
{
    x(vmig_migration_add_vmstate(side->m, name, instance, table, u, &err));
}

static void add_both(struct scene *s)
{
    add(s->w.source, "uart", 0, &uart_table, &s->sent);
    add(s->w.target, "uart", 0, &uart_table, &s->got);
}

static void moves_over(enum world_link link)
{
    struct scene s;
    open_scene(&s, link);
    add_both(&s);
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(s.got.divisor, MARK);
    assert_int_equal(s.got.level, 3);
    assert_memory_equal(s.got.fifo, "abc", 3);
    assert_memory_equal(s.got.masks, s.sent.masks, 2);
    assert_int_equal(s.sent.saved, 1);
    assert_int_equal(s.got.loading, 1);
    assert_int_equal(s.got.loaded, 1);
    assert_false(s.sent.saved_while_running);
    assert_false(s.got.loaded_while_devices_ran);
    world_close(&s.w);
}

static void state_is_saved_in_the_pause_and_loaded_before_devices_go(void **state)
{
    (void)state;
    moves_over(WORLD_TCP);
}

static void state_moves_over_one_descriptor(void **state)
{
    (void)state;
    moves_over(WORLD_FD);
}

static void state_moves_in_a_file(void **state)
{
    (void)state;
    moves_over(WORLD_FILE);
}

static void sections_come_by_priority_and_then_in_order(void **state)
{
    (void)state;
    struct scene s;
    struct uart sent[4], got[4];
    struct vmig_vmstate first = uart_table, last = uart_table;
    const struct vmig_vmstate *const tables[4] = { &last, &uart_table, &first, &uart_table };
    static const unsigned wanted[4] = { 3, 1, 0, 2 };
    first.priority = VMIG_VMSTATE_PRIORITY_PCI_BUS;
    last.priority = -1;
    open_scene(&s, WORLD_TCP);
    for (unsigned i = 0; i < 4; i++) {
        sent[i] = s.sent;
        got[i] = s.got;
        sent[i].divisor = i;
        add(s.w.source, "uart", i, tables[i], &sent[i]);
    }
    for (unsigned i = 4; i--;) /* what is added in another order there comes as it is sent */
        add(s.w.target, "uart", i, tables[i], &got[i]);
    world_move(&s.w);
    world_moved(&s.w);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(sent[i].saved_at, wanted[i]);
        assert_int_equal(got[i].divisor, i);
        assert_int_equal(got[i].loaded, 1);
    }
    world_close(&s.w);
}

/* ---- refusals: the source goes on ---- */

static void refused(struct scene *s, int rc, const char *reason, const char *text)
{
    world_move(&s->w);
    party_failed(s->w.target, rc, reason, text);
    party_failed(s->w.source, rc, reason, text);
    world_runs_at(&s->w, s->w.source);
    world_close(&s->w);
}

/* Before anything was touched. */
static void refused_at_once(struct scene *s, const char *reason, const char *text)
{
    world_move(&s->w);
    party_failed(s->w.target, -EINVAL, reason, text);
    party_failed(s->w.source, -EINVAL, reason, text);
    assert_false(party_was_in(s->w.source, VMIG_STAGE_SETUP));
    assert_int_equal(s->sent.saved, 0);
    assert_int_equal(s->got.loading, 0);
    world_runs_at(&s->w, s->w.source);
    world_close(&s->w);
}

/* A file asks nobody beforehand: what is in it is refused when it is read. */
static void file_refused(struct scene *s, int rc, const char *reason, const char *text)
{
    world_move(&s->w);
    assert_int_equal(s->w.source->rc, 0);
    party_failed(s->w.target, rc, reason, text);
    assert_int_equal(s->got.loading, 0);
    party_is_still(s->w.target);
    world_close(&s->w);
}

static void section_that_the_target_lacks_is_refused(void **state)
{
    (void)state;
    struct scene s;
    for (int in_file = 0; in_file < 2; in_file++) {
        open_scene(&s, in_file ? WORLD_FILE : WORLD_TCP);
        add(s.w.source, "uart", 0, &uart_table, &s.sent);
        add(s.w.source, "uart", 1, &uart_table, &s.sent);
        add(s.w.target, "uart", 0, &uart_table, &s.got);
        if (in_file)
            file_refused(&s, -ENOENT, "layout-mismatch", "section \"uart\"");
        else
            refused_at_once(&s, "layout-mismatch",
                            "the source has vmstate \"uart\" instance 1 and the target has not");
    }
}

static void section_that_was_not_sent_is_missed_by_name(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s, WORLD_TCP);
    add(s.w.target, "uart", 5, &uart_table, &s.got);
    refused_at_once(&s, "layout-mismatch",
                    "the target has vmstate \"uart\" instance 5 and the source has not");
    open_scene(&s, WORLD_FILE);
    add(s.w.target, "uart", 5, &uart_table, &s.got);
    file_refused(&s, -EPROTO, "layout-mismatch",
                 "vmstate \"uart\" instance 5: the source did not send");
}

static bool is_there(void *opaque)
{
    return !((struct uart *)opaque)->absent;
}

static void section_that_need_not_be_sent_is_not_missed(void **state)
{
    (void)state;
    struct scene s;
    struct vmig_vmstate table = uart_table;
    table.needed = is_there;
    open_scene(&s, WORLD_TCP);
    s.sent.absent = true;
    add(s.w.source, "uart", 0, &table, &s.sent);
    add(s.w.target, "uart", 0, &table, &s.got);
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(s.sent.saved, 0);
    assert_int_equal(s.got.loading, 0);
    assert_int_equal(s.got.divisor, 1);
    world_close(&s.w);
}

static void version_that_is_not_known_is_refused_with_both(void **state)
{
    (void)state;
    struct scene s;
    struct vmig_vmstate newer = uart_table;
    newer.version = 3;
    for (int in_file = 0; in_file < 2; in_file++) {
        open_scene(&s, in_file ? WORLD_FILE : WORLD_TCP);
        add(s.w.source, "uart", 0, &newer, &s.sent);
        add(s.w.target, "uart", 0, &uart_table, &s.got);
        if (in_file)
            file_refused(&s, -EOPNOTSUPP, "format-version", "version 3 and 2 to 2 are known");
        else
            refused_at_once(&s, "format-version", "version 3 at the source, and 2 to 2 are known");
    }
}

/* More names than the first message has room for: the move is none the worse for it. */
static void many_sections_with_long_names_move(void **state)
{
    (void)state;
    struct scene s;
    struct uart got[200];
    char name[201];
    open_scene(&s, WORLD_TCP);
    memset(name, 'n', sizeof(name));
    name[200] = '\0';
    for (unsigned i = 0; i < 200; i++) {
        got[i] = s.got;
        add(s.w.source, name, i, &uart_table, &s.sent);
        add(s.w.target, name, i, &uart_table, &got[i]);
    }
    world_move(&s.w);
    world_moved(&s.w);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(got[i].divisor, MARK);
    world_close(&s.w);
}

static void what_a_hook_says_is_told_at_both_ends(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s, WORLD_TCP);
    add_both(&s);
    s.got.refuses = -EDOM;
    refused(&s, -EDOM, NULL, "vmstate \"uart\" instance 0");
    assert_non_null(strstr(s.w.source->err.text, "this divisor is for no clock here"));
}

static int cannot_save(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return -ENXIO;
}

static void source_that_cannot_save_goes_on(void **state)
{
    (void)state;
    struct scene s;
    struct vmig_vmstate table = uart_table;
    table.pre_save = cannot_save;
    open_scene(&s, WORLD_TCP);
    add(s.w.source, "uart", 0, &table, &s.sent);
    add(s.w.target, "uart", 0, &uart_table, &s.got);
    world_move(&s.w);
    party_failed(s.w.source, -ENXIO, NULL, "vmstate \"uart\" instance 0");
    assert_int_equal(s.got.loading, 0);
    world_runs_at(&s.w, s.w.source);
    world_close(&s.w);
}

/* The table here has room for less than the source's. */
struct small {
    uint32_t divisor;
    uint8_t level;
    uint8_t fifo[2];
};
static const struct vmig_vmstate_field small_fields[] = {
    VMIG_VMSTATE_UINT32(divisor, struct small),
    VMIG_VMSTATE_UINT8(level, struct small),
    VMIG_VMSTATE_VARRAY(UINT8, fifo, struct small, level, 1),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate small_table = {
    .name = "uart", .version = 2, .minimum_version = 1, .fields = small_fields
};

static void count_over_its_bound_names_section_field_and_offset(void **state)
{
    (void)state;
    struct scene s;
    struct small small = { 0 };
    open_scene(&s, WORLD_TCP);
    add(s.w.source, "uart", 0, &uart_table, &s.sent);
    x(vmig_migration_add_vmstate(s.w.target->m, "uart", 0, &small_table, &small, &err));
    refused(&s, -EINVAL, "bad-stream", "vmstate \"uart\" instance 0: field \"fifo\" at byte ");
    assert_non_null(strstr(s.w.source->err.text, "3 of them are announced and 2 are the most"));
}

/* ---- damage ---- */

static uint8_t *read_file(const char *path, size_t *ret_size)
{
    struct stat st;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    *ret_size = (size_t)st.st_size;
    assert_int_equal(fread(bytes, 1, *ret_size, file), *ret_size);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static const uint8_t uart_bytes[] = { 0xc0, 0xff, 0xee, 0x11, 3,   'a', 'b', 'c', 5,
                                      10,   'u',  'a',  'r',  't', '/', 'm', 'a', 's',
                                      'k',  's',  0,    0,    0,   1,   7,   9 };

static int on_values(void *opaque, const struct qemu_section *section, const json_t *values,
                     struct vmig_error *err)
{
    (void)err;
    if (strcmp(section->idstr, "uart") == 0)
        *(json_t **)opaque = json_deep_copy(values);
    return 0;
}

/* Who has only the file knows what is in it. */
static void file_tells_the_state_by_name(void **state)
{
    (void)state;
    static const struct inspect_ops ops = { .values = on_values };
    struct scene s;
    char path[100];
    size_t size;
    json_t *values = NULL,
           *wanted = json_pack("{s:I, s:i, s:[i, i, i], s:{s:[i, i]}}", "divisor", (json_int_t)MARK,
                               "level", 3, "fifo", 'a', 'b', 'c', "uart/masks", "masks", 7, 9);
    open_scene(&s, WORLD_FILE);
    add_both(&s);
    world_move(&s.w);
    world_moved(&s.w);
    snprintf(path, sizeof(path), "%s/file", s.w.directory);
    uint8_t *bytes = read_file(path, &size);
    x(inspect_memory(bytes, size, &ops, &values, &err));
    assert_true(json_equal(values, wanted));
    json_decref(values);
    json_decref(wanted);
    free(bytes);
    world_close(&s.w);
}

/* No hook is called, and no field changed, on behalf of bytes that are not the source's. */
static void damaged_bytes_are_shown_to_no_hook(void **state)
{
    (void)state;
    struct scene s;
    char path[100];
    size_t size;
    open_scene(&s, WORLD_FILE);
    add_both(&s);
    snprintf(path, sizeof(path), "%s/file", s.w.directory);
    char address[120];
    snprintf(address, sizeof(address), "file:%s", path);
    party_start(s.w.source, true, address);
    assert_int_equal(party_join(s.w.source), 0);
    uint8_t *bytes = read_file(path, &size);
    uint8_t *at = memmem(bytes, size, uart_bytes, sizeof(uart_bytes));
    assert_non_null(at);
    for (size_t i = 0; i < sizeof(uart_bytes); i++) {
        at[i] ^= 0x40;
        write_file(path, bytes, size);
        at[i] ^= 0x40;
        party_start(s.w.target, false, address);
        party_join(s.w.target);
        party_failed(s.w.target, -EBADMSG, "corrupt-data", "uart#0");
        assert_int_equal(s.got.loading, 0);
        assert_int_equal(s.got.divisor, 1);
    }
    write_file(path, bytes, size);
    party_start(s.w.target, false, address);
    assert_int_equal(party_join(s.w.target), 0);
    assert_int_equal(s.got.divisor, MARK);
    free(bytes);
    world_runs_at(&s.w, s.w.target);
    world_close(&s.w);
}

/* ---- adding and removing ---- */

static void name_can_be_taken_once(void **state)
{
    (void)state;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    struct uart u = { 0 };
    char name[202];
    memset(name, 'n', sizeof(name));
    name[201] = '\0';
    x(vmig_migration_add_vmstate(m, "uart", 0, &uart_table, &u, &err));
    x(vmig_migration_add_vmstate(m, "uart", 1, &uart_table, &u, &err));
    assert_int_equal(vmig_migration_add_vmstate(m, "uart", 1, &uart_table, &u, NULL), -EEXIST);
    assert_int_equal(vmig_migration_add_vmstate(m, "", 1, &uart_table, &u, NULL), -EINVAL);
    assert_int_equal(vmig_migration_add_vmstate(m, name, 1, &uart_table, &u, NULL), -EINVAL);
    name[200] = '\0';
    x(vmig_migration_add_vmstate(m, name, 1, &uart_table, &u, &err));
    x(vmig_migration_remove_vmstate(m, "uart", 0, &err));
    assert_int_equal(vmig_migration_remove_vmstate(m, "uart", 0, NULL), -ENOENT);
    x(vmig_migration_remove_vmstate(m, "uart", 1, &err));
    x(vmig_migration_add_vmstate(m, "uart", 1, &uart_table, &u, &err));
    vmig_migration_free(m);
}

static void there_is_a_most(void **state)
{
    (void)state;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    struct uart u = { 0 };
    for (unsigned i = 0; i < VMIG_VMSTATES_MAX; i++)
        x(vmig_migration_add_vmstate(m, "uart", i, &uart_table, &u, &err));
    assert_int_equal(vmig_migration_add_vmstate(m, "one more", 0, &uart_table, &u, NULL), -E2BIG);
    vmig_migration_free(m);
}

static void nothing_is_added_or_removed_while_a_migration_runs(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s, WORLD_TCP);
    add_both(&s);
    party_start(s.w.target, false, "tcp:127.0.0.1:0");
    party_await_stage(s.w.target, VMIG_STAGE_PREPARE);
    struct vmig_migration *m = s.w.target->m;
    assert_int_equal(vmig_migration_add_vmstate(m, "more", 0, &uart_table, &s.got, NULL), -EBUSY);
    assert_int_equal(vmig_migration_remove_vmstate(m, "uart", 0, NULL), -EBUSY);
    vmig_migration_cancel(m);
    party_join(s.w.target);
    world_close(&s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_is_saved_in_the_pause_and_loaded_before_devices_go),
        cmocka_unit_test(state_moves_over_one_descriptor),
        cmocka_unit_test(state_moves_in_a_file),
        cmocka_unit_test(sections_come_by_priority_and_then_in_order),
        cmocka_unit_test(section_that_the_target_lacks_is_refused),
        cmocka_unit_test(section_that_was_not_sent_is_missed_by_name),
        cmocka_unit_test(section_that_need_not_be_sent_is_not_missed),
        cmocka_unit_test(version_that_is_not_known_is_refused_with_both),
        cmocka_unit_test(many_sections_with_long_names_move),
        cmocka_unit_test(what_a_hook_says_is_told_at_both_ends),
        cmocka_unit_test(source_that_cannot_save_goes_on),
        cmocka_unit_test(count_over_its_bound_names_section_field_and_offset),
        cmocka_unit_test(file_tells_the_state_by_name),
        cmocka_unit_test(damaged_bytes_are_shown_to_no_hook),
        cmocka_unit_test(name_can_be_taken_once),
        cmocka_unit_test(there_is_a_most),
        cmocka_unit_test(nothing_is_added_or_removed_while_a_migration_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
