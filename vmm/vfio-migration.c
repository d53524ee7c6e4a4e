/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What moves of a VFIO device beside its own data: the guest's view of it, by the library's operations, and which
 * masked vectors are pending, in a section of its own, since the device may raise one up to its very stop.
 *
 * While the guest stands still interrupts are held back: one that comes when the source's LAPICs were saved, or
 * before the target's are loaded, would be forgotten by them. It waits in its eventfd, and is pending.
 */
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vmm/lock.h"
#include "vmm/vfio.h"

static int save_view(void *opaque, struct vmig_pci_state *state, struct vmig_error *err)
{
    struct vfio_device *device = opaque;
    const struct vfio_msix *msix = &device->msix;
    (void)err;
    LOCK_SCOPE(&device->lock);
    for (uint32_t i = 0; i < state->config_bytes; i++)
        state->config[i] = (uint8_t)((state->config[i] & ~device->emulated[i]) |
                                     (device->config[i] & device->emulated[i]));
    memset(state->msix_pending, 0, sizeof(state->msix_pending)); /* see above */
    memcpy(state->msix_table, msix->table, msix->count * VFIO_MSIX_ENTRY_BYTES);
    if (device->ramfb)
        ramfb_get(device->ramfb, &state->ramfb);
    return 0;
}

static int load_view(void *opaque, const struct vmig_pci_state *state, struct vmig_error *err)
{
    struct vfio_device *device = opaque;
    LOCK_SCOPE(&device->lock);
    for (uint32_t i = 0; i < state->config_bytes; i++)
        device->config[i] = (uint8_t)((device->config[i] & ~device->writable[i]) |
                                      (state->config[i] & device->writable[i]));
    memcpy(&device->command, state->config + VFIO_COMMAND, sizeof(device->command));
    memcpy(device->msix.table, state->msix_table, device->msix.count * VFIO_MSIX_ENTRY_BYTES);
    vfio_bars_update_locked(device);
    int rc = vfio_irqs_update_locked(device, err);
    if (device->ramfb)
        ramfb_set(device->ramfb, state->has_ramfb ? &state->ramfb : NULL);
    return rc;
}

const struct vmig_pci_ops vfio_view_ops = { .size = sizeof(vfio_view_ops),
                                            .save = save_view,
                                            .load = load_view };

/* ---- pending vectors ---- */

static int gather_pending(void *opaque, struct vmig_error *err)
{
    struct vfio_device *device = opaque;
    (void)err;
    LOCK_SCOPE(&device->lock);
    memset(device->pending, 0, sizeof(device->pending));
    for (unsigned n = 0; n < device->msix.count; n++)
        if (vfio_msix_is_pending_locked(device, n))
            device->pending[n / 64] |= UINT64_C(1) << n % 64;
    return 0;
}

static const struct vmig_vmstate_field interrupts[] = {
    VMIG_VMSTATE_UINT64_ARRAY(pending, struct vfio_device),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate interrupts_vmstate = { .name = "vfio-interrupts",
                                                        .version = 1,
                                                        .minimum_version = 1,
                                                        .fields = interrupts,
                                                        .pre_save = gather_pending };

int vfio_add(struct vfio_device *device, struct vmig_migration *migration,
             const struct vmig_device_settings *settings, struct ramfb *ramfb,
             struct vmig_error *err)
{
    struct vmig_device_settings all = *settings;
    char name[100];
    device->migration = migration;
    all.pci = &vfio_view_ops;
    all.pci_opaque = device;
    device->ramfb = all.ramfb ? ramfb : NULL;
    snprintf(name, sizeof(name), "%s/interrupts", vmig_device_id(device->device));
    int rc = vmig_migration_add_device_with(migration, device->device, &all, err);
    return rc < 0
               ? rc
               : vmig_migration_add_vmstate(migration, name, 0, &interrupts_vmstate, device, err);
}

void vfio_hold(struct vfio_device *device)
{
    LOCK_SCOPE(&device->lock);
    device->held = true;
    vfio_irqs_update_locked(device, NULL);
}

void vfio_release(struct vfio_device *device)
{
    LOCK_SCOPE(&device->lock);
    bool held = device->held;
    device->held = false;
    for (unsigned n = 0; held && n < device->msix.count; n++)
        if (device->irq_mode == VFIO_IRQ_MSIX && (device->pending[n / 64] & UINT64_C(1) << n % 64))
            eventfd_write(device->msix.vectors[n].eventfd, 1);
    memset(device->pending, 0, sizeof(device->pending));
    /* A line that was up at the source is up nowhere here, and who raised it does not do so again before
     * somebody has looked: have the guest look. */
    if (held && device->irq_mode == VFIO_IRQ_INTX)
        eventfd_write(device->intx_fd, 1);
    vfio_irqs_update_locked(device, NULL);
}
