/* SPDX-License-Identifier: BSD-3-Clause */
/* A device as a participant, on a scripted device: the requests that each step makes of it, and
 * what it tells of sizes. Expectations follow from the state machine's rules. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/device/device.h"
#include "lib/device/fsm.h"
#include "lib/migration/migration.h"
#include "lib/participant/device.h"
#include "lib/stream/vfio-section.h"
#include "tests/device/fake-backend.h"

#define FULL (VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P | VMIG_MIGRATION_PRE_COPY)

static struct fake fake;
static struct vmig_device *device;
static struct vmig_migration *m;
static struct participant *p;

#define x(call)                                                                                    \
    do {                                                                                           \
        struct vmig_error err = { 0 };                                                             \
        int rc_ = (call);                                                                          \
        if (rc_)                                                                                   \
            fail_msg("%s: %d %s", #call, rc_, err.text);                                           \
    } while (0)

static void begin(uint64_t flags)
{
    fake_init(&fake);
    fake.flags = flags;
    x(fake_open(&fake, NULL, &device, &err));
    m = vmig_migration_new(NULL, NULL);
    assert_non_null(m);
    x(vmig_migration_add_device(m, device, &err));
    p = m->participants[0];
    m->run.applied = VMIG_RUN_STATE_RUNNING; /* as a run that begins finds it */
    fake.history[0] = '\0';
}

static void finish(void)
{
    m = vmig_migration_free(m);
    device = vmig_device_close(device);
}

/* The states that were asked for since the last call, in order. */
static unsigned asked(enum vmig_state *ret)
{
    unsigned count = 0;
    for (const char *at = fake.history; (at = strstr(at, "set:")); at++) {
        for (unsigned s = 0; s < VMIG_STATE_COUNT; s++) {
            size_t length = strlen(vmig_state_name(s));
            if (!strncmp(at + 4, vmig_state_name(s), length) && at[4 + length] == ' ')
                ret[count++] = (enum vmig_state)s;
        }
    }
    fake.history[0] = '\0';
    return count;
}

static void expect_asked(unsigned count, const enum vmig_state *expected)
{
    enum vmig_state states[16];
    assert_int_equal(asked(states), count);
    for (unsigned i = 0; i < count; i++)
        assert_string_equal(vmig_state_name(states[i]), vmig_state_name(expected[i]));
}

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        const enum vmig_state list_[] = { __VA_ARGS__ };                                           \
        expect_asked(sizeof(list_) / sizeof(list_[0]), list_);                                     \
    } while (0)

#define S VMIG_STATE_STOP
#define R VMIG_STATE_RUNNING
#define SC VMIG_STATE_STOP_COPY
#define RS VMIG_STATE_RESUMING
#define RP VMIG_STATE_RUNNING_P2P
#define PC VMIG_STATE_PRE_COPY
#define PP VMIG_STATE_PRE_COPY_P2P

/* The source's steps up to the pause's end; how many of them. */
static void source_steps(unsigned count)
{
    x(p->ops->prepare(p->opaque, &err));
    if (count > 0)
        x(p->ops->setup(p->opaque, &err));
    if (count > 1)
        x(p->ops->quiesce(p->opaque, &err));
    if (count > 2)
        x(p->ops->stop(p->opaque, &err));
}

/* ---- the source ---- */

static void source_asks_for_one_state_a_step(void **state)
{
    (void)state;
    begin(FULL);
    source_steps(3);
    EXPECT(PC, PP, SC);
    finish();
    begin(VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P);
    source_steps(3);
    EXPECT(RP, SC);
    finish();
    begin(VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_PRE_COPY);
    source_steps(3);
    EXPECT(PC, SC);
    finish();
    begin(VMIG_MIGRATION_STOP_COPY);
    source_steps(3);
    EXPECT(SC);
    finish();
}

/* Leaving STOP_COPY can be slow: it has its own step, which comes after the pause. */
static void stop_copy_is_left_in_cleanup_only(void **state)
{
    (void)state;
    begin(FULL);
    source_steps(3);
    assert_int_equal(fake.state, SC);
    EXPECT(PC, PP, SC);
    p->ops->cleanup(p->opaque, true);
    EXPECT(S);
    finish();
}

/* While the workload stands still, no request may let the device run on its way: PRE_COPY to STOP
 * passes through RUNNING, and so does RUNNING_P2P to PRE_COPY. */
static void no_way_passes_through_running(void **state)
{
    static const uint64_t sets[] = { 1, 3, 5, 7 };
    enum vmig_state states[16];
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned steps = 0; steps <= 3; steps++) {
            begin(sets[i]);
            source_steps(steps);
            x(p->ops->resume_p2p(p->opaque, &err));
            x(p->ops->resume(p->opaque, &err));
            assert_int_equal(fake.state, R);
            unsigned at = R, count = asked(states);
            for (unsigned n = 0; n < count; n++) {
                for (; at != states[n]; at = (unsigned)fsm_next(sets[i], at, states[n]))
                    assert_false(n && at == R);
            }
            finish();
        }
    }
}

/* Taken back at any point: to the P2P state first, which is a barrier, and then RUNNING. */
static void source_goes_back_through_the_p2p_barrier(void **state)
{
    (void)state;
    begin(FULL);
    source_steps(3);
    EXPECT(PC, PP, SC);
    x(p->ops->resume_p2p(p->opaque, &err));
    EXPECT(RP);
    x(p->ops->resume(p->opaque, &err));
    EXPECT(R);
    finish();
}

/* ---- the target ---- */

/* Some drivers set their queues up again over loaded state if the device was stopped before: the
 * kernel walks from RUNNING to RESUMING by itself. */
static void target_enters_resuming_from_running_in_one_request(void **state)
{
    static const uint64_t sets[] = { 1, 3, 5, 7 };
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        begin(sets[i]);
        x(p->ops->load_setup(p->opaque, &err));
        EXPECT(RS);
        x(p->ops->load(p->opaque, "abc", 3, &err));
        x(p->ops->load_complete(p->opaque, &err)); /* checks the data, and starts nothing */
        EXPECT(S);
        x(p->ops->start_p2p(p->opaque, &err));
        x(p->ops->start(p->opaque, &err));
        if (sets[i] & VMIG_MIGRATION_P2P)
            EXPECT(RP, R);
        else
            EXPECT(R);
        finish();
    }
}

static void config_section(struct writer *w, uint16_t command)
{
    struct vmig_pci_state config = { .config_bytes = PCI_CONFIG_SMALL };
    memcpy(config.config, fake.config, sizeof(fake.config));
    config.config[4] = (uint8_t)command;
    config.config[5] = (uint8_t)(command >> 8);
    writer_init(w);
    x(pci_config_write(w, &config, &err));
    qemu_vfio_write_end(w);
}

/* After loading, and not before: entering RESUMING or a reset would take it back. */
static void bus_mastering_is_written_to_the_device_when_it_has_its_state(void **state)
{
    struct writer w;
    struct reader r;
    (void)state;
    begin(FULL);
    x(p->ops->load_setup(p->opaque, &err));
    config_section(&w, 0x0407);
    reader_init_memory(&r, w.buf, w.length);
    x(participant_device_read_config(p->opaque, &r, &err));
    x(p->ops->load(p->opaque, "abc", 3, &err));
    assert_int_equal(fake.config[4], 0);
    x(p->ops->load_complete(p->opaque, &err));
    assert_int_equal(fake.config[4], 0x07);
    assert_int_equal(fake.config[5], 0x04);
    writer_done(&w);
    finish();
}

static void refused_data_is_left_by_a_reset(void **state)
{
    (void)state;
    begin(FULL);
    x(p->ops->load_setup(p->opaque, &err));
    EXPECT(RS);
    fake.write_rc = -EINVAL;
    assert_int_equal(p->ops->load(p->opaque, "abc", 3, NULL), -EINVAL);
    assert_int_equal(p->ops->load_complete(p->opaque, NULL), -EIO);
    x(p->ops->load_abort(p->opaque, &err));
    expect_asked(0, NULL); /* STOP would install what was refused */
    assert_int_equal(fake.num_resets, 1);
    assert_int_equal(fake.state, R);
    finish();
}

/* ---- sizes ---- */

static struct vmig_pending pending(void)
{
    struct vmig_pending ret = { 0 };
    x(p->ops->pending(p->opaque, true, &ret, &err));
    return ret;
}

static void size_that_cannot_be_told_is_unknown_and_not_small(void **state)
{
    (void)state;
    begin(FULL);
    source_steps(1);
    fake.data_size = 5000;
    assert_int_equal(pending().stop_copy_bytes, 5000);
    fake.data_size = (uint64_t)-EIO; /* a result stored unchecked */
    assert_true(pending().stop_copy_bytes == UINT64_MAX);
    fake.data_size = 5000;
    fake.data_size_rc = -EIO;
    assert_true(pending().stop_copy_bytes == UINT64_MAX);
    p->pending = pending();
    assert_true(convergence_remaining(m) >= UINT64_C(100) << 30);
    x(vmig_migration_set(m, "device-state-size", 7000, &err)); /* the user knows */
    assert_int_equal(pending().stop_copy_bytes, 7000);
    finish();
}

/* What is still to come after the stop counts the rest of pre-copy or does not, by driver. */
static void pre_copy_and_stop_copy_sizes_are_not_added(void **state)
{
    (void)state;
    begin(FULL);
    source_steps(1);
    fake.data_size = 9000;
    fake.precopy = (struct vmig_precopy_info) { .initial_bytes = 1000, .dirty_bytes = 3000 };
    p->pending = pending();
    assert_int_equal(p->pending.precopy_bytes, 4000);
    assert_int_equal(convergence_remaining(m), 9000);
    fake.data_size = 100; /* an estimate may be too small, too */
    p->pending = pending();
    assert_int_equal(convergence_remaining(m), 4000);
    finish();
}

/* Asking is what makes some drivers look for new data. */
static void pre_copy_sizes_are_asked_for_each_time(void **state)
{
    unsigned count = 0;
    (void)state;
    begin(FULL);
    source_steps(1);
    fake.history[0] = '\0';
    for (unsigned round = 0; round < 3; round++)
        pending();
    for (const char *at = fake.history; (at = strstr(at, "precopy_info")); at++)
        count++;
    assert_int_equal(count, 3);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_asks_for_one_state_a_step),
        cmocka_unit_test(stop_copy_is_left_in_cleanup_only),
        cmocka_unit_test(no_way_passes_through_running),
        cmocka_unit_test(source_goes_back_through_the_p2p_barrier),
        cmocka_unit_test(target_enters_resuming_from_running_in_one_request),
        cmocka_unit_test(bus_mastering_is_written_to_the_device_when_it_has_its_state),
        cmocka_unit_test(refused_data_is_left_by_a_reset),
        cmocka_unit_test(size_that_cannot_be_told_is_unknown_and_not_small),
        cmocka_unit_test(pre_copy_and_stop_copy_sizes_are_not_added),
        cmocka_unit_test(pre_copy_sizes_are_asked_for_each_time),
    };
    return cmocka_run_group_tests_name("device participant", tests, NULL, NULL);
}
