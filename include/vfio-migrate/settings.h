/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program says about each of its devices, and what stands in the way of a migration.
 *
 * A blocker is a reason why a migration is refused before anything is touched; BLOCKERS in
 * vfio-migrate(7) has the table of their codes. A device brings its own and takes them along when it
 * is removed; what the program itself knows (another device of its that cannot move) it adds. They
 * are worked out from the devices, their settings, memory and parameters as they are now, so they are
 * known before anything is tried.
 *
 * Threads: any, unless a function says otherwise. A VMIG_EVENT_WARNING that a call here brings up is
 * told on its own thread, before it returns.
 */
#ifndef VFIO_MIGRATE_SETTINGS_H
#define VFIO_MIGRATE_SETTINGS_H

#include <vfio-migrate/migration.h>
#include <vfio-migrate/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmig_on_off_auto { VMIG_AUTO, VMIG_ON, VMIG_OFF };

struct vmig_device_settings {
    size_t size; /* sizeof(struct vmig_device_settings) */
    /* ON: the device is refused when it is added, if it would need a blocker then; that nobody tells
     * what it writes to memory is only a warning, and the program's word that all memory goes again
     * in the pause. AUTO: it is accepted, and has its blockers. OFF: it shall not move, and has the
     * blocker "vfio-disabled". */
    enum vmig_on_off_auto enable_migration;
    /* A virtual IOMMU stands in front of it: its guest may change what an IOVA means, so the device's
     * own log tells nothing; what the host's IOMMU tells is still good. */
    bool viommu;
    bool hotplugged; /* the guest's firmware has not seen it */
    /* It has a display, and in front of that a ramfb, which implies a display and cannot come with a
     * hot-added device. Does the ramfb's state move? AUTO: yes, unless the device does not or the VM's
     * machine version is 8.1 or older. ON without ramfb is OFF, with the warning "display-no-ramfb"; ON
     * is refused with enable_migration OFF. What moves needs both of pci's operations. */
    bool display, ramfb;
    enum vmig_on_off_auto ramfb_migrate;
    /* What the device's vendor capabilities contain may differ at the target. Otherwise that is refused,
     * for only its driver knows whether it minds. */
    bool ignore_vendor_capability;
    /* What the guest sees, where that is not the device itself (vfio-migrate/pci.h); borrowed until the
     * device is removed. */
    const struct vmig_pci_ops *pci;
    void *pci_opaque;
    /* As vmig_migration_set_dirty_tracking(), known already when it is decided whether the device is
     * accepted. */
    enum vmig_dirty_tracking dirty_tracking;
    /* Each change of its migration state is an event, VMIG_EVENT_DEVICE_STATE; QEMU's property
     * migration-events. */
    bool migration_events;
};

/* As vmig_migration_add_device(), which has the defaults. @settings is copied; NULL: the defaults.
 * -EOPNOTSUPP: @settings wants ON and this would be blocked (err->reason is the blocker's code, the
 * text has all), or only-migratable is set and this would bring up a blocker ("only-migratable").
 * Nothing has changed then. */
int vmig_migration_add_device_with(struct vmig_migration *migration, struct vmig_device *device,
                                   const struct vmig_device_settings *settings,
                                   struct vmig_error *err);
/* The device, its blockers and its warnings are gone; it stays open and the caller's. Devices that
 * were added later move up. -ENOENT it was not added, -EBUSY a migration runs or is unresolved. */
int vmig_migration_remove_device(struct vmig_migration *migration, struct vmig_device *device,
                                 struct vmig_error *err);

struct vmig_blocker {
    char code[40];        /* stable, as "vfio-viommu" */
    char device[64];      /* its id, or "" */
    char text[400];       /* a sentence for people, which names the device */
    char hint[240];       /* what to do about it, or "" */
    bool receive_too;     /* it refuses receiving as well as sending */
    uint64_t reserved[3]; /* 0; new members will come out of these */
};

/* The program's own: code "host-specific" or one of its own, of a to z, 0 to 9 and '-' (39 at most),
 * which does not begin with "vfio-". @device and @hint may be NULL; all is copied. Sending is refused
 * until it is removed by the number in *ret_id (not 0; NULL: never).
 * -EBUSY a migration runs, -EOPNOTSUPP only-migratable is set, -EINVAL a text that is too long or a
 * code as it may not be, -ENOSPC there are 256, -ENOMEM. */
int vmig_migration_add_blocker(struct vmig_migration *migration, const char *code,
                               const char *device, const char *text, const char *hint,
                               uint64_t *ret_id, struct vmig_error *err);
/* Also while a migration runs. -ENOENT: no blocker has this number. */
int vmig_migration_remove_blocker(struct vmig_migration *migration, uint64_t id,
                                  struct vmig_error *err);

/* All blockers: the devices' in the order in which the devices were added, each one's in the order of
 * the table, then the program's in the order in which they were added. The first @max are written to
 * @ret; returns how many there are. */
unsigned vmig_migration_blockers(struct vmig_migration *migration, struct vmig_blocker *ret,
                                 unsigned max);
/* The same of warnings: what does not keep anything from moving, and should be known. */
unsigned vmig_migration_warnings(struct vmig_migration *migration, struct vmig_blocker *ret,
                                 unsigned max);

/* From here on nothing may bring up a blocker: not a device, memory, a parameter, nor
 * vmig_migration_add_blocker(). Such a call fails with -EOPNOTSUPP ("only-migratable"), names the
 * blocker and changes nothing. Setting it while there is one fails in the same way. -EBUSY a
 * migration runs. */
int vmig_migration_set_only_migratable(struct vmig_migration *migration, bool on,
                                       struct vmig_error *err);

#ifdef __cplusplus
}
#endif
#endif
