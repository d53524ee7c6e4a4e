/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client sends to a monitor: the bytes are cut into texts in pieces of a few, and each text is
 * parsed, checked against the table and run, on a migration that has nothing to move. Whatever comes,
 * each request is answered once, in JSON; and what is kept stays within its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/monitor/monitor.h"

/* As the fuzzer of systemd's varlink does: input comes in pieces. */
#define PIECE 143

/* Neither begin a migration nor stop what runs: those write to files and start programs. */
static bool is_harmless(const char *name)
{
    return strcmp(name, "migrate") != 0 && strcmp(name, "migrate-incoming") != 0 &&
           strcmp(name, "snapshot") != 0;
}

static bool may_run(const char *text, size_t length)
{
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(json, "execute"));
    bool harmless = !name || is_harmless(name);
    json_decref(json);
    return harmless;
}

static void check_answers(struct client *c, unsigned requests)
{
    unsigned answers = 0;
    char *line = c->reply, *end = c->reply + c->reply_length, *newline;
    for (; line < end; line = newline + 1) {
        newline = memchr(line, '\n', (size_t)(end - line));
        MUST(newline && newline > line && newline[-1] == '\r');
        json_t *json = json_loadb(line, (size_t)(newline - line), JSON_REJECT_DUPLICATES, NULL);
        MUST(json_is_object(json));
        answers += !json_object_get(json, "event");
        json_decref(json);
    }
    MUST(c->dropped || answers == requests);
    c->reply_length = 0;
}

static void take(struct client *c, const char *bytes, size_t length)
{
    const char *why = NULL;
    while (length) {
        enum scan scan = scanner_take(&c->scanner, &bytes, &length, &why);
        MUST(c->scanner.length <= SCANNER_BYTES_MAX);
        struct request r = { .text = c->scanner.text, .length = c->scanner.length };
        if (scan == SCAN_BAD)
            r = (struct request) { .why = why };
        if (scan == SCAN_MORE || (scan == SCAN_TEXT && !may_run(r.text, r.length)))
            continue;
        dispatch(c, &r);
        check_answers(c, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmig_monitor monitor;
    static char package[] = "fuzz";
    struct vmig_error err = { 0 };
    monitor = (struct vmig_monitor) { .package = package, .wake_fd = -1 };
    monitor.migration = vmig_migration_new(NULL, &err);
    MUST(monitor.migration);
    pthread_mutex_init(&monitor.lock, NULL);
    pthread_cond_init(&monitor.changed, NULL);
    struct client *c = &monitor.clients[0];
    *c = (struct client) { .monitor = &monitor, .used = true, .fd = -1, .negotiated = size % 8 };
    MUST(scanner_init(&c->scanner));
    for (size_t at = 0; at < size; at += PIECE)
        take(c, (const char *)data + at, size - at < PIECE ? size - at : PIECE);
    scanner_done(&c->scanner);
    free(c->reply);
    pthread_cond_destroy(&monitor.changed);
    pthread_mutex_destroy(&monitor.lock);
    vmig_migration_free(monitor.migration);
    return 0;
}
