/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/kvm.h"
#include "vmm/lock.h"

/* Three pages that Intel's processors want for real mode; out of the way of all memory and devices. */
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull
#define TSS_ADDRESS 0xfffbd000ul

static const struct need {
    int capability;
    const char *name;
} needs[] = {
    { KVM_CAP_USER_MEMORY, "user memory" },
    { KVM_CAP_IRQCHIP, "in-kernel interrupt controllers" },
    { KVM_CAP_PIT2, "an in-kernel PIT" },
    { KVM_CAP_EXT_CPUID, "CPUID" },
    { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
    { KVM_CAP_IRQFD, "irqfd" },
    { KVM_CAP_IRQFD_RESAMPLE, "irqfd with resample" },
    { KVM_CAP_IRQ_ROUTING, "interrupt routing" },
    { KVM_CAP_XSAVE, "XSAVE" },
    { KVM_CAP_XCRS, "XCRs" },
    { KVM_CAP_VCPU_EVENTS, "vCPU events" },
    { KVM_CAP_DEBUGREGS, "debug registers" },
    { KVM_CAP_MP_STATE, "MP state" },
    { KVM_CAP_ADJUST_CLOCK, "the guest's clock" },
};

int kvm_ask(int fd, unsigned long request, void *argument, const char *what, struct vmig_error *err)
{
    int rc = ioctl(fd, request, argument);
    return rc < 0 ? vmm_fail(err, errno, NULL, "%s: %m", what) : rc;
}

static int open_node(struct kvm *kvm, struct vmig_error *err)
{
    kvm->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm->fd >= 0)
        return 0;
    if (errno == EACCES || errno == EPERM)
        return vmm_fail(
            err, errno, "no-kvm",
            "/dev/kvm: %m; join the group that owns it (usually kvm), or ask for access");
    return vmm_fail(
        err, errno, "no-kvm",
        "/dev/kvm: %m; switch virtualisation on in the firmware and load kvm_intel or kvm_amd, "
        "or, inside a virtual machine, have nested virtualisation switched on");
}

static int check_needs(struct kvm *kvm, struct vmig_error *err)
{
    int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return vmm_fail(err, ENOTSUP, "no-kvm", "/dev/kvm has API version %d, %d is needed",
                        version, KVM_API_VERSION);
    for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
        if (ioctl(kvm->fd, KVM_CHECK_EXTENSION, needs[i].capability) <= 0)
            return vmm_fail(err, ENOTSUP, "no-kvm",
                            "this machine's KVM does not have %s; a newer kernel is needed",
                            needs[i].name);
    return 0;
}

/* Rings are there before vCPUs are. */
static int choose_dirty(struct kvm *kvm, struct vmig_error *err)
{
    static const unsigned rings[] = { KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING };
    struct kvm_enable_cap ring = { .args[0] = DIRTY_RING_ENTRIES * sizeof(struct kvm_dirty_gfn) };
    for (unsigned i = 0; kvm->dirty != DIRTY_LOG && i < 2; i++) {
        ring.cap = rings[i];
        if (ioctl(kvm->vm, KVM_CHECK_EXTENSION, rings[i]) < (int)ring.args[0] ||
            ioctl(kvm->vm, KVM_ENABLE_CAP, &ring))
            continue;
        kvm->dirty = DIRTY_RING;
        return 0;
    }
    if (kvm->dirty == DIRTY_RING)
        return vmm_fail(err, ENOTSUP, NULL,
                        "--dirty-tracking ring: this machine's KVM has no dirty ring of %u pages; "
                        "use log",
                        DIRTY_RING_ENTRIES);
    kvm->dirty = DIRTY_LOG;
    return 0;
}

static int create(struct kvm *kvm, struct vmig_error *err)
{
    uint64_t identity_map = IDENTITY_MAP_ADDRESS;
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    kvm->vm = kvm_ask(kvm->fd, KVM_CREATE_VM, NULL, "creating a VM", err);
    if (kvm->vm < 0)
        return kvm->vm;
    int rc =
        kvm_ask(kvm->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map, "placing the identity map", err);
    if (rc >= 0)
        rc = kvm_ask(kvm->vm, KVM_SET_TSS_ADDR, (void *)TSS_ADDRESS, "placing the TSS", err);
    if (rc >= 0)
        rc = choose_dirty(kvm, err);
    if (rc >= 0)
        rc = kvm_ask(kvm->vm, KVM_CREATE_IRQCHIP, NULL, "creating the interrupt controllers", err);
    if (rc >= 0)
        rc = kvm_ask(kvm->vm, KVM_CREATE_PIT2, &pit, "creating the PIT", err);
    if (rc < 0)
        return rc;
    rc = kvm_ask(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, NULL, "asking for the size of a vCPU", err);
    kvm->run_bytes = rc < 0 ? 0 : (size_t)rc;
    return rc < 0 ? rc : 0;
}

int kvm_open(struct kvm *kvm, enum dirty_how dirty, struct vmig_error *err)
{
    *kvm = (struct kvm) { .fd = -1, .vm = -1, .dirty = dirty };
    pthread_mutex_init(&kvm->lock, NULL);
    int rc = open_node(kvm, err);
    if (rc == 0)
        rc = check_needs(kvm, err);
    return rc < 0 ? rc : create(kvm, err);
}

void kvm_close(struct kvm *kvm)
{
    if (kvm->vm >= 0)
        close(kvm->vm);
    if (kvm->fd >= 0)
        close(kvm->fd);
    kvm->vm = kvm->fd = -1;
    pthread_mutex_destroy(&kvm->lock);
}

/* ---- memory slots ---- */

static int set_slot(struct kvm *kvm, unsigned slot, struct vmig_error *err)
{
    struct kvm_slot *s = &kvm->slots[slot];
    struct kvm_userspace_memory_region region = { .slot = slot,
                                                  .flags = s->flags,
                                                  .guest_phys_addr = s->address,
                                                  .memory_size = s->size_bytes,
                                                  .userspace_addr = (uintptr_t)s->vaddr };
    return kvm_ask(kvm->vm, KVM_SET_USER_MEMORY_REGION, &region, "showing memory to the guest",
                   err);
}

int kvm_map(struct kvm *kvm, uint64_t address, uint64_t size_bytes, void *vaddr, unsigned *ret_slot,
            struct vmig_error *err)
{
    unsigned slot = 0;
    LOCK_SCOPE(&kvm->lock);
    while (slot < KVM_SLOTS && kvm->slots[slot].size_bytes)
        slot++;
    if (slot == KVM_SLOTS)
        return vmm_fail(err, ENOSPC, NULL, "all %u memory slots are in use", KVM_SLOTS);
    kvm->slots[slot] = (struct kvm_slot) { address, size_bytes, vaddr, 0 };
    int rc = set_slot(kvm, slot, err);
    if (rc < 0)
        kvm->slots[slot].size_bytes = 0;
    *ret_slot = slot;
    return rc;
}

void kvm_unmap(struct kvm *kvm, unsigned slot)
{
    LOCK_SCOPE(&kvm->lock);
    kvm->slots[slot].size_bytes = 0;
    set_slot(kvm, slot, NULL);
}

int kvm_track(struct kvm *kvm, unsigned slot, bool on, struct vmig_error *err)
{
    LOCK_SCOPE(&kvm->lock);
    kvm->slots[slot].flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0;
    return set_slot(kvm, slot, err);
}

int kvm_read_log(struct kvm *kvm, unsigned slot, uint64_t *ret, struct vmig_error *err)
{
    struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = ret };
    int rc = kvm_ask(kvm->vm, KVM_GET_DIRTY_LOG, &log, "reading what the guest wrote", err);
    return rc < 0 ? rc : 0;
}

void kvm_irq_line(struct kvm *kvm, unsigned gsi, int level)
{
    struct kvm_irq_level line = { .irq = gsi, .level = (uint32_t)level };
    ioctl(kvm->vm, KVM_IRQ_LINE,
          &line); /* fails for lines that are not there, and those are ours */
}
