/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's side of the machine: /dev/kvm, the VM, its in-kernel interrupt controllers and timer, and
 * the table of memory slots. What a vCPU is, is in vcpu.h.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vfio-migrate/error.h>

#define PAGE_BYTES 4096ull /* of guests, and of what KVM counts */
#define KVM_SLOTS 128      /* memory and mapped parts of BARs; every KVM has at least that many */

/* How the kernel tells what vCPUs write; a VM has one or the other, as long as it lives. */
enum dirty_how {
    DIRTY_AUTO, /* the better one of those that it has */
    DIRTY_LOG,  /* a bitmap of each slot */
    DIRTY_RING, /* a ring of each vCPU */
};
#define DIRTY_RING_ENTRIES                                                                         \
    16384u /* 256 KiB a vCPU; to empty it is cheap beside as many page faults */

struct kvm {
    int fd, vm;           /* /dev/kvm and the VM; -1 */
    enum dirty_how dirty; /* not AUTO once the VM is there */
    size_t run_bytes;     /* of the page that is shared for each vCPU */
    pthread_mutex_t lock; /* guards slots */
    struct kvm_slot {
        uint64_t address, size_bytes; /* size 0: free */
        void *vaddr;
        uint32_t flags; /* KVM_MEM_* */
    } slots[KVM_SLOTS];
};

/* A VM with PIC, IOAPIC, LAPICs and PIT. Where this machine has no KVM that can run it, the reason is
 * "no-kvm" and the text says what to do. */
int kvm_open(struct kvm *kvm, enum dirty_how dirty, struct vmig_error *err);
void kvm_close(struct kvm *kvm);

/* One ioctl on any of KVM's descriptors; @what names it in the error ("creating a vCPU"). Returns what the
 * kernel returned (>= 0), or a negative errno. */
int kvm_ask(int fd, unsigned long request, void *argument, const char *what,
            struct vmig_error *err);

/* Show [vaddr, vaddr + size) to the guest at @address; *ret_slot takes it away again. */
int kvm_map(struct kvm *kvm, uint64_t address, uint64_t size_bytes, void *vaddr, unsigned *ret_slot,
            struct vmig_error *err);
void kvm_unmap(struct kvm *kvm, unsigned slot);

/* Track writes to the memory of @slot, or do not any more. */
int kvm_track(struct kvm *kvm, unsigned slot, bool on, struct vmig_error *err);
/* With DIRTY_LOG: what was written since that was switched on or read last, a bit a page, whole words of 64. */
int kvm_read_log(struct kvm *kvm, unsigned slot, uint64_t *ret, struct vmig_error *err);

/* Set the level of an interrupt line of the IOAPIC and PIC. */
void kvm_irq_line(struct kvm *kvm, unsigned gsi, int level);

#endif
