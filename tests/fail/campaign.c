/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jansson.h>

#include "tests/fail/campaign.h"

/* Far beyond what the engine waits for in the worst case, on a slow machine, under sanitizers. */
#define PATIENCE_S 120

/* A call's errors and hiccups are at most as many. */
#define VARIANTS_MAX 3

static const char *const kind_names[INJECT_KINDS] = { "errors", "hiccups" };

static struct {
    bool all, one;
    unsigned patience_s;
    struct inject_plan only;
    struct inject_plan plan; /* of this attempt */
    enum inject_side side;
    bool active;
    char name[40];
} run;

static void *json_malloc(size_t size)
{
    return malloc(size);
}

/* The library behind it carries no sanitizer: what it uses after it was freed must hurt. */
static void json_free(void *allocation)
{
    if (allocation)
        memset(allocation, 0xa5, malloc_usable_size(allocation));
    __asm__ volatile("" : : "r"(allocation) : "memory");
    free(allocation);
}

int campaign_setup(void **state)
{
    (void)state;
    json_set_alloc_funcs(json_malloc, json_free);
    json_object_seed(1); /* at its first use it would read from a file, once */
    const char *wish = getenv("FAIL_NTH");
    const char *patience = getenv("FAIL_PATIENCE");
    char kind[16];
    run.patience_s = patience ? (unsigned)atoi(patience) : PATIENCE_S;
    run.all = wish && strcmp(wish, "all") == 0;
    run.one =
        wish && sscanf(wish, "%15[a-z]:%u:%" SCNu64, kind, &run.only.variant, &run.only.nth) == 3;
    if (run.one)
        run.only.kind =
            strcmp(kind, kind_names[INJECT_HICCUPS]) == 0 ? INJECT_HICCUPS : INJECT_ERRORS;
    return 0;
}

static void describe(char *ret, size_t size)
{
    const struct injected *last = inject_last();
    snprintf(ret, size, "%s: FAIL_NTH=%s:%u:%" PRIu64, run.name, kind_names[run.plan.kind],
             run.plan.variant, last->done ? last->nth : run.plan.nth);
}

int campaign_teardown(void **state)
{
    (void)state;
    inject_disarm();
    if (run.active) {
        char what[120];
        describe(what, sizeof(what));
        inject_watch(0, what);
        inject_print_place();
    }
    run.active = false;
    return 0;
}

void campaign_begin(void)
{
    inject_arm(&run.plan, run.side);
}

bool campaign_end(void)
{
    inject_disarm();
    return inject_last()->done && run.plan.kind == INJECT_ERRORS;
}

bool campaign_errors(void)
{
    return run.plan.kind == INJECT_ERRORS;
}

/* Threads and sockets that are ending take a moment. */
static bool comes_back_to(const struct inject_owned *before, struct inject_owned *now)
{
    for (int i = 0; i < 200; i++) {
        *now = inject_owned();
        if (memcmp(before, now, sizeof(*now)) == 0)
            return true;
        nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL);
    }
    return false;
}

static void one_attempt(void (*attempt)(void))
{
    char what[120];
    describe(what, sizeof(what));
    inject_watch(run.patience_s, what);
    struct inject_owned before = inject_owned(), after;
    attempt();
    inject_disarm();
    inject_act_for(INJECT_NOBODY);
    if (getenv("FAIL_VERBOSE"))
        print_message("# %s %s\n", run.name, inject_last()->text);
    if (!comes_back_to(&before, &after))
        fail_msg("not given back: %ld allocations, %ld mappings, %ld descriptors (%s)",
                 after.allocations - before.allocations, after.mappings - before.mappings,
                 after.fds - before.fds, inject_last()->text);
}

/* Until nothing was left to fail. */
static unsigned one_pass(void (*attempt)(void), enum inject_kind kind, unsigned variant)
{
    unsigned attempts = 0;
    bool by_place = !run.all && !run.one;
    run.plan = (struct inject_plan) { .kind = kind, .variant = variant };
    do {
        run.plan.nth = run.one ? run.only.nth : by_place ? 0 : attempts + 1;
        one_attempt(attempt);
        attempts++;
    } while (inject_last()->done && !run.one);
    return attempts;
}

void campaign(const char *name, enum inject_side side, void (*attempt)(void))
{
    unsigned attempts = 0;
    snprintf(run.name, sizeof(run.name), "%s", name);
    run.side = side;
    run.active = true;
    /* what is made once and kept, by libraries as well, is not taken for lost */
    run.plan = (struct inject_plan) { .nth = UINT64_MAX };
    attempt();
    if (run.one)
        attempts = one_pass(attempt, run.only.kind, run.only.variant);
    for (int kind = 0; kind < INJECT_KINDS && !run.one; kind++)
        for (unsigned variant = 0; variant < (run.all ? VARIANTS_MAX : 1u); variant++)
            attempts += one_pass(attempt, (enum inject_kind)kind, variant);
    inject_watch(0, name);
    run.active = false;
    print_message("# %s: %u attempts\n", name, attempts);
}

void campaign_error_helps(const char *who, int rc, const struct vmig_error *err)
{
    const char *failed = inject_last()->text;
    if (rc >= 0)
        fail_msg("%s returned %d instead of an error (%s)", who, rc, failed);
    if (err->code != rc)
        fail_msg("%s returned %d, but the error says %d (%s)", who, rc, err->code, failed);
    if (!err->text[0] || !err->stage)
        fail_msg("%s: %d, stage \"%s\", text \"%s\" (%s)", who, rc, vmig_stage_name(err->stage),
                 err->text, failed);
    /* an errno alone tells nobody what could not be done; of memory there is no more to say */
    if ((rc != -ENOMEM && strcmp(err->text, strerror(-rc)) == 0) || strstr(err->text, "errno "))
        fail_msg("%s: %d, stage \"%s\", \"%s\" is no help (%s)", who, rc,
                 vmig_stage_name(err->stage), err->text, failed);
}
