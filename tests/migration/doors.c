/* SPDX-License-Identifier: BSD-3-Clause */
/* Where others come in: addresses, channels that are files and commands, the control socket. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/migration/world.h"

/* ---- addresses ---- */

static void addresses_are_understood(void **state)
{
    static const struct {
        const char *text;
        enum address_kind kind;
        const char *host, *port, *path;
        int fd;
    } rows[] = {
        { "tcp:host:4444", ADDRESS_TCP, "host", "4444", "", -1 },
        { "tcp::0", ADDRESS_TCP, "", "0", "", -1 },
        { "tcp:[::1]:4444", ADDRESS_TCP, "::1", "4444", "", -1 },
        { "tcp:127.0.0.1:ssh", ADDRESS_TCP, "127.0.0.1", "ssh", "", -1 },
        { "unix:/run/x", ADDRESS_UNIX, "", "", "/run/x", -1 },
        { "fd:0", ADDRESS_FD, "", "", "", 0 },
        { "fd:17", ADDRESS_FD, "", "", "", 17 },
        { "file:a b", ADDRESS_FILE, "", "", "a b", -1 },
        { "exec:cat > x:y", ADDRESS_EXEC, "", "", "cat > x:y", -1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct address a;
        x(address_parse(rows[i].text, &a, &err));
        assert_int_equal(a.kind, rows[i].kind);
        assert_string_equal(a.host, rows[i].host);
        assert_string_equal(a.port, rows[i].port);
        assert_string_equal(a.path, rows[i].path);
        assert_int_equal(a.fd, rows[i].fd);
    }
}

static void other_addresses_are_refused_with_the_forms(void **state)
{
    static const char *const texts[] = {
        "",          "tcp",          "tcp:",      "tcp:host",
        "tcp:host:", "tcp:::1:4444", "tcp:[::1]", "tcp:[",
        "tcp:[::1",  "tcp:[::1]4",   "unix:",     "fd:",
        "fd:x",      "fd:-1",        "fd:1x",     "file:",
        "exec:",     "/tmp/file",    "TCP:a:1",   "fd:99999999999999999999",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct address a;
        struct vmig_error err = { 0 };
        if (address_parse(texts[i], &a, &err) != -EINVAL)
            fail_msg("\"%s\" was taken", texts[i]);
        assert_string_equal(err.reason, "bad-address");
    }
}

static void long_addresses_are_taken_up_to_the_limit(void **state)
{
    (void)state;
    char text[6000];
    struct address a;
    for (size_t length = 106; length <= 108; length++) {
        snprintf(text, sizeof(text), "unix:%0*d", (int)length, 0);
        assert_int_equal(address_parse(text, &a, NULL), length <= 107 ? 0 : -EINVAL);
    }
    for (size_t length = 4094; length <= 4096; length++) {
        snprintf(text, sizeof(text), "file:%0*d", (int)length, 0);
        assert_int_equal(address_parse(text, &a, NULL), length <= 4095 ? 0 : -EINVAL);
    }
    for (size_t length = 254; length <= 256; length++) {
        snprintf(text, sizeof(text), "tcp:%0*d:1", (int)length, 0);
        assert_int_equal(address_parse(text, &a, NULL), length <= 255 ? 0 : -EINVAL);
    }
}

/* ---- files ---- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/vfio-migrate-doors.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* and so nothing may be left in it */
}

static struct channel *open_file(char *path)
{
    struct address a = { .kind = ADDRESS_FILE };
    struct channel *c = NULL;
    sprintf(path, "%s/file", folder);
    strcpy(a.path, path);
    x(channel_connect(&a, -1, &c, &err));
    assert_true(c->one_way);
    assert_int_equal(channel_write(c, "state", 5), 0);
    return c;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void file_appears_when_it_is_complete(void **state)
{
    (void)state;
    char path[200], text[10] = "";
    struct channel *c = open_file(path);
    assert_false(exists(path));
    x(channel_make_durable(c, &err));
    assert_false(exists(path));
    x(channel_commit(c, &err));
    channel_free(c);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof(text)), 5);
    assert_string_equal(text, "state");
    close(fd);
    unlink(path);
}

static void file_that_is_not_committed_never_appears(void **state)
{
    (void)state;
    char path[200];
    channel_free(open_file(path));
    assert_false(exists(path));
}

static void older_file_stays_until_the_new_one_is_complete(void **state)
{
    (void)state;
    char path[200], text[10] = "";
    sprintf(path, "%s/file", folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "old", 3), 3);
    close(fd);
    channel_free(open_file(path));
    fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    close(fd);
    unlink(path);
}

static void commit_that_fails_leaves_nothing(void **state)
{
    (void)state;
    char path[200];
    struct vmig_error err = { 0 };
    struct channel *c = open_file(path);
    assert_int_equal(mkdir(path, 0700), 0); /* a folder took the name meanwhile */
    assert_int_equal(channel_make_durable(c, &err), 0);
    assert_true(channel_commit(c, &err) < 0);
    assert_non_null(strstr(err.text, path));
    channel_free(c);
    rmdir(path);
}

/* ---- commands ---- */

static int run_command(const char *command, struct vmig_error *ret_err)
{
    struct address a = { .kind = ADDRESS_EXEC };
    struct channel *c = NULL;
    strcpy(a.path, command);
    x(channel_connect(&a, -1, &c, &err));
    int rc = channel_write(c, "state", 5);
    *ret_err = (struct vmig_error) { 0 };
    if (rc == 0)
        rc = channel_make_durable(c, ret_err);
    channel_free(c);
    return rc;
}

static void command_must_succeed_before_the_source_lets_go(void **state)
{
    (void)state;
    struct vmig_error err;
    assert_int_equal(run_command("cat >/dev/null", &err), 0);
    assert_int_equal(run_command("cat >/dev/null; exit 7", &err), -EPIPE);
    assert_non_null(strstr(err.text, "exited with status 7"));
    assert_int_equal(run_command("cat >/dev/null; kill -15 $$", &err), -EPIPE);
    assert_non_null(strstr(err.text, "signal 15"));
}

/* ---- the control socket ---- */

static struct vmig_migration *with_control(char *path)
{
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    sprintf(path, "%s/control", folder);
    x(vmig_migration_set_control(m, path, &err));
    return m;
}

static int visit(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

/* Say @text, and nothing after it; the answer. */
static void says(const char *path, const char *text, size_t length, char *ret, size_t size)
{
    int fd = visit(path);
    size_t got = 0;
    ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
    (void)n; /* it may have had enough before */
    shutdown(fd, SHUT_WR);
    while ((n = recv(fd, ret + got, size - 1 - got, 0)) > 0)
        got += (size_t)n;
    ret[got] = '\0';
    close(fd);
}

static void is_alive(const char *path)
{
    static const char line[] = "{\"execute\":\"status\"}\n";
    char answer[4096];
    says(path, line, sizeof(line) - 1, answer, sizeof(answer));
    if (!strstr(answer, "\"status\":\"none\""))
        fail_msg("status is answered with \"%s\"", answer);
}

static void control_socket_answers_nonsense_with_an_error(void **state)
{
    static const char *const texts[] = {
        "\n",
        "status\n",
        "{}\n",
        "[]\n",
        "7\n",
        "{\"execute\":7}\n",
        "{\"execute\":\"statu\"}\n",
        "{\"execute\":\"resolve\"}\n",
        "{\"execute\":\"resolve\",\"arguments\":[]}\n",
        "{\"execute\":\"resolve\",\"arguments\":{\"what\":\"rum\"}}\n",
        "{\"execute\":\"resolve\",\"arguments\":{\"what\":\"run\"}}\n",
        "{\"execute\":\"yield\"}\n",
        "{\"execute\":\"yield\",\"arguments\":{\"migration\":\"x\",\"number\":1}}\n",
        "{\"execute\":\"i-run\",\"arguments\":{\"migration\":7}}\n",
        "{\"execute\":\"status\",\"execute\":\"status\"}\n",
        "{\"execute\":\"\xff\xfe\"}\n",
        "{\"execute\":\"status\"", /* and gone */
        "",
    };
    (void)state;
    char path[200], answer[4096];
    struct vmig_migration *m = with_control(path);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        says(path, texts[i], strlen(texts[i]), answer, sizeof(answer));
        if (!strstr(answer, "\"error\""))
            fail_msg("\"%s\" is answered with \"%s\"", texts[i], answer);
    }
    is_alive(path);
    vmig_migration_free(m);
    assert_false(exists(path));
}

static void control_socket_reads_no_endless_line_and_no_deep_json(void **state)
{
    (void)state;
    char path[200], answer[4096];
    struct vmig_migration *m = with_control(path);
    size_t length = 1 << 20;
    char *text = malloc(length);
    memset(text, '[', length);
    says(path, text, length, answer, sizeof(answer));
    text[4000] = '\n'; /* as deep as a line may be */
    says(path, text, 4001, answer, sizeof(answer));
    assert_non_null(strstr(answer, "\"error\""));
    memset(text, ' ', length);
    says(path, text, length, answer, sizeof(answer));
    free(text);
    is_alive(path);
    vmig_migration_free(m);
}

/* Who says nothing holds a place; the others are served as long as there is one. */
static void silent_visitors_do_not_keep_others_out(void **state)
{
    (void)state;
    char path[200];
    struct vmig_migration *m = with_control(path);
    int silent[7];
    for (int i = 0; i < 7; i++)
        silent[i] = visit(path);
    is_alive(path);
    /* more than there are places: they are sent away, nothing breaks */
    int more[20];
    for (int i = 0; i < 20; i++)
        more[i] = visit(path);
    for (int i = 0; i < 20; i++)
        close(more[i]);
    for (int i = 0; i < 7; i++)
        close(silent[i]);
    vmig_migration_free(m);
    assert_false(exists(path));
}

static void control_path_has_its_limit(void **state)
{
    (void)state;
    char path[200];
    struct vmig_error error = { 0 };
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    int room = 107 - (int)strlen(folder) - 1;
    snprintf(path, sizeof(path), "%s/%0*d", folder, room + 1, 0);
    assert_int_equal(vmig_migration_set_control(m, path, &error), -ENAMETOOLONG);
    snprintf(path, sizeof(path), "%s/%0*d", folder, room, 0);
    x(vmig_migration_set_control(m, path, &err));
    /* somebody listens there: another may not take it over */
    struct vmig_migration *other = vmig_migration_new(NULL, NULL);
    assert_int_equal(vmig_migration_set_control(other, path, NULL), -EADDRINUSE);
    vmig_migration_free(other);
    x(vmig_migration_set_control(m, NULL, &err));
    assert_false(exists(path));
    vmig_migration_free(m);
}

#define WITH_FOLDER(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_understood),
        cmocka_unit_test(other_addresses_are_refused_with_the_forms),
        cmocka_unit_test(long_addresses_are_taken_up_to_the_limit),
        WITH_FOLDER(file_appears_when_it_is_complete),
        WITH_FOLDER(file_that_is_not_committed_never_appears),
        WITH_FOLDER(older_file_stays_until_the_new_one_is_complete),
        WITH_FOLDER(commit_that_fails_leaves_nothing),
        cmocka_unit_test(command_must_succeed_before_the_source_lets_go),
        WITH_FOLDER(control_socket_answers_nonsense_with_an_error),
        WITH_FOLDER(control_socket_reads_no_endless_line_and_no_deep_json),
        WITH_FOLDER(silent_visitors_do_not_keep_others_out),
        WITH_FOLDER(control_path_has_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
