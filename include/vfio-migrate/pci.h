/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest sees of a PCI device that is no part of the device's own data: config space, MSI-X
 * table and pending bits, interrupt lines, and the frame buffer of a ramfb display.
 *
 * By default all of it is read from the device at the source and written to the device at the target.
 * A VMM that shows its guest something else gives struct vmig_pci_ops with the device's settings.
 */
#ifndef VFIO_MIGRATE_PCI_H
#define VFIO_MIGRATE_PCI_H

#include <vfio-migrate/migration.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a guest wants its picture fetched from; zeros: it has not said so yet. */
struct vmig_ramfb {
    uint64_t addr;          /* guest physical, of the first line */
    uint32_t fourcc, flags; /* pixel format as DRM names it, "XR24" for instance */
    uint32_t width, height; /* pixels */
    uint32_t stride_bytes;  /* from line to line; 0: lines follow each other */
};

#define VMIG_PCI_CONFIG_MAX 4096u
#define VMIG_PCI_VECTORS_MAX 2048u

struct vmig_pci_state {
    size_t size;           /* sizeof(struct vmig_pci_state); the library's, leave it as it is */
    uint32_t config_bytes; /* of config: 256 or 4,096 */
    uint8_t config[VMIG_PCI_CONFIG_MAX]; /* as the guest reads it: little-endian registers */
    uint32_t irq_state[4];               /* INTA to INTD: 1 while asserted, else 0 */
    unsigned num_vectors; /* as the MSI-X capability in config says; 0: there is none */
    uint8_t msix_table[VMIG_PCI_VECTORS_MAX * 16];  /* 16 bytes a vector, as the guest wrote them */
    uint8_t msix_pending[VMIG_PCI_VECTORS_MAX / 8]; /* bit n % 8 of byte n / 8 is vector n */
    bool has_ramfb;          /* the display's state moves; the library's, leave it as it is */
    struct vmig_ramfb ramfb; /* with has_ramfb */
};

/* The guest's view. Both are called on the device's worker thread, never both at once, with no lock
 * held. 0 or a negative errno with @err filled, which fails the migration: the source goes on. */
struct vmig_pci_ops {
    size_t size; /* sizeof(struct vmig_pci_ops) */
    /* Source: the vCPUs stand still, the device does not yet. Target: before anything was loaded, to
     * know what the guest would see here. @state has what the device itself shows, with @has_ramfb
     * and no picture; put what the guest sees in its place. Vectors whose table the kernel keeps to
     * itself are masked and empty in it. NULL: all stays so. */
    int (*save)(void *opaque, struct vmig_pci_state *state, struct vmig_error *err);
    /* Target: the device has its data and stands still; @state is checked against what save() told
     * here, and borrowed for the call. Make it what the guest sees, and set up interrupts as it says:
     * MSI or MSI-X where their control bits are on, with vmig_device_set_irqs(). When it returns the
     * library writes to the device what the device itself can take of @state: BARs, COMMAND, MSI-X
     * table, control bits of capabilities that both have at the same place. NULL: that is all. */
    int (*load)(void *opaque, const struct vmig_pci_state *state, struct vmig_error *err);
};

/* A ramfb that is a device of its own, without a VFIO device. Called in the pause on the thread that
 * called send or receive. 0 or a negative errno with @err filled. */
struct vmig_ramfb_ops {
    size_t size; /* sizeof(struct vmig_ramfb_ops) */
    int (*save)(void *opaque, struct vmig_ramfb *ret, struct vmig_error *err);
    int (*load)(void *opaque, const struct vmig_ramfb *ramfb, struct vmig_error *err);
};
/* One a migration; @ops is copied, @opaque borrowed. @ops NULL: it is gone. It moves as QEMU's
 * "ramfb-dev" does: a source that has none, or is of an older machine version, leaves the target's as it
 * is. -EINVAL an operation is missing, -EEXIST there is one, -ENOENT there was none, -EBUSY a migration
 * runs, -ENOMEM. */
int vmig_migration_add_ramfb(struct vmig_migration *migration, const struct vmig_ramfb_ops *ops,
                             void *opaque, struct vmig_error *err);

/* The VM's machine version, "8.1" for instance, as QEMU's machine types have it; NULL, the default: the
 * newest. What a version does not have is off by default, so that its streams are what it wrote and
 * read: up to 8.1, ramfbs do not move. What settings have on stays on. The same on both sides.
 * -EINVAL it is none, -EBUSY a migration runs. */
int vmig_migration_set_compat(struct vmig_migration *migration, const char *machine_version,
                              struct vmig_error *err);

#ifdef __cplusplus
}
#endif
#endif
