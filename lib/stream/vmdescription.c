/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Only what a length is made of is looked at: a field's size and array_len, a subsection's name and
 * fields. A struct's size holds all that is in it, so fields are not descended into; that also
 * keeps clear of the keys which QEMU writes twice in one object.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/stream/qemu.h"
#include "lib/stream/vmdesc-decode.h"
#include "lib/stream/vmdescription.h"

/* A non-negative integer member; @fallback when it is absent. False: it is there and is none. */
static bool get_count(const json_t *object, const char *key, uint64_t fallback, uint64_t *ret)
{
    const json_t *value = json_object_get(object, key);
    *ret = value ? (uint64_t)json_integer_value(value) : fallback;
    return !value || (json_is_integer(value) && json_integer_value(value) >= 0);
}

static bool add_fields(const json_t *fields, uint64_t *total)
{
    size_t i;
    json_t *field;
    if (!json_is_array(fields))
        return false;
    json_array_foreach(fields, i, field)
    {
        uint64_t size, elements, bytes;
        if (!json_is_object(field) || !json_object_get(field, "size") ||
            !get_count(field, "size", 0, &size) || !get_count(field, "array_len", 1, &elements) ||
            __builtin_mul_overflow(size, elements, &bytes) ||
            __builtin_add_overflow(*total, bytes, total))
            return false;
    }
    return true;
}

static bool add_body(const json_t *body, unsigned depth, uint64_t *total);

static bool add_subsections(const json_t *list, unsigned depth, uint64_t *total)
{
    size_t i;
    json_t *subsection;
    if (!list)
        return true;
    if (!json_is_array(list) || depth == VMDESC_DEPTH_MAX)
        return false;
    json_array_foreach(list, i, subsection)
    {
        const char *name = json_string_value(json_object_get(subsection, "vmsd_name"));
        /* marker, name's length byte, name, version */
        if (!name || strlen(name) > 255 ||
            __builtin_add_overflow(*total, 1 + 1 + strlen(name) + 4, total) ||
            !add_body(subsection, depth + 1, total))
            return false;
    }
    return true;
}

static bool add_body(const json_t *body, unsigned depth, uint64_t *total)
{
    return add_fields(json_object_get(body, "fields"), total) &&
           add_subsections(json_object_get(body, "subsections"), depth, total);
}

static bool read_device(const json_t *device, struct vmdesc_device *ret)
{
    const char *name = json_string_value(json_object_get(device, "name"));
    uint64_t instance_id;
    if (!name || !name[0] || strlen(name) > 255 ||
        !get_count(device, "instance_id", 0, &instance_id) || instance_id > UINT32_MAX)
        return false;
    *ret = (struct vmdesc_device) { .instance_id = (uint32_t)instance_id, .json = device };
    snprintf(ret->idstr, sizeof(ret->idstr), "%s", name);
    return add_body(device, 0, &ret->length_bytes);
}

static int read_devices(const json_t *list, struct vmdesc *ret, struct vmig_error *err)
{
    size_t count = json_array_size(list);
    if (count > VMDESC_DEVICES_MAX)
        return error_set(err, E2BIG, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "the description lists %zu devices; %u are the most", count,
                         VMDESC_DEVICES_MAX);
    ret->devices = calloc(count ? count : 1, sizeof(*ret->devices));
    if (!ret->devices)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    for (; ret->count < count; ret->count++)
        if (!read_device(json_array_get(list, ret->count), &ret->devices[ret->count]))
            return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream",
                             "device %u of the description is malformed", ret->count);
    return 0;
}

static int read_root(const json_t *root, struct vmdesc *ret, struct vmig_error *err)
{
    uint64_t page_size;
    const json_t *devices = json_object_get(root, "devices");
    if (!json_is_array(devices))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "the description has no list of devices");
    if (!get_count(root, "page_size", 0, &page_size) || page_size > (1u << 21) ||
        (page_size & (page_size - 1)) || (page_size && page_size < 4096))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "the description's page_size is none");
    ret->page_size = (uint32_t)page_size;
    return read_devices(devices, ret, err);
}

int vmdesc_parse(struct vmdesc *ret, const char *text, size_t length_bytes, struct vmig_error *err)
{
    *ret = (struct vmdesc) { 0 };
    if (length_bytes > VMDESC_MAX_BYTES)
        return error_set(err, E2BIG, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "the description has %zu bytes; %u are the most", length_bytes,
                         VMDESC_MAX_BYTES);
    int rc = vmdesc_load(text, length_bytes, &ret->root, err);
    if (rc == 0)
        rc = read_root(ret->root, ret, err);
    if (rc < 0)
        vmdesc_done(ret);
    return rc;
}

void vmdesc_done(struct vmdesc *d)
{
    free(d->devices);
    json_decref(d->root);
    *d = (struct vmdesc) { 0 };
}

const struct vmdesc_device *vmdesc_find(const struct vmdesc *d, const char *idstr,
                                        uint32_t instance_id)
{
    for (unsigned i = 0; i < d->count; i++)
        if (d->devices[i].instance_id == instance_id && strcmp(d->devices[i].idstr, idstr) == 0)
            return &d->devices[i];
    return NULL;
}

ssize_t vmdesc_locate(const uint8_t *buf, size_t length_bytes)
{
    size_t most = VMDESC_MAX_BYTES + 5;
    size_t first = length_bytes > most ? length_bytes - most : 0;
    /* the text is an object, so its brace is 6 bytes after the type byte's place at the latest */
    for (size_t at = first; at + 6 < length_bytes; at++) {
        if (buf[at] != QEMU_VMDESCRIPTION || buf[at + 5] != '{')
            continue;
        struct reader r;
        reader_init_memory(&r, buf + at + 1, 4);
        if (reader_u32(&r) == length_bytes - at - 5)
            return (ssize_t)at;
    }
    return -ENOENT;
}
