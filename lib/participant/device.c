/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VFIO device as a participant: which state each step leads to, and the loops that read and write
 * its data. Everything runs on the device's own worker, but that in the pause a second one reads ahead
 * while the first hashes and sends. Where a step leads, and where a device goes that refuses it, is
 * recovery.h's; doing so is vmig_device_set_state()'s.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/device/device.h"
#include "lib/device/fsm.h"
#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/migration/recovery.h"
#include "lib/participant/config.h"
#include "lib/participant/device.h"
#include "lib/participant/display.h"
#include "lib/trace/trace.h"

#define WHY_TEXT 100

struct device_participant {
    struct vmig_migration *m;
    struct vmig_device *device;
    struct vmig_migration_info info;
    bool precopy;      /* in PRE_COPY, with an open stream */
    bool begins_again; /* it was asked to announce new initial bytes */
    bool was_running;
    bool loaded;           /* target: it has the source's state */
    void *buf;             /* WIRE_CHUNK_BYTES, for the rounds */
    struct worker *reader; /* source, from setup to cleanup */
    struct participant *self;
    uint64_t told_bytes;            /* its size, when it last told one */
    char why_unknown[WHY_TEXT + 1]; /* why it did not */
    struct config_view view;
    struct vmig_pci_state config; /* the source's */
    bool has_config;
    struct vmig_pci_state local; /* target: what its guest would see before anything is loaded */
    bool has_local;
    struct vmig_pci_state fresh; /* 40 KiB, which no stack need have */
    bool halted;                 /* it stands where `config` was taken from it, or given to it */
};

void *participant_device_new(struct vmig_migration *m, struct vmig_device *device)
{
    struct device_participant *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->m = m;
    d->device = device;
    d->buf = malloc(WIRE_CHUNK_BYTES);
    if (d->buf)
        return d;
    free(d);
    return NULL;
}

void participant_device_free(void *opaque)
{
    struct device_participant *d = opaque;
    if (!d)
        return;
    worker_free(d->reader);
    free(d->buf);
    free(d);
}

int participant_device_identity(struct vmig_device *device, char *ret, size_t size,
                                struct vmig_error *err)
{
    struct vmig_device_info info;
    int rc = vmig_device_info(device, &info, err);
    if (rc < 0)
        return rc;
    snprintf(ret, size, "%04x:%04x %04x:%04x", info.vendor_id, info.device_id,
             info.subsystem_vendor_id, info.subsystem_id);
    return 0;
}

static bool has_p2p(const struct device_participant *d)
{
    return d->info.flags & VMIG_MIGRATION_P2P;
}

bool participant_device_will_precopy(const void *opaque)
{
    const struct device_participant *d = opaque;
    return (d->info.flags & VMIG_MIGRATION_PRE_COPY) && d->m->parameters[PARAMETER_PRE_COPY] &&
           d->was_running && d->m->run.applied == VMIG_RUN_STATE_RUNNING;
}

bool participant_device_begins_again(const void *opaque)
{
    return ((const struct device_participant *)opaque)->begins_again;
}

uint64_t participant_device_flags(const void *opaque)
{
    return ((const struct device_participant *)opaque)->info.flags;
}

bool participant_device_is_shown(const void *opaque)
{
    const struct device_participant *d = opaque;
    return d->view.ops.load != NULL;
}

void participant_device_arcs(const void *opaque, struct forecast_arcs *ret)
{
    const struct device_participant *d = opaque;
    enum vmig_state now = !d->was_running ? VMIG_STATE_STOP
                          : d->precopy    ? VMIG_STATE_PRE_COPY
                                          : VMIG_STATE_RUNNING;
    enum vmig_state quiesced = now, ready = VMIG_STATE_STOP;
    if (has_p2p(d) && d->was_running)
        quiesced = d->precopy ? VMIG_STATE_PRE_COPY_P2P : VMIG_STATE_RUNNING_P2P;
    if (has_p2p(d))
        ready = VMIG_STATE_RUNNING_P2P;
    *ret = (struct forecast_arcs) {
        .quiesce = (unsigned)fsm_distance(d->info.flags, now, quiesced),
        .stop = (unsigned)fsm_distance(d->info.flags, quiesced, VMIG_STATE_STOP_COPY),
        .load = (unsigned)fsm_distance(d->info.flags, VMIG_STATE_RESUMING, VMIG_STATE_STOP),
        .start_p2p = (unsigned)fsm_distance(d->info.flags, VMIG_STATE_STOP, ready),
        .start = (unsigned)fsm_distance(d->info.flags, ready, VMIG_STATE_RUNNING),
    };
}

/* Where the recovery table sends the device in this step. One that did not run is not made to. */
static int go(struct device_participant *d, enum step step, struct vmig_error *err)
{
    const struct recovery_arc *arc = recovery_arc(step);
    unsigned to = has_p2p(d) ? arc->to : arc->to_alone;
    unsigned recover = has_p2p(d) ? arc->recover : arc->recover_alone;
    if (to == RECOVERY_NO_STATE)
        return 0;
    if (d->precopy && step == STEP_QUIESCE)
        to = VMIG_STATE_PRE_COPY_P2P;
    if (d->precopy && step == STEP_UNQUIESCE)
        to = VMIG_STATE_PRE_COPY;
    if (!d->was_running && step == STEP_STOP)
        recover = VMIG_STATE_STOP;
    if (!d->was_running && step == STEP_RESUME)
        to = VMIG_STATE_STOP;
    return vmig_device_set_state(d->device, (enum vmig_state)to, (enum vmig_state)recover, err);
}

/* Calls that nothing but a device that hangs holds up are named to whoever waits. */
static void asks(struct device_participant *d, const char *what)
{
    crew_asks(d->self, vmig_device_id(d->device), what);
}

static void find_self(struct device_participant *d)
{
    for (unsigned i = 0; i < d->m->num_participants; i++)
        if (d->m->participants[i]->opaque == d)
            d->self = d->m->participants[i];
}

/* What the settings come to in this run: the machine version may have changed since the last. */
static int look_at_settings(struct device_participant *d, struct vmig_error *err)
{
    const struct vmig_device_settings *settings = &d->self->settings;
    struct display display;
    int rc = display_of(d->m, d->self, &display, err);
    d->view = (struct config_view) { .opaque = settings->pci_opaque,
                                     .ignore_vendor = settings->ignore_vendor_capability,
                                     .ramfb = rc == 0 && display.moves };
    if (settings->pci)
        memcpy(&d->view.ops, settings->pci,
               settings->pci->size < sizeof(d->view.ops) ? settings->pci->size
                                                         : sizeof(d->view.ops));
    return rc;
}

/* ---- source ---- */

/* One that never tells need not be asked round after round. */
static int check_size(struct device_participant *d, struct vmig_error *err)
{
    if (d->info.has_data_size || d->m->parameters[PARAMETER_STATE_SIZE])
        return 0;
    return error_set(err, EOPNOTSUPP, VMIG_STAGE_PREPARE, vmig_device_id(d->device),
                     "device-size-unknown",
                     "the device cannot tell the size of its state, so nobody can say how long the "
                     "pause would take; set device-state-size to the most that it can be");
}

static int device_prepare(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    enum vmig_state state;
    int rc = vmig_device_migration_info(d->device, &d->info, err);
    if (rc == 0)
        rc = check_size(d, err);
    if (rc == 0)
        rc = vmig_device_get_state(d->device, &state, err);
    if (rc < 0)
        return rc;
    find_self(d);
    rc = look_at_settings(d, err);
    if (rc < 0)
        return rc;
    d->precopy = d->begins_again = false;
    d->has_config &= d->halted;
    d->told_bytes = 0;
    d->was_running = state == VMIG_STATE_RUNNING;
    if (state == VMIG_STATE_RUNNING || state == VMIG_STATE_STOP)
        return 0;
    return error_set(err, EBUSY, VMIG_STAGE_PREPARE, vmig_device_id(d->device), "vfio-state",
                     "the device is in %s; a migration starts from RUNNING or STOP: let whoever "
                     "holds it finish, or reset it",
                     vmig_state_name(state));
}

static int device_setup(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    d->reader = worker_new(); /* not in the pause, and while nothing has changed yet */
    if (!d->reader)
        return error_set(err, ENOMEM, VMIG_STAGE_SETUP, vmig_device_id(d->device), NULL,
                         "out of memory or threads to read its data; check the limits on both");
    TRACE(vfio_save_setup, vmig_device_id(d->device), participant_device_will_precopy(d));
    if (!participant_device_will_precopy(d))
        return 0;
    /* only a target that counts: another would take the second announcement for damage */
    d->begins_again = d->m->numbered_acks && vmig_device_enable_reinit(d->device, NULL) == 0;
    int rc = go(d, STEP_SETUP, err);
    d->precopy = rc == 0;
    return rc;
}

/* More than this is nobody's state: a lie, or a negative number. */
#define BELIEVED_BYTES (UINT64_C(1) << 50)

static bool believe(struct device_participant *d, uint64_t bytes, const char *what)
{
    if (bytes > BELIEVED_BYTES)
        snprintf(d->why_unknown, sizeof(d->why_unknown), "it claims %" PRIu64 " %s", bytes, what);
    return bytes <= BELIEVED_BYTES;
}

/* False when the device does not tell; then only @ret->reinit counts. */
static bool ask_precopy(struct device_participant *d, struct vmig_precopy_info *ret)
{
    struct vmig_error err = { 0 };
    if (vmig_device_precopy_info(d->device, ret, &err) < 0) {
        *ret = (struct vmig_precopy_info) { 0 };
        snprintf(d->why_unknown, sizeof(d->why_unknown), "%.*s", WHY_TEXT, err.text);
        return false;
    }
    if (believe(d, ret->initial_bytes, "initial bytes") &&
        believe(d, ret->dirty_bytes, "dirty bytes"))
        return true;
    ret->initial_bytes = ret->dirty_bytes = 0;
    return false;
}

static bool ask_size(struct device_participant *d, uint64_t *ret)
{
    struct vmig_error err = { 0 };
    if (vmig_device_data_size(d->device, ret, &err) == 0)
        return believe(d, *ret, "bytes of state");
    snprintf(d->why_unknown, sizeof(d->why_unknown), "%.*s", WHY_TEXT, err.text);
    return false;
}

/* A device that does not tell must not let the pause be underestimated: what it said before is the
 * least that it has, and the user's word is needed for more. */
static uint64_t unknown_bytes(const struct device_participant *d)
{
    uint64_t user = d->m->parameters[PARAMETER_STATE_SIZE];
    if (!user)
        return UINT64_MAX;
    return user > d->told_bytes ? user : d->told_bytes;
}

const char *participant_device_why_unknown(const void *opaque)
{
    return ((const struct device_participant *)opaque)->why_unknown;
}

/* The size that is still to come after the stop may or may not count what pre-copy would still
 * send: the larger of both is the safe guess, their sum would count twice. */
static int device_pending(void *opaque, bool exact, struct vmig_pending *ret,
                          struct vmig_error *err)
{
    struct device_participant *d = opaque;
    struct vmig_precopy_info info = { 0 };
    uint64_t size;
    (void)exact;
    (void)err;
    asks(d, "telling its sizes");
    bool precopy_known = !d->precopy || !d->info.has_precopy_info || ask_precopy(d, &info);
    bool size_known = ask_size(d, &size);
    crew_answered(d->self);
    if (size_known)
        d->told_bytes = size;
    ret->initial_bytes = info.initial_bytes;
    ret->initial_again = info.reinit;
    ret->precopy_bytes = info.initial_bytes + info.dirty_bytes;
    ret->stop_copy_bytes = size_known && precopy_known ? size : unknown_bytes(d);
    TRACE(vfio_state_pending_exact, vmig_device_id(d->device), ret->stop_copy_bytes,
          ret->precopy_bytes, ret->initial_bytes);
    return 0;
}

static int read_chunk(struct device_participant *d, void *buf, struct vmig_error *err)
{
    asks(d, "giving its data");
    ssize_t n = vmig_device_data_read(d->device, buf, WIRE_CHUNK_BYTES, err);
    crew_answered(d->self);
    return (int)n;
}

/* Read and send until @limit_bytes were sent (1), the device has nothing now (0), or its data ends
 * (0). */
static int pump(struct device_participant *d, struct vmig_writer *writer, uint64_t limit_bytes,
                struct vmig_error *err)
{
    for (uint64_t sent = 0; sent < limit_bytes && !run_state_interrupts(d->m);) {
        int n = read_chunk(d, d->buf, err);
        if (n == -ENOMSG || n == 0)
            return 0;
        int rc = n < 0 ? n : vmig_writer_put(writer, d->buf, (size_t)n, err);
        if (rc < 0)
            return rc;
        sent += (uint64_t)n;
    }
    return 1;
}

static int device_iterate(void *opaque, struct vmig_writer *writer, uint64_t budget_bytes,
                          struct vmig_error *err)
{
    struct device_participant *d = opaque;
    struct vmig_precopy_info info = { 0 };
    if (!d->precopy)
        return 0;
    int rc = pump(d, writer, budget_bytes, err);
    TRACE(vfio_save_iterate, vmig_device_id(d->device), budget_bytes, rc);
    if (rc < 0 || !writer->participant->initial_due)
        return rc < 0 ? rc : 0;
    /* Some devices fetch their next increment only when asked for this. Where nothing tells, one that
     * is drained has sent all that it had. */
    asks(d, "telling its sizes");
    bool told = d->info.has_precopy_info && ask_precopy(d, &info);
    crew_answered(d->self);
    if (info.reinit)
        announce_again(writer->participant);
    if (told ? info.initial_bytes > 0 : rc == 1)
        return 0;
    return announce_sent(writer->participant, err);
}

/* While the device still answers: some refuse region access once they are stopped. One that was halted
 * before was asked then. */
static int take_config(struct device_participant *d, struct vmig_error *err)
{
    bool kept = d->halted && d->has_config;
    int rc = config_collect(d->device, &d->view, &d->fresh, kept ? NULL : err);
    if (rc < 0 && kept)
        return 0;
    d->has_config = rc == 1;
    if (rc == 1)
        d->config = d->fresh;
    return rc < 0 ? rc : 0;
}

static int device_quiesce(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    int rc = take_config(d, err);
    if (rc < 0 || !d->was_running)
        return rc;
    return go(d, STEP_QUIESCE, err);
}

static int device_unquiesce(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    return d->was_running ? go(d, STEP_UNQUIESCE, err) : 0;
}

static int device_stop(void *opaque, struct vmig_error *err)
{
    return go(opaque, STEP_STOP, err);
}

/* A device that never ends its data would never end the pause either. */
#define STATE_BYTES_MAX (UINT64_C(1) << 40)

static int no_memory(struct vmig_error *err)
{
    return error_set(err, ENOMEM, VMIG_STAGE_COMPLETE, NULL, NULL, "out of memory");
}

/* 1: there is more, 0: that was the end. */
static int read_ahead(struct device_participant *d, struct inbox *box, struct vmig_error *err)
{
    void *buf = inbox_buffer(box);
    int n = buf ? read_chunk(d, buf, err) : no_memory(err);
    if (n <= 0)
        inbox_give_back(box, buf);
    if (n < 0)
        return n;
    if (n > 0)
        inbox_wait_room(box, (size_t)n, UINT64_MAX);
    int rc = inbox_put(box, n ? INBOX_DATA : INBOX_END, n ? buf : NULL, (size_t)n);
    if (rc == -ENOMEM)
        no_memory(err);
    return rc < 0 ? rc : n > 0;
}

/* The reader's job: all that the device has, into the inbox, which only a target needs otherwise. */
static int read_all(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    int rc;
    do
        rc = read_ahead(d, &d->self->inbox, err);
    while (rc > 0);
    if (rc < 0)
        inbox_close(&d->self->inbox);
    return rc;
}

static int endless(const struct device_participant *d, struct vmig_error *err)
{
    return error_set(err, EFBIG, VMIG_STAGE_COMPLETE, vmig_device_id(d->device), "vfio-endless",
                     "the device sent more than %" PRIu64 " bytes and did not end its data",
                     STATE_BYTES_MAX);
}

/* Send what the reader reads. Without text: the inbox was closed. */
static int send_all(struct device_participant *d, struct vmig_writer *writer,
                    struct vmig_error *err)
{
    struct inbox *box = &d->self->inbox;
    struct inbox_item item = { .kind = INBOX_DATA };
    uint64_t sent = 0;
    int rc = 0;
    while (rc == 0 && (rc = inbox_take(box, &item)) == 0 && item.kind == INBOX_DATA) {
        sent += item.length_bytes;
        rc = sent > STATE_BYTES_MAX ? endless(d, err)
                                    : vmig_writer_put(writer, item.buf, item.length_bytes, err);
        inbox_give_back(box, item.buf);
        inbox_loaded(box);
    }
    return rc;
}

static int device_complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    struct vmig_error sending = { 0 }, reading = { 0 };
    worker_post(d->reader, read_all, d);
    int rc = send_all(d, writer, &sending);
    if (rc < 0)
        inbox_close(&d->self->inbox);
    worker_wait(d->reader, UINT64_MAX);
    worker_result(d->reader, &reading);
    TRACE(vfio_save_complete_precopy, vmig_device_id(d->device), rc);
    if (rc == 0)
        return 0;
    if (sending.code || reading.code)
        return error_copy(err, sending.code ? &sending : &reading);
    rc = run_check(d->m, err); /* the end of the run closes the inbox, too */
    return rc < 0 ? rc : -ECANCELED;
}

const struct vmig_pci_state *participant_device_config(const void *opaque)
{
    const struct device_participant *d = opaque;
    return d->has_config ? &d->config : NULL;
}

static int device_resume_p2p(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    enum vmig_state state;
    d->precopy = false;
    if (vmig_device_health(d->device) != VMIG_HEALTH_OK)
        return 0;
    int rc = vmig_device_get_state(d->device, &state, err);
    if (rc < 0 || state == VMIG_STATE_RUNNING || state == VMIG_STATE_PRE_COPY ||
        state == VMIG_STATE_RUNNING_P2P || state == VMIG_STATE_ERROR || !d->was_running)
        return rc;
    return go(d, STEP_RESUME_P2P, err);
}

/* Some drivers go to ERROR by themselves when their firmware recovers; only a reset leads out. */
static int reset_from_error(struct device_participant *d, struct vmig_error *err)
{
    int rc = device_reset_from_error(d->device, err);
    return rc < 0
               ? rc
               : error_set(err, EIO, VMIG_STAGE_RESUME, vmig_device_id(d->device),
                           "device-state-lost",
                           "the device went to ERROR by itself and was reset; its state is gone");
}

static int device_resume(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    enum vmig_state state;
    /* named by the one who lost or reset it, and a change of state would make its health OK */
    if (vmig_device_health(d->device) != VMIG_HEALTH_OK)
        return 0;
    if (vmig_device_get_state(d->device, &state, NULL) == 0 && state == VMIG_STATE_ERROR)
        return reset_from_error(d, err);
    d->halted = false;
    return go(d, STEP_RESUME, err);
}

/* ---- target ---- */

static int device_load_setup(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    int rc = vmig_device_migration_info(d->device, &d->info, err);
    if (rc < 0)
        return rc;
    TRACE(vfio_load_setup, vmig_device_id(d->device));
    find_self(d);
    d->was_running = true;
    d->has_config = d->loaded = false;
    rc = look_at_settings(d, err);
    if (rc < 0)
        return rc;
    rc = config_collect(d->device, &d->view, &d->local, err);
    d->has_local = rc == 1;
    return rc < 0 ? rc : go(d, STEP_LOAD_SETUP, err);
}

static int device_load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    asks(d, "taking its data");
    int rc = vmig_device_data_write(d->device, buf, length_bytes, err);
    crew_answered(d->self);
    return rc;
}

int participant_device_read_config(void *opaque, struct reader *r, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    int rc = pci_config_read(r, 0, &d->config, err);
    if (rc == 0)
        rc = config_check_identity(d->device, &d->config, err);
    if (rc == 0 && d->has_local)
        rc = config_check(d->device, &d->view, &d->local, &d->config, err);
    if (rc == 0)
        rc = display_check(d->view.ramfb, &d->config, d->self->id, err);
    if (rc == 0 && d->view.ramfb && !d->config.has_ramfb)
        run_warning(
            d->m, "display-missing",
            "the source did not send the state of the device's ramfb: it has none, or is of "
            "an older machine version; there is no picture until the guest's driver makes "
            "one");
    d->has_config = rc == 0;
    return rc;
}

/* Drivers check the data on the arc to STOP. A refusal leaves a half-loaded device: only a reset
 * helps. */
static int device_load_complete(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    int rc = vmig_device_data_flush(d->device, err);
    if (rc == 0)
        rc = go(d, STEP_LOAD_COMPLETE, err);
    d->loaded = rc == 0;
    TRACE(vfio_load_state, vmig_device_id(d->device), d->has_config, rc);
    if (rc == 0 && d->has_config)
        rc = config_apply(d->device, &d->view, &d->config, &d->local, err);
    d->halted = rc == 0; /* until it starts */
    return rc;
}

static int device_start_p2p(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    d->halted = false;
    return go(d, STEP_START_P2P, err);
}

static int device_start(void *opaque, struct vmig_error *err)
{
    return go(opaque, STEP_START, err);
}

static int device_load_abort(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    enum vmig_state state;
    /* RUNNING since before the load, or since a reset: RUNNING with what was loaded is neither */
    if (!d->loaded && vmig_device_get_state(d->device, &state, NULL) == 0 &&
        state == VMIG_STATE_RUNNING)
        return 0;
    if (vmig_device_health(d->device) == VMIG_HEALTH_RESET)
        return 0;
    return vmig_device_reset(d->device, err);
}

/* ---- stop and cont ---- */

void participant_device_ends(void *opaque, bool running)
{
    ((struct device_participant *)opaque)->was_running = running;
}

/* Its state; -EOPNOTSUPP, without an error, where it has none. */
static int know_state(struct device_participant *d, enum vmig_state *ret, struct vmig_error *err)
{
    int rc = vmig_device_migration_info(d->device, &d->info, NULL);
    if (rc < 0 || !(d->info.flags & VMIG_MIGRATION_STOP_COPY))
        return -EOPNOTSUPP;
    find_self(d);
    rc = look_at_settings(d, err);
    return rc < 0 ? rc : vmig_device_get_state(d->device, ret, err);
}

int participant_device_halt_p2p(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    enum vmig_state state;
    int rc = know_state(d, &state, err);
    d->was_running = rc == 0 && (state == VMIG_STATE_RUNNING || state == VMIG_STATE_RUNNING_P2P);
    if (rc < 0 || !d->was_running)
        return rc == -EOPNOTSUPP ? 0 : rc;
    take_config(d, NULL); /* the migration that needs it asks again */
    return go(d, STEP_HALT_P2P, err);
}

int participant_device_halt(void *opaque, struct vmig_error *err)
{
    struct device_participant *d = opaque;
    int rc = d->was_running ? go(d, STEP_HALT, err) : 0;
    d->halted |= rc == 0 && d->was_running;
    return rc;
}

static int cont(struct device_participant *d, enum step step, struct vmig_error *err)
{
    enum vmig_state state;
    int rc = know_state(d, &state, err);
    if (rc < 0)
        return rc == -EOPNOTSUPP ? 0 : rc;
    d->halted = false;
    return state == VMIG_STATE_RUNNING ? 0 : go(d, step, err);
}

int participant_device_cont_p2p(void *opaque, struct vmig_error *err)
{
    return cont(opaque, STEP_CONT_P2P, err);
}

int participant_device_cont(void *opaque, struct vmig_error *err)
{
    return cont(opaque, STEP_CONT, err);
}

/* ---- both ---- */

static void device_cleanup(void *opaque, bool moved)
{
    struct device_participant *d = opaque;
    TRACE(vfio_save_cleanup, vmig_device_id(d->device), moved);
    d->precopy = false;
    d->reader = worker_free(d->reader);
    if (moved)
        go(d, STEP_CLEANUP, NULL);
}

const struct vmig_participant_ops participant_device_ops = {
    .size = sizeof(struct vmig_participant_ops),
    .prepare = device_prepare,
    .setup = device_setup,
    .pending = device_pending,
    .iterate = device_iterate,
    .quiesce = device_quiesce,
    .unquiesce = device_unquiesce,
    .stop = device_stop,
    .complete = device_complete,
    .resume_p2p = device_resume_p2p,
    .resume = device_resume,
    .load_setup = device_load_setup,
    .load = device_load,
    .load_complete = device_load_complete,
    .start_p2p = device_start_p2p,
    .start = device_start,
    .load_abort = device_load_abort,
    .cleanup = device_cleanup,
};
