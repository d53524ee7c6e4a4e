/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest uses what it found when it booted, so a processor that lacks some of that is no place for it. The
 * source's CPUID goes over first, as a participant with initial bytes; the target compares it with what its KVM
 * can show a guest, refuses by name, and shows its vCPUs the same. No page of memory depends on it, and the source
 * goes on when it is refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/fail.h"
#include "vmm/state.h"

#define RECEIVED_MAX sizeof(struct cpuid_table) /* on the wire it is shorter */

struct features {
    struct vcpus *vcpus;
    const struct cpuid_table *host; /* what can be shown here */
    struct cpuid_table shown;       /* what the guest was shown when it booted */
    bool sent;
    uint8_t received[RECEIVED_MAX];
    size_t received_bytes;
};

/* ---- on the wire ---- */

#define T struct kvm_cpuid_entry2
static const struct vmig_vmstate_field entry[] = {
    VMIG_VMSTATE_UINT32(function, T), VMIG_VMSTATE_UINT32(index, T),
    VMIG_VMSTATE_UINT32(flags, T),    VMIG_VMSTATE_UINT32(eax, T),
    VMIG_VMSTATE_UINT32(ebx, T),      VMIG_VMSTATE_UINT32(ecx, T),
    VMIG_VMSTATE_UINT32(edx, T),      VMIG_VMSTATE_END(),
};
#undef T
static const struct vmig_vmstate entry_table = {
    .name = "entry", .version = 1, .minimum_version = 1, .fields = entry
};
static const struct vmig_vmstate_field cpuid[] = {
    VMIG_VMSTATE_UINT32(count, struct cpuid_table),
    VMIG_VMSTATE_STRUCT_VARRAY(entries, struct cpuid_table, count, 1, &entry_table),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate cpuid_table_ = {
    .name = "cpuid", .version = 1, .minimum_version = 1, .fields = cpuid
};

/* ---- source ---- */

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
    ret->precopy_bytes = ret->initial_bytes = f->sent ? 0 : sizeof(struct cpuid_table);
    return 0;
}

static int send(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    struct features *f = opaque;
    void *bytes;
    size_t length;
    if (f->sent)
        return 0;
    int rc = vmig_vmstate_save(&cpuid_table_, &f->shown, &bytes, &length, err);
    if (rc < 0)
        return rc;
    uint32_t head = (uint32_t)length;
    rc = vmig_writer_put(writer, &head, sizeof(head), err);
    if (rc == 0)
        rc = vmig_writer_put(writer, bytes, length, err);
    free(bytes);
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

static int load_setup(void *opaque, struct vmig_error *err)
{
    struct features *f = opaque;
    (void)err;
    f->received_bytes = 0;
    return 0;
}

static int take_over(struct features *f, const void *bytes, size_t length, struct vmig_error *err)
{
    struct cpuid_table *theirs = calloc(1, sizeof(*theirs));
    char missing[300];
    if (!theirs)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    int rc = vmig_vmstate_load(&cpuid_table_, 1, theirs, bytes, length, err);
    if (rc == 0) {
        cpuid_list_missing(theirs, f->host, missing, sizeof(missing));
        rc = missing[0] ? vmm_fail(err, ENOTSUP, "cpu-features",
                                   "the guest's processors have what this host cannot give it: %s",
                                   missing)
                        : cpuid_show(f->vcpus, theirs, err);
    }
    if (rc == 0)
        f->shown = *theirs;
    free(theirs);
    return rc;
}

static int load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    struct features *f = opaque;
    uint32_t length = 0;
    if (length_bytes > RECEIVED_MAX - f->received_bytes)
        return vmm_fail(err, EINVAL, NULL, "more than %zu bytes of processor features",
                        RECEIVED_MAX);
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
    return f->received_bytes ? 0
                             : vmm_fail(err, EINVAL, NULL, "the processors' features did not come");
}

int features_add(struct features **ret, struct vmig_migration *migration, struct vcpus *vcpus,
                 const struct cpuid_table *host, struct vmig_error *err)
{
    static const struct vmig_participant_ops ops = { .size = sizeof(ops),
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
    f->shown = *host;
    return vmig_migration_add_participant(migration, "cpu-features", &ops, f, err);
}
