/* SPDX-License-Identifier: BSD-3-Clause */
/* The file that migrations are remembered in, read and written while one call fails: it holds what was
 * there before or that and what was added, nothing else, and nothing else is left behind. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/migration/history.h"
#include "tests/fail/campaign.h"

#define NOW 2000000000u

static char directory[40], path[60];

static struct history *with(const char *kind, double stop_ms)
{
    struct history *h = history_new();
    struct history_sample sample;
    assert_non_null(h);
    history_sample_init(&sample, NOW);
    sample.value[HISTORY_STOP] = stop_ms;
    history_add(h, kind, &sample);
    return h;
}

static unsigned files(void)
{
    unsigned count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void begin(void)
{
    struct history *h = with("old", 1);
    strcpy(directory, "/tmp/vfio-migrate-fail.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/terms.json", directory);
    assert_int_equal(history_save(path, NOW, h, NULL), 0);
    free(h);
}

/* @added: it must be there; otherwise it may. */
static void end(bool added)
{
    struct history *h = history_new();
    assert_non_null(h);
    assert_int_equal(history_load(path, NOW, h, NULL), 0);
    assert_true(h->count == 2 || (h->count == 1 && !added));
    assert_string_equal(h->kinds[h->count - 1].name, "old");
    free(h);
    assert_int_equal(files(), 1);
    unlink(path);
    rmdir(directory);
}

static void save_attempt(void)
{
    struct vmig_error err = { 0 };
    begin();
    struct history *news = with("new", 2);
    campaign_begin();
    inject_act_for(INJECT_SOURCE);
    int rc = history_save(path, NOW, news, &err);
    inject_act_for(INJECT_NOBODY);
    bool may_fail = campaign_end();
    assert_true(rc == 0 || may_fail);
    if (rc < 0)
        assert_string_equal(err.reason, "history-unusable");
    free(news);
    end(rc == 0);
}

static void load_attempt(void)
{
    struct vmig_error err = { 0 };
    begin();
    struct history *h = history_new();
    assert_non_null(h);
    campaign_begin();
    inject_act_for(INJECT_SOURCE);
    int rc = history_load(path, NOW, h, &err);
    inject_act_for(INJECT_NOBODY);
    bool may_fail = campaign_end();
    assert_true(rc == 0 || may_fail);
    assert_int_equal(h->count, rc == 0 ? 1 : 0);
    free(h);
    end(false);
}

static void saving_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("history, save", INJECT_SOURCE, save_attempt);
}

static void loading_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("history, load", INJECT_SOURCE, load_attempt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        campaign_test(saving_may_fail_in_any_call),
        campaign_test(loading_may_fail_in_any_call),
    };
    cmocka_set_test_filter(getenv("FAIL_TEST"));
    return cmocka_run_group_tests(tests, campaign_setup, NULL);
}
