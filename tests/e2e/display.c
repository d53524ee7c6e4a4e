/* SPDX-License-Identifier: BSD-3-Clause */
/* Displays and machine versions from the command line: files stand for what a guest has done. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/e2e/process.h"

/* 1,024 x 768 pixels of "XR24" in lines of 4,096 bytes at 0x7f000000, as a guest writes it */
static const unsigned char picture[28] = { 0, 0, 0, 0, 0x7f, 0, 0, 0, '4', '2', 'R', 'X', 0,  0,
                                           0, 0, 0, 0, 4,    0, 0, 0, 3,   0,   0,   0,   16, 0 };

static struct process servers[2];
static char from[200], to[200];

static int begin(void **state)
{
    (void)state;
    pair_begin(servers, from, to);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    pair_end(servers);
    return 0;
}

static void put(const char *name, const void *bytes, size_t length)
{
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

static void has(const char *name, const unsigned char *wanted)
{
    unsigned char found[29] = { 0 };
    FILE *file = fopen(at(name), "r");
    assert_non_null(file);
    assert_int_equal(fread(found, 1, sizeof(found), file), 28);
    fclose(file);
    assert_memory_equal(found, wanted, 28);
}

static void has_none(const char *name)
{
    assert_null(fopen(at(name), "r"));
}

static const char *with(const char *device, const char *setting, const char *file)
{
    static char text[4][400];
    static unsigned next;
    char *ret = text[next++ % 4];
    snprintf(ret, sizeof(text[0]), "%s,%s%s", device, setting, file);
    return ret;
}

static const char *stream(void)
{
    static char text[200];
    snprintf(text, sizeof(text), "file:%s", at("stream"));
    return text;
}

/* A target stays, as the device's owner, until it is told to go: wait until it wrote @name. */
static void receives(struct process p, const char *name)
{
    struct stat st;
    for (unsigned i = 0; i < 3000 && (stat(at(name), &st) != 0 || st.st_size != 28); i++)
        nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL);
    kill_hard(&p);
    has(name, picture);
}

static void the_ramfb_of_a_device_moves_through_a_file(void **state)
{
    (void)state;
    put("here", picture, sizeof(picture));
    expect(run("save", with(from, "ramfb=", at("here")), "--to", at("saved")), 0, "completed");
    expect(run("restore", with(to, "ramfb=", at("there")), "--from", at("saved")), 0, "completed");
    has("there", picture);
}

static void a_ramfb_of_its_own_moves_through_a_file(void **state)
{
    (void)state;
    put("here", picture, sizeof(picture));
    expect(run("send", "--ramfb", at("here"), "--device", from, stream()), 0, "completed");
    receives(start("receive", "--ramfb", at("there"), "--device", to, stream()), "there");
}

static void a_target_of_8_1_refuses_what_a_newer_machine_sends(void **state)
{
    (void)state;
    put("here", picture, sizeof(picture));
    expect(run("send", "--device", with(from, "ramfb=", at("here")), stream()), 0, "completed");
    struct result r =
        run("receive", "--compat", "8.1", "--device", with(to, "ramfb=", at("there")), stream());
    if (!r.exit_code)
        fail_msg("%s%s", r.out, r.err);
    expect(r, r.exit_code, "vfio-pci-nohotplug.x-ramfb-migrate");
    has_none("there");
}

static void a_source_of_8_1_sends_none_and_the_target_warns(void **state)
{
    (void)state;
    put("here", picture, sizeof(picture));
    expect(run("send", "--compat", "8.1", "--device", with(from, "ramfb=", at("here")), stream()),
           0, "completed");
    expect(run("restore", with(to, "ramfb=", at("there")), "--from", at("stream")), 0,
           "did not send the state of the device's ramfb");
    has_none("there");
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    put("here", "short", 5);
    struct result r = run("send", "--compat", "eight", "--device", from, stream());
    expect(r, r.exit_code, "is no machine version");
    assert_int_not_equal(r.exit_code, 0);
    r = run("send", "--device", with(from, "ramfb=", ""), stream());
    expect(r, r.exit_code, "ramfb= takes the name of a file");
    assert_int_not_equal(r.exit_code, 0);
    r = run("send", "--device", with(from, "hotplugged,ramfb=", at("here")), stream());
    expect(r, r.exit_code, "a hot-added device cannot have a ramfb");
    assert_int_not_equal(r.exit_code, 0);
    r = run("send", "--device", with(from, "ramfb=", at("here")), stream());
    expect(r, r.exit_code, "it has 28 bytes, or none");
    assert_int_not_equal(r.exit_code, 0);
    expect_state("source", "RUNNING");
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, finish)
    static const struct CMUnitTest tests[] = {
        TEST(the_ramfb_of_a_device_moves_through_a_file),
        TEST(a_ramfb_of_its_own_moves_through_a_file),
        TEST(a_target_of_8_1_refuses_what_a_newer_machine_sends),
        TEST(a_source_of_8_1_sends_none_and_the_target_warns),
        TEST(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
