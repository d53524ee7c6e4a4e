/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <time.h>

#include "cmd/workload-device.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "refdev/registers.h"

#define COMMAND_OFFSET 4
#define COMMAND_MEMORY_AND_MASTER 0x6

static int write_register(struct vmig_device *device, uint64_t offset, uint64_t value,
                          struct vmig_error *err)
{
    return vmig_device_region_write(device, REFDEV_BAR_REGISTERS, offset, &value, sizeof(value),
                                    err);
}

static int read_register(struct vmig_device *device, uint64_t offset, uint64_t *ret,
                         struct vmig_error *err)
{
    return vmig_device_region_read(device, REFDEV_BAR_REGISTERS, offset, ret, sizeof(*ret), err);
}

bool workload_device_is_ours(struct vmig_device *device)
{
    uint64_t magic = 0;
    struct vmig_region_info bar;
    return vmig_device_region_info(device, REFDEV_BAR_REGISTERS, &bar, NULL) == 0 &&
           bar.size_bytes >= REFDEV_REG_END &&
           read_register(device, REFDEV_REG_MAGIC, &magic, NULL) == 0 && magic == REFDEV_MAGIC;
}

int workload_device_begin(struct vmig_device *device, uint64_t slot_iova, uint64_t slots,
                          uint64_t dma_rate, uint64_t dirty_rate, struct vmig_error *err)
{
    const struct {
        uint64_t offset, value;
    } program[] = {
        { REFDEV_REG_SLOT_BASE, slot_iova },        { REFDEV_REG_SLOT_COUNT, slots },
        { REFDEV_REG_DMA_RATE, dma_rate },          { REFDEV_REG_DIRTY_RATE, dirty_rate },
        { REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN },
    };
    uint16_t command = COMMAND_MEMORY_AND_MASTER;
    if (!workload_device_is_ours(device))
        return 0;
    int rc = vmig_device_region_write(device, VMIG_REGION_CONFIG, COMMAND_OFFSET, &command,
                                      sizeof(command), err);
    for (size_t i = 0; rc == 0 && i < sizeof(program) / sizeof(program[0]); i++)
        rc = write_register(device, program[i].offset, program[i].value, err);
    return rc;
}

int workload_device_go_on(struct vmig_device *device, struct vmig_error *err)
{
    if (!workload_device_is_ours(device))
        return 0;
    return write_register(device, REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN, err);
}

/* Half a minute for gigabytes of local memory on a busy machine. */
#define VERIFY_TIMEOUT_NS (30 * NS_PER_S)

static int run_verify(struct vmig_device *device, uint64_t *ret_wrong, struct vmig_error *err)
{
    uint64_t deadline = clock_ns() + VERIFY_TIMEOUT_NS;
    int rc = write_register(device, REFDEV_REG_CONTROL, 0, err);
    if (rc == 0)
        rc = write_register(device, REFDEV_REG_VERIFY, 1, err);
    while (rc == 0) {
        rc = read_register(device, REFDEV_REG_VERIFY, ret_wrong, err);
        if (rc < 0 || *ret_wrong < REFDEV_VERIFY_NOT_RUN)
            return rc;
        if (clock_ns() > deadline)
            return error_set(err, ETIMEDOUT, VMIG_STAGE_NONE, vmig_device_id(device), NULL,
                             "the device did not finish checking itself in %d s", 30);
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
    }
    return rc;
}

int workload_device_verify(struct vmig_device *device, struct workload_report *ret,
                           struct vmig_error *err)
{
    uint64_t wrong, slot, local, errors, steps;
    if (!workload_device_is_ours(device))
        return 0; /* nothing to ask it */
    int rc = run_verify(device, &wrong, err);
    if (rc == 0)
        rc = read_register(device, REFDEV_REG_SLOT_MISMATCHES, &slot, err);
    if (rc == 0)
        rc = read_register(device, REFDEV_REG_LOCAL_MISMATCHES, &local, err);
    if (rc == 0)
        rc = read_register(device, REFDEV_REG_DMA_ERRORS, &errors, err);
    if (rc == 0)
        rc = read_register(device, REFDEV_REG_DMA_STEPS, &steps, err);
    if (rc < 0)
        return rc;
    ret->device_wrong_pages += wrong;
    ret->slot_mismatches += slot;
    ret->local_mismatches += local;
    ret->dma_errors += errors;
    ret->device_steps += steps;
    return 0;
}
