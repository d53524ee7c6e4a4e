/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "lib/error.h"
#include "lib/stream/config.h"
#include "lib/stream/qemu.h"

#define DEVICE_VERSION 2u /* of the PCI device in QEMU's format, the body's first field */
#define DISPLAY_NAME "VFIOPCIDevice/VFIODisplay"
#define DISPLAY_VERSION 1u
/* Capabilities are 4-byte aligned after the 64-byte header; a longer list goes in circles. */
#define CAPABILITIES_MAX ((PCI_CONFIG_SMALL - PCI_STD_HEADER_SIZEOF) / 4)

static unsigned le16(const uint8_t *bytes)
{
    return bytes[0] | (unsigned)bytes[1] << 8;
}

int pci_config_msix_vectors(const uint8_t config[PCI_CONFIG_SMALL])
{
    if (!(le16(config + PCI_STATUS) & PCI_STATUS_CAP_LIST))
        return 0;
    unsigned at = config[PCI_CAPABILITY_LIST] & ~3u;
    for (unsigned i = 0; at != 0; i++) {
        if (at < PCI_STD_HEADER_SIZEOF || i == CAPABILITIES_MAX)
            return -EINVAL;
        if (config[at + PCI_CAP_LIST_ID] == PCI_CAP_ID_MSIX) {
            if (at + PCI_CAP_MSIX_SIZEOF > PCI_CONFIG_SMALL)
                return -EINVAL;
            return (int)(le16(config + at + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1;
        }
        at = config[at + PCI_CAP_LIST_NEXT] & ~3u;
    }
    return 0;
}

static uint32_t pending_bytes(unsigned num_vectors)
{
    return (num_vectors + 7) / 8;
}

/* What follows the config bytes, without display. */
static uint32_t rest_bytes(unsigned num_vectors)
{
    return 4 * 4 + num_vectors * PCI_MSIX_ENTRY_BYTES + pending_bytes(num_vectors);
}

uint32_t pci_config_body_bytes(uint32_t config_bytes, unsigned num_vectors)
{
    return 4 + config_bytes + rest_bytes(num_vectors);
}

/* ---- writing ---- */

static int check_state(const struct pci_config_state *state, struct vmig_error *err)
{
    if (state->size != PCI_CONFIG_SMALL && state->size != PCI_CONFIG_LARGE)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "a config space of %" PRIu32 " bytes; it has %u or %u", state->size,
                         PCI_CONFIG_SMALL, PCI_CONFIG_LARGE);
    int vectors = pci_config_msix_vectors(state->config);
    if (vectors < 0 || (unsigned)vectors != state->num_vectors)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "the config space %s %d MSI-X vectors and the table has %u",
                         vectors < 0 ? "is damaged:" : "has", vectors < 0 ? 0 : vectors,
                         state->num_vectors);
    for (unsigned i = 0; i < 4; i++)
        if (state->irq_state[i] > 1)
            return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                             "interrupt line %u is %" PRIu32 "; it can be 0 or 1", i,
                             state->irq_state[i]);
    return 0;
}

static void write_display(struct writer *w, const struct pci_config_state *state)
{
    writer_u8(w, QEMU_SUBSECTION);
    writer_str8(w, DISPLAY_NAME);
    writer_u32(w, DISPLAY_VERSION);
    writer_bytes(w, state->ramfb, sizeof(state->ramfb));
}

int pci_config_write(struct writer *w, const struct pci_config_state *state, struct vmig_error *err)
{
    int rc = check_state(state, err);
    if (rc < 0)
        return rc;
    writer_u32(w, DEVICE_VERSION);
    writer_bytes(w, state->config, state->size);
    for (unsigned i = 0; i < 4; i++)
        writer_u32(w, state->irq_state[i]);
    writer_bytes(w, state->msix_table, state->num_vectors * PCI_MSIX_ENTRY_BYTES);
    writer_bytes(w, state->msix_pending, pending_bytes(state->num_vectors));
    if (state->has_ramfb)
        write_display(w, state);
    return 0;
}

/* ---- reading ---- */

/* The first 256 config bytes were taken. If that is all, the rest of the body and then END_OF_STATE
 * or a display follow; the larger space goes on for longer than what is looked at here, so looking
 * never waits for bytes that do not come. */
static bool is_small(struct reader *r, unsigned num_vectors)
{
    uint32_t rest = rest_bytes(num_vectors);
    const uint8_t *bytes = reader_peek_bytes(r, rest + 8);
    if (!bytes)
        return false;
    struct reader tail;
    reader_init_memory(&tail, bytes + rest, 8);
    bool end = reader_u64(&tail) == QEMU_VFIO_END_OF_STATE;
    const uint8_t display[8] = {
        QEMU_SUBSECTION, sizeof(DISPLAY_NAME) - 1, 'V', 'F', 'I', 'O', 'P', 'C'
    };
    return end || memcmp(bytes + rest, display, sizeof(display)) == 0;
}

static void read_irq_state(struct reader *r, struct pci_config_state *ret)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = r->offset;
        ret->irq_state[i] = reader_u32(r);
        if (ret->irq_state[i] > 1)
            reader_fail_at(r, at, -EINVAL);
    }
}

static void read_display(struct reader *r, struct pci_config_state *ret)
{
    char name[256];
    uint64_t at = r->offset;
    reader_u8(r);
    reader_str8(r, name);
    if (strcmp(name, DISPLAY_NAME) != 0)
        reader_fail_at(r, at, -EINVAL);
    at = r->offset;
    if (reader_u32(r) != DISPLAY_VERSION)
        reader_fail_at(r, at, -EOPNOTSUPP);
    reader_bytes(r, ret->ramfb, sizeof(ret->ramfb));
    ret->has_ramfb = !reader_failed(r);
}

static void read_config_space(struct reader *r, uint32_t config_bytes, struct pci_config_state *ret)
{
    uint64_t at = r->offset;
    reader_bytes(r, ret->config, PCI_CONFIG_SMALL);
    int vectors = pci_config_msix_vectors(ret->config);
    if (vectors < 0) {
        reader_fail_at(r, at, -EINVAL);
        return;
    }
    ret->num_vectors = (unsigned)vectors;
    if (!config_bytes)
        config_bytes = is_small(r, ret->num_vectors) ? PCI_CONFIG_SMALL : PCI_CONFIG_LARGE;
    ret->size = config_bytes;
    reader_bytes(r, ret->config + PCI_CONFIG_SMALL, config_bytes - PCI_CONFIG_SMALL);
}

int pci_config_read(struct reader *r, uint32_t config_bytes, struct pci_config_state *ret,
                    struct vmig_error *err)
{
    memset(ret, 0, sizeof(*ret));
    if (config_bytes && config_bytes != PCI_CONFIG_SMALL && config_bytes != PCI_CONFIG_LARGE)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "a config space of %" PRIu32 " bytes; it has %u or %u", config_bytes,
                         PCI_CONFIG_SMALL, PCI_CONFIG_LARGE);
    uint64_t at = r->offset;
    if (reader_u32(r) != DEVICE_VERSION)
        reader_fail_at(r, at, -EINVAL);
    read_config_space(r, config_bytes, ret);
    read_irq_state(r, ret);
    reader_bytes(r, ret->msix_table, ret->num_vectors * PCI_MSIX_ENTRY_BYTES);
    reader_bytes(r, ret->msix_pending, pending_bytes(ret->num_vectors));
    if (reader_peek(r) == QEMU_SUBSECTION)
        read_display(r, ret);
    return reader_error(r, "VFIO config record", err);
}
