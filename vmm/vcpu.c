/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/lock.h"
#include "vmm/vcpu.h"

#define RING_BYTES (DIRTY_RING_ENTRIES * sizeof(struct kvm_dirty_gfn))

/* ---- stopping and starting ---- */

static void kick_all_locked(struct vcpus *vcpus)
{
    for (unsigned i = 0; i < vcpus->count; i++) {
        __atomic_store_n(&vcpus->list[i].run->immediate_exit, 1, __ATOMIC_RELAXED);
        if (vcpus->list[i].has_thread)
            pthread_kill(vcpus->list[i].thread, VCPU_KICK);
    }
}

void vcpus_start(struct vcpus *vcpus)
{
    LOCK_SCOPE(&vcpus->lock);
    vcpus->running = vcpus->end == GUEST_RUNS;
    for (unsigned i = 0; vcpus->running && i < vcpus->count; i++)
        __atomic_store_n(&vcpus->list[i].run->immediate_exit, 0, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&vcpus->changed);
}

static unsigned threads_locked(const struct vcpus *vcpus)
{
    unsigned count = 0;
    for (unsigned i = 0; i < vcpus->count; i++)
        count += vcpus->list[i].has_thread;
    return count;
}

void vcpus_stop(struct vcpus *vcpus)
{
    LOCK_SCOPE(&vcpus->lock);
    while (vcpus->running || vcpus->parked < threads_locked(vcpus)) {
        vcpus->running = false; /* somebody may have started them while we waited */
        kick_all_locked(vcpus);
        if (vcpus->parked < threads_locked(vcpus))
            pthread_cond_wait(&vcpus->changed, &vcpus->lock);
    }
}

bool vcpus_hold(struct vcpus *vcpus)
{
    pthread_mutex_lock(&vcpus->lock);
    if (!vcpus->running && vcpus->parked == threads_locked(vcpus))
        return true;
    pthread_mutex_unlock(&vcpus->lock);
    return false;
}

void vcpus_let_go(struct vcpus *vcpus)
{
    pthread_mutex_unlock(&vcpus->lock);
}

void vcpus_end(struct vcpus *vcpus, enum guest_end end, const char *format, ...)
{
    LOCK_SCOPE(&vcpus->lock);
    if (vcpus->end == GUEST_RUNS) {
        va_list args;
        va_start(args, format);
        vsnprintf(vcpus->end_text, sizeof(vcpus->end_text), format, args);
        va_end(args);
        vcpus->end = end;
        vcpus->running = false;
        kick_all_locked(vcpus);
        eventfd_write(vcpus->ended_fd, 1);
    }
}

/* Stand still while the vCPUs are to. False: for ever. */
static bool park(struct vcpus *vcpus)
{
    LOCK_SCOPE(&vcpus->lock);
    vcpus->parked++;
    pthread_cond_broadcast(&vcpus->changed);
    while (!vcpus->running && !vcpus->quit)
        pthread_cond_wait(&vcpus->changed, &vcpus->lock);
    vcpus->parked--;
    return !vcpus->quit;
}

static bool is_running(struct vcpus *vcpus)
{
    LOCK_SCOPE(&vcpus->lock);
    return vcpus->running;
}

/* ---- running ---- */

static void port_exit(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        if (run->io.direction == KVM_EXIT_IO_IN)
            bus_read(vcpu->all->ports, run->io.port, data, run->io.size);
        else
            bus_write(vcpu->all->ports, run->io.port, data, run->io.size);
    }
}

static void memory_exit(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    if (run->mmio.is_write)
        bus_write(vcpu->all->memory, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
    else
        bus_read(vcpu->all->memory, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

static void handle_exit(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        port_exit(vcpu);
        break;
    case KVM_EXIT_MMIO:
        memory_exit(vcpu);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        break;
    case KVM_EXIT_DIRTY_RING_FULL:
        vcpu->all->ring_full(vcpu->all->ring_opaque, vcpu->index);
        break;
    case KVM_EXIT_SHUTDOWN:
        vcpus_end(vcpu->all, GUEST_FAILED, "vCPU %u: triple fault", vcpu->index);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        vcpus_end(vcpu->all,
                  run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? GUEST_SHUT_DOWN
                                                                      : GUEST_RESET,
                  "system event %u", run->system_event.type);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        vcpus_end(vcpu->all, GUEST_FAILED,
                  "vCPU %u: the processor refused to enter the guest, reason 0x%llx", vcpu->index,
                  (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        vcpus_end(vcpu->all, GUEST_FAILED, "vCPU %u: KVM cannot go on, suberror %u", vcpu->index,
                  run->internal.suberror);
        break;
    default:
        vcpus_end(vcpu->all, GUEST_FAILED, "vCPU %u: exit %u, which this VMM does not know",
                  vcpu->index, run->exit_reason);
    }
}

static void *run_thread(void *opaque)
{
    struct vcpu *vcpu = opaque;
    while (park(vcpu->all)) {
        for (;;) {
            if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
                handle_exit(vcpu);
                continue; /* KVM_RUN completes the exit even if we are to stop */
            }
            if (errno != EINTR && errno != EAGAIN)
                vcpus_end(vcpu->all, GUEST_FAILED, "vCPU %u: KVM_RUN: %m", vcpu->index);
            if (!is_running(vcpu->all))
                break;
        }
    }
    return NULL;
}

/* ---- life ---- */

static void on_kick(int number)
{
    (void)number; /* that the system call ends is all that it is for */
}

/* What a vCPU shares with the kernel: NULL and errno where that fails. */
static void *map(const struct vcpu *vcpu, off_t offset, size_t bytes)
{
    void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, offset);
    return shared == MAP_FAILED ? NULL : shared;
}

static int make_vcpu(struct vcpus *vcpus, unsigned index, struct vmig_error *err)
{
    struct vcpu *vcpu = &vcpus->list[index];
    *vcpu = (struct vcpu) { .all = vcpus, .index = index };
    vcpu->fd =
        kvm_ask(vcpus->kvm->vm, KVM_CREATE_VCPU, (void *)(uintptr_t)index, "creating a vCPU", err);
    if (vcpu->fd < 0)
        return vcpu->fd;
    vcpus->count++;
    vcpu->run = map(vcpu, 0, vcpus->kvm->run_bytes);
    if (vcpus->kvm->dirty == DIRTY_RING)
        vcpu->ring = map(vcpu, KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_BYTES, RING_BYTES);
    if (!vcpu->run || (vcpus->kvm->dirty == DIRTY_RING && !vcpu->ring))
        return vmm_fail(err, errno, NULL, "mapping vCPU %u: %m", index);
    return 0;
}

int vcpus_new(struct vcpus *vcpus, struct kvm *kvm, unsigned count, struct bus *ports,
              struct bus *memory, struct vmig_error *err)
{
    struct sigaction kick = { .sa_handler = on_kick };
    *vcpus = (struct vcpus) { .kvm = kvm,
                              .ports = ports,
                              .memory = memory,
                              .ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    pthread_mutex_init(&vcpus->lock, NULL);
    pthread_cond_init(&vcpus->changed, NULL);
    if (vcpus->ended_fd < 0 || sigaction(VCPU_KICK, &kick, NULL))
        return vmm_fail(err, errno, NULL, "making vCPUs: %m");
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = make_vcpu(vcpus, i, err);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        struct vcpu *vcpu = &vcpus->list[i];
        rc = pthread_create(&vcpu->thread, NULL, run_thread, vcpu);
        vcpu->has_thread = rc == 0;
        if (rc)
            rc = vmm_fail(err, rc, NULL, "starting the thread of vCPU %u failed", i);
    }
    return rc;
}

void vcpus_done(struct vcpus *vcpus)
{
    if (!vcpus->kvm)
        return;
    vcpus_stop(vcpus);
    pthread_mutex_lock(&vcpus->lock);
    vcpus->quit = true;
    pthread_cond_broadcast(&vcpus->changed);
    pthread_mutex_unlock(&vcpus->lock);
    for (unsigned i = 0; i < vcpus->count; i++) {
        struct vcpu *vcpu = &vcpus->list[i];
        if (vcpu->has_thread)
            pthread_join(vcpu->thread, NULL);
        if (vcpu->run)
            munmap(vcpu->run, vcpus->kvm->run_bytes);
        if (vcpu->ring)
            munmap(vcpu->ring, RING_BYTES);
        close(vcpu->fd);
    }
    close(vcpus->ended_fd);
    pthread_cond_destroy(&vcpus->changed);
    pthread_mutex_destroy(&vcpus->lock);
    vcpus->kvm = NULL;
}
