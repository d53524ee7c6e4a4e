/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts. The device signals eventfds; one that is attached to a GSI goes to the guest without this program.
 * An MSI-X vector that the guest masked is detached: its eventfd then keeps what comes, which is what "pending"
 * means, and attaching it again lets it go. INTx stays up until the guest has told the end of the interrupt;
 * then the device, which masked it when it signalled, is told to go on.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/lock.h"
#include "vmm/vfio.h"

#define CAPABILITY_MSIX 0x11
#define CONTROL 2 /* in the capability */
#define CONTROL_ENABLE 0x8000u
#define CONTROL_MASK 0x4000u
#define CONTROL_COUNT 0x7ffu
#define ENTRY_CONTROL 12
#define ENTRY_MASKED 1u

/* ---- MSI-X ---- */

static uint32_t entry_get(const struct vfio_msix *msix, unsigned vector, unsigned offset)
{
    uint32_t value;
    memcpy(&value, msix->table + vector * VFIO_MSIX_ENTRY_BYTES + offset, sizeof(value));
    return value;
}

static bool is_open(const struct vfio_device *device, unsigned n)
{
    const struct vfio_msix *msix = &device->msix;
    bool masked = vfio_config_get(device, msix->capability + CONTROL, 2) & CONTROL_MASK;
    return msix->vectors[n].eventfd >= 0 && !masked &&
           !(entry_get(msix, n, ENTRY_CONTROL) & ENTRY_MASKED);
}

/* Vectors @first to @end - 1. New routes of many, as after a migration, are one wait for KVM. */
static void update_vectors_locked(struct vfio_device *device, unsigned first, unsigned end)
{
    struct vfio_msix *msix = &device->msix;
    bool route = false;
    for (unsigned n = first; n < end; n++)
        if (is_open(device, n))
            route |= irqs_set_message(device->place.irqs, msix->first_gsi + n,
                                      entry_get(msix, n, 0) | (uint64_t)entry_get(msix, n, 4) << 32,
                                      entry_get(msix, n, 8));
    if (route)
        irqs_route(device->place.irqs, NULL);
    for (unsigned n = first; n < end; n++) {
        struct vfio_vector *vector = &msix->vectors[n];
        bool attach = is_open(device, n) && !device->held;
        if (attach && !vector->attached)
            attach =
                irq_attach(device->place.kvm, msix->first_gsi + n, vector->eventfd, -1, NULL) == 0;
        else if (!attach && vector->attached)
            irq_detach(device->place.kvm, msix->first_gsi + n, vector->eventfd);
        vector->attached = attach;
    }
}

static void msix_off_locked(struct vfio_device *device)
{
    vmig_device_set_irqs(device->device, VMIG_IRQ_MSIX, 0, 0, NULL, NULL);
    for (unsigned n = 0; n < device->msix.count; n++) {
        struct vfio_vector *vector = &device->msix.vectors[n];
        if (vector->attached)
            irq_detach(device->place.kvm, device->msix.first_gsi + n, vector->eventfd);
        if (vector->eventfd >= 0)
            close(vector->eventfd);
        *vector = (struct vfio_vector) { .eventfd = -1 };
    }
}

static int msix_on_locked(struct vfio_device *device, struct vmig_error *err)
{
    int fds[CONTROL_COUNT + 1], rc = 0;
    for (unsigned n = 0; rc == 0 && n < device->msix.count; n++) {
        fds[n] = device->msix.vectors[n].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fds[n] < 0)
            rc = vmm_fail(err, errno, NULL, "%s: an eventfd for interrupt vector %u: %m",
                          vmig_device_id(device->device), n);
    }
    return rc < 0 ? rc
                  : vmig_device_set_irqs(device->device, VMIG_IRQ_MSIX, 0, device->msix.count, fds,
                                         err);
}

/* In the table: its offset in it. */
static bool in_table(const struct vfio_msix *msix, unsigned bar, uint64_t *offset)
{
    uint64_t bytes = (uint64_t)msix->count * VFIO_MSIX_ENTRY_BYTES,
             at = *offset - msix->table_offset;
    if (bar != msix->table_bar || *offset < msix->table_offset || at >= bytes)
        return false;
    *offset = at;
    return true;
}

static bool in_pending(const struct vfio_msix *msix, unsigned bar, uint64_t *offset)
{
    uint64_t bytes = (msix->count + 63) / 64 * 8, at = *offset - msix->pba_offset;
    if (bar != msix->pba_bar || *offset < msix->pba_offset || at >= bytes)
        return false;
    *offset = at;
    return true;
}

bool vfio_msix_is_pending_locked(const struct vfio_device *device, unsigned n)
{
    const struct vfio_vector *vector = &device->msix.vectors[n];
    struct pollfd signalled = { vector->eventfd, POLLIN, 0 };
    return vector->eventfd >= 0 && !vector->attached && poll(&signalled, 1, 0) == 1;
}

/* An access that is not aligned would reach into two entries, or out of the table: it reads zeros and writes
 * nothing. */
bool vfio_msix_read(struct vfio_device *device, unsigned bar, uint64_t offset, void *data,
                    unsigned length_bytes)
{
    const struct vfio_msix *msix = &device->msix;
    bool table = in_table(msix, bar, &offset), pending = !table && in_pending(msix, bar, &offset);
    if (!table && !pending)
        return false;
    memset(data, 0, length_bytes);
    LOCK_SCOPE(&device->lock);
    if (table && offset % length_bytes == 0)
        memcpy(data, msix->table + offset, length_bytes);
    for (unsigned bit = 0; pending && bit < 8 * length_bytes; bit++)
        if (8 * offset + bit < msix->count &&
            vfio_msix_is_pending_locked(device, (unsigned)(8 * offset + bit)))
            ((uint8_t *)data)[bit / 8] |= (uint8_t)(1u << bit % 8);
    return true;
}

bool vfio_msix_write(struct vfio_device *device, unsigned bar, uint64_t offset, const void *data,
                     unsigned length_bytes)
{
    struct vfio_msix *msix = &device->msix;
    bool table = in_table(msix, bar, &offset);
    if (!table)
        return in_pending(msix, bar, &offset);
    if (offset % length_bytes)
        return true;
    LOCK_SCOPE(&device->lock);
    memcpy(msix->table + offset, data, length_bytes);
    unsigned vector = (unsigned)offset / VFIO_MSIX_ENTRY_BYTES;
    update_vectors_locked(device, vector, vector + 1);
    return true;
}

/* ---- INTx ---- */

static void attach_intx_locked(struct vfio_device *device)
{
    bool attach = device->irq_mode == VFIO_IRQ_INTX && !device->held;
    if (attach && !device->intx_attached)
        irq_attach(device->place.kvm, PCI_LINE(device->slot), device->intx_fd, device->resample_fd,
                   NULL);
    if (!attach && device->intx_attached)
        irq_detach(device->place.kvm, PCI_LINE(device->slot), device->intx_fd);
    device->intx_attached = attach;
}

/* The guest has handled it. */
static void on_resample(void *opaque)
{
    struct vfio_device *device = opaque;
    eventfd_t count;
    eventfd_read(device->resample_fd, &count);
    vmig_device_unmask_irqs(device->device, VMIG_IRQ_INTX, 0, 1, NULL);
}

/* ---- which of them ---- */

static enum vfio_irq_mode wanted_mode(const struct vfio_device *device)
{
    const struct vfio_msix *msix = &device->msix;
    if (msix->count && (vfio_config_get(device, msix->capability + CONTROL, 2) & CONTROL_ENABLE))
        return VFIO_IRQ_MSIX;
    return device->has_intx && !(device->command & VFIO_COMMAND_INTX_DISABLE) ? VFIO_IRQ_INTX
                                                                              : VFIO_IRQ_NONE;
}

int vfio_irqs_update_locked(struct vfio_device *device, struct vmig_error *err)
{
    int rc = 0;
    enum vfio_irq_mode mode = wanted_mode(device), before = device->irq_mode;
    device->irq_mode = mode;
    if (before != mode && before == VFIO_IRQ_INTX)
        vmig_device_set_irqs(device->device, VMIG_IRQ_INTX, 0, 0, NULL, NULL);
    if (before != mode && before == VFIO_IRQ_MSIX)
        msix_off_locked(device);
    attach_intx_locked(device);
    if (before != mode && mode == VFIO_IRQ_INTX)
        rc = vmig_device_set_irqs(device->device, VMIG_IRQ_INTX, 0, 1, &device->intx_fd, err);
    if (before != mode && mode == VFIO_IRQ_MSIX)
        rc = msix_on_locked(device, err);
    if (mode == VFIO_IRQ_MSIX)
        update_vectors_locked(device, 0, device->msix.count);
    return rc;
}

/* ---- life ---- */

static int make_msix(struct vfio_device *device, struct vmig_error *err)
{
    struct vfio_msix *msix = &device->msix;
    struct vmig_irq_info irq;
    unsigned at = vfio_config_find(device, CAPABILITY_MSIX);
    int rc = vmig_device_irq_info(device->device, VMIG_IRQ_MSIX, &irq, err);
    if (rc < 0 || !at || !irq.count)
        return rc;
    uint32_t table = vfio_config_get(device, at + 4, 4),
             pending = vfio_config_get(device, at + 8, 4);
    unsigned count = (vfio_config_get(device, at + CONTROL, 2) & CONTROL_COUNT) + 1;
    *msix = (struct vfio_msix) { .capability = at,
                                 .count = count < irq.count ? count : irq.count,
                                 .table_bar = table & 7,
                                 .table_offset = table & ~7u,
                                 .pba_bar = pending & 7,
                                 .pba_offset = pending & ~7u,
                                 .table = calloc(count, VFIO_MSIX_ENTRY_BYTES),
                                 .vectors = calloc(count, sizeof(struct vfio_vector)) };
    if (!msix->table || !msix->vectors)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    for (unsigned n = 0; n < msix->count; n++) {
        msix->vectors[n].eventfd = -1;
        msix->table[n * VFIO_MSIX_ENTRY_BYTES + ENTRY_CONTROL] = ENTRY_MASKED;
    }
    vfio_config_emulate(device, at + CONTROL, 0, CONTROL_ENABLE | CONTROL_MASK,
                        CONTROL_ENABLE | CONTROL_MASK, 2);
    return irqs_add_messages(device->place.irqs, msix->count, &msix->first_gsi, err);
}

int vfio_irqs_new(struct vfio_device *device, struct vmig_error *err)
{
    int rc = make_msix(device, err);
    if (rc < 0 || !device->has_intx)
        return rc;
    device->intx_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    device->resample_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (device->intx_fd < 0 || device->resample_fd < 0)
        return vmm_fail(err, errno, NULL, "making eventfds: %m");
    rc = loop_watch(device->place.loop, device->resample_fd, POLLIN, on_resample, device, err);
    return rc < 0 ? rc : vfio_irqs_update_locked(device, err); /* the guest does not run yet */
}

void vfio_irqs_done(struct vfio_device *device)
{
    if (device->irq_mode == VFIO_IRQ_MSIX)
        msix_off_locked(device);
    if (device->irq_mode == VFIO_IRQ_INTX)
        vmig_device_set_irqs(device->device, VMIG_IRQ_INTX, 0, 0, NULL, NULL);
    device->irq_mode = VFIO_IRQ_NONE;
    attach_intx_locked(device);
    if (device->intx_fd >= 0)
        close(device->intx_fd);
    if (device->resample_fd >= 0)
        close(device->resample_fd);
    free(device->msix.table);
    free(device->msix.vectors);
}
