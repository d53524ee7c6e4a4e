/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cmd/workload-device.h"
#include "lib/cleanup.h"
#include "tests/migration/relay.h"
#include "tests/migration/world.h"

/* ---- the host's side of things ---- */

static struct party *other(struct party *side)
{
    struct world *w = side->world;
    return side == w->source ? w->target : w->source;
}

static int on_stop(void *opaque, struct vmig_error *err)
{
    struct party *side = opaque;
    (void)err;
    if (side->has_load)
        workload_stop(&side->load);
    LOCK_SCOPE(&side->world->lock);
    side->runs = false;
    side->stops++;
    return 0;
}

static int on_start(void *opaque, struct vmig_error *err)
{
    struct party *side = opaque;
    {
        LOCK_SCOPE(&side->world->lock);
        side->runs = true;
        side->starts++;
        side->world->both_ran |= other(side)->runs;
    }
    return side->has_load && !side->world->plan.still ? workload_start(&side->load, err) : 0;
}

/* The target has all and says so next; the source stands still until it has heard it. */
static void compare(struct world *w)
{
    bool equal = !w->source->has_load || memcmp(w->source->load.memory, w->target->load.memory,
                                                w->source->load.size_bytes) == 0;
    LOCK_SCOPE(&w->lock);
    w->compared = true;
    w->equal = equal;
}

static void on_event(void *opaque, const struct vmig_event *event)
{
    struct party *side = opaque;
    struct world *w = side->world;
    if (event->kind == VMIG_EVENT_STAGE && event->stage == VMIG_STAGE_HANDOVER && !side->send &&
        w->plan.link != WORLD_FILE)
        compare(w);
    {
        LOCK_SCOPE(&w->lock);
        side->stage = event->stage;
        side->status = event->status;
        if (event->kind == VMIG_EVENT_STAGE)
            side->stages_seen |= 1u << event->stage;
        if (event->kind == VMIG_EVENT_ROUND)
            side->rounds++;
        if (event->kind == VMIG_EVENT_LISTENING)
            snprintf(side->listening, sizeof(side->listening), "%s", event->text);
        if (event->kind == VMIG_EVENT_WAITING)
            snprintf(side->waiting, sizeof(side->waiting), "%s", event->text);
        if (event->kind == VMIG_EVENT_WARNING)
            snprintf(side->warning, sizeof(side->warning), "%s", event->text);
        if (event->kind == VMIG_EVENT_STATE_LOST)
            snprintf(side->state_lost, sizeof(side->state_lost), "%s", event->text);
        pthread_cond_broadcast(&w->changed);
    }
    if (event->kind == VMIG_EVENT_STAGE && side->on_stage)
        side->on_stage(side, event->stage);
    if (side->on_event)
        side->on_event(side, event);
}

/* ---- making it ---- */

static void acting(struct world *w, const struct party *side)
{
    if (w->plan.acting)
        w->plan.acting(side);
}

static void *serve(void *opaque)
{
    struct host_device *d = opaque;
    refdev_server_serve(d->server, d->fd);
    return NULL;
}

static bool is_target(const struct party *side)
{
    return side == side->world->target;
}

/* Its address, in @ret. */
static void start_server(struct party *side, unsigned index, uint64_t seed, char *ret, size_t size)
{
    struct world_plan *plan = &side->world->plan;
    struct host_device *d = &side->devices[index];
    struct refdev_config config = { .local_bytes = plan->local_bytes,
                                    .no_extensions = plan->no_extensions };
    int ends[2];
    const char *profile =
        is_target(side) && plan->target_profile ? plan->target_profile : plan->profile;
    if (plan->profiles[index])
        profile = plan->profiles[index];
    config.knobs.profile = refdev_profile_find(profile ? profile : "default");
    config.knobs.seed = seed;
    config.knobs.transition_ns = plan->transition_ns;
    assert_non_null(config.knobs.profile);
    config.knobs.reinit = config.knobs.profile->has_reinit ? plan->reinit : 0;
    if (!config.local_bytes && config.knobs.profile->default_local_bytes)
        config.local_bytes = 32 << 10;
    x(refdev_server_new(&config, &d->server, &err));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    d->fd = ends[1];
    assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
    snprintf(ret, size, "vfio-user:fd:%d", ends[0]);
}

static void open_device(struct party *side, unsigned index, uint64_t seed)
{
    struct world_plan *plan = &side->world->plan;
    struct host_device *d = &side->devices[index];
    char address[64], id[32];
    snprintf(id, sizeof(id), "device%u", index);
    struct vmig_device_options options = { .size = sizeof(options),
                                           .id = id,
                                           .command_timeout_ms = plan->patience_ms,
                                           .transition_timeout_ms = plan->patience_ms };
    if (plan->from) {
        d->device = plan->from->open(side, index, &options);
        return;
    }
    start_server(side, index, seed, address, sizeof(address));
    acting(side->world, side);
    x(vmig_device_open(address, &options, &d->device, &err));
    acting(side->world, NULL);
}

static void add_ram(struct party *side)
{
    struct world_plan *plan = &side->world->plan;
    uint64_t size = plan->ram_bytes, iova = WORKLOAD_IOVA;
    if (plan->no_ram)
        return;
    if (is_target(side) && plan->target_ram_bytes)
        size = plan->target_ram_bytes;
    if (is_target(side) && plan->target_iova)
        iova = plan->target_iova;
    x(workload_new(&side->load, size, plan->devices, &err));
    side->has_load = true;
    side->load.dirty_rate_pages = plan->dirty_rate_pages;
    struct vmig_ram_block block = {
        .name = "workload",
        .iova = iova,
        .size_bytes = size,
        .vaddr = side->load.memory,
        .fd = side->load.fd,
    };
    x(vmig_migration_add_ram(side->m, &block, &err));
}

/* ---- an emulated device ---- */

#define REGISTERS 40
static const struct vmig_vmstate_field emulated_fields[] = {
    VMIG_VMSTATE_UINT16(count, struct emulated),
    VMIG_VMSTATE_VARRAY_ALLOC(UINT64, registers, struct emulated, count, 1, REGISTERS),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate emulated_table = {
    .name = "emulated", .version = 1, .minimum_version = 1, .fields = emulated_fields
};

static void add_emulated(struct party *side)
{
    struct emulated *e = &side->emulated;
    if (!side->world->plan.vmstate)
        return;
    if (!is_target(side)) {
        e->count = REGISTERS;
        e->registers = calloc(REGISTERS, sizeof(*e->registers));
        for (unsigned i = 0; i < REGISTERS; i++)
            e->registers[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    }
    x(vmig_migration_add_vmstate(side->m, "emulated", 7, &emulated_table, e, &err));
}

static void check_emulated(const struct world *w)
{
    const struct emulated *sent = &w->source->emulated, *got = &w->target->emulated;
    assert_int_equal(got->count, sent->count);
    if (w->plan.vmstate)
        assert_memory_equal(got->registers, sent->registers, REGISTERS * sizeof(uint64_t));
}

static void open_side(struct world *w, struct party *side, const char *name, uint64_t seed)
{
    side->world = w;
    side->name = name;
    struct vmig_host host = {
        .size = sizeof(host), .opaque = side, .stop = on_stop, .start = on_start, .event = on_event
    };
    side->m = vmig_migration_new(&host, NULL);
    assert_non_null(side->m);
    add_ram(side);
    add_emulated(side);
    for (unsigned i = 0; i < w->plan.devices; i++) {
        open_device(side, i, seed + i);
        if (side->has_load)
            x(workload_attach(&side->load, i, side->devices[i].device, &err));
        if (!is_target(side) || !w->plan.target_lacks_one || i + 1 < w->plan.devices)
            x(vmig_migration_add_device(side->m, side->devices[i].device, &err));
    }
    if (w->plan.control) {
        char path[100];
        snprintf(path, sizeof(path), "%s/%s", w->directory, name);
        acting(w, side);
        x(vmig_migration_set_control(side->m, path, &err));
        acting(w, NULL);
    }
}

static void set_defaults(struct world_plan *plan)
{
    if (!plan->ram_bytes)
        plan->ram_bytes = (plan->devices < 2 ? 4u : 4u + 3u * plan->devices) << 20;
    if (!plan->dirty_rate_pages)
        plan->dirty_rate_pages = 500;
    if (!plan->dma_rate)
        plan->dma_rate = 500;
    if (!plan->channels)
        plan->channels = 1;
    if (plan->relay)
        plan->link = WORLD_UNIX;
}

void world_open(struct world *w, const struct world_plan *plan)
{
    *w = (struct world) { .plan = *plan, .pair = { -1, -1 } };
    w->source = &w->parties[0];
    w->target = &w->parties[1];
    set_defaults(&w->plan);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    snprintf(w->directory, sizeof(w->directory), "/tmp/vfio-migrate-test.XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    open_side(w, w->source, "source", 100);
    open_side(w, w->target, "target", 500);
    world_switch(w, "multifd", !w->plan.lone_main);
    world_set(w, "multifd-channels", w->plan.channels);
    /* a busy machine must not turn a test of who runs into one of how fast */
    world_set(w, "downtime-limit", 60000);
    world_set(w, "max-bandwidth", 0);
    if (w->plan.patience_ms)
        world_set(w, "transition-timeout", w->plan.patience_ms);
    if (w->source->has_load)
        x(workload_begin(&w->source->load, 7, w->plan.still ? 0 : w->plan.dma_rate,
                         w->plan.still ? 0 : 500, &err));
    assert_int_equal(on_start(w->source, NULL), 0);
}

static void close_side(struct party *side)
{
    if (side->busy) {
        vmig_migration_cancel(side->m);
        party_join(side);
    }
    if (side->has_load)
        workload_stop(&side->load);
    side->m = vmig_migration_free(side->m);
    for (unsigned i = 0; i < side->world->plan.devices; i++) {
        struct host_device *d = &side->devices[i];
        vmig_device_close(d->device);
        if (!d->server)
            continue;
        refdev_server_stop(d->server);
        pthread_join(d->thread, NULL);
        refdev_server_free(d->server);
    }
    if (side->has_load)
        workload_done(&side->load);
    free(side->emulated.registers);
}

void world_close(struct world *w)
{
    if (w->relay)
        w->relay = relay_free(w->relay);
    close_side(w->source);
    close_side(w->target);
    for (int i = 0; i < 2; i++)
        if (w->pair[i] >= 0)
            close(w->pair[i]);
    static const char *const names[] = { "source", "target", "link", "relay", "file" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[100];
        snprintf(path, sizeof(path), "%s/%s", w->directory, names[i]);
        unlink(path);
    }
    rmdir(w->directory);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

void party_set(struct party *side, const char *name, uint64_t value)
{
    x(vmig_migration_set(side->m, name, value, &err));
}

void world_set(struct world *w, const char *name, uint64_t value)
{
    party_set(w->source, name, value);
    party_set(w->target, name, value);
}

void party_switch(struct party *side, const char *capability, bool on)
{
    struct vmig_capability list[] = { { capability, on } };
    x(vmig_migration_set_capabilities(side->m, list, 1, &err));
}

void world_switch(struct world *w, const char *capability, bool on)
{
    party_switch(w->source, capability, on);
    party_switch(w->target, capability, on);
}

/* ---- moving ---- */

static void *run(void *opaque)
{
    struct party *side = opaque;
    acting(side->world, side);
    int rc = side->send ? vmig_migration_send(side->m, side->address, &side->err)
                        : vmig_migration_receive(side->m, side->address, &side->err);
    acting(side->world, NULL);
    LOCK_SCOPE(&side->world->lock);
    side->rc = rc;
    side->done = true;
    pthread_cond_broadcast(&side->world->changed);
    return NULL;
}

void party_start(struct party *side, bool send, const char *address)
{
    side->send = send;
    side->busy = true;
    side->done = false;
    side->stages_seen = side->rounds = 0;
    side->listening[0] = side->waiting[0] = side->warning[0] = side->state_lost[0] = '\0';
    side->err = (struct vmig_error) { 0 };
    snprintf(side->address, sizeof(side->address), "%s", address);
    assert_int_equal(pthread_create(&side->thread, NULL, run, side), 0);
}

int party_join(struct party *side)
{
    if (side->busy)
        pthread_join(side->thread, NULL);
    side->busy = false;
    return side->rc;
}

void party_await_stage(struct party *side, enum vmig_stage stage)
{
    LOCK_SCOPE(&side->world->lock);
    while (!(side->stages_seen & 1u << stage) && !side->done)
        pthread_cond_wait(&side->world->changed, &side->world->lock);
}

void party_await_status(struct party *side, enum vmig_status status)
{
    LOCK_SCOPE(&side->world->lock);
    while (side->status != status && !side->done)
        pthread_cond_wait(&side->world->changed, &side->world->lock);
}

bool party_was_in(struct party *side, enum vmig_stage stage)
{
    LOCK_SCOPE(&side->world->lock);
    return side->stages_seen & 1u << stage;
}

void party_await_listening(struct party *side, char *ret, size_t size)
{
    LOCK_SCOPE(&side->world->lock);
    while (!side->listening[0] && !side->done)
        pthread_cond_wait(&side->world->changed, &side->world->lock);
    snprintf(ret, size, "%s", side->listening);
}

static void begin_listening(struct world *w)
{
    char address[200], relay[200];
    snprintf(address, sizeof(address), "tcp:127.0.0.1:0");
    if (w->plan.link == WORLD_UNIX)
        snprintf(address, sizeof(address), "unix:%s/link", w->directory);
    party_start(w->target, false, address);
    party_await_listening(w->target, address, sizeof(address));
    if (w->plan.relay) {
        snprintf(relay, sizeof(relay), "unix:%s/relay", w->directory);
        relay_connect(w->relay, relay + 5, address + 5);
        snprintf(address, sizeof(address), "%s", relay);
    }
    party_start(w->source, true, address);
}

static void begin_pair(struct world *w)
{
    char address[32];
    for (int i = 0; i < 2; i++)
        if (w->pair[i] >= 0)
            close(w->pair[i]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->pair), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(address, sizeof(address), "fd:%d", w->pair[i]);
        party_start(i ? w->source : w->target, i, address);
    }
}

void world_begin(struct world *w)
{
    w->compared = w->equal = false;
    char address[100];
    switch (w->plan.link) {
    case WORLD_TCP:
    case WORLD_UNIX:
        begin_listening(w);
        break;
    case WORLD_FD:
        begin_pair(w);
        break;
    case WORLD_FILE:
        snprintf(address, sizeof(address), "file:%s/file", w->directory);
        party_start(w->source, true, address);
        if (party_join(w->source) == 0)
            party_start(w->target, false, address);
        break;
    }
}

/* With one socketpair the engine has copies of its own; ours must not keep the link open once a
 * side has gone. */
void world_join(struct world *w)
{
    struct party *sides[2] = { w->source, w->target };
    for (int n = 0; n < 2; n++) {
        int first = -1;
        {
            LOCK_SCOPE(&w->lock);
            while (!(sides[0]->busy && sides[0]->done) && !(sides[1]->busy && sides[1]->done) &&
                   (sides[0]->busy || sides[1]->busy))
                pthread_cond_wait(&w->changed, &w->lock);
            for (int i = 1; i >= 0; i--)
                if (sides[i]->busy && sides[i]->done)
                    first = i;
        }
        if (first < 0)
            continue;
        party_join(sides[first]);
        if (w->pair[!first] >= 0) {
            close(w->pair[!first]);
            w->pair[!first] = -1;
        }
    }
}

void world_move(struct world *w)
{
    world_begin(w);
    world_join(w);
}

void world_turn_round(struct world *w)
{
    struct party *source = w->source;
    w->source = w->target;
    w->target = source;
}

/* ---- looking ---- */

uint64_t party_register(struct party *side, unsigned device, unsigned offset)
{
    uint64_t value = 0;
    x(vmig_device_region_read(side->devices[device].device, REFDEV_BAR_REGISTERS, offset, &value,
                              sizeof(value), &err));
    return value;
}

void party_write_register(struct party *side, unsigned device, unsigned offset, uint64_t value)
{
    x(vmig_device_region_write(side->devices[device].device, REFDEV_BAR_REGISTERS, offset, &value,
                               sizeof(value), &err));
}

enum vmig_state party_state(struct party *side, unsigned device)
{
    enum vmig_state state = VMIG_STATE_ERROR;
    x(vmig_device_get_state(side->devices[device].device, &state, &err));
    return state;
}

void party_fault(struct party *side, unsigned device, const char *text)
{
    struct refdev_fault fault;
    const struct world_devices *from = side->world->plan.from;
    if (text && refdev_fault_parse(text, &fault))
        fail_msg("%s is no fault", text);
    if (from)
        from->fault(side, device, text);
    else
        refdev_server_set_faults(side->devices[device].server, &fault, text != NULL);
}

void party_await_fault(struct party *side, unsigned device)
{
    const struct world_devices *from = side->world->plan.from;
    if (from)
        from->await_fault(side, device);
    else if (!refdev_server_await_fault(side->devices[device].server, 1, 60000))
        fail_msg("the fault at %s's device %u does not happen", side->name, device);
}

static bool is_driven(struct party *side, unsigned device)
{
    return side->has_load && workload_device_is_ours(side->devices[device].device);
}

static uint64_t thread_steps(struct party *side, unsigned thread)
{
    struct workload_header *h = (struct workload_header *)side->load.memory;
    return atomic_load(&h->thread[thread].steps);
}

static void nap(void)
{
    nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
}

#define SOME_STEPS 3

void party_goes_on(struct party *side)
{
    if (!side->has_load || side->world->plan.still)
        return;
    for (unsigned t = 0; t < WORKLOAD_THREADS; t++)
        for (uint64_t had = thread_steps(side, t); thread_steps(side, t) < had + SOME_STEPS;)
            nap();
    for (unsigned i = 0; i < side->world->plan.devices; i++) {
        if (!is_driven(side, i))
            continue;
        uint64_t had = party_register(side, i, REFDEV_REG_DMA_STEPS);
        while (party_register(side, i, REFDEV_REG_DMA_STEPS) < had + SOME_STEPS)
            nap();
    }
}

struct workload_report party_verify(struct party *side)
{
    struct workload_report report = { 0 };
    if (side->has_load)
        x(workload_verify(&side->load, &report, &err));
    return report;
}

void party_is_still(struct party *side)
{
    bool runs;
    {
        LOCK_SCOPE(&side->world->lock);
        runs = side->runs;
    }
    if (runs)
        fail_msg("the %s runs", side->name);
    for (unsigned i = 0; i < side->world->plan.devices; i++) {
        enum vmig_state state = party_state(side, i);
        bool moves = state == VMIG_STATE_RUNNING || state == VMIG_STATE_PRE_COPY ||
                     state == VMIG_STATE_RUNNING_P2P || state == VMIG_STATE_PRE_COPY_P2P;
        /* reset, it is RUNNING and has nothing to do */
        if (moves && is_driven(side, i) &&
            (party_register(side, i, REFDEV_REG_CONTROL) & REFDEV_CONTROL_RUN))
            fail_msg("%s's device %u is in %s with its workload", side->name, i,
                     vmig_state_name(state));
    }
}

/* As the command has it, but devices that cannot be driven have nothing to show. */
static bool is_intact(struct party *side, const struct workload_report *r)
{
    struct workload_report seen = *r;
    bool driven = false;
    for (unsigned i = 0; i < side->world->plan.devices; i++)
        driven |= is_driven(side, i);
    if (!side->has_load || side->world->plan.still)
        seen.steps = 1;
    if (!driven || side->world->plan.still)
        seen.device_steps = 1;
    return workload_intact(&seen);
}

void party_runs(struct party *side)
{
    bool runs;
    {
        LOCK_SCOPE(&side->world->lock);
        runs = side->runs;
    }
    if (!runs)
        fail_msg("the %s does not run: %d %s", side->name, side->rc, side->err.text);
    for (unsigned i = 0; i < side->world->plan.devices; i++)
        assert_string_equal(vmig_state_name(party_state(side, i)), "RUNNING");
    party_goes_on(side);
    struct workload_report r = party_verify(side);
    if (!is_intact(side, &r))
        fail_msg("%s: %llu wrong pages (%s), %llu lost writes; devices: %llu slots, %llu local, "
                 "%llu errors, %llu pages",
                 side->name, (unsigned long long)r.wrong_pages, r.first_wrong,
                 (unsigned long long)r.lost_writes, (unsigned long long)r.slot_mismatches,
                 (unsigned long long)r.local_mismatches, (unsigned long long)r.dma_errors,
                 (unsigned long long)r.device_wrong_pages);
}

void world_runs_at(struct world *w, struct party *side)
{
    assert_false(w->both_ran);
    party_is_still(other(side));
    party_runs(side);
}

void world_moved(struct world *w)
{
    if (w->source->rc || w->target->rc)
        fail_msg("source: %d %s; target: %d %s", w->source->rc, w->source->err.text, w->target->rc,
                 w->target->err.text);
    if (w->plan.link != WORLD_FILE) {
        assert_true(w->compared);
        assert_true(w->equal);
    }
    check_emulated(w);
    world_runs_at(w, w->target);
}

void party_failed(const struct party *side, int rc, const char *reason, const char *text)
{
    if (side->rc != rc || (reason && strcmp(side->err.reason, reason) != 0) ||
        (text && !strstr(side->err.text, text)))
        fail_msg("%s ended with %d, reason \"%s\": %s\nwanted %d, \"%s\": ...%s...", side->name,
                 side->rc, side->err.reason, side->err.text, rc, reason ? reason : "any",
                 text ? text : "");
}
