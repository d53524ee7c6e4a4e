/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest uses what it found when it booted, so a processor that lacks some of that is no place for it. The
 * source offers what its guest was shown in the first words; the target compares it with what its KVM can show a
 * guest, and refuses by name before anything is touched. The same goes over as data, too, at once: a file has no
 * first words, and the target must show its vCPUs what the source showed.
 *
 * MSRs are not here: which ones a guest uses follows from CPUID, and what is in them can only be read of vCPUs that
 * stand still. One that cannot be set is refused when it is loaded (state-cpu.c), and the source goes on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/cpuid.h"
#include "vmm/fail.h"
#include "vmm/state.h"

#define TSC_TOLERANCE_KHZ(khz) ((khz) / 4000) /* 250 ppm, which guests' clocks put up with */

struct shown {
    struct cpuid_table cpuid;
    uint32_t tsc_khz; /* 0: KVM does not know */
};

struct features {
    struct vcpus *vcpus;
    const struct cpuid_table *host; /* what can be shown here */
    uint32_t host_khz;
    struct shown shown; /* when the guest booted */
    bool sent;
    uint8_t received[sizeof(uint32_t) + VMIG_OFFERS_BYTES_MAX]; /* a length, and as much */
    size_t received_bytes;
    bool taken; /* it came, whole, and the vCPUs have it */
};

/* ---- on the wire ---- */

#define T struct kvm_cpuid_entry2
static const struct vmig_vmstate_field entry[] = { U32(function), U32(index),        U32(flags),
                                                   U32(eax),      U32(ebx),          U32(ecx),
                                                   U32(edx),      VMIG_VMSTATE_END() };
#undef T
static const struct vmig_vmstate entry_table = STATE_TABLE(entry);
static const struct vmig_vmstate_field shown[] = {
    VMIG_VMSTATE_UINT32(cpuid.count, struct shown),
    VMIG_VMSTATE_STRUCT_VARRAY(cpuid.entries, struct shown, cpuid.count, 1, &entry_table),
    VMIG_VMSTATE_UINT32(tsc_khz, struct shown),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate shown_table = STATE_TABLE(shown);

/* ---- source ---- */

static int offer(void *opaque, void *ret, size_t max_bytes, size_t *ret_bytes,
                 struct vmig_error *err)
{
    struct features *f = opaque;
    void *bytes;
    int rc = vmig_vmstate_save(&shown_table, &f->shown, &bytes, ret_bytes, err);
    if (rc < 0)
        return rc;
    memcpy(ret, bytes, *ret_bytes < max_bytes ? *ret_bytes : max_bytes);
    free(bytes);
    return 0;
}

static int setup(void *opaque, struct vmig_error *err)
{
    struct features *f = opaque;
    (void)err;
    f->sent = false;
    return 0;
}

static int pending(void *opaque, bool exact, struct vmig_pending *ret, struct vmig_error *err)
{
    const struct features *f = opaque;
    (void)exact;
    (void)err;
    ret->precopy_bytes = ret->initial_bytes = f->sent ? 0 : sizeof(f->shown);
    return 0;
}

static int send(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    struct features *f = opaque;
    struct {
        uint32_t length;
        uint8_t bytes[VMIG_OFFERS_BYTES_MAX];
    } message;
    size_t length;
    if (f->sent)
        return 0;
    int rc = offer(f, message.bytes, sizeof(message.bytes), &length, err);
    message.length = (uint32_t)length;
    if (rc == 0)
        rc = vmig_writer_put(writer, &message, sizeof(message.length) + length, err);
    f->sent = rc == 0;
    return rc;
}

static int iterate(void *opaque, struct vmig_writer *writer, uint64_t budget_bytes,
                   struct vmig_error *err)
{
    (void)budget_bytes;
    return send(opaque, writer, err);
}

/* ---- target ---- */

static bool is_same_rate(const struct features *f, uint32_t khz)
{
    uint32_t apart = f->host_khz > khz ? f->host_khz - khz : khz - f->host_khz;
    return !f->host_khz || !khz || apart <= TSC_TOLERANCE_KHZ(f->host_khz);
}

static int check(const struct features *f, const struct shown *theirs, struct vmig_error *err)
{
    int rc = cpuid_check(&theirs->cpuid, f->host, err);
    if (rc < 0 || is_same_rate(f, theirs->tsc_khz) ||
        ioctl(f->vcpus->kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0)
        return rc;
    return vmm_fail(err, ENOTSUP, "cpu-features",
                    "the guest's TSC makes %" PRIu32 " kHz, this host's %" PRIu32
                    ", and its processors cannot make others; use a host with that rate",
                    theirs->tsc_khz, f->host_khz);
}

/* Read and check what came; free(*ret). */
static int look_at(const struct features *f, const void *bytes, size_t length, struct shown **ret,
                   struct vmig_error *err)
{
    *ret = calloc(1, sizeof(**ret));
    if (!*ret)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    int rc = vmig_vmstate_load(&shown_table, 1, *ret, bytes, length, err);
    return rc < 0 ? rc : check(f, *ret, err);
}

static int accept_offer(void *opaque, const void *bytes, size_t length, struct vmig_error *err)
{
    struct shown *theirs;
    int rc = look_at(opaque, bytes, length, &theirs, err);
    free(theirs);
    return rc;
}

static int load_setup(void *opaque, struct vmig_error *err)
{
    struct features *f = opaque;
    (void)err;
    f->received_bytes = 0;
    f->taken = false;
    return 0;
}

/* The vCPUs become what the source's were, and are that also where the guest goes next. */
static int take_over(struct features *f, const void *bytes, size_t length, struct vmig_error *err)
{
    struct shown *theirs;
    int rc = look_at(f, bytes, length, &theirs, err);
    if (rc == 0)
        rc = cpuid_show(f->vcpus, &theirs->cpuid, err);
    for (unsigned i = 0; rc >= 0 && i < f->vcpus->count && !is_same_rate(f, theirs->tsc_khz); i++)
        rc = kvm_ask(f->vcpus->list[i].fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)theirs->tsc_khz,
                     "setting the TSC's rate", err);
    if (rc >= 0)
        f->shown = *theirs;
    f->taken = rc >= 0;
    free(theirs);
    return rc < 0 ? rc : 0;
}

static int load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    struct features *f = opaque;
    uint32_t length = 0;
    if (length_bytes > sizeof(f->received) - f->received_bytes)
        return vmm_fail(err, EINVAL, NULL, "more than %zu bytes of processor features",
                        sizeof(f->received));
    memcpy(f->received + f->received_bytes, buf, length_bytes);
    f->received_bytes += length_bytes;
    memcpy(&length, f->received, f->received_bytes < sizeof(length) ? 0 : sizeof(length));
    if (!length || f->received_bytes - sizeof(length) < length)
        return 0;
    return take_over(f, f->received + sizeof(length), length, err);
}

static int load_complete(void *opaque, struct vmig_error *err)
{
    const struct features *f = opaque;
    return f->taken ? 0 : vmm_fail(err, EINVAL, NULL, "the processors' features did not come");
}

int features_add(struct features **ret, struct vmig_migration *migration, struct vcpus *vcpus,
                 const struct cpuid_table *host, struct vmig_error *err)
{
    static const struct vmig_participant_ops ops = { .size = sizeof(ops),
                                                     .offer = offer,
                                                     .accept = accept_offer,
                                                     .setup = setup,
                                                     .pending = pending,
                                                     .iterate = iterate,
                                                     .complete = send,
                                                     .load_setup = load_setup,
                                                     .load = load,
                                                     .load_complete = load_complete };
    struct features *f = calloc(1, sizeof(*f));
    if (!f)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    *ret = f;
    f->vcpus = vcpus;
    f->host = host;
    int khz = ioctl(vcpus->list[0].fd, KVM_GET_TSC_KHZ, 0);
    f->host_khz = khz > 0 ? (uint32_t)khz : 0;
    f->shown = (struct shown) { *host, f->host_khz };
    return vmig_migration_add_participant(migration, "cpu-features", &ops, f, err);
}
