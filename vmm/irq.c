/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/fail.h"
#include "vmm/irq.h"
#include "vmm/lock.h"

#define PIC_LINES 16u
#define PIC_HALF 8u

static struct kvm_irq_routing_entry line(unsigned gsi, unsigned chip, unsigned pin)
{
    return (struct kvm_irq_routing_entry) { .gsi = gsi,
                                            .type = KVM_IRQ_ROUTING_IRQCHIP,
                                            .u.irqchip = { .irqchip = chip, .pin = pin } };
}

static int set_routes_locked(struct irqs *irqs, struct vmig_error *err)
{
    unsigned count = PIC_LINES + IRQ_LINES + irqs->num_messages, n = 0;
    struct kvm_irq_routing *routing =
        calloc(1, sizeof(*routing) + count * sizeof(struct kvm_irq_routing_entry));
    if (!routing)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    for (unsigned i = 0; i < PIC_LINES; i++)
        routing->entries[n++] =
            line(i, i < PIC_HALF ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i % PIC_HALF);
    /* The PIT's line, 0, is pin 2, as on every PC, and no other line is: the PIT goes on when it hears that
     * its line was acknowledged. */
    for (unsigned i = 0; i < IRQ_LINES; i++)
        if (i != 2)
            routing->entries[n++] = line(i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
    for (unsigned i = 0; i < irqs->num_messages; i++)
        routing->entries[n++] = (struct kvm_irq_routing_entry) { .gsi = IRQ_LINES + i,
                                                                 .type = KVM_IRQ_ROUTING_MSI,
                                                                 .u.msi = irqs->messages[i] };
    routing->nr = n;
    int rc = kvm_ask(irqs->kvm->vm, KVM_SET_GSI_ROUTING, routing, "routing interrupts", err);
    free(routing);
    return rc < 0 ? rc : 0;
}

int irqs_new(struct irqs *irqs, struct kvm *kvm, struct vmig_error *err)
{
    irqs->kvm = kvm;
    pthread_mutex_init(&irqs->lock, NULL);
    return set_routes_locked(irqs, err);
}

void irqs_done(struct irqs *irqs)
{
    if (irqs->kvm)
        pthread_mutex_destroy(&irqs->lock);
    irqs->kvm = NULL;
}

int irqs_add_messages(struct irqs *irqs, unsigned count, unsigned *ret_gsi, struct vmig_error *err)
{
    LOCK_SCOPE(&irqs->lock);
    bool fits = count <= IRQ_MESSAGES_MAX - irqs->num_messages;
    *ret_gsi = IRQ_LINES + irqs->num_messages;
    irqs->num_messages += fits ? count : 0;
    return fits ? 0
                : vmm_fail(err, ENOSPC, NULL, "more than %u interrupt vectors", IRQ_MESSAGES_MAX);
}

bool irqs_set_message(struct irqs *irqs, unsigned gsi, uint64_t address, uint32_t data)
{
    struct kvm_irq_routing_msi message = { .address_lo = (uint32_t)address,
                                           .address_hi = (uint32_t)(address >> 32),
                                           .data = data };
    struct kvm_irq_routing_msi *now = &irqs->messages[gsi - IRQ_LINES];
    LOCK_SCOPE(&irqs->lock);
    bool differs = memcmp(now, &message, sizeof(message)) != 0;
    *now = message;
    return differs;
}

int irqs_route(struct irqs *irqs, struct vmig_error *err)
{
    LOCK_SCOPE(&irqs->lock);
    return set_routes_locked(irqs, err);
}

int irq_attach(struct kvm *kvm, unsigned gsi, int eventfd, int resample_fd, struct vmig_error *err)
{
    struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd, .gsi = gsi };
    if (resample_fd >= 0) {
        irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
        irqfd.resamplefd = (uint32_t)resample_fd;
    }
    int rc = kvm_ask(kvm->vm, KVM_IRQFD, &irqfd, "attaching an interrupt", err);
    return rc < 0 ? rc : 0;
}

void irq_detach(struct kvm *kvm, unsigned gsi, int eventfd)
{
    struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd,
                               .gsi = gsi,
                               .flags = KVM_IRQFD_FLAG_DEASSIGN };
    kvm_ask(kvm->vm, KVM_IRQFD, &irqfd, "detaching an interrupt", NULL);
}
