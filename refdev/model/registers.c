/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BAR accesses of the PCI profiles. BAR 0's registers are one array, and that array is also what
 * travels as the device's state; a table says which can be written and up to which value.
 */
#include "refdev/model/internal.h"

#define ANY (~0ull)

/* Writable registers, their largest value and alignment. */
static const struct register_row {
    uint16_t offset;
    uint64_t max, mask_zero;
} register_rows[] = {
    { REFDEV_REG_SCRATCH, ANY, 0 },
    { REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN | REFDEV_CONTROL_NO_DRIVER, 0 },
    { REFDEV_REG_SLOT_BASE, 1ull << 63, REFDEV_PAGE_BYTES - 1 }, /* so that slots never wrap */
    { REFDEV_REG_SLOT_COUNT, REFDEV_SLOTS_MAX, 0 },
    { REFDEV_REG_DMA_RATE, REFDEV_RATE_MAX, 0 },
    { REFDEV_REG_DIRTY_RATE, REFDEV_RATE_MAX, 0 },
    { REFDEV_REG_PEER_IOVA, ANY, REFDEV_PAGE_BYTES - 1 },
    { REFDEV_REG_VERIFY, ANY, 0 },
    { REFDEV_REG_COPY_SOURCE, ANY, 0 },
    { REFDEV_REG_COPY_TARGET, ANY, 0 },
    { REFDEV_REG_COPY_LENGTH, REFDEV_COPY_MAX, 0 },
    { REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL, 0 },
    { REFDEV_REG_INTERRUPT, REFDEV_MSIX_VECTORS - 1, 0 },
    { REFDEV_REG_INTX, 1, 0 },
};
#define REGISTER_ROWS (sizeof(register_rows) / sizeof(register_rows[0]))

static bool row_accepts(const struct register_row *row, uint64_t value)
{
    return value <= row->max && !(value & row->mask_zero);
}

/* Could these register contents have come about by writes? For state that comes from outside. */
bool refdev_registers_valid(const struct refdev_model *model, const uint64_t *regs)
{
    for (unsigned i = 0; i < REGISTER_ROWS; i++)
        if (!row_accepts(&register_rows[i], regs[register_rows[i].offset / 8]))
            return false;
    uint64_t window = regs[REFDEV_REG_LOCAL_WINDOW / 8];
    return regs[REFDEV_REG_LOCAL_PAGES / 8] == model->local_pages && window <= model->local_pages &&
           (window || !model->local_pages) && regs[REFDEV_REG_UNSURE / 8] <= 3;
}

void refdev_interrupt(struct refdev_model *model, unsigned vector)
{
    /* As in VFIO, what the client has wired up decides, not the enable bit in config space. */
    if (model->ops->interrupt(model->door, 2, vector) || !refdev_config_intx_enabled(model))
        return;
    *refdev_reg(model, REFDEV_REG_INTX) = 1;
    model->ops->interrupt(model->door, 0, 0);
}

static void restart_steps(struct refdev_model *model, unsigned counter, uint64_t unsure)
{
    *refdev_reg(model, counter) = 0;
    *refdev_reg(model, REFDEV_REG_UNSURE) &= ~unsure;
    refdev_verify_cancel(model);
}

static void register_written(struct refdev_model *model, unsigned offset, uint64_t value)
{
    switch (offset) {
    case REFDEV_REG_CONTROL:
        refdev_workload_start(model);
        break;
    case REFDEV_REG_SLOT_BASE:
    case REFDEV_REG_SLOT_COUNT:
        restart_steps(model, REFDEV_REG_DMA_STEPS, 1);
        break;
    case REFDEV_REG_PEER_IOVA:
        restart_steps(model, REFDEV_REG_PEER_STEPS, 2);
        break;
    case REFDEV_REG_VERIFY:
        refdev_verify_begin(model);
        break;
    case REFDEV_REG_COPY_OPERATION:
        *refdev_reg(model, REFDEV_REG_COPY_STATUS) =
            value ? REFDEV_STATUS_BUSY : REFDEV_STATUS_IDLE;
        break;
    case REFDEV_REG_INTERRUPT:
        if (refdev_is_running(model))
            model->ops->interrupt(model->door, 2, (unsigned)value);
        break;
    case REFDEV_REG_INTX:
        *refdev_reg(model, REFDEV_REG_INTX) = 0;
        break;
    default:
        break;
    }
}

static int write_register(struct refdev_model *model, uint64_t offset, const uint8_t *buf,
                          uint64_t length_bytes)
{
    if ((length_bytes != 4 && length_bytes != 8) || offset % length_bytes)
        return -EINVAL;
    if (offset == REFDEV_REG_REINIT && length_bytes == 8 && model->profile->has_reinit)
        refdev_copy((uint8_t *)&model->reinit_left, buf, length_bytes);
    for (unsigned i = 0; i < REGISTER_ROWS; i++) {
        const struct register_row *row = &register_rows[i];
        if (row->offset != offset / 8 * 8)
            continue;
        uint64_t value = model->regs[row->offset / 8];
        refdev_copy((uint8_t *)&value + offset % 8, buf, length_bytes);
        if (!row_accepts(row, value))
            return -EINVAL;
        model->regs[row->offset / 8] = value;
        register_written(model, row->offset, value);
        return 0;
    }
    return 0; /* read-only and reserved ones drop writes */
}

static void read_registers(struct refdev_model *model, uint64_t offset, uint8_t *buf,
                           uint64_t length_bytes)
{
    *refdev_reg(model, REFDEV_REG_STATE) = model->state;
    refdev_zero(buf, length_bytes);
    if (offset == REFDEV_REG_REINIT && length_bytes == sizeof(model->reinit_left))
        refdev_copy(buf, (const uint8_t *)&model->reinit_left, length_bytes);
    if (offset >= REFDEV_REG_END)
        return;
    if (length_bytes > REFDEV_REG_END - offset)
        length_bytes = REFDEV_REG_END - offset;
    refdev_copy(buf, (const uint8_t *)model->regs + offset, length_bytes);
}

static int pci_info(const struct refdev_model *model, unsigned index,
                    struct refdev_region_info *ret)
{
    (void)model;
    static const struct refdev_region_info infos[REFDEV_NUM_REGIONS] = {
        [REFDEV_BAR_REGISTERS] = { REFDEV_REGISTERS_BYTES, 3, 0, 0 },
        [REFDEV_BAR_SHARED] = { REFDEV_SHARED_BYTES, 7, REFDEV_SHARED_MAP_OFFSET,
                                REFDEV_SHARED_BYTES - REFDEV_SHARED_MAP_OFFSET },
        [REFDEV_BAR_MSIX] = { REFDEV_MSIX_BYTES, 3, 0, 0 },
        [REFDEV_REGION_CONFIG] = { REFDEV_CONFIG_BYTES, 3, 0, 0 },
    };
    *ret = infos[index];
    return 0;
}

static int pci_irq(const struct refdev_model *model, unsigned index, struct refdev_irq_info *ret)
{
    (void)model;
    /* ERR and REQ exist so that clients can route them; nothing ever raises them. */
    static const struct refdev_irq_info irqs[REFDEV_NUM_IRQS] = {
        { 0x7, 1 }, { 0, 0 }, { 0x9, REFDEV_MSIX_VECTORS }, { 0x9, 1 }, { 0x9, 1 },
    };
    *ret = irqs[index];
    return 0;
}

static int pci_read(struct refdev_model *model, unsigned index, uint64_t offset, uint8_t *buf,
                    uint64_t length_bytes)
{
    switch (index) {
    case REFDEV_BAR_REGISTERS:
        read_registers(model, offset, buf, length_bytes);
        return 0;
    case REFDEV_BAR_SHARED:
        refdev_copy(buf, model->shared + offset, length_bytes);
        return 0;
    case REFDEV_BAR_MSIX:
        refdev_copy(buf, model->msix + offset, length_bytes);
        return 0;
    case REFDEV_REGION_CONFIG:
        refdev_copy(buf, model->config + offset, length_bytes);
        return 0;
    default:
        return -EINVAL;
    }
}

static int pci_write(struct refdev_model *model, unsigned index, uint64_t offset,
                     const uint8_t *buf, uint64_t length_bytes)
{
    bool frozen = refdev_is_frozen(model);
    switch (index) {
    case REFDEV_BAR_REGISTERS:
    case REFDEV_BAR_SHARED:
        if (frozen) {
            ++*refdev_reg(model, REFDEV_REG_STOPPED_WRITES);
            return 0;
        }
        if (index == REFDEV_BAR_REGISTERS)
            return write_register(model, offset, buf, length_bytes);
        refdev_copy(model->shared + offset, buf, length_bytes);
        return 0;
    case REFDEV_BAR_MSIX:
        refdev_copy(model->msix + offset, buf, length_bytes);
        refdev_zero(model->msix + 0x800, REFDEV_MSIX_BYTES - 0x800);
        return 0;
    case REFDEV_REGION_CONFIG:
        refdev_config_write(model, offset, buf, length_bytes);
        return 0;
    default:
        return -EINVAL;
    }
}

static void pci_reset(struct refdev_model *model)
{
    const struct refdev_knobs *knobs = &model->knobs;
    uint64_t window = knobs->dirty_set_bytes / REFDEV_PAGE_BYTES;
    refdev_zero(model->regs, sizeof(model->regs));
    refdev_zero(model->msix, sizeof(model->msix));
    refdev_zero(model->shared, REFDEV_SHARED_BYTES);
    for (unsigned vector = 0; vector < REFDEV_MSIX_VECTORS; vector++)
        model->msix[16 * vector + 12] = 1; /* masked, as after every PCI reset */
    refdev_config_reset(model);
    *refdev_reg(model, REFDEV_REG_MAGIC) = REFDEV_MAGIC;
    *refdev_reg(model, REFDEV_REG_VERSION) = 1;
    *refdev_reg(model, REFDEV_REG_SEED) = knobs->seed;
    *refdev_reg(model, REFDEV_REG_LOCAL_PAGES) = model->local_pages;
    *refdev_reg(model, REFDEV_REG_LOCAL_WINDOW) = window ? window : model->local_pages;
    *refdev_reg(model, REFDEV_REG_VERIFY) = REFDEV_VERIFY_NOT_RUN;
    *refdev_reg(model, REFDEV_REG_SLOT_BASE) = knobs->slot_base;
    *refdev_reg(model, REFDEV_REG_SLOT_COUNT) = knobs->slot_count;
    *refdev_reg(model, REFDEV_REG_DMA_RATE) = knobs->dma_rate;
    *refdev_reg(model, REFDEV_REG_DIRTY_RATE) = knobs->dirty_rate;
    if (knobs->dma_rate || knobs->dirty_rate)
        *refdev_reg(model, REFDEV_REG_CONTROL) = REFDEV_CONTROL_RUN;
}

const struct refdev_region_ops refdev_pci_regions = {
    .reset = pci_reset,
    .info = pci_info,
    .irq = pci_irq,
    .read = pci_read,
    .write = pci_write,
};
