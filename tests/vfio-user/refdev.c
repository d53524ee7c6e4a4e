/* SPDX-License-Identifier: BSD-3-Clause */
/* The client and the reference device's server, through the public interface. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <vfio-migrate.h>

#include "refdev/registers.h"
#include "refdev/server.h"

#define MIB ((size_t)1 << 20)
#define PAGES 64u
#define BASE 0x40000000ull

#define x(call)                                                                                    \
    do {                                                                                           \
        struct vmig_error err = { 0 };                                                             \
        long rc_ = (long)(call);                                                                   \
        char text_[700];                                                                           \
        if (rc_ < 0)                                                                               \
            fail_msg("%s: %ld %s", #call, rc_, vmig_error_message(&err, text_, sizeof(text_)));    \
    } while (0)

struct side {
    struct refdev_server *server;
    pthread_t thread;
    int server_fd;
    struct vmig_device *device;
    uint8_t *memory;
    int memory_fd;
};

static void *serve(void *arg)
{
    struct side *s = arg;
    refdev_server_serve(s->server, s->server_fd);
    return NULL;
}

static void side_start(struct side *s, const char *profile, uint64_t local_bytes, uint64_t seed,
                       bool no_extensions)
{
    struct refdev_config config = { .local_bytes = local_bytes, .no_extensions = no_extensions };
    char address[40];
    int pair[2];
    config.knobs.profile = profile ? refdev_profile_find(profile) : NULL;
    config.knobs.seed = seed;
    x(refdev_server_new(&config, &s->server, &err));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    s->server_fd = pair[0];
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    snprintf(address, sizeof(address), "vfio-user:fd:%d", pair[1]);
    x(vmig_device_open(address, NULL, &s->device, &err));
    s->memory_fd = memfd_create("memory", MFD_CLOEXEC);
    assert_int_equal(ftruncate(s->memory_fd, PAGES * 4096), 0);
    s->memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s->memory_fd, 0);
    assert_true(s->memory != MAP_FAILED);
}

static void side_stop(struct side *s)
{
    vmig_device_close(s->device);
    refdev_server_stop(s->server);
    pthread_join(s->thread, NULL);
    refdev_server_free(s->server);
    munmap(s->memory, PAGES * 4096);
    close(s->memory_fd);
}

static uint64_t get(struct side *s, uint64_t reg)
{
    uint64_t value = 0;
    x(vmig_device_region_read(s->device, REFDEV_BAR_REGISTERS, reg, &value, 8, &err));
    return value;
}

static void put(struct side *s, uint64_t reg, uint64_t value)
{
    x(vmig_device_region_write(s->device, REFDEV_BAR_REGISTERS, reg, &value, 8, &err));
}

static void go(struct side *s, enum vmig_state state)
{
    x(vmig_device_set_state(s->device, state, VMIG_STATE_ERROR, &err));
}

/* ---- state ---- */

/* Move what there is; count. */
static size_t move(struct side *from, struct side *to, uint8_t *buf, size_t size)
{
    size_t moved = 0;
    for (;;) {
        struct vmig_error why = { 0 };
        ssize_t n = vmig_device_data_read(from->device, buf, size, &why);
        if (n == 0 || n == -ENOMSG)
            return moved;
        if (n < 0)
            fail_msg("reading: %s", why.text);
        x(vmig_device_data_write(to->device, buf, (size_t)n, &err));
        moved += (size_t)n;
    }
}

static void check_move(const char *profile, uint64_t local_bytes, size_t read_size, bool precopy,
                       bool no_extensions)
{
    struct side a = { 0 }, b = { 0 };
    uint8_t *buf = malloc(read_size);
    side_start(&a, profile, local_bytes, 11, no_extensions);
    side_start(&b, profile, local_bytes, 22, no_extensions);
    put(&a, REFDEV_REG_SCRATCH, 0x1122334455667788);
    go(&b, VMIG_STATE_RESUMING);
    size_t moved = 0;
    if (precopy) {
        go(&a, VMIG_STATE_PRE_COPY);
        moved = move(&a, &b, buf, read_size);
        assert_true(moved > 0);
        put(&a, REFDEV_REG_SCRATCH, 0x99);
        go(&a, VMIG_STATE_PRE_COPY_P2P);
    }
    go(&a, VMIG_STATE_STOP_COPY);
    moved += move(&a, &b, buf, read_size);
    x(vmig_device_data_flush(b.device, &err));
    assert_true(moved >= local_bytes);
    go(&b, VMIG_STATE_STOP); /* which checks the data */
    go(&b, VMIG_STATE_RUNNING);
    assert_int_equal(get(&b, REFDEV_REG_SCRATCH), precopy ? 0x99 : 0x1122334455667788);
    assert_int_equal(get(&b, REFDEV_REG_SEED), 11);
    side_stop(&a);
    side_stop(&b);
    free(buf);
}

static void a_state_moves_through_reads_and_writes(void **state)
{
    (void)state;
    check_move(NULL, 4 * MIB, MIB, false, false);
    check_move(NULL, 4 * MIB, 1000, false, false);
    check_move(NULL, 4 * MIB, MIB, true, false);
    check_move(NULL, 4 * MIB, 4097, true, false);
}

static void it_moves_without_our_extensions_too(void **state)
{
    (void)state;
    struct side a = { 0 };
    struct vmig_migration_info info;
    check_move(NULL, 4 * MIB, MIB, false, true);
    side_start(&a, NULL, MIB, 1, true);
    x(vmig_device_migration_info(a.device, &info, &err));
    assert_int_equal(info.flags, VMIG_MIGRATION_STOP_COPY);
    assert_false(info.has_precopy_info || info.has_data_size);
    assert_true(info.has_dma_logging); /* that is in the published protocol */
    side_stop(&a);
}

static void what_was_read_ahead_is_in_the_sizes(void **state)
{
    (void)state;
    struct side a = { 0 };
    struct vmig_precopy_info before, after;
    uint64_t size_before, size_after;
    uint8_t buf[1000];
    side_start(&a, NULL, 8 * MIB, 1, false);
    go(&a, VMIG_STATE_PRE_COPY);
    x(vmig_device_precopy_info(a.device, &before, &err));
    x(vmig_device_data_size(a.device, &size_before, &err));
    assert_true(before.initial_bytes > 0);
    assert_int_equal(vmig_device_data_read(a.device, buf, sizeof(buf), NULL), 1000);
    x(vmig_device_precopy_info(a.device, &after, &err));
    x(vmig_device_data_size(a.device, &size_after, &err));
    assert_int_equal(before.initial_bytes + before.dirty_bytes - 1000,
                     after.initial_bytes + after.dirty_bytes);
    assert_int_equal(size_before - 1000, size_after);
    side_stop(&a);
}

static uint64_t drain_pre_copy(struct side *a)
{
    uint8_t *buf = malloc(MIB);
    ssize_t n;
    uint64_t total = 0;
    while ((n = vmig_device_data_read(a->device, buf, MIB, NULL)) > 0)
        total += (uint64_t)n;
    assert_int_equal(n, -ENOMSG);
    free(buf);
    return total;
}

static void write_reinit(struct side *a, uint64_t times)
{
    x(vmig_device_region_write(a->device, REFDEV_BAR_REGISTERS, REFDEV_REG_REINIT, &times,
                               sizeof(times), &err));
}

static void new_initial_bytes_come_to_who_enabled_them(void **state)
{
    (void)state;
    struct side a = { 0 };
    struct vmig_precopy_info info;
    struct vmig_migration_info migration;
    side_start(&a, NULL, 2 * MIB, 1, false);
    x(vmig_device_migration_info(a.device, &migration, &err));
    assert_true(migration.has_reinit);
    assert_false(migration.reinit);
    for (int enabled = 0; enabled < 2; enabled++) {
        if (enabled)
            x(vmig_device_enable_reinit(a.device, &err));
        go(&a, VMIG_STATE_PRE_COPY);
        write_reinit(&a, 1);
        assert_true(drain_pre_copy(&a) >= 2 * MIB);
        x(vmig_device_precopy_info(a.device, &info, &err));
        assert_int_equal(info.initial_bytes, 0);
        assert_false(info.reinit);
        x(vmig_device_precopy_info(a.device, &info, &err));
        assert_int_equal(info.reinit, enabled);
        assert_int_equal(info.initial_bytes >= 2 * MIB, enabled);
        assert_int_equal(drain_pre_copy(&a) >= 2 * MIB, enabled);
        go(&a, VMIG_STATE_RUNNING);
    }
    x(vmig_device_migration_info(a.device, &migration, &err));
    assert_true(migration.reinit);
    side_stop(&a);
    side_start(&a, NULL, 2 * MIB, 1, true);
    assert_int_equal(vmig_device_enable_reinit(a.device, NULL), -ENOTTY);
    side_stop(&a);
}

static void *read_all(void *arg)
{
    struct side *s = arg;
    uint8_t *buf = malloc(MIB);
    size_t total = 0;
    ssize_t n;
    while ((n = vmig_device_data_read(s->device, buf, MIB / 3, NULL)) > 0)
        total += (size_t)n;
    free(buf);
    return (void *)(n < 0 ? 0 : total);
}

static void data_is_read_beside_other_calls(void **state)
{
    (void)state;
    struct side a = { 0 };
    uint64_t before, left = 1;
    pthread_t reader;
    void *total;
    enum vmig_state at;
    side_start(&a, NULL, 16 * MIB, 1, false);
    go(&a, VMIG_STATE_STOP_COPY);
    x(vmig_device_data_size(a.device, &before, &err));
    assert_int_equal(pthread_create(&reader, NULL, read_all, &a), 0);
    for (uint64_t last = before; left > 0; last = left) {
        x(vmig_device_data_size(a.device, &left, &err));
        assert_true(left <= last); /* what is under way is neither counted twice nor forgotten */
        x(vmig_device_get_state(a.device, &at, &err));
        assert_int_equal(at, VMIG_STATE_STOP_COPY);
        get(&a, REFDEV_REG_SEED);
    }
    pthread_join(reader, &total);
    assert_int_equal((uint64_t)(uintptr_t)total, before);
    side_stop(&a);
}

/* ---- memory ---- */

static void map(struct side *s, uint64_t iova, unsigned first, unsigned pages, bool with_fd)
{
    struct vmig_dma_map m = { .iova = iova,
                              .size_bytes = pages * 4096ull,
                              .vaddr = s->memory + first * 4096ull,
                              .fd = with_fd ? s->memory_fd : -1,
                              .fd_offset = first * 4096ull,
                              .writable = true };
    x(vmig_device_dma_map(s->device, &m, &err));
}

static void enable_dma(struct side *s)
{
    uint16_t command = 6;
    x(vmig_device_region_write(s->device, VMIG_REGION_CONFIG, 4, &command, 2, &err));
}

static void copy(struct side *s, uint64_t source, uint64_t target, uint64_t length, int irq)
{
    uint64_t count;
    put(s, REFDEV_REG_COPY_SOURCE, source);
    put(s, REFDEV_REG_COPY_TARGET, target);
    put(s, REFDEV_REG_COPY_LENGTH, length);
    put(s, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
    assert_int_equal(poll(&(struct pollfd) { .fd = irq, .events = POLLIN }, 1, 20000), 1);
    assert_int_equal(read(irq, &count, 8), 8);
    assert_int_equal(get(s, REFDEV_REG_COPY_STATUS), REFDEV_STATUS_DONE);
}

static bool signalled(int irq, int timeout_ms)
{
    return poll(&(struct pollfd) { .fd = irq, .events = POLLIN }, 1, timeout_ms) == 1;
}

/* INTx masks itself: it is level triggered, and who handles it needs the time for that. */
static void intx_comes_again_when_it_is_unmasked(void **state)
{
    (void)state;
    struct side s = { 0 };
    uint64_t count;
    int irq = eventfd(0, EFD_CLOEXEC);
    side_start(&s, NULL, MIB, 1, false);
    map(&s, BASE, 0, PAGES, true);
    enable_dma(&s);
    x(vmig_device_set_irqs(s.device, VMIG_IRQ_INTX, 0, 1, &irq, &err));
    copy(&s, BASE, BASE + 4096, 4096, irq);
    put(&s, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
    while (get(&s, REFDEV_REG_COPY_STATUS) != REFDEV_STATUS_DONE)
        ;
    assert_false(signalled(irq, 0));
    x(vmig_device_unmask_irqs(s.device, VMIG_IRQ_INTX, 0, 1, &err));
    assert_true(signalled(irq, 20000));
    assert_int_equal(read(irq, &count, 8), 8);
    side_stop(&s);
    close(irq);
}

/* Half of the memory is known to the server as a file, half only by messages; the device copies
 * from one into the other. */
static void the_device_reaches_memory_by_file_and_by_message(void **state)
{
    (void)state;
    struct side s = { 0 };
    int irq = eventfd(0, EFD_CLOEXEC);
    uint64_t by_file = BASE, by_message = BASE + PAGES / 2 * 4096ull;
    uint64_t pgsize = 4096, bitmap[2] = { 0 };
    struct vmig_dma_range range = { BASE, PAGES * 4096ull };
    side_start(&s, NULL, MIB, 1, false);
    for (unsigned i = 0; i < PAGES * 4096; i++)
        s.memory[i] = (uint8_t)(i * 31 >> 3);
    map(&s, by_file, 0, PAGES / 2, true);
    map(&s, by_message, PAGES / 2, PAGES / 2, false);
    enable_dma(&s);
    x(vmig_device_set_irqs(s.device, VMIG_IRQ_MSIX, REFDEV_VECTOR_COPY, 1, &irq, &err));
    x(vmig_device_dma_log_start(s.device, &range, 1, &pgsize, &err));
    assert_int_equal(pgsize, 4096);

    copy(&s, by_file, by_message + 3 * 4096, 2 * 4096 + 1, irq);
    assert_memory_equal(s.memory, s.memory + (PAGES / 2 + 3) * 4096, 2 * 4096 + 1);
    copy(&s, by_message + 8 * 4096, by_file + 5 * 4096, 4096, irq);
    assert_memory_equal(s.memory + (PAGES / 2 + 8) * 4096, s.memory + 5 * 4096, 4096);

    x(vmig_device_dma_log_report(s.device, by_file, PAGES / 2 * 4096ull, 4096, &bitmap[0], &err));
    x(vmig_device_dma_log_report(s.device, by_message, PAGES / 2 * 4096ull, 4096, &bitmap[1],
                                 &err));
    assert_int_equal(bitmap[0], 1u << 5);
    assert_int_equal(bitmap[1], 7u << 3);
    bitmap[0] = bitmap[1] = 0;
    x(vmig_device_dma_log_report(s.device, by_file, PAGES / 2 * 4096ull, 4096, &bitmap[0], &err));
    x(vmig_device_dma_log_report(s.device, by_message, PAGES / 2 * 4096ull, 4096, &bitmap[1],
                                 &err));
    assert_int_equal(bitmap[0] | bitmap[1], 0);
    x(vmig_device_dma_log_stop(s.device, &err));
    x(vmig_device_dma_unmap(s.device, by_message, PAGES / 2 * 4096ull, &err));
    side_stop(&s);
    close(irq);
}

static void the_shared_bar_is_mapped(void **state)
{
    (void)state;
    struct side s = { 0 };
    struct vmig_region_info info;
    uint8_t *mapped, seen[4];
    side_start(&s, NULL, MIB, 1, false);
    x(vmig_device_region_info(s.device, REFDEV_BAR_SHARED, &info, &err));
    assert_int_equal(info.num_areas, 1);
    assert_int_equal(info.areas[0].offset_bytes, REFDEV_SHARED_MAP_OFFSET);
    x(vmig_device_region_map(s.device, REFDEV_BAR_SHARED, 0, (void **)&mapped, &err));
    memcpy(mapped + 100, "abc", 4);
    x(vmig_device_region_read(s.device, REFDEV_BAR_SHARED, REFDEV_SHARED_MAP_OFFSET + 100, seen, 4,
                              &err));
    assert_string_equal(seen, "abc");
    side_stop(&s);
}

/* ---- handing on ---- */

static int open_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Hand the device on to this very process. */
static void hand_on(struct side *s, char *address, size_t size)
{
    x(vmig_device_hand_on(s->device, address, size, &err));
    vmig_device_close(s->device);
    x(vmig_device_open(address, NULL, &s->device, &err));
}

static void a_device_handed_on_keeps_state_memory_and_interrupts(void **state)
{
    (void)state;
    struct side s = { 0 };
    enum vmig_state now;
    char address[4096];
    int irq = eventfd(0, EFD_CLOEXEC);
    uint64_t by_file = BASE, by_message = BASE + PAGES / 2 * 4096ull;
    side_start(&s, NULL, MIB, 1, false);
    for (unsigned i = 0; i < PAGES * 4096; i++)
        s.memory[i] = (uint8_t)(i * 31 >> 3);
    map(&s, by_file, 0, PAGES / 2, true);
    map(&s, by_message, PAGES / 2, PAGES / 2, false);
    enable_dma(&s);
    x(vmig_device_set_irqs(s.device, VMIG_IRQ_MSIX, REFDEV_VECTOR_COPY, 1, &irq, &err));
    put(&s, REFDEV_REG_SCRATCH, 0x5151);
    int fds = open_fds();
    for (int round = 0; round < 3; round++) { /* an address that was handed on can be so again */
        hand_on(&s, address, sizeof(address));
        x(vmig_device_get_state(s.device, &now, &err));
        assert_int_equal(now, VMIG_STATE_RUNNING);
        assert_int_equal(get(&s, REFDEV_REG_SCRATCH), 0x5151);
        assert_int_equal(open_fds(), fds);
        /* Nothing was mapped and no interrupt set up since. */
        copy(&s, by_file, by_file + 5 * 4096, 4096, irq);
        assert_memory_equal(s.memory, s.memory + 5 * 4096, 4096);
    }
    map(&s, by_file, 0, PAGES / 2, true);
    map(&s, by_message, PAGES / 2, PAGES / 2, false);
    copy(&s, by_message, by_file + 7 * 4096, 4096, irq);
    assert_memory_equal(s.memory + PAGES / 2 * 4096, s.memory + 7 * 4096, 4096);
    x(vmig_device_dma_unmap(s.device, by_file, PAGES / 2 * 4096ull, &err));
    map(&s, by_file, 0, PAGES / 2, true); /* that the server knows of it too */
    side_stop(&s);
    close(irq);
}

static void other_memory_than_before_is_refused_until_that_is_unmapped(void **state)
{
    (void)state;
    struct side s = { 0 };
    char address[4096];
    side_start(&s, NULL, MIB, 1, false);
    map(&s, BASE, 0, 8, true);
    hand_on(&s, address, sizeof(address));
    struct vmig_dma_map wrong = { .iova = BASE,
                                  .size_bytes = 8 * 4096,
                                  .vaddr = s.memory,
                                  .fd = s.memory_fd,
                                  .fd_offset = 4096,
                                  .writable = true };
    struct vmig_error why = { 0 };
    assert_int_equal(vmig_device_dma_map(s.device, &wrong, &why), -EEXIST);
    assert_non_null(strstr(why.text, "unmap it first"));
    assert_int_equal(vmig_device_dma_unmap(s.device, BASE, 4096, NULL), -ENOENT);
    x(vmig_device_dma_unmap(s.device, BASE, 8 * 4096, &err));
    assert_int_equal(vmig_device_dma_unmap(s.device, BASE, 8 * 4096, NULL), -ENOENT);
    x(vmig_device_dma_map(s.device, &wrong, &err));
    side_stop(&s);
}

static void a_device_that_was_handed_on_migrates(void **state)
{
    (void)state;
    struct side a = { 0 }, b = { 0 };
    char address[4096];
    uint8_t *buf = malloc(MIB);
    side_start(&a, NULL, 4 * MIB, 11, false);
    side_start(&b, NULL, 4 * MIB, 22, false);
    put(&a, REFDEV_REG_SCRATCH, 0x77);
    hand_on(&a, address, sizeof(address));
    hand_on(&b, address, sizeof(address));
    go(&b, VMIG_STATE_RESUMING);
    go(&a, VMIG_STATE_PRE_COPY);
    assert_true(move(&a, &b, buf, MIB) > 0);
    go(&a, VMIG_STATE_STOP_COPY);
    move(&a, &b, buf, MIB);
    x(vmig_device_data_flush(b.device, &err));
    go(&b, VMIG_STATE_RUNNING);
    assert_int_equal(get(&b, REFDEV_REG_SCRATCH), 0x77);
    assert_int_equal(get(&b, REFDEV_REG_SEED), 11);
    side_stop(&a);
    side_stop(&b);
    free(buf);
}

static void after_a_refusal_to_hand_on_the_device_is_as_before(void **state)
{
    (void)state;
    struct side s = { 0 };
    struct vmig_error why = { 0 };
    char address[4096] = "untouched";
    side_start(&s, NULL, MIB, 1, false);
    assert_int_equal(vmig_device_hand_on(s.device, address, 20, &why), -ENOSPC);
    assert_non_null(strstr(why.text, "20 bytes"));
    go(&s, VMIG_STATE_PRE_COPY);
    why = (struct vmig_error) { 0 };
    assert_int_equal(vmig_device_hand_on(s.device, address, sizeof(address), &why), -EBUSY);
    assert_non_null(strstr(why.text, "PRE_COPY"));
    go(&s, VMIG_STATE_RUNNING);
    struct vmig_dma_range range = { BASE, 8 * 4096 };
    uint64_t pgsize = 4096;
    map(&s, BASE, 0, 8, true);
    x(vmig_device_dma_log_start(s.device, &range, 1, &pgsize, &err));
    why = (struct vmig_error) { 0 };
    assert_int_equal(vmig_device_hand_on(s.device, address, sizeof(address), &why), -EBUSY);
    assert_non_null(strstr(why.text, "DMA log"));
    x(vmig_device_dma_log_stop(s.device, &err));
    assert_string_equal(address, "untouched");
    put(&s, REFDEV_REG_SCRATCH, 9);
    hand_on(&s, address, sizeof(address));
    assert_int_equal(get(&s, REFDEV_REG_SCRATCH), 9);
    side_stop(&s);
}

static void a_handle_that_was_handed_on_is_dead(void **state)
{
    (void)state;
    struct side s = { 0 };
    enum vmig_state now;
    struct vmig_error why = { 0 };
    char address[4096];
    side_start(&s, NULL, MIB, 1, false);
    x(vmig_device_hand_on(s.device, address, sizeof(address), &err));
    assert_int_equal(vmig_device_get_state(s.device, &now, &why), -ENODEV);
    assert_non_null(strstr(why.text, "handed on"));
    vmig_device_close(s.device);
    x(vmig_device_open(address, NULL, &s.device, &err));
    side_stop(&s);
}

static void without_a_name_of_its_own_it_is_named_by_its_descriptor(void **state)
{
    (void)state;
    struct side s = { 0 };
    char address[4096], name[4096];
    side_start(&s, NULL, MIB, 1, false);
    map(&s, BASE, 0, 8, true);
    hand_on(&s, address, sizeof(address));
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(address, ","), address);
    assert_int_equal(strncmp(name, "vfio-user:fd:", 13), 0);
    assert_string_equal(vmig_device_id(s.device), name);
    assert_string_equal(vmig_device_address(s.device), address);
    side_stop(&s);
}

static void a_malformed_address_is_refused_and_leaves_the_connection(void **state)
{
    (void)state;
    struct side s = { 0 };
    char good[4096], base[4096], address[5000];
    static const struct {
        const char *format, *text;
    } wrong[] = {
        { "%s,", "''" },
        { "%s,shoe=1", "shoe=1" },
        { "%s,extensions=1", "comes twice" },
        { "%s,twin=-1", "twin=-1" },
        { "%s,twin=99999999999", "no number that makes sense" },
        { "%s,twin=200", "200 is no connected" },
        { "%s,dma=", "describes no memory" },
        { "%s,dma=1000+0+w+message", "describes no memory" },
        { "%s,dma=1000+1001+w+message", "describes no memory" },
        { "%s,dma=1000+1000+x+message", "describes no memory" },
        { "%s,dma=1000+1000+w+1+2", "describes no memory" },
        { "%s,dma=fffffffffffff000+2000+w+message", "describes no memory" },
        { "%s,dma=1000+2000+w+message,dma=2000+1000+w+message", "overlaps" },
    };
    side_start(&s, NULL, MIB, 1, false);
    x(vmig_device_hand_on(s.device, good, sizeof(good), &err));
    vmig_device_close(s.device);
    char *twin = strstr(good, ",twin=");
    snprintf(base, sizeof(base), "%.*s", twin ? (int)(twin - good) : (int)strlen(good), good);
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct vmig_error why = { 0 };
        snprintf(address, sizeof(address), wrong[i].format, base);
        assert_int_equal(vmig_device_open(address, NULL, &s.device, &why), -EINVAL);
        if (!strstr(why.text, wrong[i].text))
            fail_msg("%s: '%s' does not say '%s'", address, why.text, wrong[i].text);
    }
    for (char *comma = good; (comma = strchr(comma, ',')); comma++) { /* cut anywhere */
        snprintf(address, sizeof(address), "%.*s", (int)(comma + 5 - good), good);
        assert_int_equal(vmig_device_open(address, NULL, &s.device, NULL), -EINVAL);
    }
    x(vmig_device_open(good, NULL, &s.device, &err));
    side_stop(&s);
}

/* ---- several clients ---- */

static void *run(void *arg)
{
    struct side *s = arg;
    refdev_server_run(s->server, s->server_fd);
    return NULL;
}

static void a_second_client_is_told_that_the_server_is_busy(void **state)
{
    (void)state;
    struct side s = { 0 };
    struct refdev_config config = { .local_bytes = MIB };
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    char dir[] = "/tmp/vuser-XXXXXX", address[140];
    assert_non_null(mkdtemp(dir));
    snprintf(name.sun_path, sizeof(name.sun_path), "%s/s", dir);
    snprintf(address, sizeof(address), "vfio-user:%s", name.sun_path);
    x(refdev_server_new(&config, &s.server, &err));
    s.server_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s.server_fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(s.server_fd, 8), 0);
    assert_int_equal(pthread_create(&s.thread, NULL, run, &s), 0);

    struct vmig_device *second = NULL;
    struct vmig_error why = { 0 };
    x(vmig_device_open(address, NULL, &s.device, &err));
    assert_int_equal(vmig_device_open(address, NULL, &second, &why), -EBUSY);
    assert_non_null(strstr(why.text, name.sun_path));
    assert_non_null(strstr(why.text, "another client"));
    put(&s, REFDEV_REG_SCRATCH, 5); /* the first is not disturbed */
    vmig_device_close(s.device);
    x(vmig_device_open(address, NULL, &s.device,
                       &err)); /* and when it has gone, its place is free */
    assert_int_equal(get(&s, REFDEV_REG_SCRATCH), 5);
    vmig_device_close(s.device);

    refdev_server_stop(s.server);
    pthread_join(s.thread, NULL);
    refdev_server_free(s.server);
    close(s.server_fd);
    unlink(name.sun_path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_moves_through_reads_and_writes),
        cmocka_unit_test(it_moves_without_our_extensions_too),
        cmocka_unit_test(what_was_read_ahead_is_in_the_sizes),
        cmocka_unit_test(new_initial_bytes_come_to_who_enabled_them),
        cmocka_unit_test(data_is_read_beside_other_calls),
        cmocka_unit_test(intx_comes_again_when_it_is_unmasked),
        cmocka_unit_test(the_device_reaches_memory_by_file_and_by_message),
        cmocka_unit_test(the_shared_bar_is_mapped),
        cmocka_unit_test(a_device_handed_on_keeps_state_memory_and_interrupts),
        cmocka_unit_test(other_memory_than_before_is_refused_until_that_is_unmapped),
        cmocka_unit_test(a_device_that_was_handed_on_migrates),
        cmocka_unit_test(after_a_refusal_to_hand_on_the_device_is_as_before),
        cmocka_unit_test(a_handle_that_was_handed_on_is_dead),
        cmocka_unit_test(without_a_name_of_its_own_it_is_named_by_its_descriptor),
        cmocka_unit_test(a_malformed_address_is_refused_and_leaves_the_connection),
        cmocka_unit_test(a_second_client_is_told_that_the_server_is_busy),
    };
    return cmocka_run_group_tests_name("vfio-user client and reference device", tests, NULL, NULL);
}
