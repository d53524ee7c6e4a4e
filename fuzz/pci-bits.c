/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer's config space against a device's own, both made up: nothing that makes the device what it is
 * changes, what is written stays written, and no write leaves the space. First byte: bit 0 the larger
 * space, bit 1 vendor capabilities are ignored. Then the device's 256 first bytes, the peer's, and both
 * rests; what is missing is 0.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/stream/pci-bits.h"

struct input {
    const uint8_t *data;
    size_t left;
};

static void take(struct input *in, uint8_t *ret, size_t length)
{
    size_t n = in->left < length ? in->left : length;
    if (n)
        memcpy(ret, in->data, n);
    in->data += n;
    in->left -= n;
}

/* How many dwords were written. */
static unsigned write_all(const struct pci_bits *bits, uint8_t *ours, const uint8_t *theirs)
{
    unsigned count = 0;
    for (unsigned at = 0; at < bits->config_bytes; at += 4) {
        struct pci_write write;
        if (!pci_bits_write(bits, ours, theirs, at, &write))
            continue;
        MUST(write.length_bytes == 2 || write.length_bytes == 4);
        MUST(write.offset % write.length_bytes == 0 && write.offset / 4 == at / 4);
        memcpy(ours + write.offset, write.bytes, write.length_bytes);
        count++;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pci_bits bits; /* large; one thread */
    uint8_t ours[PCI_CONFIG_LARGE] = { 0 }, theirs[PCI_CONFIG_LARGE] = { 0 };
    uint8_t before[PCI_CONFIG_LARGE];
    struct input in = { data + 1, size ? size - 1 : 0 };
    if (!size)
        return 0;
    uint32_t config_bytes = data[0] & 1 ? PCI_CONFIG_LARGE : PCI_CONFIG_SMALL;
    take(&in, ours, PCI_CONFIG_SMALL);
    take(&in, theirs, PCI_CONFIG_SMALL);
    take(&in, ours + PCI_CONFIG_SMALL, config_bytes - PCI_CONFIG_SMALL);
    take(&in, theirs + PCI_CONFIG_SMALL, config_bytes - PCI_CONFIG_SMALL);
    if (pci_bits_of(ours, config_bytes, data[0] & 2, &bits) < 0)
        return 0;
    int at = pci_bits_differ(&bits, ours, theirs);
    MUST(at < (int)config_bytes);
    MUST(at < 0 || ours[at] != theirs[at]);
    MUST(pci_bits_differ(&bits, ours, ours) < 0);
    memcpy(before, ours, sizeof(before));
    write_all(&bits, ours, theirs);
    for (unsigned i = 0; i < config_bytes; i++)
        MUST(!((before[i] ^ ours[i]) & ~bits.writable[i] & ~bits.clears[i]));
    MUST(write_all(&bits, ours, theirs) == 0);
    return 0;
}
