/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "vmm/boot.h"
#include "vmm/fail.h"
#include "vmm/fw-cfg.h"
#include "vmm/guest.h"
#include "vmm/guest/params.h"
#include "vmm/power.h"
#include "vmm/serial.h"

/* The guest's program, as objcopy names it. */
extern const uint8_t _binary_pattern_bin_start[], _binary_pattern_bin_end[];

static uint64_t block_bytes(const struct memory *memory, unsigned index)
{
    return index < memory->num_blocks ? memory->blocks[index].size_bytes : 0;
}

int guest_load_pattern(struct memory *memory, struct vcpus *vcpus, const char *options,
                       struct vmig_error *err)
{
    size_t program_bytes = (size_t)(_binary_pattern_bin_end - _binary_pattern_bin_start);
    struct guest_params params = { .cpus = vcpus->count,
                                   .low_bytes = block_bytes(memory, 0),
                                   .high_bytes = block_bytes(memory, 1),
                                   .ecam = ECAM_BASE,
                                   .serial_port = SERIAL_PORT,
                                   .power_port = POWER_PM1_CONTROL,
                                   .power_value = POWER_S5 << 10 | 1 << 13,
                                   .fw_cfg_port = FW_CFG_PORT };
    if (options && strlen(options) >= sizeof(params.options))
        return vmm_fail(err, EINVAL, NULL, "options for the pattern guest: %zu bytes, at most %zu",
                        strlen(options), sizeof(params.options) - 1);
    if (options)
        memcpy(params.options, options, strlen(options));
    memcpy(memory_low(memory, GUEST_PARAMS), &params, sizeof(params));
    memcpy(memory_low(memory, GUEST_BASE), _binary_pattern_bin_start, program_bytes);
    boot_make_tables(memory);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < vcpus->count; i++) {
        struct boot_entry entry = {
            .ip = GUEST_BASE, .sp = GUEST_BASE, .rdi = GUEST_PARAMS, .rsi = i
        };
        rc = boot_enter(&vcpus->list[i], &entry, err);
    }
    return rc;
}
