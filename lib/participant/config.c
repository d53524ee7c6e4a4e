/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "lib/error.h"
#include "lib/participant/config.h"
#include "lib/participant/display.h"
#include "lib/stream/config.h"
#include "lib/stream/pci-bits.h"

/* ---- reading ---- */

/* The kernel answers no access to a BAR while memory decoding is off; then nobody uses the table. */
static bool decodes_memory(const struct vmig_pci_state *state)
{
    return pci_get16(state->config + PCI_COMMAND) & PCI_COMMAND_MEMORY;
}

/* Where the table or its pending bits are: the register names BAR and offset. A device may announce
 * what is not there. */
static bool find_in_bar(struct vmig_device *device, uint32_t where, size_t length,
                        unsigned *ret_bar, uint64_t *ret_offset)
{
    struct vmig_region_info info;
    *ret_bar = where & PCI_MSIX_TABLE_BIR;
    *ret_offset = where & PCI_MSIX_TABLE_OFFSET;
    return vmig_device_region_info(device, *ret_bar, &info, NULL) == 0 &&
           info.size_bytes >= length && *ret_offset <= info.size_bytes - length;
}

static int read_bar(struct vmig_device *device, const struct vmig_pci_state *state, uint32_t where,
                    void *buf, size_t length, struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    unsigned bar;
    uint64_t offset;
    if (!find_in_bar(device, where, length, &bar, &offset))
        return 0;
    int rc = vmig_device_region_read(device, bar, offset, buf, length, &cause);
    if (rc == 0 || !decodes_memory(state))
        return 0;
    return error_copy(err, &cause);
}

/* vfio-pci shows ones in place of the table, which no table can have: addresses are aligned. */
static void mask_hidden_vectors(struct vmig_pci_state *state)
{
    static const uint8_t masked[PCI_VECTOR_BYTES] = { [PCI_MSIX_ENTRY_VECTOR_CTRL] = 1 };
    uint8_t hidden[PCI_VECTOR_BYTES];
    memset(hidden, 0xff, sizeof(hidden));
    for (unsigned i = 0; i < state->num_vectors; i++) {
        uint8_t *vector = state->msix_table + i * PCI_VECTOR_BYTES;
        if (memcmp(vector, hidden, sizeof(hidden)) == 0)
            memcpy(vector, masked, sizeof(masked));
    }
}

static int collect_msix(struct vmig_device *device, struct vmig_pci_state *c,
                        struct vmig_error *err)
{
    int vectors = pci_config_msix_vectors(c->config);
    unsigned at = vectors > 0 ? pci_find_capability(c->config, PCI_CAP_ID_MSIX) : 0;
    if (!at)
        return vectors < 0 ? vectors : 0;
    c->num_vectors = (unsigned)vectors;
    int rc = read_bar(device, c, pci_get32(c->config + at + PCI_MSIX_TABLE), c->msix_table,
                      c->num_vectors * PCI_VECTOR_BYTES, err);
    mask_hidden_vectors(c);
    if (rc == 0)
        rc = read_bar(device, c, pci_get32(c->config + at + PCI_MSIX_PBA), c->msix_pending,
                      (c->num_vectors + 7) / 8, err);
    return rc;
}

static void collect_intx(struct vmig_pci_state *c)
{
    unsigned pin = c->config[PCI_INTERRUPT_PIN];
    bool asserted = pci_get16(c->config + PCI_STATUS) & PCI_STATUS_INTERRUPT;
    if (pin >= 1 && pin <= 4)
        c->irq_state[pin - 1] = asserted;
}

static int read_config(struct vmig_device *device, struct vmig_pci_state *ret,
                       struct vmig_error *err)
{
    struct vmig_region_info region;
    memset(ret, 0, sizeof(*ret));
    ret->size = sizeof(*ret);
    if (vmig_device_region_info(device, VMIG_REGION_CONFIG, &region, NULL) < 0 ||
        region.size_bytes < PCI_STD_HEADER_SIZEOF)
        return 0;
    /* QEMU writes 4,096 bytes for whatever does not have exactly 256 */
    ret->config_bytes = region.size_bytes == PCI_CONFIG_SMALL ? PCI_CONFIG_SMALL : PCI_CONFIG_LARGE;
    size_t length = region.size_bytes < ret->config_bytes ? region.size_bytes : ret->config_bytes;
    int rc = vmig_device_region_read(device, VMIG_REGION_CONFIG, 0, ret->config, length, err);
    return rc < 0 ? rc : 1;
}

int config_collect(struct vmig_device *device, const struct config_view *view,
                   struct vmig_pci_state *ret, struct vmig_error *err)
{
    int rc = read_config(device, ret, err);
    if (rc <= 0)
        return rc;
    collect_intx(ret);
    rc = collect_msix(device, ret, err);
    ret->has_ramfb = view->ramfb;
    if (rc == 0 && view->ops.save)
        rc = view->ops.save(view->opaque, ret, err);
    ret->has_ramfb = view->ramfb;
    ramfb_sanitize(&ret->ramfb);
    return rc < 0 ? rc : 1;
}

/* ---- comparing ---- */

int config_check_identity(struct vmig_device *device, const struct vmig_pci_state *theirs,
                          struct vmig_error *err)
{
    struct vmig_device_info info;
    int rc = vmig_device_info(device, &info, err);
    const uint8_t *c = theirs->config;
    unsigned vendor = pci_get16(c + PCI_VENDOR_ID), id = pci_get16(c + PCI_DEVICE_ID);
    unsigned subsystem_vendor = pci_get16(c + PCI_SUBSYSTEM_VENDOR_ID);
    unsigned subsystem = pci_get16(c + PCI_SUBSYSTEM_ID);
    if (rc < 0 || (info.vendor_id == vendor && info.device_id == id &&
                   info.subsystem_vendor_id == subsystem_vendor && info.subsystem_id == subsystem))
        return rc;
    return error_set(err, EINVAL, VMIG_STAGE_NONE, vmig_device_id(device), "foreign-device",
                     "the stream's config space is that of a device %04x:%04x, subsystem "
                     "%04x:%04x; this one is %04x:%04x, subsystem %04x:%04x; use a device of the "
                     "same kind",
                     vendor, id, subsystem_vendor, subsystem, info.vendor_id, info.device_id,
                     info.subsystem_vendor_id, info.subsystem_id);
}

static bool in_vendor_capability(const struct pci_bits *bits, const uint8_t *config, unsigned at)
{
    unsigned begin = bits->capability[at / 4];
    return begin && begin < PCI_CONFIG_SMALL && config[begin] == PCI_CAP_ID_VNDR;
}

int config_check(struct vmig_device *device, const struct config_view *view,
                 const struct vmig_pci_state *ours, const struct vmig_pci_state *theirs,
                 struct vmig_error *err)
{
    struct pci_bits bits;
    const char *id = vmig_device_id(device);
    if (ours->config_bytes != theirs->config_bytes)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, id, "config-mismatch",
                         "its config space has %u bytes at the source and %u here; use a device of "
                         "the same kind",
                         theirs->config_bytes, ours->config_bytes);
    int at = pci_bits_of(ours->config, ours->config_bytes, view->ignore_vendor, &bits);
    if (at < 0)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, id, "config-mismatch",
                         "its list of capabilities here does not end");
    at = pci_bits_differ(&bits, ours->config, theirs->config);
    if (at < 0)
        return 0;
    return error_set(err, EINVAL, VMIG_STAGE_NONE, id, "config-mismatch",
                     "the byte at offset %#x of its config space is %#04x at the source and %#04x "
                     "here, and no driver can have written that; %s",
                     (unsigned)at, theirs->config[at], ours->config[at],
                     in_vendor_capability(&bits, ours->config, (unsigned)at)
                         ? "it belongs to the vendor: if the guest's driver does not mind, ignore "
                           "vendor capabilities"
                         : "use a device of the same kind with the same firmware");
}

/* ---- writing ---- */

static int write_phase(struct vmig_device *device, const struct pci_bits *bits,
                       const struct vmig_pci_state *ours, const struct vmig_pci_state *theirs,
                       enum pci_phase phase, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned at = 0; rc == 0 && at < bits->config_bytes; at += 4) {
        struct pci_write write;
        if (bits->phase[at / 4] == phase &&
            pci_bits_write(bits, ours->config, theirs->config, at, &write))
            rc = vmig_device_region_write(device, VMIG_REGION_CONFIG, write.offset, write.bytes,
                                          write.length_bytes, err);
    }
    return rc;
}

/* Pending bits are the device's: no software can write them, and they come with its data. */
static int write_msix_table(struct vmig_device *device, const struct vmig_pci_state *ours,
                            const struct vmig_pci_state *theirs, struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    unsigned bar, at = pci_find_capability(ours->config, PCI_CAP_ID_MSIX);
    uint64_t offset;
    size_t length = theirs->num_vectors * PCI_VECTOR_BYTES;
    if (!at || !length || at != pci_find_capability(theirs->config, PCI_CAP_ID_MSIX) ||
        !find_in_bar(device, pci_get32(ours->config + at + PCI_MSIX_TABLE), length, &bar, &offset))
        return 0;
    int rc = vmig_device_region_write(device, bar, offset, theirs->msix_table, length, &cause);
    return rc == 0 || !decodes_memory(theirs) ? 0 : error_copy(err, &cause);
}

static int write_device(struct vmig_device *device, const struct vmig_pci_state *theirs,
                        struct vmig_pci_state *ours, struct vmig_error *err)
{
    struct pci_bits bits;
    int rc = read_config(device, ours, err);
    if (rc <= 0)
        return rc;
    rc = pci_bits_of(ours->config, ours->config_bytes, true, &bits);
    if (rc == 0)
        rc = write_phase(device, &bits, ours, theirs, PCI_PHASE_SETUP, err);
    if (rc == 0)
        rc = write_phase(device, &bits, ours, theirs, PCI_PHASE_COMMAND, err);
    if (rc == 0)
        rc = write_msix_table(device, ours, theirs, err);
    return rc < 0 ? rc : write_phase(device, &bits, ours, theirs, PCI_PHASE_LAST, err);
}

/* A BAR that did not take what a device of the same kind had is another device's. */
static int check_bars(struct vmig_device *device, const struct vmig_pci_state *theirs,
                      const struct vmig_pci_state *ours, struct vmig_error *err)
{
    for (unsigned at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4) {
        uint32_t had = pci_get32(theirs->config + at), has = pci_get32(ours->config + at);
        if (had != has)
            return error_set(err, EINVAL, VMIG_STAGE_NONE, vmig_device_id(device),
                             "config-mismatch",
                             "BAR %u is %#010x at the source and the device here made %#010x of "
                             "it; use a device of the same kind",
                             (at - PCI_BASE_ADDRESS_0) / 4, had, has);
    }
    return 0;
}

int config_apply(struct vmig_device *device, const struct config_view *view,
                 const struct vmig_pci_state *theirs, struct vmig_pci_state *ours,
                 struct vmig_error *err)
{
    int rc = view->ops.load ? view->ops.load(view->opaque, theirs, err) : 0;
    if (rc == 0)
        rc = write_device(device, theirs, ours, err);
    if (rc < 0 || view->ops.load) /* whose BARs may be of its own making */
        return rc;
    rc = read_config(device, ours, err);
    return rc <= 0 ? rc : check_bars(device, theirs, ours, err);
}
