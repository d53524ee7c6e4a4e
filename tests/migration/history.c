/* SPDX-License-Identifier: BSD-3-Clause */
/* What is remembered of former migrations: samples, text, file, and that a migration reads and writes
 * it. The time of day is a number that each test gives. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/migration/world.h"

#define NOW 2000000000u

static struct history *fresh(void)
{
    struct history *h = history_new();
    assert_non_null(h);
    return h;
}

static struct history_sample sample(uint64_t when_s, enum history_term term, double value)
{
    struct history_sample s;
    history_sample_init(&s, when_s);
    s.value[term] = value;
    return s;
}

static void put(struct history *h, const char *kind, uint64_t when_s, enum history_term term,
                double value)
{
    struct history_sample s = sample(when_s, term, value);
    history_add(h, kind, &s);
}

/* What is known of @term of @kind, when nothing was measured. */
static double known(const struct history *h, const char *kind, enum history_term term)
{
    struct history_sample none;
    double past[HISTORY_TERMS];
    history_sample_init(&none, NOW);
    history_recall(h, kind, &none, past);
    return past[term];
}

#define assert_value(value, wanted) assert_int_equal((int)(1000 * (value)), (int)(1000 * (wanted)))

/* ---- samples ---- */

static void what_nobody_saw_is_not_known(void **state)
{
    (void)state;
    struct history *h = fresh();
    assert_value(known(h, "nic", HISTORY_STOP), -1);
    put(h, "nic", NOW, HISTORY_STOP, 4);
    assert_value(known(h, "nic", HISTORY_STOP), 4);
    assert_value(known(h, "nic", HISTORY_LOAD), -1);
    assert_value(known(h, "gpu", HISTORY_STOP), -1);
    assert_value(known(NULL, "nic", HISTORY_STOP), -1);
    free(h);
}

/* One that took ten times as long does not change what is expected; of two, the longer one. */
static void middle_one_counts(void **state)
{
    (void)state;
    struct history *h = fresh();
    put(h, "nic", 1, HISTORY_STOP, 4);
    put(h, "nic", 2, HISTORY_STOP, 6);
    assert_value(known(h, "nic", HISTORY_STOP), 6);
    put(h, "nic", 3, HISTORY_STOP, 50);
    assert_value(known(h, "nic", HISTORY_STOP), 6);
    put(h, "nic", 4, HISTORY_STOP, 5);
    put(h, "nic", 5, HISTORY_STOP, 5);
    assert_value(known(h, "nic", HISTORY_STOP), 5);
    free(h);
}

static void largest_part_of_a_size_counts(void **state)
{
    (void)state;
    struct history *h = fresh();
    put(h, "nic", 1, HISTORY_SIZE, 0.1);
    put(h, "nic", 2, HISTORY_SIZE, 0.9);
    put(h, "nic", 3, HISTORY_SIZE, 0.2);
    assert_value(known(h, "nic", HISTORY_SIZE), 0.9);
    free(h);
}

static void newest_eight_are_kept(void **state)
{
    (void)state;
    struct history *h = fresh();
    for (unsigned i = 0; i < HISTORY_SAMPLES_MAX; i++)
        put(h, "nic", 100 + i, HISTORY_STOP, 1);
    put(h, "nic", 99, HISTORY_STOP, 1000); /* older than all */
    assert_int_equal(h->kinds[0].count, HISTORY_SAMPLES_MAX);
    assert_int_equal(h->kinds[0].samples[HISTORY_SAMPLES_MAX - 1].when_s, 100);
    for (unsigned i = 0; i < HISTORY_SAMPLES_MAX; i++)
        put(h, "nic", 200 + i, HISTORY_STOP, 2);
    assert_int_equal(h->kinds[0].count, HISTORY_SAMPLES_MAX);
    assert_int_equal(h->kinds[0].samples[0].when_s, 200 + HISTORY_SAMPLES_MAX - 1);
    assert_value(known(h, "nic", HISTORY_STOP), 2);
    free(h);
}

static void kind_that_was_not_seen_for_longest_makes_room(void **state)
{
    (void)state;
    struct history *h = fresh();
    for (unsigned i = 0; i < HISTORY_KINDS_MAX; i++) {
        char kind[16];
        snprintf(kind, sizeof(kind), "kind %u", i);
        put(h, kind, 1000 - i, HISTORY_STOP, i);
    }
    put(h, "kind 127", 2000, HISTORY_STOP, 1); /* seen again */
    put(h, "one more", 3000, HISTORY_STOP, 7);
    assert_int_equal(h->count, HISTORY_KINDS_MAX);
    assert_value(known(h, "kind 126", HISTORY_STOP), -1);
    assert_value(known(h, "kind 127", HISTORY_STOP), 127); /* of 127 and 1 the larger */
    assert_value(known(h, "kind 125", HISTORY_STOP), 125);
    assert_value(known(h, "one more", HISTORY_STOP), 7);
    free(h);
}

/* The arc now and then: up to 15 ms or half longer, up to 5 ms or a quarter shorter is the same device
 * on a busier machine. */
static void sample_counts_where_what_can_be_measured_agrees(void **state)
{
    (void)state;
    static const struct {
        double then, now;
        bool counts;
    } rows[] = { { 1, 16, true },    { 1, 16.1, false }, { 100, 150, true }, { 100, 151, false },
                 { 10, 5, true },    { 10, 4.9, false }, { 100, 75, true },  { 100, 74, false },
                 { -1, 1000, true }, { 1000, -1, true } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct history *h = fresh();
        struct history_sample s = sample(1, HISTORY_STOP, 9), like = sample(2, 0, -1);
        double past[HISTORY_TERMS];
        s.value[HISTORY_SOURCE_ARC] = rows[i].then;
        s.value[HISTORY_LOAD] = 8;
        history_add(h, "nic", &s);
        like.value[HISTORY_SOURCE_ARC] = rows[i].now;
        history_recall(h, "nic", &like, past);
        assert_value(past[HISTORY_STOP], rows[i].counts ? 9 : -1);
        assert_value(past[HISTORY_LOAD], 8); /* the other side's own arc decides */
        free(h);
    }
}

static void older_surprises_count_less(void **state)
{
    (void)state;
    struct history *h = fresh();
    assert_value(history_excess_ms(h), -1);
    put(h, HISTORY_HOST, 1, HISTORY_EXCESS, 100);
    assert_value(history_excess_ms(h), 100);
    put(h, HISTORY_HOST, 2, HISTORY_EXCESS, 0);
    assert_value(history_excess_ms(h), 70);
    put(h, HISTORY_HOST, 3, HISTORY_EXCESS, 60);
    assert_value(history_excess_ms(h), 60);
    free(h);
}

static void nonsense_is_not_remembered(void **state)
{
    (void)state;
    static const double values[] = { -5, 1e10, 0.0 / 0.0, 1.0 / 0.0 };
    for (size_t i = 0; i < 4; i++) {
        struct history *h = fresh();
        put(h, "nic", 1, HISTORY_STOP, values[i]);
        assert_value(known(h, "nic", HISTORY_STOP), -1);
        free(h);
    }
}

/* ---- text ---- */

static int parse(const char *text, struct history *h)
{
    return history_parse(text, strlen(text), NOW, h);
}

static void text_comes_back_as_it_was(void **state)
{
    (void)state;
    struct history *h = fresh(), *again = fresh();
    struct history_sample s;
    history_sample_init(&s, NOW);
    for (unsigned i = 0; i < HISTORY_TERMS; i++)
        s.value[i] = i + 0.5;
    history_add(h, "1b36:0005 vfio-user", &s);
    put(h, HISTORY_HOST, NOW - 5, HISTORY_HANDOVER, 0.25);
    char *text = history_format(h);
    assert_int_equal(parse(text, again), 0);
    assert_int_equal(again->count, 2);
    for (unsigned i = 0; i < HISTORY_TERMS; i++)
        assert_value(known(again, "1b36:0005 vfio-user", i), i + 0.5);
    assert_value(known(again, HISTORY_HOST, HISTORY_HANDOVER), 0.25);
    assert_value(known(again, HISTORY_HOST, HISTORY_STOP), -1);
    free(text);
    free(h);
    free(again);
}

/* A full one can be written and read again. */
static void largest_history_is_no_larger_than_a_file_may_be(void **state)
{
    (void)state;
    struct history *h = fresh(), *again = fresh();
    for (unsigned i = 0; i < HISTORY_KINDS_MAX; i++) {
        char kind[HISTORY_KIND_BYTES];
        snprintf(kind, sizeof(kind), "%0*u", HISTORY_KIND_BYTES - 1, i);
        for (unsigned k = 0; k < HISTORY_SAMPLES_MAX; k++) {
            struct history_sample s;
            history_sample_init(&s, NOW);
            for (unsigned t = 0; t < HISTORY_TERMS; t++)
                s.value[t] = 123456789.123;
            history_add(h, kind, &s);
        }
    }
    char *text = history_format(h);
    assert_true(strlen(text) <= HISTORY_FILE_BYTES_MAX);
    assert_int_equal(parse(text, again), 0);
    assert_int_equal(again->count, HISTORY_KINDS_MAX);
    free(text);
    free(h);
    free(again);
}

static void damaged_text_is_refused_as_a_whole(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        { "{\"version\": 1, \"kinds\": {}}", 0 },
        { "{\"version\": 1, \"kinds\": {\"a\": []}}", 0 },
        { "{\"version\": 2, \"kinds\": {}}", -ENOTSUP },
        { "", -EPROTO },
        { "[]", -EPROTO },
        { "{}", -EPROTO },
        { "{\"version\": 1}", -EPROTO },
        { "{\"version\": \"1\", \"kinds\": {}}", -EPROTO },
        { "{\"version\": 1, \"kinds\": []}", -EPROTO },
        { "{\"version\": 1, \"kinds\": {}", -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": {}}}", -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"\": []}}", -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": [1]}}", -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": [{}]}}", -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": [{\"when\": -1}]}}", -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": [{\"when\": 2000000000}]}}", 0 },
        { "{\"version\": 1, \"kinds\": {\"b\": [{\"when\": 2000000000, \"stop_ms\": 1}], "
          "\"a\": [{\"when\": 2000000000, \"stop_ms\": \"1\"}]}}",
          -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": [{\"when\": 2000000000, \"stop_ms\": -1}]}}",
          -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": [{\"when\": 2000000000, \"stop_ms\": 1e10}]}}",
          -EPROTO },
        { "{\"version\": 1, \"kinds\": {\"a\": [], \"a\": []}}", -EPROTO },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct history *h = fresh();
        int rc = parse(rows[i].text, h);
        if (rc != rows[i].rc || (rc < 0 && h->count))
            fail_msg("%s: %d", rows[i].text, rc);
        free(h);
    }
}

static void text_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct history *h = fresh();
    char *text = malloc(HISTORY_FILE_BYTES_MAX + 1);
    memset(text, ' ', HISTORY_FILE_BYTES_MAX + 1);
    memcpy(text, "{\"version\": 1, \"kinds\": {}}", 27);
    assert_int_equal(history_parse(text, HISTORY_FILE_BYTES_MAX, NOW, h), 0);
    assert_int_equal(history_parse(text, HISTORY_FILE_BYTES_MAX + 1, NOW, h), -EPROTO);
    free(text);
    free(h);
}

/* Half a year; and a clock that was set back makes nothing old. */
static void old_samples_are_forgotten(void **state)
{
    (void)state;
    static const struct {
        uint64_t when_s;
        double known;
    } rows[] = { { NOW - HISTORY_AGE_S - 1, -1 }, { NOW - HISTORY_AGE_S, 3 }, { NOW + 1000, 3 } };
    for (size_t i = 0; i < 3; i++) {
        struct history *h = fresh();
        char text[200];
        snprintf(text, sizeof(text),
                 "{\"version\": 1, \"kinds\": {\"a\": [{\"when\": %llu, \"stop_ms\": 3}]}}",
                 (unsigned long long)rows[i].when_s);
        assert_int_equal(parse(text, h), 0);
        assert_value(known(h, "a", HISTORY_STOP), rows[i].known);
        free(h);
    }
}

/* ---- file ---- */

struct place {
    char directory[64], path[96];
};

static void place_make(struct place *p)
{
    snprintf(p->directory, sizeof(p->directory), "/tmp/vfio-migrate-test.XXXXXX");
    assert_non_null(mkdtemp(p->directory));
    snprintf(p->path, sizeof(p->path), "%s/terms.json", p->directory);
}

/* Nothing but the file may be left behind. */
static void place_remove(struct place *p)
{
    unlink(p->path);
    if (rmdir(p->directory) != 0)
        fail_msg("%s: %s", p->directory, strerror(errno));
}

static void write_file(const struct place *p, const char *text)
{
    FILE *file = fopen(p->path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void save_one(const struct place *p, const char *kind, uint64_t when_s, double stop_ms)
{
    struct history *h = fresh();
    put(h, kind, when_s, HISTORY_STOP, stop_ms);
    x(history_save(p->path, NOW, h, &err));
    free(h);
}

static void file_that_is_not_there_is_an_empty_history(void **state)
{
    (void)state;
    struct place p;
    struct history *h = fresh();
    place_make(&p);
    x(history_load(p.path, NOW, h, &err));
    assert_int_equal(h->count, 0);
    write_file(&p, ""); /* somebody is about to write it */
    x(history_load(p.path, NOW, h, &err));
    assert_int_equal(h->count, 0);
    place_remove(&p);
    free(h);
}

static void saved_samples_join_what_is_there(void **state)
{
    (void)state;
    struct place p;
    struct stat st;
    struct history *h = fresh();
    place_make(&p);
    save_one(&p, "nic", NOW - 2, 4);
    save_one(&p, "nic", NOW - 1, 6);
    save_one(&p, "gpu", NOW, 9);
    x(history_load(p.path, NOW, h, &err));
    assert_int_equal(h->count, 2);
    assert_value(known(h, "nic", HISTORY_STOP), 6);
    assert_value(known(h, "gpu", HISTORY_STOP), 9);
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    place_remove(&p);
    free(h);
}

static void damaged_file_is_told_and_replaced(void **state)
{
    (void)state;
    struct place p;
    struct vmig_error said = { 0 };
    struct history *h = fresh();
    place_make(&p);
    write_file(&p, "{\"version\": 1, \"kinds\": {\"nic\": [{\"wh");
    assert_int_equal(history_load(p.path, NOW, h, &said), -EPROTO);
    assert_string_equal(said.reason, "history-unusable");
    assert_non_null(strstr(said.text, "is damaged"));
    assert_non_null(strstr(said.text, p.path));
    save_one(&p, "nic", NOW, 4);
    x(history_load(p.path, NOW, h, &err));
    assert_value(known(h, "nic", HISTORY_STOP), 4);
    place_remove(&p);
    free(h);
}

static void file_of_another_version_is_kept(void **state)
{
    (void)state;
    static const char text[] = "{\"version\": 2, \"kinds\": {}}";
    char again[sizeof(text)] = { 0 };
    struct place p;
    struct vmig_error err = { 0 };
    struct history *h = fresh();
    place_make(&p);
    write_file(&p, text);
    assert_int_equal(history_load(p.path, NOW, h, &err), -ENOTSUP);
    put(h, "nic", NOW, HISTORY_STOP, 1);
    assert_int_equal(history_save(p.path, NOW, h, NULL), -ENOTSUP);
    int fd = open(p.path, O_RDONLY);
    assert_int_equal(read(fd, again, sizeof(again)), sizeof(text) - 1);
    close(fd);
    assert_string_equal(again, text);
    place_remove(&p);
    free(h);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    struct place p;
    struct history *h = fresh();
    place_make(&p);
    assert_int_equal(history_load(p.directory, NOW, h, NULL), -EINVAL);
    assert_int_equal(mkfifo(p.path, 0600), 0);
    assert_int_equal(history_load(p.path, NOW, h, NULL),
                     -EINVAL); /* and does not wait for a writer */
    assert_int_equal(history_save(p.path, NOW, h, NULL), -EINVAL);
    assert_int_equal(history_save("/nowhere/at/all", NOW, h, NULL), -ENOENT);
    place_remove(&p);
    free(h);
}

/* Eight processes add eight kinds, one sample each a time: none is lost. */
static void writers_at_the_same_time_lose_nothing(void **state)
{
    (void)state;
    struct place p;
    struct history *h = fresh();
    place_make(&p);
    for (unsigned i = 0; i < 8; i++) {
        char kind[16];
        snprintf(kind, sizeof(kind), "kind %u", i);
        if (fork() == 0) {
            for (unsigned k = 0; k < 8; k++)
                save_one(&p, kind, NOW + k, i + 1);
            _exit(0);
        }
    }
    for (int status; wait(&status) > 0;)
        assert_int_equal(status, 0);
    x(history_load(p.path, NOW, h, &err));
    assert_int_equal(h->count, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(h->kinds[i].count, 8);
    place_remove(&p);
    free(h);
}

/* ---- in a migration ---- */

static void move_with(struct world *w, const char *path)
{
    world_open(w, &(struct world_plan) { .devices = 2 });
    x(vmig_migration_set_history(w->source->m, path, &err));
    world_move(w);
    world_moved(w);
}

static void migration_remembers_its_devices_memory_link_and_host(void **state)
{
    (void)state;
    struct place p;
    struct world w;
    struct history *h = fresh();
    place_make(&p);
    move_with(&w, p.path);
    x(history_load(p.path, w.source->m->history_now_s, h, &err));
    const char *identity = w.source->m->participants[1]->identity;
    unsigned devices = 0;
    for (unsigned i = 0; i < h->count; i++)
        if (strncmp(h->kinds[i].name, identity, strlen(identity)) == 0) {
            devices++;
            assert_int_equal(h->kinds[i].count, 2); /* both are of this kind */
            assert_non_null(strstr(h->kinds[i].name, "vfio-user PRE_COPY P2P"));
            assert_true(h->kinds[i].samples[0].value[HISTORY_STOP] > 0);
            assert_true(h->kinds[i].samples[0].value[HISTORY_START] > 0);
        }
    assert_int_equal(devices, 1);
    assert_true(known(h, HISTORY_HOST, HISTORY_WORKLOAD_STOP) >= 0);
    assert_true(known(h, "link 127.0.0.1", HISTORY_HANDOVER) > 0);
    assert_int_equal(h->count, 4);
    world_close(&w);
    place_remove(&p);
    free(h);
}

/* Whatever its arcs take now: a busy machine's may look like another device's. */
static void take_for_slow(struct history_sample *sample)
{
    if (sample->value[HISTORY_LOAD] >= 0)
        sample->value[HISTORY_LOAD] = 7000;
    sample->value[HISTORY_SOURCE_ARC] = sample->value[HISTORY_TARGET_ARC] = -1;
}

/* With 7 s remembered for a step that takes no time, nothing but the file can be the reason. */
static void next_migration_predicts_from_it(void **state)
{
    (void)state;
    struct place p;
    struct world w;
    struct history *h = fresh();
    place_make(&p);
    move_with(&w, p.path);
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(w.source->m, &s);
    assert_true(s.predicted.load_ms < 7000);
    x(history_load(p.path, w.source->m->history_now_s, h, &err));
    world_close(&w);
    for (unsigned i = 0; i < h->count; i++)
        for (unsigned k = 0; k < h->kinds[i].count; k++)
            take_for_slow(&h->kinds[i].samples[k]);
    unlink(p.path);
    x(history_save(p.path, NOW, h, &err));
    move_with(&w, p.path);
    vmig_migration_query(w.source->m, &s);
    assert_value(s.predicted.load_ms, 7000);
    world_close(&w);
    move_with(&w, NULL);
    vmig_migration_query(w.source->m, &s);
    assert_true(s.predicted.load_ms < 7000);
    world_close(&w);
    place_remove(&p);
    free(h);
}

/* A state that takes 20 ms to save and 30 to load. */
static int save_slowly(void *opaque, struct vmig_error *e)
{
    (void)opaque;
    (void)e;
    return usleep(20000);
}

static int load_slowly(void *opaque, uint32_t version, struct vmig_error *e)
{
    (void)opaque;
    (void)version;
    (void)e;
    return usleep(30000);
}

struct slow {
    uint8_t byte;
};
static const struct vmig_vmstate_field slow_fields[] = {
    VMIG_VMSTATE_UINT8(byte, struct slow),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate slow_state = { .name = "slow",
                                                .version = 1,
                                                .minimum_version = 1,
                                                .fields = slow_fields,
                                                .pre_save = save_slowly,
                                                .post_load = load_slowly };

static struct vmig_pause move_slow_state(struct world *w, const char *path)
{
    static struct slow bytes[2];
    struct vmig_statistics s = { .size = sizeof(s) };
    world_open(w, &(struct world_plan) { .devices = 1 });
    x(vmig_migration_set_history(w->source->m, path, &err));
    x(vmig_migration_add_vmstate(w->source->m, "slow", 0, &slow_state, &bytes[0], &err));
    x(vmig_migration_add_vmstate(w->target->m, "slow", 0, &slow_state, &bytes[1], &err));
    world_move(w);
    world_moved(w);
    vmig_migration_query(w->source->m, &s);
    assert_true(s.measured.handover_ms >= 30); /* it may be saved while data is on its way */
    return s.predicted;
}

/* Of so many tables: what saving took at the source, and loading at the target. */
static void state_tables_are_remembered_and_predicted(void **state)
{
    (void)state;
    struct place p;
    struct world w;
    struct history *h = fresh();
    place_make(&p);
    struct vmig_pause cold = move_slow_state(&w, p.path);
    assert_true(cold.doubt_ms >= 30);
    x(history_load(p.path, w.source->m->history_now_s, h, &err));
    assert_true(known(h, "vmstates 1", HISTORY_VMSTATES) >= 50);
    world_close(&w);
    assert_true(move_slow_state(&w, p.path).handover_ms >= 50);
    world_close(&w);
    place_remove(&p);
    free(h);
}

/* The measured terms are the pause, and the predicted ones what was predicted. */
/* Who takes 200 ms for its 8 bytes. */
static int complete_slowly(void *opaque, struct vmig_writer *writer, struct vmig_error *e)
{
    (void)opaque;
    usleep(200000);
    return vmig_writer_put(writer, "8 bytes.", 8, e);
}

static int load_anything(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *e)
{
    (void)opaque;
    (void)buf;
    (void)length_bytes;
    (void)e;
    return 0;
}

static struct vmig_pause move_little_data(struct world *w, const char *path)
{
    static const struct vmig_participant_ops ops = { .size = sizeof(ops),
                                                     .complete = complete_slowly,
                                                     .load = load_anything };
    struct vmig_statistics s = { .size = sizeof(s) };
    world_open(w, &(struct world_plan) { .devices = 1, .still = true });
    x(vmig_migration_set_history(w->source->m, path, &err));
    x(vmig_migration_add_participant(w->source->m, "slow", &ops, NULL, &err));
    x(vmig_migration_add_participant(w->target->m, "slow", &ops, NULL, &err));
    world_move(w);
    world_moved(w);
    vmig_migration_query(w->source->m, &s);
    assert_true(s.measured.data_ms >= 200);
    return s.predicted;
}

static double newest(const struct history *h, const char *kind, enum history_term term)
{
    for (unsigned i = 0; i < h->count; i++)
        if (strcmp(h->kinds[i].name, kind) == 0)
            return h->kinds[i].samples[0].value[term];
    return -1;
}

/* What was predicted for the bytes and what is remembered beside that are all that it took, whatever a busy machine made
 * of the former: in the second pause no less than in the first, where nothing was remembered yet. */
static void what_little_data_takes_is_remembered_and_predicted(void **state)
{
    (void)state;
    struct place p;
    struct world w;
    place_make(&p);
    double added_ms = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct history *h = fresh();
        double predicted_ms = move_little_data(&w, p.path).data_ms;
        assert_true(predicted_ms > added_ms - 1); /* six digits are kept */
        x(history_load(p.path, w.source->m->history_now_s, h, &err));
        double rest_ms = newest(h, "link 127.0.0.1", HISTORY_DATA_REST);
        assert_true(rest_ms >= 0 && predicted_ms - added_ms + rest_ms > 199);
        added_ms = rest_ms; /* of one sample the median */
        world_close(&w);
        free(h);
    }
    place_remove(&p);
}

static void terms_add_up(void **state)
{
    (void)state;
    struct world w;
    move_with(&w, NULL);
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(w.source->m, &s);
    assert_true(s.downtime_ms > 0);
    assert_value(forecast_sum_ms(&s.measured), s.downtime_ms);
    assert_value(forecast_sum_ms(&s.predicted), s.predicted_downtime_ms);
    assert_true(s.predicted.doubt_ms > 0);
    assert_true(s.measured.data_bytes > 0);
    for (unsigned i = 0; i < s.num_devices; i++) {
        assert_true(s.devices[i].stop_ms <= s.measured.stop_ms);
        assert_true(s.devices[i].load_ms <= s.measured.load_ms);
    }
    world_close(&w);
}

static void history_that_cannot_be_kept_is_no_failure(void **state)
{
    (void)state;
    struct world w;
    move_with(&w, "/nowhere/at/all/terms.json");
    world_close(&w);
}

static void failed_migration_is_not_remembered(void **state)
{
    (void)state;
    struct place p;
    struct world w;
    place_make(&p);
    world_open(&w, &(struct world_plan) { .devices = 1 });
    x(vmig_migration_set_history(w.source->m, p.path, &err));
    party_set(w.source, "downtime-limit", 0);
    party_set(w.source, "max-rounds", 1);
    world_move(&w);
    party_failed(w.source, -ETIME, "not-converging", NULL);
    world_runs_at(&w, w.source);
    world_close(&w);
    assert_int_equal(access(p.path, F_OK), -1);
    place_remove(&p);
}

static void try_to_change(struct party *side, enum vmig_stage stage)
{
    struct vmig_error err = { 0 };
    if (stage == VMIG_STAGE_ROUNDS)
        assert_int_equal(vmig_migration_set_history(side->m, NULL, &err), -EBUSY);
}

static void history_stays_while_a_migration_runs(void **state)
{
    (void)state;
    struct place p;
    struct world w;
    place_make(&p);
    world_open(&w, &(struct world_plan) { .devices = 1 });
    x(vmig_migration_set_history(w.source->m, p.path, &err));
    w.source->on_stage = try_to_change;
    world_move(&w);
    world_moved(&w);
    world_close(&w);
    assert_int_equal(access(p.path, F_OK), 0);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_saw_is_not_known),
        cmocka_unit_test(middle_one_counts),
        cmocka_unit_test(largest_part_of_a_size_counts),
        cmocka_unit_test(newest_eight_are_kept),
        cmocka_unit_test(kind_that_was_not_seen_for_longest_makes_room),
        cmocka_unit_test(sample_counts_where_what_can_be_measured_agrees),
        cmocka_unit_test(older_surprises_count_less),
        cmocka_unit_test(nonsense_is_not_remembered),
        cmocka_unit_test(text_comes_back_as_it_was),
        cmocka_unit_test(largest_history_is_no_larger_than_a_file_may_be),
        cmocka_unit_test(damaged_text_is_refused_as_a_whole),
        cmocka_unit_test(text_over_the_limit_is_refused),
        cmocka_unit_test(old_samples_are_forgotten),
        cmocka_unit_test(file_that_is_not_there_is_an_empty_history),
        cmocka_unit_test(saved_samples_join_what_is_there),
        cmocka_unit_test(damaged_file_is_told_and_replaced),
        cmocka_unit_test(file_of_another_version_is_kept),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(writers_at_the_same_time_lose_nothing),
        cmocka_unit_test(migration_remembers_its_devices_memory_link_and_host),
        cmocka_unit_test(next_migration_predicts_from_it),
        cmocka_unit_test(state_tables_are_remembered_and_predicted),
        cmocka_unit_test(what_little_data_takes_is_remembered_and_predicted),
        cmocka_unit_test(terms_add_up),
        cmocka_unit_test(history_that_cannot_be_kept_is_no_failure),
        cmocka_unit_test(failed_migration_is_not_remembered),
        cmocka_unit_test(history_stays_while_a_migration_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
