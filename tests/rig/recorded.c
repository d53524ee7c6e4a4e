/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams that QEMU 8.2 recorded from two-port mtty devices (tests/data/streams): the bytes of each
 * VFIO section, in their order, load into a device of ours, which then has exactly that state; opened by
 * its group, and by its character device where the kernel has those. And what we write of such a device has
 * the same records in the same order.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <vfio-migrate.h>

#include "lib/participant/config.h"
#include "lib/stream/inspect.h"
#include "tests/rig/devices.h"

#define STREAM_MAX ((size_t)16 << 20) /* the samples have under 1 MiB */
#define DEVICES_MAX 2

/* What the sections of each device carry. */
struct recorded {
    uint32_t section_id;
    size_t length;
    uint8_t data[MTTY_STATE_BYTES];
};

struct recording {
    uint8_t *stream;
    size_t length;
    unsigned num_devices;
    struct recorded devices[DEVICES_MAX];
};

static void unpack(struct recording *r, const char *name)
{
    char command[4200];
    const char *data = getenv("TEST_DATA");
    assert_non_null(data);
    snprintf(command, sizeof(command), "xz -dc '%s/streams/%s'", data, name);
    r->stream = malloc(STREAM_MAX);
    assert_non_null(r->stream);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    r->length = fread(r->stream, 1, STREAM_MAX, pipe);
    assert_int_equal(pclose(pipe), 0);
    assert_in_range(r->length, 1, STREAM_MAX - 1);
}

static int take_data(void *opaque, const struct qemu_section *section, const void *buf,
                     size_t length, struct vmig_error *err)
{
    struct recording *r = opaque;
    struct recorded *device = NULL;
    (void)err;
    for (unsigned i = 0; i < r->num_devices; i++)
        if (r->devices[i].section_id == section->section_id)
            device = &r->devices[i];
    if (!device) {
        assert_true(r->num_devices < DEVICES_MAX);
        device = &r->devices[r->num_devices++];
        device->section_id = section->section_id;
    }
    assert_true(length <= MTTY_STATE_BYTES - device->length);
    memcpy(device->data + device->length, buf, length);
    device->length += length;
    return 0;
}

static void load(struct vmig_device *device, const struct recorded *recorded)
{
    struct vmig_error err = { 0 };
    int rc = vmig_device_set_state(device, VMIG_STATE_RESUMING, VMIG_STATE_RUNNING, &err);
    if (!rc)
        rc = vmig_device_data_write(device, recorded->data, recorded->length, &err);
    if (!rc)
        rc = vmig_device_data_flush(device, &err);
    if (!rc)
        rc = vmig_device_set_state(device, VMIG_STATE_STOP, VMIG_STATE_RUNNING, &err);
    if (!rc)
        rc = vmig_device_set_state(device, VMIG_STATE_RUNNING, VMIG_STATE_ERROR, &err);
    if (rc)
        fail_msg("%s", err.text);
}

static size_t save(struct vmig_device *device, uint8_t *buf, size_t size)
{
    size_t length = 0;
    ssize_t got;
    assert_int_equal(vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, NULL),
                     0);
    while ((got = vmig_device_data_read(device, buf + length, size - length, NULL)) > 0)
        length += (size_t)got;
    assert_int_equal(got, 0);
    return length;
}

static void assert_loads(const struct recorded *recorded, const char *backend)
{
    struct mtty mtty;
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options), .backend = backend };
    uint8_t state[MTTY_STATE_BYTES + 1];
    assert_int_equal(recorded->length, MTTY_STATE_BYTES);
    mtty_create(&mtty, MTTY_TWO_PORTS);
    assert_int_equal(vmig_device_open(mtty.uuid, &options, &device, NULL), 0);
    load(device, recorded);
    assert_int_equal(save(device, state, sizeof(state)), MTTY_STATE_BYTES);
    assert_memory_equal(state, recorded->data, MTTY_STATE_BYTES);
    vmig_device_close(device);
    mtty_remove(&mtty);
}

static void assert_recording_loads(const char *name, unsigned num_devices)
{
    const struct inspect_ops ops = { .vfio_data = take_data };
    struct recording r = { 0 };
    struct vmig_error err = { 0 };
    unpack(&r, name);
    if (inspect_memory(r.stream, r.length, &ops, &r, &err))
        fail_msg("%s: %s", name, err.text);
    assert_int_equal(r.num_devices, num_devices);
    for (unsigned i = 0; i < num_devices; i++) {
        assert_loads(&r.devices[i], "group");
        if (access("/dev/iommu", F_OK) == 0)
            assert_loads(&r.devices[i], "cdev");
    }
    free(r.stream);
}

static void the_device_of_a_file_from_QEMU_loads(void **state)
{
    (void)state;
    assert_recording_loads("one-device.mig.xz", 1);
}

static void both_devices_of_a_file_from_QEMU_load(void **state)
{
    (void)state;
    assert_recording_loads("two-devices.mig.xz", 2);
}

static void the_device_of_a_stream_with_switchover_ack_loads(void **state)
{
    (void)state;
    assert_recording_loads("switchover-ack.src-to-dst.xz", 1);
}

/* ---- config spaces ---- */

static int take_config(void *opaque, const struct qemu_section *section,
                       const struct vmig_pci_state *config, struct vmig_error *err)
{
    (void)section;
    (void)err;
    *(struct vmig_pci_state *)opaque = *config;
    return 0;
}

/* What QEMU showed its guest is what such a device shows, and it takes what the guest wrote. */
static void the_config_space_of_a_file_from_QEMU_loads(void **state)
{
    const struct inspect_ops ops = { .vfio_config = take_config };
    static const struct config_view view; /* the device itself */
    static struct vmig_pci_state theirs, ours;
    struct recording r = { 0 };
    struct mtty mtty;
    struct vmig_device *device = NULL;
    struct vmig_error err = { 0 };
    struct vmig_device_options options = { .size = sizeof(options) };
    uint32_t bars[2];
    (void)state;
    unpack(&r, "one-device.mig.xz");
    assert_int_equal(inspect_memory(r.stream, r.length, &ops, &theirs, &err), 0);
    mtty_create(&mtty, MTTY_TWO_PORTS);
    assert_int_equal(vmig_device_open(mtty.uuid, &options, &device, NULL), 0);
    assert_int_equal(config_collect(device, &view, &ours, &err), 1);
    if (config_check_identity(device, &theirs, &err) ||
        config_check(device, &view, &ours, &theirs, &err) ||
        config_apply(device, &view, &theirs, &ours, &err))
        fail_msg("%s", err.text);
    assert_int_equal(
        vmig_device_region_read(device, VMIG_REGION_CONFIG, 0x10, bars, sizeof(bars), NULL), 0);
    assert_int_equal(bars[0], 0xc061);
    assert_int_equal(bars[1], 0xc069);
    vmig_device_close(device);
    mtty_remove(&mtty);
    free(r.stream);
}

/* ---- what we write ---- */

/* The records of one device's sections, in order, and how long its blocks of data are. Sections of
 * rounds in which it had nothing to say tell nothing of their order. */
struct shape {
    char section[400], all[4000];
};

static int take_record(void *opaque, const struct qemu_section *section,
                       const struct inspect_record *record, struct vmig_error *err)
{
    struct shape *shape = opaque;
    size_t at = strlen(shape->section);
    uint64_t length_bytes = record->record == QEMU_VFIO_DATA ? record->length_bytes : 0;
    (void)section;
    (void)err;
    snprintf(shape->section + at, sizeof(shape->section) - at, " %d:%llu", (int)record->record,
             (unsigned long long)length_bytes);
    return 0;
}

static int take_section(void *opaque, const struct inspect_section *section, struct vmig_error *err)
{
    struct shape *shape = opaque;
    char nothing[20];
    size_t at = strlen(shape->all);
    (void)err;
    if (section->payload != INSPECT_VFIO)
        return 0;
    snprintf(nothing, sizeof(nothing), " %d:0", (int)QEMU_VFIO_END);
    if (strcmp(shape->section, nothing) != 0)
        snprintf(shape->all + at, sizeof(shape->all) - at, "%s;", shape->section);
    shape->section[0] = '\0';
    return 0;
}

static void look_at(const void *stream, size_t length, struct shape *ret)
{
    const struct inspect_ops ops = { .vfio_record = take_record, .section = take_section };
    struct vmig_error err = { 0 };
    *ret = (struct shape) { 0 };
    if (inspect_memory(stream, length, &ops, ret, &err))
        fail_msg("%s", err.text);
}

static size_t send_to_file(const char *backend, uint8_t *buf, size_t size)
{
    const char *path = "/dev/shm/rig-recorded";
    char address[64];
    struct mtty mtty;
    struct vmig_device *device = NULL;
    struct vmig_error err = { 0 };
    struct vmig_device_options options = { .size = sizeof(options), .backend = backend };
    struct vmig_host host = { .size = sizeof(host) };
    mtty_create(&mtty, MTTY_TWO_PORTS);
    assert_int_equal(vmig_device_open(mtty.uuid, &options, &device, NULL), 0);
    struct vmig_migration *m = vmig_migration_new(&host, NULL);
    assert_int_equal(vmig_migration_add_device(m, device, NULL), 0);
    snprintf(address, sizeof(address), "file:%s", path);
    if (vmig_migration_send(m, address, &err))
        fail_msg("%s", err.text);
    vmig_migration_free(m);
    vmig_device_close(device);
    mtty_remove(&mtty);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t length = fread(buf, 1, size, file);
    fclose(file);
    unlink(path);
    return length;
}

static void our_stream_of_an_mtty_has_the_shape_of_QEMUs(void **state)
{
    static const char *const backends[] = { "group", "cdev" };
    struct recording theirs = { 0 };
    struct shape wanted, found;
    static uint8_t ours[1 << 20];
    (void)state;
    unpack(&theirs, "one-device.mig.xz");
    look_at(theirs.stream, theirs.length, &wanted);
    assert_non_null(strstr(wanted.all, ":24"));
    assert_non_null(strstr(wanted.all, ":72"));
    for (unsigned i = 0; i < 2; i++) {
        if (i && access("/dev/iommu", F_OK) != 0)
            continue;
        look_at(ours, send_to_file(backends[i], ours, sizeof(ours)), &found);
        assert_string_equal(found.all, wanted.all);
    }
    free(theirs.stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_device_of_a_file_from_QEMU_loads),
        cmocka_unit_test(both_devices_of_a_file_from_QEMU_load),
        cmocka_unit_test(the_device_of_a_stream_with_switchover_ack_loads),
        cmocka_unit_test(the_config_space_of_a_file_from_QEMU_loads),
        cmocka_unit_test(our_stream_of_an_mtty_has_the_shape_of_QEMUs),
    };
    return cmocka_run_group_tests_name("recorded", tests, NULL, NULL);
}
