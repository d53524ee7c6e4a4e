/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Config spaces that QEMU wrote: what our reader makes of them, our writer turns into the same bytes.
 * Config records of VFIO devices (QEMU 8.2), and what every PCI device of QEMU 7.2 has at its front and
 * those with MSI-X behind it; where these stand is in the streams' own descriptions.
 */
#include "lib/stream/config.h"
#include "lib/stream/inspect.h"
#include "lib/stream/vmdescription.h"
#include "tests/stream/sample.h"

struct walk {
    const struct sample *sample;
    json_t *devices;       /* of the description, or NULL */
    unsigned records;      /* of VFIO devices */
    unsigned pci, vectors; /* PCI devices; MSI-X vectors of them */
};

static void assert_same(const struct writer *w, const uint8_t *bytes, size_t length,
                        const char *what)
{
    assert_int_equal(w->error, 0);
    if (w->length != length)
        fail_msg("%s: %zu bytes in the stream, %zu of ours", what, length, w->length);
    for (size_t i = 0; i < length; i++)
        if (w->buf[i] != bytes[i])
            fail_msg("%s: byte %zu is %02x in the stream and %02x of ours", what, i, bytes[i],
                     w->buf[i]);
}

/* ---- records of VFIO devices ---- */

static int on_record(void *opaque, const struct qemu_section *section,
                     const struct inspect_record *record, struct vmig_error *err)
{
    static struct vmig_pci_state state; /* tests have one thread */
    struct walk *walk = opaque;
    const uint8_t *body = walk->sample->bytes + record->data_offset;
    struct reader r;
    struct writer w;
    if (record->record != QEMU_VFIO_CONFIG)
        return 0;
    reader_init_memory(&r, body, record->length_bytes + 8); /* and END_OF_STATE */
    assert_done(pci_config_read(&r, 0, &state, err), err);
    assert_int_equal(r.offset, record->length_bytes);
    writer_init(&w);
    assert_done(pci_config_write(&w, &state, err), err);
    assert_same(&w, body, record->length_bytes, section->idstr);
    writer_done(&w);
    walk->records++;
    return 0;
}

/* ---- PCI devices of all kinds ---- */

/* Where a walk through the fields of one device is. */
struct fields {
    struct walk *walk;
    const char *device;
    const uint8_t *at;
    struct vmig_pci_state state; /* the last that was read */
};

static void take_pci_device(struct fields *f, uint32_t size)
{
    struct reader r;
    struct writer w;
    uint32_t config_bytes = size - 4 - 16;
    reader_init_memory(&r, f->at, size);
    pci_device_read(&r, config_bytes, &f->state);
    assert_false(reader_failed(&r));
    assert_int_equal(f->state.config_bytes, config_bytes);
    writer_init(&w);
    pci_device_write(&w, &f->state);
    assert_same(&w, f->at, size, f->device);
    writer_done(&w);
    f->walk->pci++;
}

/* How many vectors there are follows from the config space alone. */
static void take_msix(struct fields *f, uint32_t size)
{
    struct reader r;
    struct writer w;
    assert_int_equal(size, 16 * f->state.num_vectors + (f->state.num_vectors + 7) / 8);
    reader_init_memory(&r, f->at, size);
    pci_msix_read(&r, &f->state);
    assert_false(reader_failed(&r));
    assert_int_equal(r.offset, size);
    writer_init(&w);
    pci_msix_write(&w, &f->state);
    assert_same(&w, f->at, size, f->device);
    writer_done(&w);
    f->walk->vectors += f->state.num_vectors;
}

static void take_field(struct fields *f, const json_t *field);

static void take_fields(struct fields *f, const json_t *list)
{
    size_t i;
    json_t *field;
    json_array_foreach(list, i, field)
    {
        json_int_t elements = 1;
        json_t *count = json_object_get(field, "array_len");
        const uint8_t *begin = f->at;
        json_int_t size = json_integer_value(json_object_get(field, "size"));
        if (count)
            elements = json_integer_value(count);
        else
            take_field(f, field);
        f->at = begin + size * elements;
    }
}

static void take_field(struct fields *f, const json_t *field)
{
    uint32_t size = (uint32_t)json_integer_value(json_object_get(field, "size"));
    const char *type = json_string_value(json_object_get(field, "type"));
    json_t *inner = json_object_get(field, "struct");
    const char *name = json_string_value(json_object_get(inner, "vmsd_name"));
    if (name && strcmp(name, "PCIDevice") == 0)
        take_pci_device(f, size);
    else if (type && strcmp(type, "msix state") == 0)
        take_msix(f, size);
    else if (inner)
        take_fields(f, json_object_get(inner, "fields"));
}

static int on_section(void *opaque, const struct inspect_section *s, struct vmig_error *err)
{
    struct walk *walk = opaque;
    size_t i;
    json_t *device;
    (void)err;
    json_array_foreach(walk->devices, i, device)
    {
        const char *name = json_string_value(json_object_get(device, "name"));
        json_int_t instance = json_integer_value(json_object_get(device, "instance_id"));
        struct fields f = { .walk = walk,
                            .device = name,
                            .at = walk->sample->bytes + s->payload_offset };
        if (s->section->type != QEMU_SECTION_FULL || strcmp(name, s->section->idstr) != 0 ||
            instance != s->section->instance_id || !json_object_get(device, "vmsd_name"))
            continue;
        take_fields(&f, json_object_get(device, "fields"));
    }
    return 0;
}

/* ---- the samples ---- */

static struct walk look_through(const char *name)
{
    const struct inspect_ops ops = { .vfio_record = on_record, .section = on_section };
    struct sample sample = sample_load(name);
    struct walk walk = { .sample = &sample };
    struct vmig_error err;
    ssize_t at = vmdesc_locate(sample.bytes, sample.length);
    json_t *root = at < 0 ? NULL
                          : json_loadb((const char *)sample.bytes + at + 5,
                                       sample.length - (size_t)at - 5, 0, NULL);
    walk.devices = json_object_get(root, "devices");
    assert_done(inspect_memory(sample.bytes, sample.length, &ops, &walk, &err), &err);
    json_decref(root);
    walk.devices = NULL;
    sample_free(&sample);
    return walk;
}

static void records_of_VFIO_devices_are_written_as_QEMU_did(void **state)
{
    (void)state;
    assert_int_equal(look_through("one-device.mig").records, 1);
    assert_int_equal(look_through("two-devices.mig").records, 2);
    assert_int_equal(look_through("switchover-ack.src-to-dst").records, 1);
}

static void PCI_devices_of_a_pc_are_written_as_QEMU_did(void **state)
{
    (void)state;
    struct walk walk = look_through("pc-firmware.mig"); /* I440FX, PIIX3, vga, ide, piix4_pm */
    assert_int_equal(walk.pci, 5);
    assert_int_equal(walk.vectors, 0);
    assert_int_equal(look_through("aarch64-virt.mig").pci, 1);
    assert_int_equal(look_through("microvm.mig").pci, 0);
}

/* Conventional and express; one root port, one network card, one USB controller with MSI-X. */
static void PCI_devices_of_a_q35_are_written_as_QEMU_did(void **state)
{
    (void)state;
    struct walk walk = look_through("q35-devices.mig");
    assert_int_equal(walk.pci, 8);
    assert_int_equal(walk.vectors, 1 + 5 + 16);
}

/* What QEMU's devices look like in the streams with VFIO. */
static void PCI_devices_beside_VFIO_ones_are_written_as_QEMU_did(void **state)
{
    (void)state;
    assert_true(look_through("two-devices.mig").pci >= 3);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_VFIO_devices_are_written_as_QEMU_did),
        cmocka_unit_test(PCI_devices_of_a_pc_are_written_as_QEMU_did),
        cmocka_unit_test(PCI_devices_of_a_q35_are_written_as_QEMU_did),
        cmocka_unit_test(PCI_devices_beside_VFIO_ones_are_written_as_QEMU_did),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
