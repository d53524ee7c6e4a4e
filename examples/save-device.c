/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Save the state of one VFIO device to a file: stop it, read, let it run again.
 *
 *   cc save-device.c -o save-device $(pkg-config --cflags --libs libvfio-migrate)
 *   vfio-migrate refdev --socket-path /tmp/device.sock &
 *   ./save-device vfio-user:/tmp/device.sock device.state
 *
 * The file holds the bare state, which another device of the same kind takes in RESUMING.
 * `vfio-migrate save` writes a file that also says whose state it is and notices damage.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vfio-migrate.h>

#define CHUNK_BYTES ((size_t)1 << 20)

static int complain(const struct vmig_error *err)
{
    char text[700];
    fprintf(stderr, "save-device: %s\n", vmig_error_message(err, text, sizeof(text)));
    return -1;
}

/* A device that cannot migrate says why, and what to do about it. */
static int check_device(struct vmig_device *device, struct vmig_error *err)
{
    struct vmig_migration_info info;
    if (vmig_device_migration_info(device, &info, err))
        return complain(err);
    if (info.flags & VMIG_MIGRATION_STOP_COPY)
        return 0;
    fprintf(stderr, "save-device: %s cannot be saved (%s): %s\n", vmig_device_id(device),
            info.reason, info.remedy);
    return -1;
}

/* In STOP_COPY a read of 0 bytes is the end, and nothing else is. */
static int copy_state(struct vmig_device *device, FILE *file, struct vmig_error *err)
{
    unsigned char *chunk = malloc(CHUNK_BYTES);
    unsigned long long total = 0;
    ssize_t n = -1;
    while (chunk && (n = vmig_device_data_read(device, chunk, CHUNK_BYTES, err)) > 0) {
        if (fwrite(chunk, 1, (size_t)n, file) != (size_t)n)
            break;
        total += (unsigned long long)n;
    }
    free(chunk);
    if (n < 0 && chunk)
        return complain(err);
    if (n != 0 || fflush(file)) {
        fprintf(stderr, "save-device: after %llu bytes: %s\n", total, strerror(errno));
        return -1;
    }
    printf("saved %llu bytes of %s\n", total, vmig_device_id(device));
    return 0;
}

/* Whatever happens in between, the device must run again at the end. The last argument of
 * vmig_device_set_state() says where to go if it refuses. */
static int save(struct vmig_device *device, FILE *file)
{
    struct vmig_error err = { 0 };
    int rc = check_device(device, &err);
    if (rc)
        return rc;
    if (vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, &err))
        return complain(&err);
    rc = copy_state(device, file, &err);
    memset(&err, 0, sizeof(err));
    /* VMIG_STATE_ERROR: if it does not even start again, reset it. */
    if (vmig_device_set_state(device, VMIG_STATE_RUNNING, VMIG_STATE_ERROR, &err))
        rc = complain(&err);
    return rc;
}

int main(int argc, char **argv)
{
    struct vmig_device *device = NULL;
    struct vmig_error err = { 0 };
    if (argc != 3) {
        fprintf(stderr, "usage: save-device DEVICE FILE\n");
        return 2;
    }
    if (vmig_device_open(argv[1], NULL, &device, &err)) {
        complain(&err);
        return 1;
    }
    FILE *file = fopen(argv[2], "wb");
    int rc = -1;
    if (file)
        rc = save(device, file);
    else
        perror(argv[2]);
    vmig_device_close(device);
    if (file && fclose(file))
        rc = -1;
    if (rc && file)
        remove(argv[2]); /* half a state is of no use */
    return rc ? 1 : 0;
}
