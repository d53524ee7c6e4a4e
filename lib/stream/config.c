/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/error.h"
#include "lib/stream/config.h"
#include "lib/stream/qemu.h"

#define DEVICE_VERSION 2u /* of the PCI device in QEMU's format, the body's first field */
#define DISPLAY_NAME "VFIOPCIDevice/VFIODisplay"
#define DISPLAY_VERSION 1u

int pci_config_msix_vectors(const uint8_t config[PCI_CONFIG_SMALL])
{
    uint8_t list[PCI_CAPABILITIES_MAX];
    if (pci_capabilities(config, list) < 0)
        return -EINVAL;
    unsigned at = pci_find_capability(config, PCI_CAP_ID_MSIX);
    if (!at)
        return 0;
    if (at + PCI_CAP_MSIX_SIZEOF > PCI_CONFIG_SMALL)
        return -EINVAL;
    return (int)(pci_get16(config + at + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1;
}

static uint32_t pending_bytes(unsigned num_vectors)
{
    return (num_vectors + 7) / 8;
}

/* What follows the config bytes, without display. */
static uint32_t rest_bytes(unsigned num_vectors)
{
    return 4 * 4 + num_vectors * PCI_VECTOR_BYTES + pending_bytes(num_vectors);
}

uint32_t pci_config_body_bytes(uint32_t config_bytes, unsigned num_vectors)
{
    return 4 + config_bytes + rest_bytes(num_vectors);
}

/* ---- writing ---- */

static int check_state(const struct vmig_pci_state *state, struct vmig_error *err)
{
    if (state->config_bytes != PCI_CONFIG_SMALL && state->config_bytes != PCI_CONFIG_LARGE)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "a config space of %" PRIu32 " bytes; it has %u or %u",
                         state->config_bytes, PCI_CONFIG_SMALL, PCI_CONFIG_LARGE);
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

void pci_device_write(struct writer *w, const struct vmig_pci_state *state)
{
    writer_u32(w, DEVICE_VERSION);
    writer_bytes(w, state->config, state->config_bytes);
    for (unsigned i = 0; i < 4; i++)
        writer_u32(w, state->irq_state[i]);
}

void pci_msix_write(struct writer *w, const struct vmig_pci_state *state)
{
    writer_bytes(w, state->msix_table, state->num_vectors * PCI_VECTOR_BYTES);
    writer_bytes(w, state->msix_pending, pending_bytes(state->num_vectors));
}

void ramfb_write(struct writer *w, const struct vmig_ramfb *ramfb)
{
    writer_u64(w, ramfb->addr);
    writer_u32(w, ramfb->fourcc);
    writer_u32(w, ramfb->flags);
    writer_u32(w, ramfb->width);
    writer_u32(w, ramfb->height);
    writer_u32(w, ramfb->stride_bytes);
}

int pci_config_write(struct writer *w, const struct vmig_pci_state *state, struct vmig_error *err)
{
    int rc = check_state(state, err);
    if (rc < 0)
        return rc;
    pci_device_write(w, state);
    pci_msix_write(w, state);
    if (!state->has_ramfb)
        return 0;
    writer_u8(w, QEMU_SUBSECTION);
    writer_str8(w, DISPLAY_NAME);
    writer_u32(w, DISPLAY_VERSION);
    ramfb_write(w, &state->ramfb);
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

static void read_irq_state(struct reader *r, struct vmig_pci_state *ret)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = r->offset;
        ret->irq_state[i] = reader_u32(r);
        if (ret->irq_state[i] > 1)
            reader_fail_at(r, at, -EINVAL);
    }
}

void ramfb_read(struct reader *r, struct vmig_ramfb *ret)
{
    ret->addr = reader_u64(r);
    ret->fourcc = reader_u32(r);
    ret->flags = reader_u32(r);
    ret->width = reader_u32(r);
    ret->height = reader_u32(r);
    ret->stride_bytes = reader_u32(r);
}

static void read_display(struct reader *r, struct vmig_pci_state *ret)
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
    ramfb_read(r, &ret->ramfb);
    ret->has_ramfb = !reader_failed(r);
}

static void read_config_space(struct reader *r, uint32_t config_bytes, struct vmig_pci_state *ret)
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
    ret->config_bytes = config_bytes;
    reader_bytes(r, ret->config + PCI_CONFIG_SMALL, config_bytes - PCI_CONFIG_SMALL);
}

void pci_device_read(struct reader *r, uint32_t config_bytes, struct vmig_pci_state *ret)
{
    uint64_t at = r->offset;
    if (reader_u32(r) != DEVICE_VERSION)
        reader_fail_at(r, at, -EINVAL);
    read_config_space(r, config_bytes, ret);
    read_irq_state(r, ret);
}

void pci_msix_read(struct reader *r, struct vmig_pci_state *ret)
{
    reader_bytes(r, ret->msix_table, ret->num_vectors * PCI_VECTOR_BYTES);
    reader_bytes(r, ret->msix_pending, pending_bytes(ret->num_vectors));
}

int pci_config_read(struct reader *r, uint32_t config_bytes, struct vmig_pci_state *ret,
                    struct vmig_error *err)
{
    memset(ret, 0, sizeof(*ret));
    ret->size = sizeof(*ret);
    if (config_bytes && config_bytes != PCI_CONFIG_SMALL && config_bytes != PCI_CONFIG_LARGE)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "a config space of %" PRIu32 " bytes; it has %u or %u", config_bytes,
                         PCI_CONFIG_SMALL, PCI_CONFIG_LARGE);
    pci_device_read(r, config_bytes, ret);
    pci_msix_read(r, ret);
    if (reader_peek(r) == QEMU_SUBSECTION)
        read_display(r, ret);
    return reader_error(r, "VFIO config record", err);
}
