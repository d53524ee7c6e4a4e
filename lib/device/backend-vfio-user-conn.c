/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection to a vfio-user server: many requests in flight, replies in any order, and the
 * server's own commands in between.
 *
 * The receiver trusts nothing: a reply must belong to a request that waits (by id and command) and
 * fit what that command can answer. Anything else means that the two sides disagree about the
 * stream, and the only safe thing is to end the connection and tell everybody who waits. A request
 * that merely timed out leaves the connection usable: its id stays reserved and its late reply is
 * read and dropped. Only when that reply had begun to arrive in the requester's buffers is the
 * connection ended, because the buffers are about to go.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/device/backend-vfio-user.h"
#include "lib/error.h"
#include "lib/thread.h"

/* ---- ends ---- */

static void complete_locked(struct vuc_conn *c, struct vuc_request *r, int result)
{
    r->result = result;
    r->state = VUC_DONE;
    if (r->waited)
        pthread_cond_broadcast(&c->done);
}

/* Take @r out of the list of outstanding requests. */
static void unlink_locked(struct vuc_conn *c, struct vuc_request *r)
{
    struct vuc_request **at = &c->first;
    while (*at && *at != r)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = r->next;
    if (c->last == &r->next)
        c->last = at;
}

static void kill_locked(struct vuc_conn *c, int code, const char *text)
{
    if (c->dead.code)
        return;
    error_set(&c->dead, code, VMIG_STAGE_NONE, NULL, NULL, "%s", text);
    vuser_socket_shutdown(&c->main);
    vuser_socket_shutdown(&c->twin);
    while (c->first) {
        struct vuc_request *r = c->first;
        unlink_locked(c, r);
        complete_locked(c, r, c->dead.code);
    }
    pthread_cond_broadcast(&c->done);
    pthread_cond_broadcast(&c->work);
    pthread_cond_broadcast(&c->room);
}

void vuc_conn_kill(struct vuc_conn *c, int code, const char *format, ...)
{
    char text[sizeof(c->dead.text)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    LOCK_SCOPE(&c->lock);
    kill_locked(c, code, text);
}

/* ---- replies ---- */

static struct vuc_request *find_locked(struct vuc_conn *c, uint16_t id)
{
    struct vuc_request *r = c->first;
    while (r && r->id != id)
        r = r->next;
    return r;
}

/* Is it the late reply to a request that timed out? Forget that one then. */
static bool was_abandoned_locked(struct vuc_conn *c, const struct vuser_header *h)
{
    for (unsigned i = 0; i < c->num_abandoned; i++) {
        if (c->abandoned[i].id == h->id && c->abandoned[i].command == h->command) {
            c->abandoned[i] = c->abandoned[--c->num_abandoned];
            return true;
        }
    }
    return false;
}

/* What is wrong with the reply @h to @r; NULL when it can be taken. */
static const char *reply_fault(const struct vuc_request *r, const struct vuser_header *h)
{
    uint64_t payload = vuser_payload_bytes(h);
    uint64_t slack = r->slack_bytes ? r->slack_bytes : VUC_REPLY_SLACK_BYTES;
    if (r->command != h->command)
        return "answers another command than was sent";
    if (h->flags & VUSER_ERROR)
        return payload ? "is an error with a payload" : NULL;
    if (payload < vuser_rule(r->command)->reply_min)
        return "is too short";
    if (payload > r->fixed_bytes + r->data_bytes + slack)
        return "is longer than was asked for";
    return NULL;
}

/* The request that the reply @h belongs to, now ARRIVING; NULL when the reply is to be dropped
 * (*ret_drop) or the connection is dead. */
static struct vuc_request *claim_reply(struct vuc_conn *c, const struct vuser_header *h,
                                       bool *ret_drop)
{
    char name[16];
    LOCK_SCOPE(&c->lock);
    *ret_drop = false;
    if (c->dead.code)
        return NULL;
    struct vuc_request *r = find_locked(c, h->id);
    if (!r && was_abandoned_locked(c, h)) {
        *ret_drop = true;
        return NULL;
    }
    const char *fault = r ? reply_fault(r, h) : "answers nothing that was asked";
    if (fault) {
        char text[200];
        snprintf(text, sizeof(text),
                 "the vfio-user server broke the protocol: its reply (%s, id %u, %" PRIu32
                 " bytes) %s",
                 vuser_command_name(h->command, name), h->id, h->size_bytes, fault);
        kill_locked(c, EPROTO, text);
        return NULL;
    }
    unlink_locked(c, r);
    r->state = VUC_ARRIVING;
    return r;
}

/* Read the payload into the request's buffers, which are ours while it is ARRIVING. */
static int fill_request(struct vuser_socket *s, struct vuc_request *r, size_t payload,
                        struct vmig_error *err)
{
    size_t fixed = payload < r->fixed_bytes ? payload : r->fixed_bytes;
    size_t data = payload - fixed < r->data_bytes ? payload - fixed : r->data_bytes;
    struct iovec iov[2] = { { r->fixed, fixed }, { r->data, data } };
    int rc = vuser_socket_recv_iov(s, iov, 2, err);
    return rc ? rc : vuser_socket_skip(s, payload - fixed - data, err);
}

static int receive_reply(struct vuc_conn *c, struct vuser_socket *s, const struct vuser_header *h,
                         struct vuser_fds *fds, struct vmig_error *err)
{
    bool drop;
    size_t payload = vuser_payload_bytes(h);
    struct vuc_request *r = claim_reply(c, h, &drop);
    if (drop)
        return vuser_socket_skip(s, payload, err);
    if (!r)
        return -EPROTO;
    int rc = fill_request(s, r, payload, err);
    if (rc) /* first, so that whoever waits finds the reason */
        vuc_conn_kill(c, rc, "%s", err->text);
    if (!rc && r->fds) {
        *r->fds = *fds;
        fds->count = 0;
    }
    LOCK_SCOPE(&c->lock);
    r->got_bytes = payload;
    r->errno_zero = (h->flags & VUSER_ERROR) && h->error == 0;
    complete_locked(c, r,
                    rc                       ? c->dead.code
                    : h->flags & VUSER_ERROR ? vuser_error_code(h->error)
                                             : 0);
    return rc;
}

/* ---- the server's commands ---- */

/* Give the responder its next answer. A server with more commands under way than the queue holds
 * waits here, which is its own doing: the queue is far beyond what one device needs. */
static void queue_answer(struct vuc_conn *c, const struct vuc_answer *answer)
{
    if (answer->command.flags & VUSER_NO_REPLY)
        return;
    LOCK_SCOPE(&c->lock);
    while (c->num_answers == VUC_ANSWERS_MAX && !c->dead.code)
        pthread_cond_wait(&c->room, &c->lock);
    if (c->dead.code)
        return;
    c->answers[(c->answers_at + c->num_answers++) % VUC_ANSWERS_MAX] = *answer;
    pthread_cond_signal(&c->work);
}

/* Land the data in the memory it is for. */
static int receive_dma_write(struct vuc_conn *c, struct vuser_socket *s, struct vuc_answer *a,
                             uint64_t payload, struct vmig_error *err)
{
    struct iovec iov[VUSER_IOV_MAX];
    uint64_t count = a->access.count_bytes;
    if (count > payload) {
        a->code = -EINVAL;
        return vuser_socket_skip(s, payload, err);
    }
    pthread_rwlock_rdlock(&c->dma->lock);
    int parts = vuc_dma_iov(c->dma, a->access.iova, count, true, iov, VUSER_IOV_MAX), rc = 0;
    if (parts > 0) {
        rc = vuser_socket_recv_iov(s, iov, (unsigned)parts, err);
        vuc_dma_mark(c->dma, a->access.iova, count); /* after a failure too: part has landed */
        payload -= count;
    }
    pthread_rwlock_unlock(&c->dma->lock);
    a->code = parts < 0 ? parts : 0;
    return rc ? rc : vuser_socket_skip(s, payload, err);
}

static int receive_dma(struct vuc_conn *c, struct vuser_socket *s, const struct vuser_header *h,
                       struct vmig_error *err)
{
    uint8_t fixed[vuser_dma_access_BYTES];
    struct vuc_answer answer = { .socket = s, .command = *h };
    int rc = vuser_socket_recv(s, fixed, sizeof(fixed), err);
    if (rc)
        return rc;
    vuser_dma_access_decode(fixed, &answer.access);
    uint64_t payload = vuser_payload_bytes(h) - sizeof(fixed);
    if (h->command == VUSER_DMA_WRITE) {
        rc = receive_dma_write(c, s, &answer, payload, err);
    } else {
        answer.code = answer.access.count_bytes > VUC_DATA_XFER_BYTES ? -E2BIG : 0;
        rc = vuser_socket_skip(s, payload, err);
    }
    if (!rc)
        queue_answer(c, &answer);
    return rc;
}

static int receive_command(struct vuc_conn *c, struct vuser_socket *s, const struct vuser_header *h,
                           struct vmig_error *err)
{
    char name[16];
    const struct vuser_rule *rule = vuser_rule(h->command);
    if (vuser_payload_bytes(h) > vuser_dma_access_BYTES + VUC_DATA_XFER_BYTES)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                         "the vfio-user server broke the protocol: its %s has %" PRIu32
                         " bytes of payload, accepted are %d",
                         vuser_command_name(h->command, name), vuser_payload_bytes(h),
                         (int)(vuser_dma_access_BYTES + VUC_DATA_XFER_BYTES));
    if (rule && rule->direction == VUSER_TO_CLIENT && vuser_payload_bytes(h) >= rule->command_min)
        return receive_dma(c, s, h, err);
    int rc = vuser_socket_skip(s, vuser_payload_bytes(h), err);
    if (!rc)
        queue_answer(c, &(struct vuc_answer) { .socket = s, .command = *h, .code = -EINVAL });
    return rc;
}

/* ---- the receiver ---- */

static int closed(struct vmig_error *err)
{
    return error_set(err, ECONNRESET, VMIG_STAGE_NONE, NULL, NULL,
                     "the vfio-user server closed the connection");
}

static int receive_message(struct vuc_conn *c, struct vuser_socket *s, struct vmig_error *err)
{
    struct vuser_header h;
    struct vuser_fds fds;
    int rc = vuser_socket_recv_header(s, &h, &fds, err);
    if (rc <= 0)
        return rc == 0 ? closed(err) : rc;
    bool reply = vuser_is_reply(&h) && s == &c->main;
    const struct vuser_rule *rule = vuser_rule(h.command);
    vuser_fds_trim(&fds, reply && rule ? rule->reply_fds : 0);
    if (vuser_is_reply(&h) && !reply)
        rc = error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                       "the vfio-user server broke the protocol: a reply on the twin socket");
    else if (reply)
        rc = receive_reply(c, s, &h, &fds, err);
    else
        rc = receive_command(c, s, &h, err);
    vuser_fds_close(&fds);
    return rc;
}

/* NULL: stop. The twin goes first: what the server wrote into memory before it replied on the main
 * socket must be marked before that reply is acted on. The kernel looks at the files in the order of
 * this list, so the main socket stands before the twin: a twin that is found empty was so after the
 * main socket was found readable. */
static struct vuser_socket *next_socket(struct vuc_conn *c)
{
    struct pollfd p[3] = { { .fd = c->main.fd, .events = POLLIN },
                           { .fd = c->twin.fd, .events = POLLIN },
                           { .fd = c->wake_fd, .events = POLLIN } };
    /* out of memory, say: that passes, and a read instead would not end with wake_fd */
    while (poll(p, 3, -1) < 0)
        if (errno != EINTR)
            poll(NULL, 0, 10);
    if (p[2].revents)
        return NULL;
    return p[1].revents ? &c->twin : &c->main;
}

static void *receiver_main(void *arg)
{
    struct vuc_conn *c = arg;
    struct vmig_error err = { 0 };
    /* The answer to VERSION, nothing else is legal. */
    int rc = c->established ? 0 : receive_message(c, &c->main, &err);
    pthread_mutex_lock(&c->lock);
    while (!rc && !c->ready && !c->dead.code)
        pthread_cond_wait(&c->done, &c->lock);
    pthread_mutex_unlock(&c->lock);
    for (struct vuser_socket *s; !rc && (s = next_socket(c));)
        rc = receive_message(c, s, &err);
    if (rc)
        vuc_conn_kill(c, rc, "%s", err.text);
    return NULL;
}

/* ---- the responder ---- */

static bool next_answer(struct vuc_conn *c, struct vuc_answer *ret)
{
    LOCK_SCOPE(&c->lock);
    while (c->num_answers == 0 && !c->dead.code && !c->leaving)
        pthread_cond_wait(&c->work, &c->lock);
    if (c->dead.code || c->num_answers == 0)
        return false;
    *ret = c->answers[c->answers_at];
    c->answers_at = (c->answers_at + 1) % VUC_ANSWERS_MAX;
    c->num_answers--;
    pthread_cond_signal(&c->room);
    return true;
}

/* Copy what DMA_READ asks for: the memory may be unmapped while the answer is under way. */
static int read_memory(struct vuc_conn *c, const struct vuser_dma_access *access, uint8_t *buf)
{
    struct iovec iov[VUSER_IOV_MAX];
    pthread_rwlock_rdlock(&c->dma->lock);
    int parts = vuc_dma_iov(c->dma, access->iova, access->count_bytes, false, iov, VUSER_IOV_MAX);
    for (int i = 0; i < parts; i++) {
        memcpy(buf, iov[i].iov_base, iov[i].iov_len);
        buf += iov[i].iov_len;
    }
    pthread_rwlock_unlock(&c->dma->lock);
    return parts < 0 ? parts : 0;
}

static int send_answer(struct vuc_conn *c, struct vuc_answer *a, uint8_t **buf)
{
    uint8_t fixed[vuser_dma_access_BYTES];
    uint64_t data = a->command.command == VUSER_DMA_READ ? a->access.count_bytes : 0;
    if (!a->code && data > 0) {
        if (!*buf)
            *buf = malloc(VUC_DATA_XFER_BYTES);
        a->code = *buf ? read_memory(c, &a->access, *buf) : -ENOMEM;
    }
    if (a->code)
        return vuser_socket_send_error(a->socket, &a->command, a->code);
    vuser_dma_access_encode(&a->access, fixed);
    struct iovec iov[2] = { { fixed, sizeof(fixed) }, { *buf, data } };
    struct vuser_header h = vuser_reply_header(&a->command, (uint32_t)(sizeof(fixed) + data));
    return vuser_socket_send(a->socket, &h, iov, data > 0 ? 2 : 1, NULL, 0);
}

static void *responder_main(void *arg)
{
    struct vuc_conn *c = arg;
    struct vuc_answer answer;
    uint8_t *buf = NULL;
    while (next_answer(c, &answer)) {
        int rc = send_answer(c, &answer, &buf);
        if (rc)
            vuc_conn_kill(c, rc, "answering the vfio-user server's DMA: %s", strerror(-rc));
    }
    free(buf);
    return NULL;
}

/* ---- requests ---- */

/* An id that no outstanding and no abandoned request has. There are far fewer than 65,536. */
static uint16_t new_id_locked(struct vuc_conn *c)
{
    for (;;) {
        uint16_t id = ++c->next_id;
        bool taken = find_locked(c, id) != NULL;
        for (unsigned i = 0; i < c->num_abandoned; i++)
            taken |= c->abandoned[i].id == id;
        if (!taken)
            return id;
    }
}

static int enlist(struct vuc_conn *c, struct vuc_request *r, struct vmig_error *err)
{
    LOCK_SCOPE(&c->lock);
    if (c->dead.code)
        return error_copy(err, &c->dead);
    r->id = new_id_locked(c);
    r->state = VUC_WAITING;
    r->waited = r->errno_zero = false;
    r->got_bytes = 0;
    r->result = 0;
    r->next = NULL;
    *c->last = r;
    c->last = &r->next;
    return 0;
}

int vuc_start(struct vuc_conn *c, struct vuc_request *r, const struct iovec *iov, unsigned count,
              const int *fds, unsigned num_fds, struct vmig_error *err)
{
    uint64_t payload = 0;
    char name[16];
    for (unsigned i = 0; i < count; i++)
        payload += iov[i].iov_len;
    r->state = VUC_IDLE;
    if (payload > UINT32_MAX - vuser_header_BYTES)
        return error_set(err, EMSGSIZE, VMIG_STAGE_NONE, NULL, NULL,
                         "%s of %" PRIu64 " bytes fits into no message",
                         vuser_command_name(r->command, name), payload);
    int rc = enlist(c, r, err);
    if (rc)
        return rc;
    struct vuser_header h = vuser_command_header(r->id, r->command, (uint32_t)payload);
    rc = vuser_socket_send(&c->main, &h, iov, count, fds, num_fds);
    if (!rc)
        return 0;
    /* Part of it may be on its way. This ends the wait at once, too. */
    vuc_conn_kill(c, rc, "sending %s to the vfio-user server: %s",
                  vuser_command_name(r->command, name), strerror(-rc));
    int ended = vuc_wait(c, r, 0, err);
    return ended ? ended : error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "%s", strerror(-rc));
}

/* Nobody waits for @r any more. */
static void give_up_locked(struct vuc_conn *c, struct vuc_request *r)
{
    char name[16], text[120];
    if (r->state == VUC_WAITING && c->num_abandoned < VUC_ABANDONED_MAX) {
        unlink_locked(c, r);
        c->abandoned[c->num_abandoned].id = r->id;
        c->abandoned[c->num_abandoned++].command = r->command;
        r->state = VUC_IDLE;
        return;
    }
    snprintf(text, sizeof(text), "the vfio-user server stopped in the middle of its reply to %s",
             vuser_command_name(r->command, name));
    kill_locked(c, ETIMEDOUT, text);
    while (r->state == VUC_ARRIVING) /* the socket is shut down: not for long */
        pthread_cond_wait(&c->done, &c->lock);
    r->state = VUC_IDLE;
}

int vuc_wait(struct vuc_conn *c, struct vuc_request *r, unsigned timeout_ms, struct vmig_error *err)
{
    char name[16];
    struct timespec deadline = clock_timespec(clock_ns() + timeout_ms * NS_PER_MS);
    LOCK_SCOPE(&c->lock);
    if (r->state == VUC_IDLE)
        return -EINVAL;
    r->waited = true;
    while (r->state != VUC_DONE) {
        if (pthread_cond_timedwait(&c->done, &c->lock, &deadline) != ETIMEDOUT ||
            r->state == VUC_DONE)
            continue;
        give_up_locked(c, r);
        return error_set(err, ETIMEDOUT, VMIG_STAGE_NONE, NULL, NULL,
                         "the vfio-user server did not answer %s within %u ms",
                         vuser_command_name(r->command, name), timeout_ms);
    }
    r->state = VUC_IDLE;
    if (r->result == 0)
        return 0;
    if (c->dead.code && r->result == c->dead.code)
        error_copy(err, &c->dead);
    return error_set(err, r->result, VMIG_STAGE_NONE, NULL, NULL,
                     "the vfio-user server refused %s: %s", vuser_command_name(r->command, name),
                     strerror(-r->result));
}

bool vuc_is_done(struct vuc_conn *c, struct vuc_request *r)
{
    LOCK_SCOPE(&c->lock);
    return r->state == VUC_DONE;
}

bool vuc_retarget(struct vuc_conn *c, struct vuc_request *r, void *data)
{
    LOCK_SCOPE(&c->lock);
    if (r->state != VUC_WAITING)
        return false;
    r->data = data;
    return true;
}

int vuc_call(struct vuc_conn *c, struct vuc_request *r, const void *payload, size_t length,
             unsigned timeout_ms, struct vmig_error *err)
{
    struct iovec iov = { (void *)(uintptr_t)payload, length };
    int rc = vuc_start(c, r, &iov, length > 0, NULL, 0, err);
    return rc ? rc : vuc_wait(c, r, timeout_ms, err);
}

/* ---- life ---- */

static void init_locks(struct vuc_conn *c)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->room, NULL);
}

int vuc_conn_start(struct vuc_conn *c, int take_fd, struct vuc_dma *dma, bool established,
                   unsigned stall_timeout_ms, struct vmig_error *err)
{
    memset(c, 0, sizeof(*c));
    c->dma = dma;
    c->last = &c->first;
    c->main.fd = c->twin.fd = -1;
    c->established = established;
    init_locks(c);
    c->wake_fd = eventfd(0, EFD_CLOEXEC);
    int no_wake = c->wake_fd < 0 ? -errno : 0;
    /* Replies are bounded by what was asked, commands by what was announced: no limit here. */
    int rc = vuser_socket_init(&c->main, take_fd, UINT32_MAX, stall_timeout_ms);
    if (!rc)
        rc = no_wake;
    if (!rc)
        rc = thread_start(&c->receiver, receiver_main, c);
    c->receiver_runs = !rc;
    if (!rc)
        rc = thread_start(&c->responder, responder_main, c);
    c->responder_runs = c->receiver_runs && !rc;
    if (!rc)
        return 0;
    vuc_conn_stop(c);
    return error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL, "starting the connection: %s",
                     strerror(-rc));
}

int vuc_conn_ready(struct vuc_conn *c, int take_twin_fd, unsigned stall_timeout_ms,
                   struct vmig_error *err)
{
    int rc = 0;
    LOCK_SCOPE(&c->lock);
    if (take_twin_fd >= 0)
        rc = vuser_socket_init(&c->twin, take_twin_fd, UINT32_MAX, stall_timeout_ms);
    c->ready = !rc;
    pthread_cond_broadcast(&c->done);
    return rc ? error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL,
                          "setting up the socket for the device's DMA: %s", strerror(-rc))
              : 0;
}

static int refuse_busy(struct vuc_conn *c, struct vmig_error *err)
{
    LOCK_SCOPE(&c->lock);
    if (c->dead.code)
        return error_copy(err, &c->dead);
    if (!c->first && c->num_abandoned == 0)
        return 0;
    return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, NULL,
                     "the vfio-user server still owes replies (%u of them to requests that timed "
                     "out), which its next client could not understand",
                     c->num_abandoned);
}

static void stop_between_messages(struct vuc_conn *c)
{
    uint64_t one = 1;
    if (write(c->wake_fd, &one, sizeof(one)) < 0) /* cannot be: the counter is at 0 */
        vuc_conn_kill(c, -errno, "stopping the connection: %s", strerror(errno));
    pthread_join(c->receiver, NULL);
    pthread_mutex_lock(&c->lock);
    c->leaving = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->responder, NULL);
    c->receiver_runs = c->responder_runs = false;
}

int vuc_conn_release(struct vuc_conn *c, int *ret_fd, int *ret_twin_fd, struct vmig_error *err)
{
    int rc = refuse_busy(c, err);
    if (rc)
        return rc;
    stop_between_messages(c);
    if (c->dead.code)
        return error_copy(err, &c->dead);
    *ret_fd = vuser_socket_release(&c->main);
    *ret_twin_fd = vuser_socket_release(&c->twin);
    return 0;
}

void vuc_conn_stop(struct vuc_conn *c)
{
    if (!c->last) /* zeroed */
        return;
    vuc_conn_kill(c, ECANCELED, "the device was closed");
    if (c->receiver_runs)
        pthread_join(c->receiver, NULL);
    if (c->responder_runs)
        pthread_join(c->responder, NULL);
    vuser_socket_done(&c->main);
    vuser_socket_done(&c->twin);
    cleanup_fd_(&c->wake_fd);
    pthread_cond_destroy(&c->done);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->room);
    pthread_mutex_destroy(&c->lock);
    memset(c, 0, sizeof(*c));
}
