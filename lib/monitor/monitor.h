/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The QMP server's inside.
 *
 *   thread          how many      what it does
 *   server          one           accepts, reads, cuts into texts, writes; out-of-band commands
 *   executor        per client    parses and runs that client's commands, one after another
 *   mover           one at most   the send, receive or snapshot that a client asked for
 *   the engine's    any           call events_hear(), which only appends to the clients' queues
 *
 * So neither a client that does not read, nor a command that takes long, holds up a migration, an event
 * or another client.
 *
 * One lock, vmig_monitor.lock, guards all that is marked so. It is the innermost one: neither the
 * engine nor the host is called with it held, and nothing is waited for but vmig_monitor.changed.
 */
#ifndef LIB_MONITOR_MONITOR_H
#define LIB_MONITOR_MONITOR_H

#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <vfio-migrate/monitor.h>
#include "lib/monitor/arguments.h"
#include "lib/monitor/scanner.h"

/* Who comes when so many are there waits until one leaves. */
#define CLIENTS_MAX 4
/* Commands of one client that wait for their turn; it is read on when there is room. QEMU's number. */
#define REQUESTS_MAX 8
/* Answers and events that a client has not read, beside what its socket holds; then it is dropped. */
#define REPLY_BYTES_MAX (1u << 20)

struct client;
struct vmig_monitor;

/* What was cut out of a client's bytes: a text, or why there is none. */
struct request {
    char *text; /* malloc'd */
    size_t length;
    const char *why;
};

struct client {
    struct vmig_monitor *monitor;
    bool used;          /* the server's */
    int fd;             /* the server's */
    pthread_t executor; /* the server's */
    struct scanner scanner;
    char input[4096]; /* the server's: read, and not scanned yet */
    size_t input_first, input_length;

    /* under the lock */
    struct request requests[REQUESTS_MAX];
    unsigned first, count;
    size_t request_bytes;
    bool negotiated, oob;
    bool heard_all; /* it sends nothing more */
    bool dropped;   /* it is told nothing more */
    bool finished;  /* its executor has ended */
    char *reply;
    size_t reply_length, reply_size;
};

/* One command of one client. */
struct call {
    struct client *client;
    struct vmig_monitor *monitor;
    struct vmig_migration *migration;
    const struct command *command;
    const char *name;  /* as sent */
    json_t *arguments; /* an object, checked; borrowed */
    json_t *id;        /* or NULL; borrowed */
    bool not_found;    /* the failure's class is CommandNotFound */
    bool answered;     /* the answer is out already, behind the event that it waited for */
};

/* An answer that goes out with an event: whoever appends that event appends the answer behind it, so
 * that what happens next cannot come in between. */
struct deferred {
    struct call *call;
    bool (*due)(const struct deferred *d, const struct vmig_event *event);
    bool on_mover; /* only events of the mover's thread count */
    bool at_listening;
    struct deferred *next;
};

enum mover_state { MOVER_IDLE, MOVER_RUNS, MOVER_ENDED /* and is to be joined */ };

enum move { MOVE_SEND, MOVE_RECEIVE, MOVE_SNAPSHOT };

struct mover {
    enum mover_state state; /* this and all that follows under the lock */
    pthread_t thread;
    enum move move;
    bool incoming_done;
    char *address;
    char listening[300]; /* "": not, or not yet */
    int rc;
    struct vmig_error err;
};

struct vmig_monitor {
    struct vmig_migration *migration;
    struct vmig_monitor_host host;
    char *package, *path;
    int listen_fd, wake_fd;
    sigset_t mask; /* of who made it */
    pthread_t server;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* anything under the lock */
    bool over;
    struct client clients[CLIENTS_MAX];
    struct deferred *deferred;
    struct mover mover;
    uint64_t passes; /* that were told of the migration that runs, or ran last */
};

/* ---- server.c ---- */
int server_start(struct vmig_monitor *monitor, struct vmig_error *err);
/* After .over was set. */
void server_end(struct vmig_monitor *monitor);
void server_wake(struct vmig_monitor *monitor);

/* ---- client.c ---- */
/* A new one is greeted. False: no memory or thread; @take_fd is closed. */
bool client_start(struct client *c, struct vmig_monitor *monitor, int take_fd);
void client_end(struct client *c); /* joins its executor */
bool client_wants_input(struct client *c);
bool client_has_output(struct client *c);
/* What the socket has, and what it takes, without waiting. */
void client_read(struct client *c);
void client_write(struct client *c);
/* Nothing more is to be done for it. When the monitor ends, it still hears how its migration does. */
bool client_is_over(struct client *c);
/* Append a line; @json is borrowed. A client that has too many is dropped. */
void client_tell_locked(struct client *c, const json_t *json);

/* ---- dispatch.c ---- */
void dispatch(struct client *c, const struct request *request);
/* The server's thread: true when @text was an out-of-band command, which has been run. */
bool dispatch_oob(struct client *c, const char *text, size_t length);
json_t *dispatch_greeting(const struct vmig_monitor *monitor);
json_t *dispatch_version(const struct vmig_monitor *monitor);
/* {"return": ...} with the id; takes @take_result. */
json_t *dispatch_success(const struct call *call, json_t *take_result);

/* ---- commands.c: the table ---- */
struct command {
    const char *name;
    /* The answer, a new reference; NULL is a failure, told in @err. */
    json_t *(*run)(struct call *call, struct vmig_error *err);
    struct argument arguments[5]; /* until one without a name */
    unsigned flags;
};
enum {
    COMMAND_NEGOTIATES = 1,    /* only this is accepted first, and then not again */
    COMMAND_OOB = 2,           /* may be run out of band, so it does not wait for anything */
    COMMAND_OWN_ARGUMENTS = 4, /* what they may be only the command itself knows */
};
const struct command *command_find(const char *name);
const struct command *command_at(unsigned index); /* NULL behind the last one */

/* ---- events.c ---- */
/* Observer of the migration. */
void events_hear(void *opaque, const struct vmig_event *event);
/* Tell all clients. @take_data: or NULL. */
void events_tell(struct vmig_monitor *monitor, const char *name, json_t *take_data);
/* The answer to @call, an empty object, goes out behind the first event that @d is due with. */
void events_defer_locked(struct vmig_monitor *monitor, struct deferred *d);
void events_undefer(struct vmig_monitor *monitor, struct deferred *d);

/* ---- mover.c ---- */
/* Answers, when it is under way, by itself. */
json_t *mover_start(struct call *call, enum move move, const char *address, struct vmig_error *err);
/* Cancel what runs, join. */
void mover_end(struct vmig_monitor *monitor);

/* ---- the commands, by topic ---- */
json_t *on_capabilities_negotiation(struct call *call, struct vmig_error *err);
json_t *on_query_version(struct call *call, struct vmig_error *err);
json_t *on_query_commands(struct call *call, struct vmig_error *err);
json_t *on_quit(struct call *call, struct vmig_error *err);
json_t *on_host_command(struct call *call, struct vmig_error *err);
json_t *on_migrate(struct call *call, struct vmig_error *err);
json_t *on_migrate_incoming(struct call *call, struct vmig_error *err);
json_t *on_migrate_cancel(struct call *call, struct vmig_error *err);
json_t *on_migrate_pause(struct call *call, struct vmig_error *err);
json_t *on_migrate_continue(struct call *call, struct vmig_error *err);
json_t *on_set_capabilities(struct call *call, struct vmig_error *err);
json_t *on_query_capabilities(struct call *call, struct vmig_error *err);
json_t *on_set_parameters(struct call *call, struct vmig_error *err);
json_t *on_query_parameters(struct call *call, struct vmig_error *err);
json_t *on_stop(struct call *call, struct vmig_error *err);
json_t *on_cont(struct call *call, struct vmig_error *err);
json_t *on_query_status(struct call *call, struct vmig_error *err);
json_t *on_snapshot(struct call *call, struct vmig_error *err);
json_t *on_query_migrate(struct call *call, struct vmig_error *err);

#endif
