/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xxhash.h>

#include "lib/cleanup.h"
#include "lib/migration/message.h"
#include "lib/migration/wire.h"
#include "lib/stream/qemu.h"
#include "tests/migration/relay.h"

#define CONNECTIONS_MAX 20
#define GO_BYTES (5 + MESSAGE_FRAME_BYTES)

struct pump {
    struct relay *relay;
    unsigned connection;
    bool back; /* target to source */
    pthread_t thread;
    bool running;
    uint64_t passed; /* under the relay's lock */
    /* of a data channel: the packet that passes */
    uint8_t packet[WIRE_PACKET_BYTES];
    unsigned packet_bytes, rounds;
    uint64_t list_left, payload_left;
    bool damages;
};

struct relay {
    struct relay_plan plan;
    pthread_mutex_t lock; /* guards all below */
    uint64_t passed, since_loaded;
    bool flipped, flipped_late;
    bool acted, act_over, loaded, go, running, has_ack, kept_all;
    pthread_cond_t act_ended;
    uint8_t message[4 + 65535]; /* with swallow_ack: one message of the target's */
    size_t message_bytes;
    uint8_t kept[1024]; /* acknowledgements that were kept back */
    size_t kept_bytes;
    XXH3_state_t *passed_back; /* what was made of them, for the digests */
    /* the reverse direction of the main channel, message by message: head, then what is left */
    uint8_t head[4];
    unsigned head_bytes, body_left;
    unsigned forward_since_loaded; /* GO_BYTES: all of GO */
    int ends[CONNECTIONS_MAX][2];  /* source's, target's */
    unsigned num_connections;
    int listen_fd, stop_fd;
    char there[108];
    pthread_t thread;
    bool listening;
    struct pump pumps[CONNECTIONS_MAX][2];
};

struct relay *relay_new(const struct relay_plan *plan)
{
    struct relay *r = calloc(1, sizeof(*r));
    if (!r)
        abort();
    r->plan = *plan;
    r->passed_back = XXH3_createState();
    XXH3_64bits_reset(r->passed_back);
    r->listen_fd = -1;
    r->stop_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->act_ended, NULL);
    return r;
}

static void cut_locked(struct relay *r)
{
    for (unsigned i = 0; i < r->num_connections; i++)
        for (int end = 0; end < 2; end++)
            shutdown(r->ends[i][end], SHUT_RDWR);
}

void relay_cut(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    cut_locked(r);
}

/* One byte of the target's messages: where is it in LOADED, RUNNING or something else? */
static void follow_back(struct relay *r, uint8_t byte)
{
    if (r->head_bytes < 4) {
        r->head[r->head_bytes++] = byte;
        if (r->head_bytes < 4)
            return;
        r->body_left = (unsigned)r->head[2] << 8 | r->head[3];
    } else {
        r->body_left--;
    }
    if (r->body_left == 0) {
        unsigned type = (unsigned)r->head[0] << 8 | r->head[1];
        r->running |= type == WIRE_RP_RUNNING;
        r->head_bytes = 0;
    }
}

/* The head of LOADED is known only at its second byte; count as if at its first. */
static bool begins_loaded(const struct relay *r, const uint8_t *buf, size_t left)
{
    return r->head_bytes == 0 && left >= 2 && buf[0] == WIRE_RP_LOADED >> 8 &&
           buf[1] == (WIRE_RP_LOADED & 0xff);
}

/* Is this the place? */
static bool reached(const struct relay *r, bool forward)
{
    if (r->plan.inside_go)
        return r->forward_since_loaded >= 2;
    if (r->plan.after_go)
        return r->go && !forward;
    if (r->plan.from_loaded)
        return r->loaded && r->since_loaded >= r->plan.after;
    return r->passed >= r->plan.after;
}

/* How many of @n bytes may pass; notes what they are. */
static size_t admit(struct relay *r, const struct pump *p, const uint8_t *buf, size_t n)
{
    bool main = p->connection == 0;
    for (size_t i = 0; i < n; i++) {
        if (main && p->back && begins_loaded(r, buf + i, n - i))
            r->loaded = true;
        if (r->acted || reached(r, !p->back))
            return i;
        r->passed++;
        if (r->loaded)
            r->since_loaded++;
        if (main && p->back)
            follow_back(r, buf[i]);
        else if (main && r->loaded && ++r->forward_since_loaded == GO_BYTES)
            r->go = true;
    }
    return n;
}

/* After admit(), which has to understand what it sees. */
static void flip(struct relay *r, struct pump *p, uint8_t *buf, size_t n)
{
    const struct relay_flip *f = &r->plan.flip;
    uint64_t first = p->passed;
    p->passed += n;
    if (!f->mask || f->connection != p->connection || f->back != p->back || f->at < first ||
        f->at >= p->passed)
        return;
    buf[f->at - first] ^= f->mask;
    r->flipped = true;
    r->flipped_late = r->loaded;
}

/* One byte of a packet; true when it is the first of memory that is to be damaged. */
static bool follow_packet(struct relay *r, struct pump *p, uint8_t byte)
{
    struct wire_packet packet = { 0 };
    if (p->packet_bytes < WIRE_PACKET_BYTES) {
        p->packet[p->packet_bytes++] = byte;
        if (p->packet_bytes < WIRE_PACKET_BYTES || wire_packet_decode(p->packet, &packet) < 0)
            return false;
        p->list_left = wire_list_bytes(&packet);
        p->payload_left = packet.length;
        p->rounds += packet.kind == WIRE_PACKET_BARRIER;
        p->damages = packet.kind == WIRE_PACKET_RAM && p->rounds < r->plan.damaged_rounds;
    } else if (p->list_left) {
        p->list_left--;
        return false;
    } else {
        p->payload_left--;
    }
    bool damage = p->damages && p->packet_bytes == WIRE_PACKET_BYTES && !packet.kind;
    p->damages &= !damage;
    if (!p->list_left && !p->payload_left)
        p->packet_bytes = 0;
    return damage;
}

static void damage_memory(struct relay *r, struct pump *p, uint8_t *buf, size_t n)
{
    bool lane = p->connection > 0 && !p->back && r->plan.damaged_rounds;
    for (size_t i = 0; lane && i < n; i++)
        if (follow_packet(r, p, buf[i]))
            buf[i] ^= 0x10;
}

static bool write_all(int fd, const uint8_t *buf, size_t n)
{
    while (n) {
        ssize_t done = send(fd, buf, n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        buf += done;
        n -= (size_t)done;
    }
    return true;
}

static size_t message_length(const uint8_t *message)
{
    return 4u + ((unsigned)message[2] << 8 | message[3]);
}

static bool is_ack(const uint8_t *message)
{
    unsigned type = (unsigned)message[0] << 8 | message[1];
    return type == QEMU_RP_SWITCHOVER_ACK || type == WIRE_RP_INITIAL_LOADED;
}

/* Later digests have to leave out what was kept back. */
static bool pass_message(struct relay *r, int to, uint8_t *message)
{
    size_t end = message_length(message);
    if (message[0] == MESSAGE_OURS >> 8) {
        end -= sizeof(uint64_t);
        XXH3_64bits_update(r->passed_back, message, end);
        uint64_t digest = XXH3_64bits_digest(r->passed_back);
        for (int shift = 56; shift >= 0; shift -= 8)
            message[end++] = (uint8_t)(digest >> shift);
        XXH3_64bits_update(r->passed_back, message + end - 8, 8);
    } else {
        XXH3_64bits_update(r->passed_back, message, end);
    }
    return write_all(to, message, end);
}

static bool keep(struct relay *r, const uint8_t *message, size_t length)
{
    if (r->kept_all || !is_ack(message))
        return false;
    if (length > sizeof(r->kept) - r->kept_bytes)
        abort();
    memcpy(r->kept + r->kept_bytes, message, length);
    r->kept_bytes += length;
    r->has_ack = true;
    return true;
}

/* Pass the target's messages on but for acknowledgements. */
static bool pass_without_ack(struct relay *r, int to, const uint8_t *buf, size_t n)
{
    LOCK_SCOPE(&r->lock);
    for (size_t i = 0; i < n; i++) {
        follow_back(r, buf[i]);
        r->message[r->message_bytes++] = buf[i];
        if (r->message_bytes < 4 || r->message_bytes < message_length(r->message))
            continue;
        size_t length = r->message_bytes;
        r->message_bytes = 0;
        if (!keep(r, r->message, length) && !pass_message(r, to, r->message))
            return false;
    }
    return true;
}

/* All else stands still meanwhile. */
static void act(struct relay *r, bool first)
{
    if (!r->plan.act)
        return;
    if (first)
        r->plan.act(r->plan.arg);
    LOCK_SCOPE(&r->lock);
    r->act_over |= first;
    pthread_cond_broadcast(&r->act_ended);
    while (!r->act_over)
        pthread_cond_wait(&r->act_ended, &r->lock);
}

static void *pump_main(void *opaque)
{
    struct pump *p = opaque;
    struct relay *r = p->relay;
    uint8_t buf[65536];
    int from = r->ends[p->connection][p->back], to = r->ends[p->connection][!p->back];
    for (;;) {
        ssize_t n = recv(from, buf, sizeof(buf), 0);
        if (n <= 0)
            break;
        if (r->plan.swallow_ack && p->connection == 0 && p->back) {
            if (!pass_without_ack(r, to, buf, (size_t)n))
                break;
            continue;
        }
        size_t may;
        bool first = false;
        {
            LOCK_SCOPE(&r->lock);
            may = admit(r, p, buf, (size_t)n);
            flip(r, p, buf, may);
            damage_memory(r, p, buf, may);
            if (may < (size_t)n) {
                first = !r->acted;
                r->acted = true;
            }
        }
        bool sent = write_all(to, buf, may);
        if (may < (size_t)n)
            act(r, first);
        if (first)
            relay_cut(r);
        if (!sent || may < (size_t)n)
            break;
    }
    /* an end that is seen on one side is passed on */
    shutdown(to, SHUT_WR);
    return NULL;
}

static int connect_to(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void add_connection(struct relay *r, int source)
{
    int target = connect_to(r->there);
    LOCK_SCOPE(&r->lock);
    if (target < 0 || r->num_connections == CONNECTIONS_MAX) {
        close(source);
        if (target >= 0)
            close(target);
        return;
    }
    unsigned n = r->num_connections++;
    r->ends[n][0] = source;
    r->ends[n][1] = target;
    for (int back = 0; back < 2; back++) {
        struct pump *p = &r->pumps[n][back];
        *p = (struct pump) { .relay = r, .connection = n, .back = back };
        p->running = pthread_create(&p->thread, NULL, pump_main, p) == 0;
    }
    if (r->acted && (r->act_over || !r->plan.act))
        cut_locked(r);
}

static void *accept_main(void *opaque)
{
    struct relay *r = opaque;
    for (;;) {
        struct pollfd p[2] = { { .fd = r->listen_fd, .events = POLLIN },
                               { .fd = r->stop_fd, .events = POLLIN } };
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (p[1].revents)
            return NULL;
        int fd = p[0].revents ? accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0)
            add_connection(r, fd);
    }
}

void relay_connect(struct relay *r, const char *here, const char *there)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", here);
    snprintf(r->there, sizeof(r->there), "%s", there);
    unlink(here);
    r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(r->listen_fd, (struct sockaddr *)&sun, sizeof(sun)) != 0 ||
        listen(r->listen_fd, 32) != 0 || pthread_create(&r->thread, NULL, accept_main, r) != 0)
        abort();
    r->listening = true;
}

struct relay *relay_free(struct relay *r)
{
    ssize_t n = write(r->stop_fd, &(uint64_t) { 1 }, sizeof(uint64_t));
    (void)n;
    if (r->listening)
        pthread_join(r->thread, NULL);
    relay_cut(r);
    for (unsigned i = 0; i < r->num_connections; i++) {
        for (int back = 0; back < 2; back++)
            if (r->pumps[i][back].running)
                pthread_join(r->pumps[i][back].thread, NULL);
        close(r->ends[i][0]);
        close(r->ends[i][1]);
    }
    if (r->listen_fd >= 0)
        close(r->listen_fd);
    close(r->stop_fd);
    pthread_cond_destroy(&r->act_ended);
    pthread_mutex_destroy(&r->lock);
    XXH3_freeState(r->passed_back);
    free(r);
    return NULL;
}

uint64_t relay_passed(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->passed;
}

uint64_t relay_passed_since_loaded(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->since_loaded;
}

uint64_t relay_passed_one(struct relay *r, unsigned connection, bool back)
{
    LOCK_SCOPE(&r->lock);
    return connection < r->num_connections ? r->pumps[connection][back].passed : 0;
}

bool relay_flipped(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->flipped;
}

bool relay_flipped_late(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->flipped_late;
}

bool relay_acted(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->acted;
}

bool relay_saw_loaded(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->loaded;
}

bool relay_saw_go(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->go;
}

bool relay_saw_running(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->running;
}

bool relay_has_ack(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    return r->has_ack;
}

void relay_release_ack(struct relay *r)
{
    LOCK_SCOPE(&r->lock);
    r->kept_all = true; /* no more of them */
    for (size_t at = 0; at < r->kept_bytes; at += message_length(r->kept + at))
        pass_message(r, r->ends[0][0], r->kept + at);
}
