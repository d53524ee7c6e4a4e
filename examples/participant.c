/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A participant of one's own: accounts between which a thread moves money go, live, to another
 * process. If anything were lost on the way, the number of coins would show it.
 *
 *   cc participant.c -o participant $(pkg-config --cflags --libs libvfio-migrate) -pthread
 *   ./participant receive unix:/tmp/bank.sock &
 *   ./participant send unix:/tmp/bank.sock
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <vfio-migrate.h>

#define ACCOUNTS 4096

struct record { /* on the wire; here both ends are the same program on the same kind of machine */
    uint64_t account, coins;
};

struct bank {
    pthread_mutex_t lock; /* guards what follows */
    bool open;            /* the workload runs */
    bool dirty[ACCOUNTS]; /* changed since it was sent */
    uint64_t coins[ACCOUNTS];
    struct record partial; /* target: a record may come in pieces */
    size_t partial_bytes;
};

static void *workload(void *opaque)
{
    struct bank *bank = opaque;
    for (uint64_t n = 0;; n++) {
        size_t from = n * 7919 % ACCOUNTS, to = (n + 1) * 104729 % ACCOUNTS;
        pthread_mutex_lock(&bank->lock);
        if (bank->open && bank->coins[from]) {
            bank->coins[from]--;
            bank->coins[to]++;
            bank->dirty[from] = bank->dirty[to] = true;
        }
        pthread_mutex_unlock(&bank->lock);
        nanosleep(&(struct timespec) { .tv_nsec = 10000 }, NULL);
    }
    return NULL;
}

/* ---- the participant: called on a thread of the migration's, one call at a time ---- */

static int setup(void *opaque, struct vmig_error *err)
{
    struct bank *bank = opaque;
    (void)err;
    pthread_mutex_lock(&bank->lock);
    memset(bank->dirty, true, sizeof(bank->dirty)); /* everything has to go once */
    pthread_mutex_unlock(&bank->lock);
    return 0;
}

static int pending(void *opaque, bool exact, struct vmig_pending *ret, struct vmig_error *err)
{
    struct bank *bank = opaque;
    (void)exact;
    (void)err;
    pthread_mutex_lock(&bank->lock);
    for (size_t i = 0; i < ACCOUNTS; i++)
        ret->precopy_bytes += bank->dirty[i] ? sizeof(struct record) : 0;
    pthread_mutex_unlock(&bank->lock);
    return 0;
}

/* The mark goes before the value is sent, so that a later change goes again. No lock is held while
 * sending: that takes as long as the target likes. */
static int iterate(void *opaque, struct vmig_writer *writer, uint64_t budget,
                   struct vmig_error *err)
{
    struct bank *bank = opaque;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ACCOUNTS && budget >= sizeof(struct record); i++) {
        pthread_mutex_lock(&bank->lock);
        bool send = bank->dirty[i];
        bank->dirty[i] = false;
        struct record record = { i, bank->coins[i] };
        pthread_mutex_unlock(&bank->lock);
        if (!send)
            continue;
        rc = vmig_writer_put(writer, &record, sizeof(record), err);
        budget -= sizeof(record);
    }
    return rc;
}

/* The workload stands still now: whatever is left. */
static int complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    return iterate(opaque, writer, UINT64_MAX, err);
}

/* What comes from outside is never trusted. An errno is enough: the rest of @err is filled in. */
static int load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    struct bank *bank = opaque;
    (void)err;
    for (size_t i = 0; i < length_bytes; i++) {
        ((char *)&bank->partial)[bank->partial_bytes++] = ((const char *)buf)[i];
        if (bank->partial_bytes < sizeof(bank->partial))
            continue;
        if (bank->partial.account >= ACCOUNTS)
            return -EINVAL;
        bank->coins[bank->partial.account] = bank->partial.coins;
        bank->partial_bytes = 0;
    }
    return 0;
}

static const struct vmig_participant_ops bank_ops = {
    .size = sizeof(bank_ops),
    .setup = setup,
    .pending = pending,
    .iterate = iterate,
    .complete = complete,
    .load = load,
};

/* ---- the host: called on the thread that called send or receive ---- */

static int set_open(struct bank *bank, bool open)
{
    uint64_t coins = 0;
    pthread_mutex_lock(&bank->lock);
    bank->open = open;
    for (size_t i = 0; i < ACCOUNTS; i++)
        coins += bank->coins[i];
    pthread_mutex_unlock(&bank->lock);
    printf("%s with %llu coins\n", open ? "open" : "closed", (unsigned long long)coins);
    return 0;
}

static int stop(void *opaque, struct vmig_error *err)
{
    (void)err;
    return set_open(opaque, false);
}

static int start(void *opaque, struct vmig_error *err)
{
    (void)err;
    return set_open(opaque, true);
}

int main(int argc, char **argv)
{
    static struct bank bank = { .lock = PTHREAD_MUTEX_INITIALIZER };
    const struct vmig_host host = {
        .size = sizeof(host), .opaque = &bank, .stop = stop, .start = start
    };
    struct vmig_error err = { 0 };
    char text[700];
    pthread_t thread;
    bool sends = argc == 3 && !strcmp(argv[1], "send");
    if (!sends && (argc != 3 || strcmp(argv[1], "receive"))) {
        fprintf(stderr, "usage: participant send|receive ADDRESS\n");
        return 2;
    }
    for (size_t i = 0; sends && i < ACCOUNTS; i++)
        bank.coins[i] = 1000;
    bank.open = sends;
    pthread_create(&thread, NULL, workload, &bank);
    struct vmig_migration *migration = vmig_migration_new(&host, &err);
    int rc = migration ? vmig_migration_add_participant(migration, "bank", &bank_ops, &bank, &err)
                       : err.code;
    if (rc == 0) /* milliseconds; what is there to move takes one, but machines can be busy */
        rc = vmig_migration_set(migration, "downtime-limit", 60000, &err);
    if (rc == 0)
        rc = (sends ? vmig_migration_send : vmig_migration_receive)(migration, argv[2], &err);
    if (rc)
        fprintf(stderr, "participant: %s\n", vmig_error_message(&err, text, sizeof(text)));
    vmig_migration_free(migration);
    return rc ? 1 : 0;
}
