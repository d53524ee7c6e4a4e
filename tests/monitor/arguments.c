/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments against a table: what is refused, and that it is named as QEMU 7.2 names it. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/monitor/arguments.h"
#include "lib/monitor/destination.h"

static const struct argument pair[] = { { "capability", ARGUMENT_STRING, false, NULL },
                                        { "state", ARGUMENT_BOOLEAN, false, NULL },
                                        { 0 } };
static const struct argument table[] = { { "uri", ARGUMENT_STRING, false, NULL },
                                         { "detach", ARGUMENT_BOOLEAN, true, NULL },
                                         { "limit", ARGUMENT_INTEGER, true, NULL },
                                         { "enable", ARGUMENT_STRINGS, true, NULL },
                                         { "capabilities", ARGUMENT_OBJECTS, true, pair },
                                         { "one", ARGUMENT_OBJECT, true, pair },
                                         { "any", ARGUMENT_ANY, true, NULL },
                                         { 0 } };

/* @wanted: NULL accepts. */
static void check(const char *text, const char *wanted)
{
    struct vmig_error err = { 0 };
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_int_equal(arguments_check(json, table, &err), wanted ? -EINVAL : 0);
    assert_string_equal(err.text, wanted ? wanted : "");
    json_decref(json);
}

static void what_the_table_has_is_accepted(void **state)
{
    (void)state;
    check("{\"uri\": \"x\"}", NULL);
    check("{\"uri\": \"x\", \"detach\": false, \"limit\": -1, \"enable\": [], \"any\": null}",
          NULL);
    check("{\"uri\": \"\", \"capabilities\": [{\"state\": true, \"capability\": \"x\"}]}", NULL);
    check("{\"uri\": \"\", \"one\": {\"state\": true, \"capability\": \"x\"}}", NULL);
}

static void a_missing_argument_is_named(void **state)
{
    (void)state;
    check("{}", "Parameter 'uri' is missing");
    check("{\"uri\": \"x\", \"capabilities\": [{\"state\": true}]}",
          "Parameter 'capabilities[0].capability' is missing");
    check("{\"uri\": \"x\", \"one\": {\"capability\": \"x\"}}", "Parameter 'one.state' is missing");
}

static void an_argument_of_another_type_is_named(void **state)
{
    (void)state;
    check("{\"uri\": 5}", "Invalid parameter type for 'uri', expected: string");
    check("{\"uri\": null}", "Invalid parameter type for 'uri', expected: string");
    check("{\"uri\": \"x\", \"detach\": 1}",
          "Invalid parameter type for 'detach', expected: boolean");
    check("{\"uri\": \"x\", \"limit\": 1.0}",
          "Invalid parameter type for 'limit', expected: integer");
    check("{\"uri\": \"x\", \"enable\": \"oob\"}",
          "Invalid parameter type for 'enable', expected: array");
    check("{\"uri\": \"x\", \"enable\": [\"oob\", 5]}",
          "Invalid parameter type for 'enable[1]', expected: string");
    check("{\"uri\": \"x\", \"capabilities\": [5]}",
          "Invalid parameter type for 'capabilities[0]', expected: object");
    check("{\"uri\": \"x\", \"capabilities\": [{\"capability\": \"x\", \"state\": 1}]}",
          "Invalid parameter type for 'capabilities[0].state', expected: boolean");
    check("{\"uri\": \"x\", \"one\": []}", "Invalid parameter type for 'one', expected: object");
}

static void an_argument_that_is_not_in_the_table_is_named(void **state)
{
    (void)state;
    check("{\"uri\": \"x\", \"foo\": 1}", "Parameter 'foo' is unexpected");
    check(
        "{\"uri\": \"x\", \"capabilities\": [{\"capability\": \"x\", \"state\": true, \"x\": 1}]}",
        "Parameter 'capabilities[0].x' is unexpected");
}

/* ---- uri and channels ---- */

static void destination(const char *text, const char *wanted, const char *refused)
{
    struct vmig_error err = { 0 };
    char *address = NULL;
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    int rc = destination_read(json, &address, &err);
    json_decref(json);
    if (wanted) {
        assert_string_equal(err.text, "");
        assert_string_equal(address, wanted);
    } else {
        assert_true(rc < 0 && !address);
        if (!strstr(err.text, refused))
            fail_msg("%s: \"%s\" does not say \"%s\"", text, err.text, refused);
    }
    free(address);
}

#define CHANNEL(addr) "{\"channels\": [{\"channel-type\": \"main\", \"addr\": {" addr "}}]}"

static void both_forms_mean_the_same_addresses(void **state)
{
    (void)state;
    destination("{\"uri\": \"tcp:host:4444\"}", "tcp:host:4444", NULL);
    destination(CHANNEL("\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"host\", "
                        "\"port\": \"4444\""),
                "tcp:host:4444", NULL);
    destination(CHANNEL("\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"::1\", "
                        "\"port\": \"1\""),
                "tcp:[::1]:1", NULL);
    destination(CHANNEL("\"transport\": \"socket\", \"type\": \"unix\", \"path\": \"/x\""),
                "unix:/x", NULL);
    destination(CHANNEL("\"transport\": \"socket\", \"type\": \"fd\", \"str\": \"5\""), "fd:5",
                NULL);
    destination(CHANNEL("\"transport\": \"file\", \"filename\": \"/x\", \"offset\": 0"), "file:/x",
                NULL);
    destination(CHANNEL("\"transport\": \"exec\", \"args\": [\"cat\", \"a b\", \"it's\"]"),
                "exec: 'cat' 'a b' 'it'\\''s'", NULL);
}

static void exactly_one_form_is_wanted(void **state)
{
    (void)state;
    destination("{}", NULL, "Parameter 'uri' is missing");
    destination("{\"uri\": \"unix:/x\", \"channels\": []}", NULL, "mutually exclusive");
}

static void channels_that_make_no_sense_are_refused_by_member(void **state)
{
    (void)state;
    destination("{\"channels\": 5}", NULL, "'channels', expected: array");
    destination("{\"channels\": []}", NULL, "Channel list");
    destination("{\"channels\": [{\"channel-type\": \"cpr\", \"addr\": {}}]}", NULL,
                "'channels[0].channel-type'");
    destination("{\"channels\": [{\"channel-type\": \"main\", \"addr\": 5}]}", NULL,
                "'channels[0].addr'");
    destination(CHANNEL("\"transport\": \"rdma\", \"host\": \"x\", \"port\": \"1\""), NULL,
                "'channels[0].addr' needs a transport");
    destination(CHANNEL("\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"x\""), NULL,
                "channels[0].addr: Parameter 'port' is missing");
    destination(CHANNEL("\"transport\": \"file\", \"filename\": \"/x\", \"offset\": 4096"), NULL,
                "offset");
    destination("{\"uri\": \"file:/x,offset=0x1000\"}", NULL, "offset");
    destination("{\"uri\": \"bogus:x\"}", NULL, "bogus");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_table_has_is_accepted),
        cmocka_unit_test(a_missing_argument_is_named),
        cmocka_unit_test(an_argument_of_another_type_is_named),
        cmocka_unit_test(an_argument_that_is_not_in_the_table_is_named),
        cmocka_unit_test(both_forms_mean_the_same_addresses),
        cmocka_unit_test(exactly_one_form_is_wanted),
        cmocka_unit_test(channels_that_make_no_sense_are_refused_by_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
