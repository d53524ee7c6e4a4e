/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt routing: which GSI means what to the in-kernel interrupt controllers. The first 24 are the lines of
 * PIC and IOAPIC, those above are messages, one for each MSI-X vector of each device. An eventfd that is
 * attached to a GSI raises it without this program's doing.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>

#include "vmm/kvm.h"

#define IRQ_LINES 24u
#define IRQ_MESSAGES_MAX 1024u /* every KVM has 4,096 routes */

struct irqs {
    struct kvm *kvm;
    pthread_mutex_t lock; /* guards the rest */
    unsigned num_messages;
    struct kvm_irq_routing_msi messages[IRQ_MESSAGES_MAX]; /* of GSI IRQ_LINES + n */
};

int irqs_new(struct irqs *irqs, struct kvm *kvm, struct vmig_error *err);
void irqs_done(struct irqs *irqs);
/* @count GSIs for messages, from *ret_gsi on, as long as the VM lives. */
int irqs_add_messages(struct irqs *irqs, unsigned count, unsigned *ret_gsi, struct vmig_error *err);
/* What is sent for @gsi, from irqs_route() on. True: that is something new. */
bool irqs_set_message(struct irqs *irqs, unsigned gsi, uint64_t address, uint32_t data);
/* KVM takes all routes at once, and waits until nobody uses the old ones. */
int irqs_route(struct irqs *irqs, struct vmig_error *err);

/* @eventfd raises @gsi; what it was signalled before that counts. With @resample_fd (else -1) the line stays up
 * until the guest has told the end of the interrupt, which that eventfd says. */
int irq_attach(struct kvm *kvm, unsigned gsi, int eventfd, int resample_fd, struct vmig_error *err);
/* Afterwards nothing of @eventfd is under way any more. */
void irq_detach(struct kvm *kvm, unsigned gsi, int eventfd);

#endif
