/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VERSION: two numbers and a JSON object, in both directions.
 *
 * The text is the first thing a stranger sends. Its length and nesting are bounded before the JSON
 * parser (which recurses) sees it, each number has a range, and what is not known is ignored, since
 * everybody's capabilities grow.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/vfio-user/message.h"

static const struct {
    const char *name;
    unsigned bit;
} extensions[] = {
    { "p2p", VUSER_EXT_P2P },
    { "mig_data_size", VUSER_EXT_MIG_DATA_SIZE },
    { "precopy_info", VUSER_EXT_PRECOPY_INFO },
    { "large_writes", VUSER_EXT_LARGE_WRITES },
    { "precopy_info_v2", VUSER_EXT_PRECOPY_INFO2 },
};
#define REAL_EXACT_MAX 9007199254740992.0 /* 2^53: a double holds any whole number below */
#define EXTENSIONS (sizeof(extensions) / sizeof(extensions[0]))

static void json_cleanup(json_t **json)
{
    json_decref(*json);
}
#define CLEANUP_JSON __attribute__((cleanup(json_cleanup)))

struct vuser_capabilities vuser_capabilities_default(void)
{
    return (struct vuser_capabilities) {
        .major = VUSER_MAJOR,
        .minor = VUSER_MINOR,
        .max_msg_fds = 1,
        .max_data_xfer_size = VUSER_DATA_XFER_DEFAULT,
        .max_dma_maps = VUSER_DMA_MAPS_DEFAULT,
        .pgsizes = 4096,
        .twin_fd_index = -1,
    };
}

/* ---- build ---- */

/* What is put is gone when that fails, so a value is filled before it is put. */
static int put(json_t *object, const char *name, json_t *take_value)
{
    return json_object_set_new(object, name, take_value); /* fails too when the value is NULL */
}

static int put_twin(json_t *caps, const struct vuser_capabilities *c)
{
    if (!c->twin_socket)
        return 0;
    json_t *twin = json_object();
    int rc = put(twin, "supported", json_true());
    if (c->twin_fd_index >= 0)
        rc |= put(twin, "fd_index", json_integer(c->twin_fd_index));
    return rc | put(caps, "twin_socket", twin);
}

static int put_migration(json_t *caps, const struct vuser_capabilities *c)
{
    if (!c->migration_pgsize)
        return 0;
    json_t *migration = json_object();
    int rc = put(migration, "pgsize", json_integer((json_int_t)c->migration_pgsize));
    if (c->migration_max_bitmap_size)
        rc |= put(migration, "max_bitmap_size",
                  json_integer((json_int_t)c->migration_max_bitmap_size));
    return rc | put(caps, "migration", migration);
}

static int put_extensions(json_t *caps, const struct vuser_capabilities *c)
{
    if (!c->extensions)
        return 0;
    json_t *ours = json_object();
    int rc = 0;
    for (size_t i = 0; i < EXTENSIONS; i++)
        if (c->extensions & extensions[i].bit)
            rc |= put(ours, extensions[i].name, json_true());
    return rc | put(caps, VUSER_EXTENSIONS_NAME, ours);
}

static int put_all(json_t *root, const struct vuser_capabilities *c)
{
    json_t *caps = json_object();
    int rc = put(caps, "max_msg_fds", json_integer(c->max_msg_fds));
    rc |= put(caps, "max_data_xfer_size", json_integer((json_int_t)c->max_data_xfer_size));
    rc |= put(caps, "max_dma_maps", json_integer((json_int_t)c->max_dma_maps));
    rc |= put(caps, "pgsizes", json_integer((json_int_t)c->pgsizes));
    if (c->write_multiple)
        rc |= put(caps, "write_multiple", json_true());
    if (c->sparse_mmap_fds)
        rc |= put(caps, "sparse_mmap_fds", json_true());
    rc |= put_migration(caps, c);
    rc |= put_twin(caps, c);
    rc |= put_extensions(caps, c);
    return rc | put(root, "capabilities", caps);
}

int vuser_version_build(const struct vuser_capabilities *capabilities, void **ret,
                        size_t *ret_bytes)
{
    CLEANUP_JSON json_t *root = json_object();
    if (!root || put_all(root, capabilities))
        return -ENOMEM;
    CLEANUP_FREE char *text = json_dumps(root, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    size_t text_bytes = strlen(text) + 1;
    uint8_t *payload = malloc(vuser_version_BYTES + text_bytes);
    if (!payload)
        return -ENOMEM;
    vuser_version_encode(&(struct vuser_version) { capabilities->major, capabilities->minor },
                         payload);
    memcpy(payload + vuser_version_BYTES, text, text_bytes);
    *ret = payload;
    *ret_bytes = vuser_version_BYTES + text_bytes;
    return 0;
}

/* ---- parse ---- */

static int refuse(struct vmig_error *err, const char *what)
{
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "VERSION: %s", what);
}

/* Brackets open at once at the worst place, strings aside. */
static unsigned nesting(const char *text)
{
    unsigned depth = 0, deepest = 0;
    bool string = false;
    for (; *text; text++) {
        if (string) {
            if (*text == '\\' && text[1])
                text++;
            else if (*text == '"')
                string = false;
        } else if (*text == '"') {
            string = true;
        } else if (*text == '{' || *text == '[') {
            depth++;
        } else if ((*text == '}' || *text == ']') && depth > 0) {
            depth--;
        }
        if (depth > deepest)
            deepest = depth;
    }
    return deepest;
}

/* The member @name of @object in [@min, INT64_MAX]; absent leaves *ret alone. A whole number may be
 * written with a fraction of zero or an exponent, as long as a double holds it exactly. */
static int get_number(const json_t *object, const char *name, uint64_t min, uint64_t *ret,
                      struct vmig_error *err)
{
    const json_t *value = json_object_get(object, name);
    double real = json_number_value(value);
    if (!value)
        return 0;
    json_int_t number = json_integer_value(value);
    bool whole = json_is_integer(value);
    if (json_is_real(value) && real >= 0 && real < REAL_EXACT_MAX) {
        number = (json_int_t)real;
        whole = (double)number == real;
    }
    if (!whole || number < 0 || (uint64_t)number < min)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "VERSION: \"%s\" must be a whole number of at least %" PRIu64, name, min);
    *ret = (uint64_t)number;
    return 0;
}

static int get_boolean(const json_t *object, const char *name, bool *ret, struct vmig_error *err)
{
    const json_t *value = json_object_get(object, name);
    if (value && !json_is_boolean(value))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "VERSION: \"%s\" must be true or false", name);
    if (value)
        *ret = json_is_true(value);
    return 0;
}

/* *ret: NULL when absent. */
static int get_object(const json_t *object, const char *name, const json_t **ret,
                      struct vmig_error *err)
{
    *ret = json_object_get(object, name);
    if (*ret && !json_is_object(*ret))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "VERSION: \"%s\" must be an object", name);
    return 0;
}

static int get_limits(const json_t *caps, struct vuser_capabilities *c, struct vmig_error *err)
{
    uint64_t fds = c->max_msg_fds;
    int rc = get_number(caps, "max_msg_fds", 0, &fds, err);
    if (!rc)
        rc = get_number(caps, "max_data_xfer_size", 1, &c->max_data_xfer_size, err);
    if (!rc)
        rc = get_number(caps, "max_dma_maps", 0, &c->max_dma_maps, err);
    if (!rc)
        rc = get_number(caps, "pgsizes", 0, &c->pgsizes, err);
    if (!rc)
        rc = get_boolean(caps, "write_multiple", &c->write_multiple, err);
    if (!rc)
        rc = get_boolean(caps, "sparse_mmap_fds", &c->sparse_mmap_fds, err);
    /* What the peer could receive beyond what we would ever send does not matter. */
    c->max_msg_fds = fds < VUSER_FDS_MAX ? (unsigned)fds : VUSER_FDS_MAX;
    if (c->max_data_xfer_size > VUSER_DATA_XFER_MAX)
        c->max_data_xfer_size = VUSER_DATA_XFER_MAX;
    return rc;
}

static int get_migration(const json_t *caps, struct vuser_capabilities *c, struct vmig_error *err)
{
    const json_t *migration;
    int rc = get_object(caps, "migration", &migration, err);
    if (!rc)
        rc = get_number(migration, "pgsize", 0, &c->migration_pgsize, err);
    if (!rc)
        rc = get_number(migration, "max_bitmap_size", 0, &c->migration_max_bitmap_size, err);
    return rc;
}

static int get_twin(const json_t *caps, struct vuser_capabilities *c, struct vmig_error *err)
{
    const json_t *twin;
    uint64_t index = UINT64_MAX;
    int rc = get_object(caps, "twin_socket", &twin, err);
    if (!rc)
        rc = get_boolean(twin, "supported", &c->twin_socket, err);
    if (!rc)
        rc = get_number(twin, "fd_index", 0, &index, err);
    if (!rc && index != UINT64_MAX)
        c->twin_fd_index = index < INT_MAX ? (int)index : INT_MAX;
    return rc;
}

static int get_extensions(const json_t *caps, struct vuser_capabilities *c, struct vmig_error *err)
{
    const json_t *ours;
    int rc = get_object(caps, VUSER_EXTENSIONS_NAME, &ours, err);
    for (size_t i = 0; i < EXTENSIONS && !rc; i++) {
        bool on = false;
        rc = get_boolean(ours, extensions[i].name, &on, err);
        if (on)
            c->extensions |= extensions[i].bit;
    }
    return rc;
}

static int parse_json(const char *text, struct vuser_capabilities *c, struct vmig_error *err)
{
    if (nesting(text) > VUSER_JSON_DEPTH_MAX)
        return refuse(err, "JSON nested too deep");
    json_error_t where;
    CLEANUP_JSON json_t *root = json_loads(text, 0, &where);
    if (!root)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "VERSION: JSON wrong at byte %d: %.100s", where.position, where.text);
    if (!json_is_object(root))
        return refuse(err, "JSON is no object");
    const json_t *caps;
    int rc = get_object(root, "capabilities", &caps, err);
    if (!rc)
        rc = get_limits(caps, c, err);
    if (!rc)
        rc = get_migration(caps, c, err);
    if (!rc)
        rc = get_twin(caps, c, err);
    if (!rc)
        rc = get_extensions(caps, c, err);
    return rc;
}

int vuser_version_parse(const void *payload, size_t length_bytes, struct vuser_capabilities *ret,
                        struct vmig_error *err)
{
    struct vuser_capabilities c = vuser_capabilities_default();
    struct vuser_version version;
    if (length_bytes < vuser_version_BYTES)
        return refuse(err, "message too short");
    vuser_version_decode(payload, &version);
    c.major = version.major;
    c.minor = version.minor;
    const char *text = (const char *)payload + vuser_version_BYTES;
    size_t text_bytes = length_bytes - vuser_version_BYTES;
    if (text_bytes > VUSER_JSON_BYTES_MAX)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "VERSION: %zu bytes of JSON, at most %u are accepted", text_bytes,
                         VUSER_JSON_BYTES_MAX);
    if (text_bytes > 0 && !memchr(text, '\0', text_bytes))
        return refuse(err, "JSON does not end with a NUL");
    int rc = text_bytes > 0 && text[0] ? parse_json(text, &c, err) : 0;
    if (!rc)
        *ret = c;
    return rc;
}
