/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes by this process on kernels without asynchronous write protection: a thread of the tracker
 * serves the write faults. It notes the page, takes its protection away, and the writer goes on.
 *
 * The rule that nothing is lost: a page without protection has its bit set. Serving a fault (set
 * the bit, unprotect) and collecting (take the bits, protect) therefore exclude each other; what is
 * written between the taking of a bit and the protection is in memory before the page is read for
 * sending.
 *
 * Pages that are not there yet: shared memory takes markers in their place (2 MiB of page tables
 * for each GiB). Anonymous memory takes none before Linux 6.4, so there the first touch is a fault
 * of its own (MISSING), served with a page of zeros and counted as a write.
 *
 * Threads: the server touches only this structure, never guest memory, and takes no lock but ours,
 * which nobody holds while touching guest memory: so no writer waits for ever. stop() unregisters,
 * which wakes every waiting writer, also when the server is gone.
 *
 * An ordinary user's descriptor serves user-mode accesses only: a system call that writes into
 * protected memory, or reads what is missing, then fails with EFAULT in the workload. The
 * asynchronous tracker has no such trap.
 */
#include "lib/memory/tracker.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/memory/mapping.h"
#include "lib/memory/uapi.h"
#include "lib/memory/userfault.h"
#include "lib/thread.h"

/* Faults taken from the kernel at once. */
#define BATCH 32

/* Words of bits collected under one hold of the lock (16 MiB of memory). */
#define COLLECT_WORDS 64

/* Runs of pages with no more than this between them are protected by one call: a call costs about
 * as much as protecting 16 pages that are protected already (bench/memory: one_percent_ms). */
#define GAP_PAGES 16

struct uffd_block {
    const struct vmig_ram_block *desc;
    uint64_t pages;
    uint64_t *bits;      /* written since the last sync, or never protected; under the lock */
    uint64_t page_bytes; /* what can be protected, larger for huge pages */
    bool missing;        /* first touches are faults too */
};

struct tracker_uffd {
    struct tracker tracker;
    int uffd, wake; /* wake: eventfd, ends the server */
    bool running;
    pthread_t server;
    unsigned num_blocks;

    pthread_mutex_t lock; /* guards bits and failed; the only lock */
    int failed;           /* -errno of the server */
    struct uffd_block blocks[RAM_BLOCKS_MAX];
};

/* ---- the server ---- */

static struct uffd_block *find_block(struct tracker_uffd *self, uint64_t address)
{
    for (unsigned i = 0; i < self->num_blocks; i++) {
        struct uffd_block *block = &self->blocks[i];

        if (address - (uint64_t)(uintptr_t)block->desc->vaddr < block->desc->size_bytes)
            return block;
    }
    return NULL;
}

/* Give a page of zeros to who touched nothing. */
static int serve_missing(struct tracker_uffd *self, uint64_t address)
{
    struct uffdio_zeropage zero = { .range = { .start = address, .len = RAM_PAGE_SIZE } };

    while (ioctl(self->uffd, UFFDIO_ZEROPAGE, &zero) < 0) {
        if (errno == EEXIST) { /* another thread's fault was served already */
            ioctl(self->uffd, UFFDIO_WAKE, &zero.range);
            return 0;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return 0;
}

static int serve(struct tracker_uffd *self, const struct uffd_msg *msg)
{
    uint64_t address = msg->arg.pagefault.address;
    struct uffd_block *block = find_block(self, address);

    if (msg->event != UFFD_EVENT_PAGEFAULT || !block)
        return 0;
    uint64_t offset = address - (uint64_t)(uintptr_t)block->desc->vaddr;

    offset &= ~(block->page_bytes - 1);
    bitmap_set_range(block->bits, offset / RAM_PAGE_SIZE, block->page_bytes / RAM_PAGE_SIZE);
    if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
        return userfault_protect(self->uffd, block->desc, offset, block->page_bytes, false);
    return serve_missing(self, (uint64_t)(uintptr_t)block->desc->vaddr + offset);
}

/* 0, or -errno: then nobody may wait for us any more. */
static int serve_pending(struct tracker_uffd *self)
{
    struct uffd_msg msgs[BATCH];
    ssize_t got = read(self->uffd, msgs, sizeof(msgs));
    int ret = 0;

    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    LOCK_SCOPE(&self->lock);
    for (size_t i = 0; !ret && i < (size_t)got / sizeof(msgs[0]); i++)
        ret = serve(self, &msgs[i]);
    return ret;
}

static void unregister_all(struct tracker_uffd *self)
{
    for (unsigned i = 0; i < self->num_blocks; i++)
        userfault_unregister(self->uffd, self->blocks[i].desc);
}

static void *server(void *opaque)
{
    struct tracker_uffd *self = opaque;
    struct pollfd fds[] = { { .fd = self->uffd, .events = POLLIN },
                            { .fd = self->wake, .events = POLLIN } };
    int ret = 0;

    while (!ret) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            ret = -errno;
        else if (fds[1].revents)
            return NULL;
        else if (fds[0].revents)
            ret = serve_pending(self);
    }
    /* The workload must not hang because we fail: let all writers go, and say so in sync(). */
    unregister_all(self);
    LOCK_SCOPE(&self->lock);
    self->failed = ret;
    return NULL;
}

static int start_server(struct tracker_uffd *self)
{
    int ret = thread_start(&self->server, server, self);

    self->running = !ret;
    return ret;
}

/* ---- operations ---- */

static void tracker_uffd_stop(struct tracker *tracker)
{
    struct tracker_uffd *self = (struct tracker_uffd *)tracker;

    if (self->running) {
        eventfd_write(self->wake, 1);
        pthread_join(self->server, NULL);
        self->running = false;
    }
    unregister_all(self);
    for (unsigned i = 0; i < self->num_blocks; i++)
        free(self->blocks[i].bits);
    self->num_blocks = 0;
    cleanup_fd_(&self->uffd);
    cleanup_fd_(&self->wake);
    self->uffd = self->wake = -1;
}

/* Nothing that the workload would notice yet. */
static int prepare_block(struct tracker_uffd *self, const struct vmig_ram_block *desc,
                         struct vmig_error *err)
{
    struct uffd_block *block = &self->blocks[self->num_blocks];

    *block = (struct uffd_block) {
        .desc = desc,
        .pages = desc->size_bytes / RAM_PAGE_SIZE,
        .page_bytes = mapping_page_bytes(desc),
        .missing = mapping_kind(desc) == MAPPING_ANONYMOUS,
        .bits = bitmap_new(desc->size_bytes / RAM_PAGE_SIZE),
    };
    if (!block->bits)
        return error_set(err, ENOMEM, VMIG_STAGE_SETUP, NULL, NULL,
                         "RAM block \"%.64s\": no memory for its bitmap", desc->name);
    self->num_blocks++;
    return 0;
}

static int protect_block(struct tracker_uffd *self, const struct uffd_block *block,
                         struct vmig_error *err)
{
    uint64_t mode = UFFDIO_REGISTER_MODE_WP;

    if (block->missing)
        mode |= UFFDIO_REGISTER_MODE_MISSING;
    int ret = userfault_register(self->uffd, block->desc, mode, err);
    if (ret < 0)
        return ret;
    ret = userfault_protect(self->uffd, block->desc, 0, block->desc->size_bytes, true);
    if (ret < 0)
        return error_set(err, ret, VMIG_STAGE_SETUP, NULL, NULL,
                         "RAM block \"%.64s\": its memory cannot be write-protected: %s",
                         block->desc->name, strerror(-ret));
    return 0;
}

static uint64_t needed_features(const struct tracker_uffd *self)
{
    uint64_t features = UAPI_UFFD_WP_PAGEFAULT;

    for (unsigned i = 0; i < self->num_blocks; i++)
        if (!self->blocks[i].missing)
            features |= UAPI_UFFD_WP_SHMEM;
    return features;
}

static int open_fds(struct tracker_uffd *self, struct vmig_error *err)
{
    bool serves_kernel;

    self->uffd = userfault_open(needed_features(self), true, &serves_kernel, err);
    if (self->uffd < 0)
        return self->uffd;
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake < 0)
        return error_set(err, errno, VMIG_STAGE_SETUP, NULL, NULL, "no eventfd for the tracker: %s",
                         strerror(errno));
    return 0;
}

/* The list of blocks is complete before the server runs, and the server runs before the first
 * writer can stumble. */
static int start_all(struct tracker_uffd *self, struct ram *ram, struct vmig_error *err)
{
    int ret = 0;

    for (unsigned i = 0; !ret && i < ram->num_blocks; i++)
        ret = prepare_block(self, &ram->blocks[i].desc, err);
    if (!ret)
        ret = open_fds(self, err);
    if (!ret) {
        ret = start_server(self);
        if (ret < 0)
            error_set(err, ret, VMIG_STAGE_SETUP, NULL, NULL,
                      "the tracker's thread cannot be started: %s", strerror(-ret));
    }
    for (unsigned i = 0; !ret && i < self->num_blocks; i++) {
        ret = ram_may_go_on(ram, err);
        if (!ret)
            ret = protect_block(self, &self->blocks[i], err);
    }
    return ret;
}

static int tracker_uffd_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_uffd *self = (struct tracker_uffd *)tracker;

    self->failed = 0;
    int ret = start_all(self, ram, err);
    if (ret < 0)
        tracker_uffd_stop(tracker);
    return ret;
}

/* Protect the pages of @taken, the bits of @words words from page @base on. */
static int protect_taken(struct tracker_uffd *self, const struct uffd_block *block, uint64_t base,
                         const uint64_t *taken, uint64_t words)
{
    uint64_t bits = words * 64, page = bitmap_next_set(taken, bits, 0);

    while (page < bits) {
        uint64_t end = bitmap_next_clear(taken, bits, page);
        uint64_t next = bitmap_next_set(taken, bits, end);

        while (next < bits && next - end <= GAP_PAGES) {
            end = bitmap_next_clear(taken, bits, next);
            next = bitmap_next_set(taken, bits, end);
        }
        int ret = userfault_protect(self->uffd, block->desc, (base + page) * RAM_PAGE_SIZE,
                                    (end - page) * RAM_PAGE_SIZE, true);
        if (ret < 0)
            return ret;
        page = next;
    }
    return 0;
}

/* Take the bits of @words words from word @first on over to @dirty and protect their pages. */
static int collect(struct tracker_uffd *self, struct uffd_block *block, uint64_t first,
                   uint64_t words, uint64_t *dirty)
{
    uint64_t taken[COLLECT_WORDS];
    LOCK_SCOPE(&self->lock);

    for (uint64_t i = 0; i < words; i++) {
        taken[i] = block->bits[first + i];
        block->bits[first + i] = 0;
        dirty[first + i] |= taken[i];
    }
    return protect_taken(self, block, first * 64, taken, words);
}

static int collect_block(struct tracker_uffd *self, struct uffd_block *block, uint64_t *dirty)
{
    uint64_t words = bitmap_words(block->pages);

    for (uint64_t word = 0; word < words; word += COLLECT_WORDS) {
        uint64_t count = words - word < COLLECT_WORDS ? words - word : COLLECT_WORDS;
        int ret = collect(self, block, word, count, dirty);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int server_failure(struct tracker_uffd *self)
{
    LOCK_SCOPE(&self->lock);
    return self->failed;
}

static int tracker_uffd_sync(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_uffd *self = (struct tracker_uffd *)tracker;
    int ret = 0;

    for (unsigned i = 0; !ret && i < self->num_blocks; i++) {
        ret = ram_may_go_on(ram, err);
        if (!ret)
            ret = collect_block(self, &self->blocks[i], ram->blocks[i].dirty);
        if (ret < 0)
            error_set(err, ret, VMIG_STAGE_NONE, NULL, NULL,
                      "RAM block \"%.64s\": it cannot be protected again (%s); was it mapped "
                      "anew while it was tracked?",
                      self->blocks[i].desc->name, strerror(-ret));
    }
    if (!ret)
        ret = server_failure(self);
    if (ret < 0)
        error_set(err, ret, VMIG_STAGE_NONE, NULL, NULL,
                  "serving write faults failed (%s), RAM is no longer tracked", strerror(-ret));
    return ret;
}

static void tracker_uffd_free(struct tracker *tracker)
{
    struct tracker_uffd *self = (struct tracker_uffd *)tracker;

    tracker_uffd_stop(tracker);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const struct tracker_ops tracker_uffd_ops = {
    .name = "uffd",
    .start = tracker_uffd_start,
    .sync = tracker_uffd_sync,
    .stop = tracker_uffd_stop,
    .free = tracker_uffd_free,
};

/* A descriptor takes its features once: try them on one that is thrown away. */
static int probe_features(struct vmig_error *err)
{
    bool serves_kernel;
    CLEANUP_FD int fd = userfault_open(UAPI_UFFD_WP_PAGEFAULT, true, &serves_kernel, err);

    return fd < 0 ? fd : 0;
}

int tracker_uffd_new(struct tracker **ret, struct vmig_error *err)
{
    int probed = probe_features(err);

    if (probed < 0)
        return probed;
    struct tracker_uffd *self = calloc(1, sizeof(*self));
    if (!self)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "no memory for a tracker");
    self->tracker.ops = &tracker_uffd_ops;
    self->uffd = self->wake = -1;
    pthread_mutex_init(&self->lock, NULL);
    *ret = &self->tracker;
    return 0;
}
