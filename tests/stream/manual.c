/* SPDX-License-Identifier: BSD-3-Clause */
/* The numbers of vfio-migrate-stream(5) are those of the code. */
#include <inttypes.h>
#include "lib/migration/migration.h"
#include "lib/stream/config.h"
#include "lib/stream/manifest.h"
#include "lib/stream/vfio-section.h"
#include "tests/stream/pieces.h"

static char *read_page(void)
{
    char path[4096];
    const char *data = getenv("TEST_DATA");
    snprintf(path, sizeof(path), "%s/../../man/vfio-migrate-stream.5", data ? data : "tests/data");
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 65536);
    if (!file || fread(text, 1, 65535, file) == 0)
        fail_msg("cannot read %s", path);
    fclose(file);
    return text;
}

/* The page has @line, from its beginning on. */
static void expect_line(const char *page, const char *line)
{
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "\n%s", line);
    if (!strstr(page, wanted))
        fail_msg("the page has no line that begins with \"%s\"", line);
}

static void expect_row(const char *page, const char *name, const char *format, uint64_t number)
{
    char figure[32], line[128];
    /* the formats are this file's own */
    if (strcmp(format, "x") == 0)
        snprintf(figure, sizeof(figure), "0x%" PRIx64, number);
    else if (strcmp(format, "02x") == 0)
        snprintf(figure, sizeof(figure), "0x%02" PRIx64, number);
    else
        snprintf(figure, sizeof(figure), "%" PRIu64, number);
    snprintf(line, sizeof(line), ".It %s Ta %s Ta ", name, figure);
    expect_line(page, line);
}

struct row {
    const char *name;
    uint64_t number;
};

#define EXPECT_ROWS(page, rows, format)                                                            \
    for (size_t i_ = 0; i_ < sizeof(rows) / sizeof(rows[0]); i_++)                                 \
    expect_row(page, rows[i_].name, format, rows[i_].number)

static void items_and_words_have_their_numbers(void **state)
{
    (void)state;
    static const struct row items[] = { { "ZERO", QEMU_RAM_ZERO },
                                        { "MEM_SIZE", QEMU_RAM_MEM_SIZE },
                                        { "PAGE", QEMU_RAM_PAGE },
                                        { "EOS", QEMU_RAM_EOS },
                                        { "CONTINUE", QEMU_RAM_CONTINUE } };
    static const struct row words[] = {
        { "END_OF_STATE", QEMU_VFIO_END_OF_STATE },
        { "DEV_CONFIG_STATE", QEMU_VFIO_DEV_CONFIG_STATE },
        { "DEV_SETUP_STATE", QEMU_VFIO_DEV_SETUP_STATE },
        { "DEV_DATA_STATE", QEMU_VFIO_DEV_DATA_STATE },
        { "DEV_INIT_DATA_SENT", QEMU_VFIO_DEV_INIT_DATA_SENT },
        { "DEV_CONFIG_LOAD_READY", QEMU_VFIO_DEV_CONFIG_LOAD_READY },
    };
    char *page = read_page();
    EXPECT_ROWS(page, items, "02x");
    EXPECT_ROWS(page, words, "x");
    free(page);
}

static void commands_and_messages_have_their_numbers(void **state)
{
    (void)state;
    static const struct row commands[] = { { "HELLO", WIRE_CMD_HELLO },
                                           { "ROUND", WIRE_CMD_ROUND },
                                           { "GO", WIRE_CMD_GO },
                                           { "ABORT", WIRE_CMD_ABORT } };
    static const struct row messages[] = {
        { "HELLO", WIRE_RP_HELLO },
        { "READY", WIRE_RP_READY },
        { "ROUND_LOADED", WIRE_RP_ROUND_LOADED },
        { "CREDIT", WIRE_RP_CREDIT },
        { "LOADED", WIRE_RP_LOADED },
        { "RUNNING", WIRE_RP_RUNNING },
        { "FAILED", WIRE_RP_FAILED },
        { "SUSPECT", WIRE_RP_SUSPECT },
    };
    char *page = read_page(), *back = strstr(page, "\n.Sh RETURN MESSAGES");
    assert_non_null(back);
    EXPECT_ROWS(back, messages, "x");
    *back = '\0';
    EXPECT_ROWS(page, commands, "x");
    free(page);
}

static void packets_have_their_numbers(void **state)
{
    (void)state;
    static const char *const names[WIRE_PACKET_KINDS] = {
        [WIRE_PACKET_HELLO] = "HELLO",     [WIRE_PACKET_RAM] = "RAM",
        [WIRE_PACKET_ZERO] = "ZERO",       [WIRE_PACKET_DATA] = "DATA",
        [WIRE_PACKET_INITIAL] = "INITIAL", [WIRE_PACKET_END] = "END",
        [WIRE_PACKET_BARRIER] = "BARRIER", [WIRE_PACKET_FILL] = "FILL",
    };
    char *page = read_page(), *channels = strstr(page, "\n.Sh DATA CHANNELS");
    assert_non_null(channels);
    for (unsigned kind = 1; kind < WIRE_PACKET_KINDS; kind++) {
        assert_non_null(names[kind]); /* a new kind wants a row in the page, and here */
        expect_row(channels, names[kind], "u", kind);
    }
    free(page);
}

/* Where the page gives a bound, the code has the same. */
static void bounds_are_those_of_the_code(void **state)
{
    (void)state;
    assert_int_equal(WIRE_PACKET_BYTES, 48);
    assert_int_equal(RAM_RUN_PAGES, 16);
    assert_int_equal(WIRE_SUSPECTS_MAX, 1024);
    assert_int_equal(WIRE_EXTENT_BYTES, 16);
    assert_int_equal(WIRE_EXTENTS_MAX, 256);
    assert_int_equal(WIRE_PACKET_MAGIC, 0x564d4431);
    assert_int_equal(WIRE_RAM_BYTES_MAX, 4 << 20);
    assert_int_equal(WIRE_CHUNK_BYTES, 1 << 20);
    assert_int_equal(LANES_MAX, 16);
    assert_int_equal(QEMU_SECTIONS_MAX, 4096);
    assert_int_equal(QEMU_VFIO_DATA_MAX, 128 << 20);
    assert_int_equal(MANIFEST_ENTRIES_MAX, 1024);
    assert_int_equal(MANIFEST_VERSION, 2);
    assert_int_equal(WIRE_PROTOCOL, 2);
    char *page = read_page();
    expect_line(page,
                "A data channel carries packets: a header of 48 bytes, a list, and a payload of");
    expect_line(page, ".It magic Ta 0 Ta u32 Ta 0x564d4431");
    expect_line(page, ".It count Ta 12 Ta u32 Ta of extents, at most 256");
    expect_line(page, ".It count Ta u32 Ta of the entries that follow, at most 1024");
    expect_line(page, "A record has at most 128 MiB; ours have 1 MiB.");
    expect_line(page, "A stream has at most 4096 ids.");
    expect_line(page, "is the number of data channels, 0 to 16;");
    free(page);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_and_words_have_their_numbers),
        cmocka_unit_test(commands_and_messages_have_their_numbers),
        cmocka_unit_test(packets_have_their_numbers),
        cmocka_unit_test(bounds_are_those_of_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
