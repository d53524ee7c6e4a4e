/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtual processors: a thread each, which runs the guest until it leaves for a device, and all of which
 * can be stopped and started together.
 *
 * Stopping: a stopped vCPU is inside vcpus_park(), and whatever its last exit asked for has been carried out
 * and completed in the kernel, so that its registers are the guest's. A vCPU is got out of the guest by a
 * signal; immediate_exit closes the gap in which the signal would come before KVM_RUN is called.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <vfio-migrate/error.h>

#include "vmm/bus.h"
#include "vmm/kvm.h"

#define VCPUS_MAX 8
#define VCPU_KICK SIGUSR1 /* gets a vCPU out of the guest */

/* Why the guest does not go on. */
enum guest_end {
    GUEST_RUNS,
    GUEST_SHUT_DOWN, /* it said so */
    GUEST_RESET,     /* it wanted to be reset */
    GUEST_FAILED,    /* a triple fault, or KVM cannot run it */
};

struct vcpu {
    struct vcpus *all;
    unsigned index; /* and APIC id */
    int fd;
    struct kvm_run *run;
    struct kvm_dirty_gfn *ring; /* with DIRTY_RING */
    pthread_t thread;
    bool has_thread;
};

struct vcpus {
    struct kvm *kvm;
    struct bus *ports, *memory; /* who answers what the guest asks */
    /* A vCPU's ring is full: on its thread; the guest goes on when it is emptied. Before any runs. */
    void (*ring_full)(void *opaque, unsigned index);
    void *ring_opaque;
    unsigned count;
    struct vcpu list[VCPUS_MAX];
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool running, quit;
    unsigned parked;
    enum guest_end end;
    char end_text[200];
    int ended_fd; /* eventfd: readable when end is not GUEST_RUNS */
};

/* Make @count stopped vCPUs in the state of power-on. */
int vcpus_new(struct vcpus *vcpus, struct kvm *kvm, unsigned count, struct bus *ports,
              struct bus *memory, struct vmig_error *err);
/* NULL members of one that is half-built are fine. */
void vcpus_done(struct vcpus *vcpus);

/* Any thread but a vCPU's. stop() returns when none is in the guest or in a device any more. */
void vcpus_start(struct vcpus *vcpus);
void vcpus_stop(struct vcpus *vcpus);

/* True: all stand still, and cannot be started until let_go(), which has to be soon. False: they run. */
bool vcpus_hold(struct vcpus *vcpus);
void vcpus_let_go(struct vcpus *vcpus);

/* The guest does not go on: any thread, a vCPU's too. The first one counts. */
void vcpus_end(struct vcpus *vcpus, enum guest_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
