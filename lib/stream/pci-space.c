/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "lib/stream/pci-space.h"

int pci_capabilities(const uint8_t *config, uint8_t ret[PCI_CAPABILITIES_MAX])
{
    unsigned count = 0, at = 0;
    if (pci_get16(config + PCI_STATUS) & PCI_STATUS_CAP_LIST)
        at = config[PCI_CAPABILITY_LIST] & ~3u;
    for (; at != 0; at = config[at + PCI_CAP_LIST_NEXT] & ~3u) {
        if (at < PCI_STD_HEADER_SIZEOF || count == PCI_CAPABILITIES_MAX)
            return -EINVAL;
        ret[count++] = (uint8_t)at;
    }
    return (int)count;
}

unsigned pci_find_capability(const uint8_t *config, uint8_t id)
{
    uint8_t list[PCI_CAPABILITIES_MAX];
    int count = pci_capabilities(config, list);
    for (int i = 0; i < count; i++)
        if (config[list[i] + PCI_CAP_LIST_ID] == id)
            return list[i];
    return 0;
}
