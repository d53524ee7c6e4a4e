/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA engine: the only place from which the device reaches guest memory, so the only place
 * that has to know when it may not, and that has to log what was written.
 */
#include "refdev/model/internal.h"

static int allowed(struct refdev_model *model)
{
    if (!model->profile->has_dma)
        return -EPERM;
    if (!refdev_is_running(model)) {
        ++*refdev_reg(model, REFDEV_REG_DMA_VIOLATIONS);
        return -EPERM;
    }
    return refdev_config_bus_master(model) ? 0 : -EPERM;
}

/* -ENXIO: there is no client, so there is no memory, and nobody did anything wrong. */
static int count_error(struct refdev_model *model, int rc)
{
    if (rc < 0 && rc != -ENXIO)
        ++*refdev_reg(model, REFDEV_REG_DMA_ERRORS);
    return rc < 0 ? rc : 0;
}

int refdev_dma_read(struct refdev_model *model, uint64_t iova, void *buf, uint64_t length_bytes)
{
    int rc = allowed(model);
    if (!rc)
        rc = model->ops->dma_read(model->door, iova, buf, length_bytes);
    return count_error(model, rc);
}

int refdev_dma_write(struct refdev_model *model, uint64_t iova, const void *buf,
                     uint64_t length_bytes)
{
    int rc = allowed(model);
    if (rc)
        return count_error(model, rc);
    rc = model->ops->dma_write(model->door, iova, buf, length_bytes);
    /* A write that failed may have got half way. One that the other side carried out is recorded
     * there, as vfio-user wants it. */
    if (rc <= 0)
        refdev_log_mark(model, iova, length_bytes);
    return count_error(model, rc);
}

static int copy_page(struct refdev_model *model, uint64_t done, uint64_t length_bytes)
{
    if (refdev_reg_value(model, REFDEV_REG_COPY_OPERATION) == REFDEV_COPY_FILL) {
        uint64_t key = refdev_pattern_key(refdev_reg_value(model, REFDEV_REG_SEED),
                                          REFDEV_PATTERN_FILL, done / REFDEV_PAGE_BYTES, 1);
        refdev_pattern_fill(model->page, key);
    } else {
        uint64_t source = refdev_reg_value(model, REFDEV_REG_COPY_SOURCE) + done;
        int rc = refdev_dma_read(model, source, model->page, length_bytes);
        if (rc)
            return rc;
    }
    uint64_t target = refdev_reg_value(model, REFDEV_REG_COPY_TARGET) + done;
    return refdev_dma_write(model, target, model->page, length_bytes);
}

/* Carry out the one-shot operation. One that was asked for while DMA was not allowed waits, on the
 * other side of a migration too: "busy" is part of the state. */
void refdev_copy_run(struct refdev_model *model)
{
    uint64_t length = refdev_reg_value(model, REFDEV_REG_COPY_LENGTH);
    uint64_t done = 0;
    int rc = 0;
    if (refdev_reg_value(model, REFDEV_REG_COPY_STATUS) != REFDEV_STATUS_BUSY)
        return;
    while (!rc && done < length) {
        uint64_t part = length - done;
        if (part > REFDEV_PAGE_BYTES)
            part = REFDEV_PAGE_BYTES;
        rc = copy_page(model, done, part);
        done += part;
    }
    *refdev_reg(model, REFDEV_REG_COPY_STATUS) = rc ? REFDEV_STATUS_FAILED : REFDEV_STATUS_DONE;
    ++*refdev_reg(model, REFDEV_REG_COPIES);
    refdev_interrupt(model, REFDEV_VECTOR_COPY);
}
