/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket. One thread accepts; each connection has a thread of its own for its one
 * request, so that this side can answer the other while it asks the other itself. Half of the
 * connections at most are listeners, so that there is always one left to cancel with.
 *
 * These threads have the signal mask of who made the socket, and are not started by thread_start(): a
 * resolution calls the host's start here, and what that starts inherits the mask.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/channel/channel.h"
#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/control.h"
#include "lib/migration/migration.h"
#include "lib/migration/statistics-json.h"

#define REQUEST_BYTES_MAX 4096
/* With the statistics of 64 devices. */
#define ANSWER_BYTES_MAX (128 << 10)
#define CONNECTIONS_MAX (2 * LISTENERS_MAX)
/* How long somebody may take to write or read one line. */
#define PATIENCE_S 10

struct connection {
    struct control *control;
    struct channel *channel;
    pthread_t thread;
    bool used, done;
};

struct control {
    struct vmig_migration *m;
    char *path;
    int listen_fd, stop_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* guards connections[].used and .done */
    struct connection connections[CONNECTIONS_MAX];
};

/* ---- lines ---- */

struct lines {
    struct channel *channel;
    size_t length, limit;
    char buf[ANSWER_BYTES_MAX]; /* read, and not looked at yet */
};

/* The next one; NULL at the end, or when it is too long or no JSON. */
static json_t *read_line(struct lines *l)
{
    char *end;
    while (!(end = memchr(l->buf, '\n', l->length)) && l->length < l->limit) {
        ssize_t n = channel_read(l->channel, l->buf + l->length, l->limit - l->length);
        if (n <= 0)
            return NULL;
        l->length += (size_t)n;
    }
    if (!end)
        return NULL;
    size_t taken = (size_t)(end - l->buf) + 1;
    json_t *json = json_loadb(l->buf, taken - 1, JSON_REJECT_DUPLICATES, NULL);
    l->length -= taken;
    memmove(l->buf, end + 1, l->length);
    return json;
}

static int write_line(struct channel *c, json_t *take)
{
    CLEANUP_FREE char *text = take ? json_dumps(take, JSON_COMPACT) : NULL;
    json_decref(take);
    if (!text)
        return -ENOMEM;
    struct iovec iov[2] = { { text, strlen(text) }, { (char[]) { '\n' }, 1 } };
    return channel_writev(c, iov, 2);
}

static void be_patient(struct channel *c, int seconds)
{
    struct timeval tv = { .tv_sec = seconds };
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* ---- requests ---- */

static void identity_text(struct vmig_migration *m, char ret[33])
{
    LOCK_SCOPE(&m->lock);
    for (size_t i = 0; i < sizeof(m->identity); i++)
        snprintf(ret + 2 * i, 3, "%02x", m->identity[i]);
}

static json_t *on_status(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    static const char *const sides[] = { "none", "source", "target" };
    char identity[33], waiting[256];
    (void)arguments;
    (void)err;
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(m, &s);
    identity_text(m, identity);
    cancel_describe(m, waiting, sizeof(waiting));
    bool cancelling = cancel_is_under_way(m);
    LOCK_SCOPE(&m->lock);
    enum vmig_status status = cancelling ? VMIG_STATUS_CANCELLING : m->statistics.status;
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:o}", "status", vmig_status_name(status),
                     "run-state", vmig_run_state_name(m->run.now), "side", sides[m->side],
                     "migration", identity, "unresolved", (int)m->unresolved, "waiting", waiting,
                     "statistics", statistics_json(&s));
}

static json_t *on_cancel(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    (void)arguments;
    return cancel_if_not_too_late(m, err) < 0 ? NULL : json_pack("{s:s}", "now", "cancelling");
}

static json_t *on_continue(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    (void)arguments;
    return vmig_migration_continue(m, VMIG_STATUS_PRE_SWITCHOVER, err) < 0
               ? NULL
               : json_pack("{s:s}", "now", "going on");
}

static json_t *on_stop(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    (void)arguments;
    return vmig_migration_stop(m, err) < 0 ? NULL : json_pack("{s:s}", "now", "stopped");
}

static json_t *on_cont(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    (void)arguments;
    return vmig_migration_cont(m, err) < 0 ? NULL : json_pack("{s:s}", "now", "running");
}

static json_t *on_resolve(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    const char *what = json_string_value(json_object_get(arguments, "what"));
    bool gone = json_is_true(json_object_get(arguments, "other-side-gone"));
    bool run = what && strcmp(what, "run") == 0;
    if (!run && (!what || strcmp(what, "discard") != 0)) {
        error_set(err, EINVAL, VMIG_STAGE_HANDOVER, NULL, NULL, "resolve takes run or discard");
        return NULL;
    }
    int rc = vmig_migration_resolve(m, run ? VMIG_RESOLVE_RUN : VMIG_RESOLVE_DISCARD, gone, err);
    return rc < 0 ? NULL : json_pack("{s:s}", "now", run ? "running" : "discarded");
}

static bool same_migration(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    char identity[33];
    const char *theirs = json_string_value(json_object_get(arguments, "migration"));
    identity_text(m, identity);
    if (theirs && strcmp(theirs, identity) == 0)
        return true;
    error_set(err, ESTALE, VMIG_STAGE_HANDOVER, NULL, "other-migration",
              "this side is in another migration (%s)", identity);
    return false;
}

static const char *const answers[] = {
    [ANSWER_YOURS] = "yours",
    [ANSWER_RUNNING] = "running",
    [ANSWER_BUSY] = "busy",
};

static json_t *on_yield(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    if (!same_migration(m, arguments, err))
        return NULL;
    return json_pack("{s:s}", "answer", answers[handover_answer(m)]);
}

static json_t *on_i_run(struct vmig_migration *m, json_t *arguments, struct vmig_error *err)
{
    if (!same_migration(m, arguments, err))
        return NULL;
    handover_peer_runs(m);
    return json_object();
}

static const struct request {
    const char *name;
    json_t *(*handle)(struct vmig_migration *m, json_t *arguments, struct vmig_error *err);
    bool listens; /* what happens from here on follows the answer */
} requests[] = {
    { "status", on_status, false },   { "events", on_status, true },
    { "cancel", on_cancel, false },   { "continue", on_continue, false },
    { "stop", on_stop, false },       { "cont", on_cont, false },
    { "resolve", on_resolve, false }, { "yield", on_yield, false },
    { "i-run", on_i_run, false },
};

static const struct request *find_request(const char *name, struct vmig_error *err)
{
    for (size_t i = 0; name && i < sizeof(requests) / sizeof(requests[0]); i++)
        if (strcmp(requests[i].name, name) == 0)
            return &requests[i];
    error_set(
        err, EINVAL, VMIG_STAGE_NONE, NULL, "unknown-request",
        "one line {\"execute\": status|events|cancel|continue|stop|cont|resolve, \"arguments\": "
        "{...}} is expected");
    return NULL;
}

/* Who listens joins before it is told how things are, so that nothing is missed in between. */
static json_t *dispatch(struct vmig_migration *m, json_t *line, struct listener **ret,
                        struct vmig_error *err)
{
    const char *name = json_string_value(json_object_get(line, "execute"));
    const struct request *request = find_request(name, err);
    if (!request || (request->listens && listener_join(&m->listeners, ret, err) < 0))
        return NULL;
    return request->handle(m, json_object_get(line, "arguments"), err);
}

static void *connection_main(void *opaque)
{
    struct connection *c = opaque;
    struct vmig_error err = { 0 };
    struct lines lines = { .channel = c->channel, .limit = REQUEST_BYTES_MAX };
    struct listener *listener = NULL;
    json_t *request = read_line(&lines);
    json_t *result = dispatch(c->control->m, request, &listener, &err);
    if (!result)
        error_set(&err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory for an answer");
    json_t *answer = result ? json_pack("{s:o}", "return", result)
                            : json_pack("{s:{s:i, s:s, s:s}}", "error", "code", err.code, "reason",
                                        err.reason, "text", err.text);
    int rc = write_line(c->channel, answer);
    json_decref(request);
    if (listener && rc == 0)
        listener_serve(listener, c->channel->fd);
    if (listener)
        listener_leave(listener);
    channel_shutdown(c->channel);
    LOCK_SCOPE(&c->control->lock);
    c->done = true;
    return NULL;
}

/* ---- the server ---- */

static void reap(struct control *control, bool all)
{
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &control->connections[i];
        pthread_mutex_lock(&control->lock);
        bool over = c->used && (all || c->done);
        if (over && !c->done)
            shutdown(c->channel->fd, SHUT_RD); /* whoever is still talking; answers go out */
        pthread_mutex_unlock(&control->lock);
        if (!over)
            continue;
        pthread_join(c->thread, NULL);
        c->channel = channel_free(c->channel);
        c->used = c->done = false;
    }
}

static void serve(struct control *control, struct channel *take_channel)
{
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &control->connections[i];
        if (c->used)
            continue;
        *c = (struct connection) { .control = control, .channel = take_channel, .used = true };
        be_patient(take_channel, PATIENCE_S);
        if (pthread_create(&c->thread, NULL, connection_main, c) == 0)
            return;
        c->used = false;
        break;
    }
    channel_free(take_channel);
}

static void *control_main(void *opaque)
{
    struct control *control = opaque;
    struct channel *channel;
    for (;;) {
        int rc = channel_accept(control->listen_fd, control->stop_fd, &channel, NULL);
        if (rc == -ECANCELED)
            return NULL;
        reap(control, false);
        if (rc == 0)
            serve(control, channel);
        else /* out of descriptors, say: that may pass */
            poll(NULL, 0, 100);
    }
}

int control_new(struct vmig_migration *m, const char *path, struct control **ret,
                struct vmig_error *err)
{
    struct address address = { .kind = ADDRESS_UNIX };
    CLEANUP_FREE char *name = NULL;
    bool public;
    char absolute[sizeof(address.path)], cwd[2048] = "";
    if (path[0] != '/' && !getcwd(cwd, sizeof(cwd)))
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "getcwd: %s", strerror(errno));
    snprintf(absolute, sizeof(absolute), "%s%s%s", cwd, cwd[0] ? "/" : "", path);
    if (strlen(absolute) > 107)
        return error_set(err, ENAMETOOLONG, VMIG_STAGE_OPEN, NULL, "bad-address",
                         "control socket %.200s has %zu bytes, a UNIX socket path at most 107",
                         path, strlen(absolute));
    strcpy(address.path, absolute);
    struct control *control = calloc(1, sizeof(*control));
    if (!control)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory");
    control->m = m;
    control->listen_fd = -1;
    control->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&control->lock, NULL);
    control->path = strdup(address.path);
    listeners_begin(&m->listeners);
    int rc = channel_listen(&address, -1, &control->listen_fd, &name, &public, err);
    if (rc == 0 && (control->stop_fd < 0 || !control->path ||
                    pthread_create(&control->thread, NULL, control_main, control) != 0))
        rc = error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL,
                       "out of memory, descriptors or threads for the control socket");
    if (rc == 0) {
        *ret = control;
        return 0;
    }
    if (control->listen_fd >= 0) {
        close(control->listen_fd);
        unlink(address.path);
    }
    if (control->stop_fd >= 0)
        close(control->stop_fd);
    free(control->path);
    free(control);
    return rc;
}

struct control *control_free(struct control *control)
{
    if (!control)
        return NULL;
    ssize_t n = write(control->stop_fd, &(uint64_t) { 1 }, sizeof(uint64_t));
    (void)n;
    pthread_join(control->thread, NULL);
    close(control->listen_fd);
    unlink(control->path);
    listeners_end(&control->m->listeners);
    reap(control, true);
    close(control->stop_fd);
    pthread_mutex_destroy(&control->lock);
    free(control->path);
    free(control);
    return NULL;
}

/* ---- the other side's ---- */

/* A path means something on one host only, from one start of it to the next. */
static void boot_id(char ret[64])
{
    ret[0] = '\0';
    CLEANUP_FD int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, ret, 63);
    ret[n > 0 ? n : 0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
}

json_t *control_where(struct vmig_migration *m)
{
    char boot[64];
    if (!m->control)
        return NULL;
    boot_id(boot);
    return json_pack("{s:s, s:s}", "path", m->control->path, "boot", boot);
}

void control_note_peer(struct vmig_migration *m, json_t *where)
{
    const char *path = json_string_value(json_object_get(where, "path"));
    const char *boot = json_string_value(json_object_get(where, "boot"));
    char here[64];
    boot_id(here);
    free(take_ptr(m->peer_control));
    if (path && boot && strcmp(boot, here) == 0)
        m->peer_control = strdup(path);
}

/* The line is on its way, or NULL. @patience_s: 0 waits as long as it takes. */
static struct channel *say(const char *path, json_t *take_request, int patience_s,
                           struct vmig_error *err)
{
    struct address address = { .kind = ADDRESS_UNIX };
    struct channel *c;
    if (strlen(path) > 107) {
        json_decref(take_request);
        error_set(err, ENAMETOOLONG, VMIG_STAGE_OPEN, NULL, "bad-address",
                  "%.200s: a UNIX socket path has at most 107 bytes", path);
        return NULL;
    }
    strcpy(address.path, path);
    if (channel_connect(&address, -1, &c, err) < 0) {
        json_decref(take_request);
        return NULL;
    }
    be_patient(c, patience_s);
    if (write_line(c, take_request) == 0)
        return c;
    channel_free(
        c); /* waiting for an answer to what was not asked would take all of the patience */
    error_set(err, ENOTCONN, VMIG_STAGE_HANDOVER, NULL, NULL, "%.200s gave no answer", path);
    return NULL;
}

/* What is under "return", or NULL. */
static json_t *result_of(const char *path, json_t *take_answer, struct vmig_error *err)
{
    json_t *result = json_incref(json_object_get(take_answer, "return"));
    json_t *error = json_object_get(take_answer, "error");
    if (!result && error)
        error_set(err, (int)json_integer_value(json_object_get(error, "code")) ?: EIO,
                  VMIG_STAGE_HANDOVER, NULL, json_string_value(json_object_get(error, "reason")),
                  "%s", json_string_value(json_object_get(error, "text")) ?: "no reason given");
    else if (!result)
        error_set(err, ENOTCONN, VMIG_STAGE_HANDOVER, NULL, NULL, "%.200s gave no answer", path);
    json_decref(take_answer);
    return result;
}

static json_t *call(const char *path, json_t *take_request, int patience_s, struct vmig_error *err)
{
    struct channel *c = say(path, take_request, patience_s, err);
    if (!c)
        return NULL;
    struct lines lines = { .channel = c, .limit = ANSWER_BYTES_MAX };
    json_t *answer = read_line(&lines);
    channel_free(c);
    return result_of(path, answer, err);
}

/* Until "end". */
static int hear_all(const char *path, struct lines *lines, control_heard *heard, void *opaque,
                    struct vmig_error *err)
{
    bool end = false;
    while (!end) {
        json_t *line = read_line(lines);
        const char *event = json_string_value(json_object_get(line, "event"));
        if (!event) {
            json_decref(line);
            return error_set(err, ECONNRESET, VMIG_STAGE_NONE, NULL, "listener-dropped",
                             "%.200s ended without a last word: it is gone, or events were not "
                             "read as fast as they came",
                             path);
        }
        end = strcmp(event, "end") == 0;
        heard(opaque, line);
        json_decref(line);
    }
    return 0;
}

int control_listen(const char *path, control_heard *heard, void *opaque, struct vmig_error *err)
{
    struct channel *c = say(path, json_pack("{s:s}", "execute", "events"), 0, err);
    if (!c)
        return err->code;
    struct lines lines = { .channel = c, .limit = ANSWER_BYTES_MAX };
    json_t *status = result_of(path, read_line(&lines), err);
    int rc = status ? 0 : err->code;
    if (status) {
        json_object_set_new(status, "event", json_string("begin"));
        heard(opaque, status);
        rc = hear_all(path, &lines, heard, opaque, err);
    }
    json_decref(status);
    channel_free(c);
    return rc;
}

json_t *control_call(const char *path, json_t *take_request, struct vmig_error *err)
{
    return call(path, take_request, 0, err); /* resolving may take a device's time */
}

enum handover_answer control_ask_peer(struct vmig_migration *m, struct vmig_error *err)
{
    char identity[33];
    if (!m->peer_control) {
        error_set(err, ENOTCONN, VMIG_STAGE_HANDOVER, NULL, NULL,
                  "the other side has no control socket on this host");
        return ANSWER_UNREACHABLE;
    }
    identity_text(m, identity);
    json_t *request =
        json_pack("{s:s, s:{s:s}}", "execute", "yield", "arguments", "migration", identity);
    json_t *result = call(m->peer_control, request, PATIENCE_S, err);
    const char *text = json_string_value(json_object_get(result, "answer"));
    enum handover_answer answer = ANSWER_UNREACHABLE;
    for (unsigned i = 0; text && i <= ANSWER_BUSY; i++)
        if (strcmp(text, answers[i]) == 0)
            answer = (enum handover_answer)i;
    json_decref(result);
    return answer;
}

void control_tell_peer(struct vmig_migration *m)
{
    char identity[33];
    if (!m->peer_control)
        return;
    identity_text(m, identity);
    json_decref(
        call(m->peer_control,
             json_pack("{s:s, s:{s:s}}", "execute", "i-run", "arguments", "migration", identity),
             PATIENCE_S, NULL));
}
