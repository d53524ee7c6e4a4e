/* SPDX-License-Identifier: BSD-3-Clause */
/* The codec: structures, headers, VERSION, region capability chains. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/vfio-user/message.h"

/* ---- structures ---- */

static void fields_lie_where_the_specification_puts_them(void **state)
{
    (void)state;
    uint8_t wire[64];
    memset(wire, 0xee, sizeof(wire));
    vuser_header_encode(&(struct vuser_header) { 0x0102, 17, 24, 0x21, 22 }, wire);
    static const uint8_t header[16] = { 2, 1, 17, 0, 24, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0 };
    assert_memory_equal(wire, header, 16);
    assert_int_equal(wire[16], 0xee);

    vuser_region_info_encode(
        &(struct vuser_region_info) { 80, 15, 1, 32, 0x3000, 0x1122334455667788 }, wire);
    static const uint8_t region[32] = {
        80,   0,    0, 0, 15, 0, 0, 0, 1,    0,    0,    0,    32,   0,    0,    0,
        0x00, 0x30, 0, 0, 0,  0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
    };
    assert_memory_equal(wire, region, 32);

    vuser_state_encode(&(struct vuser_state) { 6, -1 }, wire + 1); /* any alignment */
    static const uint8_t migration[8] = { 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
    assert_memory_equal(wire + 1, migration, 8);
}

/* Every byte of a wire structure matters and survives decode and encode. */
#define ROUND_TRIP(name, fields, bytes)                                                            \
    {                                                                                              \
        uint8_t in[bytes], out[bytes + 1];                                                         \
        struct name value;                                                                         \
        for (unsigned i = 0; i < bytes; i++)                                                       \
            in[i] = (uint8_t)(i * 7 + 1);                                                          \
        out[bytes] = 0x5a;                                                                         \
        name##_decode(in, &value);                                                                 \
        name##_encode(&value, out);                                                                \
        assert_memory_equal(in, out, bytes);                                                       \
        assert_int_equal(out[bytes], 0x5a);                                                        \
    }
static void every_structure_survives_a_round_trip(void **state)
{
    (void)state;
    VUSER_STRUCTS(ROUND_TRIP)
}

static void dma_commands_alone_travel_to_the_client(void **state)
{
    (void)state;
    unsigned known = 0;
    for (unsigned i = 0; i <= UINT16_MAX; i++) {
        const struct vuser_rule *rule = vuser_rule((uint16_t)i);
        if (!rule)
            continue;
        known++;
        bool dma = i == 11 || i == 12;
        assert_int_equal(rule->direction, dma ? VUSER_TO_CLIENT : VUSER_TO_SERVER);
    }
    assert_int_equal(known, 18); /* 1..19 without 14 */
    assert_null(vuser_rule(0));
    assert_null(vuser_rule(14));
    assert_null(vuser_rule(20));
}

static void only_reset_may_come_without_payload(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < 30; i++) {
        const struct vuser_rule *rule = vuser_rule(i);
        if (rule)
            assert_int_equal(rule->command_min == 0, i == VUSER_DEVICE_RESET);
    }
}

/* ---- headers ---- */

static int check(uint32_t size, uint32_t flags)
{
    struct vmig_error err = { 0 };
    struct vuser_header h = { 1, 9, size, flags, 0 };
    int rc = vuser_header_check(&h, 1000, &err);
    assert_int_equal(err.code, rc);
    return rc;
}

static void a_header_is_refused_just_beyond_its_limits(void **state)
{
    (void)state;
    assert_int_equal(check(15, 0), -EPROTO);
    assert_int_equal(check(16, 0), 0);
    assert_int_equal(check(17, 1), 0);
    assert_int_equal(check(999, 0), 0);
    assert_int_equal(check(1000, 0), 0);
    assert_int_equal(check(1001, 0), -EPROTO);
    assert_int_equal(check(UINT32_MAX, 0), -EPROTO);
    assert_int_equal(check(0, 0), -EPROTO);
    for (uint32_t type = 2; type < 16; type++)
        assert_int_equal(check(16, type), -EPROTO);
    assert_int_equal(check(16, 0x31), 0);
}

static void an_error_reply_without_a_usable_number_is_an_io_error(void **state)
{
    (void)state;
    assert_int_equal(vuser_error_code(22), -22);
    assert_int_equal(vuser_error_code(1), -1);
    assert_int_equal(vuser_error_code(4095), -4095);
    assert_int_equal(vuser_error_code(0), -EIO);
    assert_int_equal(vuser_error_code(4096), -EIO);
    assert_int_equal(vuser_error_code(UINT32_MAX), -EIO);
}

static void an_error_reply_is_a_bare_header(void **state)
{
    (void)state;
    struct vuser_header command = vuser_command_header(77, VUSER_DMA_MAP, 32);
    struct vuser_header h = vuser_error_header(&command, -EEXIST);
    assert_int_equal(h.id, 77);
    assert_int_equal(h.command, VUSER_DMA_MAP);
    assert_int_equal(h.size_bytes, 16);
    assert_int_equal(h.flags, 0x21);
    assert_int_equal(h.error, EEXIST);
}

/* ---- VERSION ---- */

static int parse_bytes(const void *json, size_t bytes, struct vuser_capabilities *ret,
                       struct vmig_error *err)
{
    CLEANUP_FREE uint8_t *payload = malloc(4 + bytes); /* exact, so that ASan sees an overrun */
    memcpy(payload, "\0\0\2\0", 4);
    if (bytes > 0)
        memcpy(payload + 4, json, bytes);
    return vuser_version_parse(payload, 4 + bytes, ret, err);
}

static int parse(const char *json, struct vuser_capabilities *ret)
{
    struct vmig_error err = { 0 };
    int rc = parse_bytes(json, strlen(json) + 1, ret, &err);
    assert_int_equal(err.code, rc);
    assert_true(rc == 0 || strncmp(err.text, "VERSION: ", 9) == 0);
    return rc;
}

static void what_is_announced_arrives(void **state)
{
    (void)state;
    struct vuser_capabilities in = vuser_capabilities_default(), out;
    in.max_msg_fds = 8;
    in.max_data_xfer_size = 123456;
    in.max_dma_maps = 77;
    in.pgsizes = 0x201000;
    in.write_multiple = in.sparse_mmap_fds = in.twin_socket = true;
    in.twin_fd_index = 3;
    in.migration_pgsize = 4096;
    in.migration_max_bitmap_size = 1 << 20;
    in.extensions = VUSER_EXT_ALL;
    CLEANUP_FREE void *payload = NULL;
    size_t bytes;
    assert_int_equal(vuser_version_build(&in, &payload, &bytes), 0);
    assert_int_equal(((char *)payload)[bytes - 1], '\0');
    assert_int_equal(vuser_version_parse(payload, bytes, &out, NULL), 0);
    assert_int_equal(out.major, 0);
    assert_int_equal(out.minor, 2);
    assert_int_equal(out.max_msg_fds, 8);
    assert_int_equal(out.max_data_xfer_size, 123456);
    assert_int_equal(out.max_dma_maps, 77);
    assert_int_equal(out.pgsizes, 0x201000);
    assert_true(out.write_multiple && out.sparse_mmap_fds && out.twin_socket);
    assert_int_equal(out.twin_fd_index, 3);
    assert_int_equal(out.migration_pgsize, 4096);
    assert_int_equal(out.migration_max_bitmap_size, 1 << 20);
    assert_int_equal(out.extensions, VUSER_EXT_ALL);
}

static void absent_members_have_the_specified_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "{}", "{\"capabilities\":{}}", "{\"other\":[1,2]}" };
    for (size_t i = 0; i < 4; i++) {
        struct vuser_capabilities c;
        assert_int_equal(parse(texts[i], &c), 0);
        assert_int_equal(c.max_msg_fds, 1);
        assert_int_equal(c.max_data_xfer_size, 1048576);
        assert_int_equal(c.max_dma_maps, 65535);
        assert_int_equal(c.pgsizes, 4096);
        assert_false(c.twin_socket || c.write_multiple || c.sparse_mmap_fds);
        assert_int_equal(c.twin_fd_index, -1);
        assert_int_equal(c.extensions, 0);
    }
    struct vuser_capabilities c;
    assert_int_equal(parse_bytes(NULL, 0, &c, NULL), 0); /* no JSON at all */
    assert_int_equal(c.max_msg_fds, 1);
    assert_int_equal(c.minor, 2);
}

static void the_reply_of_a_known_server_is_understood(void **state)
{
    (void)state;
    struct vuser_capabilities c;
    assert_int_equal(
        parse("{ \"capabilities\": { \"max_msg_fds\": 8, \"max_data_xfer_size\": 1048576, "
              "\"migration\": { \"pgsize\": 4096 }, "
              "\"twin_socket\": { \"supported\": true, \"fd_index\": 0 } } }",
              &c),
        0);
    assert_true(c.twin_socket);
    assert_int_equal(c.twin_fd_index, 0);
    assert_int_equal(c.migration_pgsize, 4096);
    assert_int_equal(c.max_msg_fds, 8);
}

static void unknown_and_false_extensions_are_none(void **state)
{
    (void)state;
    struct vuser_capabilities c;
    assert_int_equal(
        parse("{\"capabilities\":{\"x_vfio_migrate\":{\"p2p\":true,\"later\":{\"a\":1},"
              "\"precopy_info\":false}, \"pgsize\":[]}}",
              &c),
        0);
    assert_int_equal(c.extensions, VUSER_EXT_P2P);
}

static void numbers_outside_their_range_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int rc;
    } rows[] = {
        { "{\"capabilities\":{\"max_msg_fds\":-1}}", -EINVAL },
        { "{\"capabilities\":{\"max_msg_fds\":0}}", 0 },
        { "{\"capabilities\":{\"max_msg_fds\":1.5}}", -EINVAL },
        { "{\"capabilities\":{\"max_msg_fds\":\"8\"}}", -EINVAL },
        { "{\"capabilities\":{\"max_msg_fds\":null}}", -EINVAL },
        { "{\"capabilities\":{\"max_msg_fds\":8.0}}", 0 },
        { "{\"capabilities\":{\"max_data_xfer_size\":0}}", -EINVAL },
        { "{\"capabilities\":{\"max_data_xfer_size\":1}}", 0 },
        { "{\"capabilities\":{\"max_data_xfer_size\":-1}}", -EINVAL },
        { "{\"capabilities\":{\"max_data_xfer_size\":9223372036854775807}}", 0 },
        { "{\"capabilities\":{\"max_data_xfer_size\":9223372036854775808}}", -EINVAL },
        { "{\"capabilities\":{\"max_data_xfer_size\":1e300}}", -EINVAL },
        { "{\"capabilities\":{\"max_data_xfer_size\":1e6}}", 0 },
        { "{\"capabilities\":{\"pgsizes\":-4096}}", -EINVAL },
        { "{\"capabilities\":{\"max_dma_maps\":true}}", -EINVAL },
        { "{\"capabilities\":{\"migration\":{\"pgsize\":-1}}}", -EINVAL },
        { "{\"capabilities\":{\"migration\":4096}}", -EINVAL },
        { "{\"capabilities\":{\"twin_socket\":{\"supported\":1}}}", -EINVAL },
        { "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":-1}}}", -EINVAL },
        { "{\"capabilities\":{\"write_multiple\":1}}", -EINVAL },
        { "{\"capabilities\":{\"x_vfio_migrate\":true}}", -EINVAL },
        { "{\"capabilities\":{\"x_vfio_migrate\":{\"p2p\":1}}}", -EINVAL },
        { "{\"capabilities\":[]}", -EINVAL },
        { "[]", -EINVAL },
        { "17", -EINVAL },
        { "{\"capabilities\":{}", -EINVAL },
        { "{\"capabilities\":{}} x", -EINVAL },
        { "{\"capabilities\":{\"a\":\"\xff\"}}", -EINVAL },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct vuser_capabilities c;
        if (parse(rows[i].json, &c) != rows[i].rc)
            fail_msg("%s", rows[i].json);
    }
}

static void more_than_we_would_ever_use_is_cut(void **state)
{
    (void)state;
    struct vuser_capabilities c;
    assert_int_equal(parse("{\"capabilities\":{\"max_msg_fds\":100000,"
                           "\"max_data_xfer_size\":9223372036854775807}}",
                           &c),
                     0);
    assert_int_equal(c.max_msg_fds, VUSER_FDS_MAX);
    assert_int_equal(c.max_data_xfer_size, VUSER_DATA_XFER_MAX);
}

static void json_must_end_with_a_nul_inside_the_message(void **state)
{
    (void)state;
    struct vuser_capabilities c;
    struct vmig_error err = { 0 };
    assert_int_equal(parse_bytes("{}", 2, &c, &err), -EINVAL);
    assert_int_equal(parse_bytes("{}", 3, &c, NULL), 0);
    assert_int_equal(parse_bytes("{}\0garbage", 10, &c, NULL), 0);
    assert_non_null(strstr(err.text, "NUL"));
    for (size_t bytes = 0; bytes < 4; bytes++)
        assert_int_equal(vuser_version_parse("\0\0\2", bytes, &c, NULL), -EINVAL);
}

static int parse_nested(unsigned depth)
{
    char text[2 * 2100 + 40];
    struct vuser_capabilities c;
    int n = snprintf(text, sizeof(text), "{\"a\":");
    memset(text + n, '[', depth - 1);
    memset(text + n + depth - 1, ']', depth - 1);
    memcpy(text + n + 2 * (depth - 1), "}", 2);
    return parse(text, &c);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(parse_nested(VUSER_JSON_DEPTH_MAX - 1), 0);
    assert_int_equal(parse_nested(VUSER_JSON_DEPTH_MAX), 0);
    assert_int_equal(parse_nested(VUSER_JSON_DEPTH_MAX + 1), -EINVAL);
    assert_int_equal(parse_nested(2050), -EINVAL);
    struct vuser_capabilities c; /* brackets in strings are text */
    assert_int_equal(parse("{\"a\":\"[[[[[[[[[[[[[[[[[[\\\"{{{{{{\"}", &c), 0);
}

static int parse_padded(size_t bytes)
{
    CLEANUP_FREE char *text = malloc(bytes);
    struct vuser_capabilities c;
    memset(text, ' ', bytes);
    memcpy(text, "{}", 2);
    text[bytes - 1] = '\0';
    return parse_bytes(text, bytes, &c, NULL);
}

static void length_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(parse_padded(VUSER_JSON_BYTES_MAX - 1), 0);
    assert_int_equal(parse_padded(VUSER_JSON_BYTES_MAX), 0);
    assert_int_equal(parse_padded(VUSER_JSON_BYTES_MAX + 1), -EINVAL);
}

/* ---- region info ---- */

struct region_payload {
    size_t bytes;
    uint8_t buf[512];
};

static struct region_payload region_start(uint32_t flags, uint64_t size, uint64_t offset,
                                          uint32_t cap_offset)
{
    struct region_payload p = { .bytes = 32 };
    vuser_region_info_encode(&(struct vuser_region_info) { 0, flags, 1, cap_offset, size, offset },
                             p.buf);
    return p;
}

static void add_cap(struct region_payload *p, uint16_t id, uint32_t next)
{
    vuser_capability_encode(&(struct vuser_capability) { id, 1, next }, p->buf + p->bytes);
    p->bytes += 8;
}

static void add_u64(struct region_payload *p, uint64_t a)
{
    memcpy(p->buf + p->bytes, &a, 8);
    p->bytes += 8;
}

static int parse_region(const struct region_payload *p, unsigned fds, struct vuser_region *ret)
{
    CLEANUP_FREE uint8_t *exact = malloc(p->bytes ? p->bytes : 1);
    struct vmig_error err = { 0 };
    memcpy(exact, p->buf, p->bytes);
    int rc = vuser_region_parse(exact, p->bytes, fds, ret, &err);
    assert_int_equal(err.code, rc);
    return rc;
}

static void sparse_areas_are_found(void **state)
{
    (void)state;
    struct region_payload p = region_start(15, 0x3000, 0x10000, 32);
    add_cap(&p, 1, 0);
    add_u64(&p, 2);
    add_u64(&p, 0);
    add_u64(&p, 0x1000);
    add_u64(&p, 0x2000);
    add_u64(&p, 0x1000);
    struct vuser_region r;
    assert_int_equal(parse_region(&p, 1, &r), 0);
    assert_int_equal(r.info.flags, 7);
    assert_int_equal(r.num_areas, 2);
    assert_int_equal(r.areas[1].offset_bytes, 0x2000);
    assert_int_equal(r.areas[1].size_bytes, 0x1000);
    assert_int_equal(r.areas[1].fd_offset, 0x12000);
    assert_int_equal(parse_region(&p, 0, &r), 0); /* the short first answer has no fd */
    assert_int_equal(r.num_areas, 0);
    for (size_t bytes = 0; bytes < p.bytes; bytes++) {
        struct region_payload cut = p;
        cut.bytes = bytes;
        assert_int_equal(parse_region(&cut, 1, &r), -EPROTO);
    }
}

static void a_cut_answer_has_no_areas_and_says_how_much_to_ask_for(void **state)
{
    (void)state;
    struct vuser_region r;
    struct region_payload p = region_start(15, 0x3000, 0, 32);
    vuser_region_info_encode(&(struct vuser_region_info) { 33, 15, 1, 32, 0x3000, 0 }, p.buf);
    assert_int_equal(parse_region(&p, 1, &r), 0);
    assert_int_equal(r.info.argsz, 33);
    assert_int_equal(r.num_areas, 0);
    vuser_region_info_encode(&(struct vuser_region_info) { 32, 15, 1, 32, 0x3000, 0 }, p.buf);
    assert_int_equal(parse_region(&p, 1, &r), -EPROTO); /* complete, and its chain is not there */
}

static void a_region_without_list_is_mappable_as_a_whole(void **state)
{
    (void)state;
    struct vuser_region r;
    struct region_payload p = region_start(7, 0x5000, 0x1000, 0);
    assert_int_equal(parse_region(&p, 1, &r), 0);
    assert_int_equal(r.num_areas, 1);
    assert_int_equal(r.areas[0].size_bytes, 0x5000);
    assert_int_equal(r.areas[0].fd_offset, 0x1000);
    p = region_start(3, 0x5000, 0x1000, 0);
    assert_int_equal(parse_region(&p, 1, &r), 0);
    assert_int_equal(r.num_areas, 0);
}

static void areas_may_name_their_fds(void **state)
{
    (void)state;
    struct region_payload p = region_start(15, 0x3000, 0, 32);
    add_cap(&p, 0x8001, 0);
    add_u64(&p, 1);
    add_u64(&p, 0x1000);
    add_u64(&p, 0x7000);
    add_u64(&p, 0x2000);
    add_u64(&p, 1);
    struct vuser_region r;
    assert_int_equal(parse_region(&p, 1, &r), -EPROTO); /* only index 0 came along */
    assert_int_equal(parse_region(&p, 2, &r), 0);
    assert_int_equal(r.areas[0].fd_index, 1);
    assert_int_equal(r.areas[0].fd_offset, 0x7000);
}

static void capability_chains_must_go_forward_and_stay_inside(void **state)
{
    (void)state;
    static const uint32_t firsts[] = { 31, 33, 34, 28, 4, 0xfffffff8, 0xfffffffc, 100, 40, 48 };
    struct vuser_region r;
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        struct region_payload p = region_start(15, 0x3000, 0, firsts[i]);
        add_cap(&p, 99, 0);
        assert_int_equal(parse_region(&p, 1, &r), -EPROTO);
    }
    static const uint32_t nexts[] = { 32, 40, 4, 36, 0xffffffff, 0xfffffffc, 48, 52 };
    for (size_t i = 0; i < sizeof(nexts) / sizeof(nexts[0]); i++) {
        struct region_payload p = region_start(15, 0x3000, 0, 32);
        add_cap(&p, 99, nexts[i]);
        if (nexts[i] == 40) { /* fine: a second one behind the first, which must not go back */
            add_cap(&p, 98, 32);
        }
        assert_int_equal(parse_region(&p, 1, &r), -EPROTO);
    }
    struct region_payload p = region_start(15, 0x3000, 0, 32);
    add_cap(&p, 99, 40);
    add_cap(&p, 2, 0);
    add_u64(&p, 0x0000000100000003);
    assert_int_equal(parse_region(&p, 1, &r), 0);
    assert_int_equal(r.type, 3);
    assert_int_equal(r.subtype, 1);
}

static void a_number_of_areas_beyond_the_message_is_refused(void **state)
{
    (void)state;
    static const uint64_t counts[] = { 2, 3, 0x10000000, 0x10000001, 0xffffffff };
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct region_payload p = region_start(15, 0x3000, 0, 32);
        struct vuser_region r;
        add_cap(&p, 1, 0);
        add_u64(&p, counts[i]);
        add_u64(&p, 0);
        add_u64(&p, 0x1000);
        assert_int_equal(parse_region(&p, 1, &r), -EPROTO);
    }
}

static int one_area(uint64_t offset, uint64_t size, uint64_t base)
{
    struct region_payload p = region_start(15, 0x3000, base, 32);
    struct vuser_region r;
    add_cap(&p, 1, 0);
    add_u64(&p, 1);
    add_u64(&p, offset);
    add_u64(&p, size);
    return parse_region(&p, 1, &r);
}

static void areas_must_lie_inside_the_region(void **state)
{
    (void)state;
    assert_int_equal(one_area(0, 0x2fff, 0), 0);
    assert_int_equal(one_area(0, 0x3000, 0), 0);
    assert_int_equal(one_area(0, 0x3001, 0), -EPROTO);
    assert_int_equal(one_area(0x1000, 0x2001, 0), -EPROTO);
    assert_int_equal(one_area(0x1000, 0, 0), -EPROTO);
    assert_int_equal(one_area(UINT64_MAX - 0xfff, 0x1000, 0), -EPROTO);
    assert_int_equal(one_area(UINT64_MAX - 0xfff, 0x2000, 0), -EPROTO);
    assert_int_equal(one_area(0x1000, 0x1000, UINT64_MAX - 0xfff), -EPROTO);
    assert_int_equal(one_area(0x1000, 0x1000, UINT64_MAX - 0x1fff), -EPROTO);
}

static void overlapping_areas_are_refused(void **state)
{
    (void)state;
    for (uint64_t second = 0; second < 4; second++) {
        struct region_payload p = region_start(15, 0x8000, 0, 32);
        struct vuser_region r;
        add_cap(&p, 1, 0);
        add_u64(&p, 2);
        add_u64(&p, 0x1000);
        add_u64(&p, 0x2000);
        add_u64(&p, second * 0x1000);
        add_u64(&p, 0x1000);
        assert_int_equal(parse_region(&p, 1, &r), second == 1 || second == 2 ? -EPROTO : 0);
    }
}

static void more_areas_than_we_keep_are_left_out(void **state)
{
    (void)state;
    struct region_payload p = region_start(15, 0x100000, 0, 32);
    struct vuser_region r;
    add_cap(&p, 1, 0);
    add_u64(&p, VUSER_AREAS_MAX + 1);
    for (uint64_t i = 0; i <= VUSER_AREAS_MAX; i++) {
        add_u64(&p, i * 0x2000);
        add_u64(&p, 0x1000);
    }
    assert_int_equal(parse_region(&p, 1, &r), 0);
    assert_int_equal(r.num_areas, VUSER_AREAS_MAX);
}

static void what_the_server_builds_the_client_understands(void **state)
{
    (void)state;
    struct vuser_region in = { .info = { .flags = 3,
                                         .index = 1,
                                         .size_bytes = 0x3000,
                                         .offset = 0x4000 },
                               .num_areas = 2,
                               .areas = { { .offset_bytes = 0, .size_bytes = 0x1000 },
                                          { .offset_bytes = 0x2000, .size_bytes = 0x1000 } } },
                        out;
    uint8_t wire[80];
    assert_int_equal(vuser_region_build(&in, wire, 79), 80); /* does not fit: cut */
    assert_int_equal(vuser_region_parse(wire, 32, 0, &out, NULL), 0);
    assert_int_equal(out.info.argsz, 80);
    assert_int_equal(out.info.flags, 7);
    assert_int_equal(out.num_areas, 0);
    assert_int_equal(vuser_region_build(&in, wire, 80), 80);
    assert_int_equal(vuser_region_parse(wire, 80, 1, &out, NULL), 0);
    assert_int_equal(out.num_areas, 2);
    assert_int_equal(out.areas[1].fd_offset, 0x6000);
    in.num_areas = 0;
    assert_int_equal(vuser_region_build(&in, wire, 32), 32);
    assert_int_equal(vuser_region_parse(wire, 32, 0, &out, NULL), 0);
    assert_int_equal(out.info.flags, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_lie_where_the_specification_puts_them),
        cmocka_unit_test(every_structure_survives_a_round_trip),
        cmocka_unit_test(dma_commands_alone_travel_to_the_client),
        cmocka_unit_test(only_reset_may_come_without_payload),
        cmocka_unit_test(a_header_is_refused_just_beyond_its_limits),
        cmocka_unit_test(an_error_reply_without_a_usable_number_is_an_io_error),
        cmocka_unit_test(an_error_reply_is_a_bare_header),
        cmocka_unit_test(what_is_announced_arrives),
        cmocka_unit_test(absent_members_have_the_specified_defaults),
        cmocka_unit_test(the_reply_of_a_known_server_is_understood),
        cmocka_unit_test(unknown_and_false_extensions_are_none),
        cmocka_unit_test(numbers_outside_their_range_are_refused),
        cmocka_unit_test(more_than_we_would_ever_use_is_cut),
        cmocka_unit_test(json_must_end_with_a_nul_inside_the_message),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(sparse_areas_are_found),
        cmocka_unit_test(a_cut_answer_has_no_areas_and_says_how_much_to_ask_for),
        cmocka_unit_test(a_region_without_list_is_mappable_as_a_whole),
        cmocka_unit_test(areas_may_name_their_fds),
        cmocka_unit_test(capability_chains_must_go_forward_and_stay_inside),
        cmocka_unit_test(a_number_of_areas_beyond_the_message_is_refused),
        cmocka_unit_test(areas_must_lie_inside_the_region),
        cmocka_unit_test(overlapping_areas_are_refused),
        cmocka_unit_test(more_areas_than_we_keep_are_left_out),
        cmocka_unit_test(what_the_server_builds_the_client_understands),
    };
    return cmocka_run_group_tests_name("vfio-user codec", tests, NULL, NULL);
}
