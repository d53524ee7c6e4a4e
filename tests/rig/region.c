/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Read or write one byte of a device's region, for the shell tests (RIG_BACKEND: how it is opened):
 *   rig-region DEVICE INDEX OFFSET [VALUE]
 */
#include <stdio.h>
#include <stdlib.h>

#include <vfio-migrate.h>

static int access_byte(struct vmig_device *device, char **args, struct vmig_error *err)
{
    unsigned index = (unsigned)strtoul(args[0], NULL, 0);
    uint64_t offset = strtoull(args[1], NULL, 0);
    uint8_t value = 0;
    if (args[2]) {
        value = (uint8_t)strtoul(args[2], NULL, 0);
        return vmig_device_region_write(device, index, offset, &value, 1, err);
    }
    int rc = vmig_device_region_read(device, index, offset, &value, 1, err);
    if (!rc)
        printf("0x%02x\n", value);
    return rc;
}

int main(int argc, char **argv)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options),
                                           .backend = getenv("RIG_BACKEND") };
    char message[700];
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: rig-region DEVICE INDEX OFFSET [VALUE]\n");
        return 2;
    }
    int rc = vmig_device_open(argv[1], &options, &device, &err);
    if (!rc)
        rc = access_byte(device, argv + 2, &err);
    vmig_device_close(device);
    if (rc)
        fprintf(stderr, "rig-region: %s\n", vmig_error_message(&err, message, sizeof(message)));
    return rc ? 1 : 0;
}
