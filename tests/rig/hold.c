/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bring a device into a state and stay, for the shell tests (RIG_BACKEND: how it is opened):
 *   rig-hold DEVICE STATE
 * prints the state when the device is there, and then waits to be killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vfio-migrate.h>

static enum vmig_state find_state(const char *name)
{
    for (int state = VMIG_STATE_STOP; state < VMIG_STATE_COUNT; state++)
        if (!strcmp(vmig_state_name((enum vmig_state)state), name))
            return (enum vmig_state)state;
    return VMIG_STATE_ERROR;
}

int main(int argc, char **argv)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options),
                                           .backend = getenv("RIG_BACKEND") };
    char message[700];
    if (argc != 3 || find_state(argv[2]) == VMIG_STATE_ERROR) {
        fprintf(stderr, "usage: rig-hold DEVICE STATE\n");
        return 2;
    }
    int rc = vmig_device_open(argv[1], &options, &device, &err);
    if (!rc)
        rc = vmig_device_set_state(device, find_state(argv[2]), VMIG_STATE_RUNNING, &err);
    if (rc) {
        fprintf(stderr, "rig-hold: %s\n", vmig_error_message(&err, message, sizeof(message)));
        vmig_device_close(device);
        return 1;
    }
    puts(argv[2]);
    fflush(stdout);
    for (;;)
        pause();
}
