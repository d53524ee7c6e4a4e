/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "lib/error.h"
#include "lib/participant/config.h"

/* Offsets in the header that every PCI function has. */
#define AT_VENDOR 0x00
#define AT_DEVICE 0x02
#define AT_COMMAND 0x04
#define AT_STATUS 0x06
#define AT_CAPABILITIES 0x34
#define STATUS_CAPABILITIES 0x10
#define CAP_MSIX 0x11
/* I/O, memory, bus master, INTx disable: what a driver sets and a reset clears */
#define COMMAND_KEPT 0x0407

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) | (uint32_t)get16(at + 2) << 16;
}

/* Where the MSI-X capability is; 0: nowhere. pci_config_msix_vectors() has bounded the walk. */
static unsigned find_msix(const uint8_t *config)
{
    unsigned at = get16(config + AT_STATUS) & STATUS_CAPABILITIES ? config[AT_CAPABILITIES] : 0;
    while (at && config[at] != CAP_MSIX)
        at = config[at + 1];
    return at;
}

/* A table or its pending bits: the register names BAR and offset. A device may announce a table
 * that is not there; then it is all zeros. */
static int read_bar(struct vmig_device *device, uint32_t where, void *buf, size_t length,
                    struct vmig_error *err)
{
    struct vmig_region_info bar;
    if (vmig_device_region_info(device, where & 7, &bar, NULL) < 0 || bar.size_bytes < length)
        return 0;
    return vmig_device_region_read(device, where & 7, where & ~7u, buf, length, err);
}

static int collect_msix(struct vmig_device *device, struct pci_config_state *c,
                        struct vmig_error *err)
{
    int vectors = pci_config_msix_vectors(c->config);
    unsigned at = vectors > 0 ? find_msix(c->config) : 0;
    if (!at)
        return vectors < 0 ? vectors : 0;
    c->num_vectors = (unsigned)vectors;
    int rc = read_bar(device, get32(c->config + at + 4), c->msix_table,
                      c->num_vectors * PCI_MSIX_ENTRY_BYTES, err);
    if (rc == 0)
        rc = read_bar(device, get32(c->config + at + 8), c->msix_pending, (c->num_vectors + 7) / 8,
                      err);
    return rc;
}

int config_collect(struct vmig_device *device, struct pci_config_state *ret, struct vmig_error *err)
{
    struct vmig_region_info region;
    if (vmig_device_region_info(device, VMIG_REGION_CONFIG, &region, NULL) < 0 ||
        region.size_bytes < 64)
        return 0;
    memset(ret, 0, sizeof(*ret));
    /* QEMU writes 4,096 bytes for whatever does not have exactly 256 */
    ret->size = region.size_bytes == PCI_CONFIG_SMALL ? PCI_CONFIG_SMALL : PCI_CONFIG_LARGE;
    size_t length = region.size_bytes < ret->size ? region.size_bytes : ret->size;
    int rc = vmig_device_region_read(device, VMIG_REGION_CONFIG, 0, ret->config, length, err);
    if (rc == 0)
        rc = collect_msix(device, ret, err);
    return rc < 0 ? rc : 1;
}

int config_check(struct vmig_device *device, const struct pci_config_state *theirs,
                 struct vmig_error *err)
{
    struct vmig_device_info info;
    uint16_t vendor = get16(theirs->config + AT_VENDOR), id = get16(theirs->config + AT_DEVICE);
    int rc = vmig_device_info(device, &info, err);
    if (rc < 0 || (info.vendor_id == vendor && info.device_id == id))
        return rc;
    return error_set(err, EINVAL, VMIG_STAGE_NONE, vmig_device_id(device), "foreign-device",
                     "the stream's config space is that of a device %04x:%04x, this one is "
                     "%04x:%04x; use a device of the same kind",
                     vendor, id, info.vendor_id, info.device_id);
}

int config_apply(struct vmig_device *device, const struct pci_config_state *theirs,
                 struct vmig_error *err)
{
    uint16_t command = get16(theirs->config + AT_COMMAND) & COMMAND_KEPT;
    uint8_t bytes[2] = { (uint8_t)command, (uint8_t)(command >> 8) };
    return vmig_device_region_write(device, VMIG_REGION_CONFIG, AT_COMMAND, bytes, sizeof(bytes),
                                    err);
}
