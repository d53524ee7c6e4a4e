/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VFIO device as a PCI function of the machine. Most of config space is the device's own; what concerns the
 * guest's address space and interrupt controllers is the VMM's: where the BARs are, MSI-X, the interrupt line.
 *
 * vfio-device.c opens it and lets it reach memory, vfio-config.c is its config space, vfio-bar.c its BARs,
 * vfio-irq.c its interrupts.
 */
#ifndef VMM_VFIO_H
#define VMM_VFIO_H

#include <vfio-migrate.h>

#include "vmm/irq.h"
#include "vmm/loop.h"
#include "vmm/memory.h"
#include "vmm/pci.h"
#include "vmm/ramfb.h"

#define VFIO_BARS 6
#define VFIO_BAR_SLOTS (2 * VMIG_REGION_AREAS_MAX)

/* What a device needs of the machine. */
struct vfio_place {
    struct kvm *kvm;
    struct memory *memory;
    struct bus *ports, *mmio;
    struct pci *pci;
    struct irqs *irqs;
    struct loop *loop;
};

struct vfio_bar {
    struct vfio_device *owner;
    unsigned index;
    uint64_t size_bytes; /* 0: none */
    bool io, is64;
    uint64_t address; /* where the guest sees it; 0: nowhere */
    unsigned num_slots, slots[VFIO_BAR_SLOTS];
};

struct vfio_msix {
    unsigned capability, count; /* 0: none */
    unsigned table_bar, pba_bar;
    uint64_t table_offset, pba_offset;
    unsigned first_gsi;
    uint8_t *table;
    struct vfio_vector {
        int eventfd; /* -1 while MSI-X is off; signalled and not attached: pending */
        bool attached;
    } * vectors;
};

enum vfio_irq_mode { VFIO_IRQ_NONE, VFIO_IRQ_INTX, VFIO_IRQ_MSIX };

struct vfio_device {
    struct vfio_place place;
    struct vmig_device *device;
    struct vmig_migration *migration; /* it was added to; NULL: not yet */
    unsigned slot;
    pthread_mutex_t lock; /* guards the rest */
    unsigned config_bytes;
    uint8_t config[PCI_CONFIG_BYTES];   /* as the guest sees it, where emulated has bits */
    uint8_t emulated[PCI_CONFIG_BYTES]; /* bits that are the VMM's */
    uint8_t writable[PCI_CONFIG_BYTES]; /* and those of them that the guest may write */
    uint16_t command;                   /* the device's, as last written */
    struct vfio_bar bars[VFIO_BARS];
    struct vfio_msix msix;
    bool has_intx;
    int intx_fd, resample_fd;
    enum vfio_irq_mode irq_mode;
    bool held, intx_attached;
    bool lost, lost_blocks; /* it is gone; that keeps the machine from moving */
    struct ramfb *ramfb;    /* in front of its display; NULL: none */
    uint64_t pending[VMIG_PCI_VECTORS_MAX / 64]; /* vectors, where it is saved or loaded */
};

/* Open @address as @id and make it a function of the machine, before the guest runs. */
int vfio_open(struct vfio_device *device, const char *address, const char *id,
              const struct vfio_place *place, struct vmig_error *err);
void vfio_close(struct vfio_device *device);

/* What the guest asked of it failed. A device that is gone is told of, once, and the machine cannot move any more. */
void vfio_failed(struct vfio_device *device, const struct vmig_error *err);

/* ---- migration ---- */

/* @ramfb: the machine's, if @settings say that the device has it. */
int vfio_add(struct vfio_device *device, struct vmig_migration *migration,
             const struct vmig_device_settings *settings, struct ramfb *ramfb,
             struct vmig_error *err);
/* Keep interrupts from a guest that stands still, or is not there yet; let them go, before it starts. */
void vfio_hold(struct vfio_device *device);
void vfio_release(struct vfio_device *device);

/* ---- config space ---- */

#define VFIO_COMMAND 0x04
#define VFIO_COMMAND_IO 1u
#define VFIO_COMMAND_MEMORY 2u
#define VFIO_COMMAND_INTX_DISABLE 0x400u
#define VFIO_BAR0 0x10

int vfio_config_new(struct vfio_device *device, struct vmig_error *err);
extern const struct pci_ops vfio_config_ops;
uint32_t vfio_config_get(const struct vfio_device *device, unsigned offset, unsigned length_bytes);
/* Make @value at @offset the VMM's, with the bits in @writable for the guest to write. */
void vfio_config_emulate(struct vfio_device *device, unsigned offset, uint32_t value,
                         uint32_t emulated, uint32_t writable, unsigned length_bytes);
/* Where capability @id is; 0: nowhere. */
unsigned vfio_config_find(const struct vfio_device *device, uint8_t id);

/* ---- BARs ---- */

int vfio_bars_new(struct vfio_device *device, struct vmig_error *err);
/* Config space says something else about where they are. */
void vfio_bars_update_locked(struct vfio_device *device);

/* ---- interrupts ---- */

int vfio_irqs_new(struct vfio_device *device, struct vmig_error *err);
void vfio_irqs_done(struct vfio_device *device);
/* Config space says something else about what kind is used, or of masks. */
int vfio_irqs_update_locked(struct vfio_device *device, struct vmig_error *err);
/* Is this access of BAR @bar one of the MSI-X table or pending bits? Then it is carried out. */
bool vfio_msix_read(struct vfio_device *device, unsigned bar, uint64_t offset, void *data,
                    unsigned length_bytes);
bool vfio_msix_write(struct vfio_device *device, unsigned bar, uint64_t offset, const void *data,
                     unsigned length_bytes);
bool vfio_msix_is_pending_locked(const struct vfio_device *device, unsigned vector);
#define VFIO_MSIX_ENTRY_BYTES 16u

#endif
