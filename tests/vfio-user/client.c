/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's operations against an honest server. */
#include <errno.h>
#include <fcntl.h>
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

#include "tests/vfio-user/fake-server.h"

#define OPS backend_vfio_user
#define MEMORY_BYTES 0x10000u

/* Must succeed; says why not. */
#define x(call)                                                                                    \
    do {                                                                                           \
        struct vmig_error err = { 0 };                                                             \
        int rc_ = (int)(call);                                                                     \
        if (rc_ < 0)                                                                               \
            fail_msg("%s: %d %s", #call, rc_, err.text);                                           \
    } while (0)

static struct fake f; /* one test at a time */

static void *start(void)
{
    fake_start(&f);
    return fake_open(&f, &fake_options);
}

/* ---- what it is ---- */

static void regions_and_interrupts_are_described(void **state)
{
    (void)state;
    fake_init(&f);
    void *c = start();
    struct vmig_device_info info = { 0 };
    x(OPS.info(c, &info, &err));
    assert_true(info.pci && info.reset);
    assert_int_equal(info.num_regions, 9);
    assert_int_equal(info.num_irqs, 5);
    struct vmig_region_info region;
    x(OPS.region_info(c, 1, &region, &err));
    assert_int_equal(region.flags, 7);
    assert_int_equal(region.size_bytes, FAKE_REGION_BYTES);
    assert_int_equal(region.num_areas, 2);
    assert_int_equal(region.areas[1].offset_bytes, 0x2000);
    x(OPS.region_info(c, 0, &region, &err));
    assert_int_equal(region.size_bytes, 0);
    x(OPS.region_info(c, 1, &region, &err));
    struct vmig_irq_info irq;
    x(OPS.irq_info(c, VMIG_IRQ_MSIX, &irq, &err));
    assert_int_equal(irq.count, 4);
    assert_int_equal(OPS.region_info(c, 9, &region, NULL), -EINVAL);
    fake_close(&f, c);
    /* Asked twice because the first answer did not fit, then never again. */
    assert_int_equal(f.counts[VUSER_DEVICE_GET_REGION_INFO], 3);
    assert_int_equal(f.counts[VUSER_DEVICE_GET_INFO], 1);
}

static void a_region_is_read_written_and_mapped(void **state)
{
    (void)state;
    fake_init(&f);
    void *c = start(), *map;
    uint8_t in[100], out[100];
    memset(in, 0xab, sizeof(in));
    x(OPS.region_write(c, 1, 0x1ff0, in, sizeof(in), &err));
    x(OPS.region_read(c, 1, 0x1ff0, out, sizeof(out), &err));
    assert_memory_equal(in, out, sizeof(in));
    struct vmig_region_info region;
    x(OPS.region_info(c, 1, &region, &err));
    x(OPS.region_map(c, 1, &region.areas[1], &map, &err));
    memcpy(map, "hello", 6);
    char seen[6];
    assert_int_equal(pread(f.region_fd, seen, 6, 0x2000), 6);
    assert_string_equal(seen, "hello");
    struct vmig_error err = { 0 };
    assert_int_equal(OPS.region_read(c, 1, FAKE_REGION_BYTES - 1, out, 2, &err), -EINVAL);
    assert_non_null(strstr(err.text, "REGION_READ"));
    fake_close(&f, c);
}

static void a_long_region_access_is_cut_at_the_servers_limit(void **state)
{
    (void)state;
    fake_init(&f);
    f.caps.max_data_xfer_size = 1000;
    void *c = start();
    uint8_t buf[FAKE_REGION_BYTES];
    x(OPS.region_write(c, 1, 0, buf, 999, &err));
    assert_int_equal(f.counts[VUSER_REGION_WRITE], 1);
    x(OPS.region_write(c, 1, 0, buf, 1000, &err));
    assert_int_equal(f.counts[VUSER_REGION_WRITE], 2);
    x(OPS.region_write(c, 1, 0, buf, 1001, &err));
    assert_int_equal(f.counts[VUSER_REGION_WRITE], 4);
    x(OPS.region_read(c, 1, 0, buf, 2001, &err));
    assert_int_equal(f.counts[VUSER_REGION_READ], 3);
    fake_close(&f, c);
}

static void interrupts_are_set_in_batches_that_the_server_takes(void **state)
{
    (void)state;
    fake_init(&f);
    f.caps.max_msg_fds = 2;
    void *c = start();
    int fds[7];
    for (int i = 0; i < 7; i++)
        fds[i] = i == 3 || i == 4 ? -1 : eventfd(0, EFD_CLOEXEC);
    x(OPS.set_irqs(c, VMIG_IRQ_MSIX, 10, 7, fds, &err));
    x(OPS.set_irqs(c, VMIG_IRQ_MSIX, 0, 0, NULL, &err));
    fake_close(&f, c);
    static const unsigned expected[][3] = {
        { 10, 2, 2 }, { 12, 1, 1 }, { 13, 2, 0 }, { 15, 2, 2 }, { 0, 0, 0 }
    };
    assert_int_equal(f.num_irq_messages, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(f.irq_start[i], expected[i][0]);
        assert_int_equal(f.irq_count[i], expected[i][1]);
        assert_int_equal(f.irq_fds[i], expected[i][2]);
    }
    for (int i = 0; i < 7; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* ---- what it can do ---- */

static struct vmig_migration_info migration_with(uint64_t flags, unsigned extensions)
{
    struct vmig_migration_info info;
    fake_init(&f);
    f.flags = flags;
    f.caps.extensions = extensions;
    void *c = start();
    x(OPS.migration_info(c, &info, &err));
    fake_close(&f, c);
    return info;
}

static void only_announced_extensions_are_used(void **state)
{
    (void)state;
    struct vmig_migration_info info = migration_with(7, VUSER_EXT_ALL);
    assert_int_equal(info.flags, 7);
    assert_true(info.has_data_size && info.has_precopy_info);
    info = migration_with(7, 0);
    assert_int_equal(info.flags, VMIG_MIGRATION_STOP_COPY);
    assert_false(info.has_data_size || info.has_precopy_info);
    assert_false(info.has_reinit); /* announced, but the server does not know the feature */
    info = migration_with(7, VUSER_EXT_P2P);
    assert_int_equal(info.flags, VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P);
    info = migration_with(7, VUSER_EXT_PRECOPY_INFO | VUSER_EXT_MIG_DATA_SIZE);
    assert_int_equal(info.flags, VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_PRE_COPY);
    assert_true(info.has_data_size && info.has_precopy_info);
}

static void a_device_that_cannot_migrate_says_why(void **state)
{
    (void)state;
    struct vmig_migration_info info = migration_with(0, VUSER_EXT_ALL);
    assert_int_equal(info.flags, 0);
    assert_string_equal(info.reason, "vfio-user-no-migration");
    assert_true(info.remedy[0] != '\0');
    info = migration_with(VMIG_MIGRATION_P2P, VUSER_EXT_ALL);
    assert_int_equal(info.flags, 0);
    assert_string_equal(info.reason, "vfio-no-stop-copy");
}

static bool answer_enotty(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                          size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_DEVICE_FEATURE)
        return false;
    fake_error(fake, h, ENOTTY);
    return true;
}

static void enotty_means_no_as_einval_does(void **state)
{
    (void)state;
    struct vmig_migration_info info;
    fake_init(&f);
    f.hook = answer_enotty;
    void *c = start();
    x(OPS.migration_info(c, &info, &err));
    assert_int_equal(info.flags, 0);
    assert_string_equal(info.reason, "vfio-user-no-migration");
    fake_close(&f, c);
}

static void the_state_is_asked_and_set(void **state)
{
    (void)state;
    enum vmig_state at;
    fake_init(&f);
    void *c = start();
    x(OPS.get_state(c, &at, &err));
    assert_int_equal(at, VMIG_STATE_RUNNING);
    x(OPS.set_state(c, VMIG_STATE_RUNNING_P2P, &err));
    x(OPS.get_state(c, &at, &err));
    assert_int_equal(at, VMIG_STATE_RUNNING_P2P);
    x(OPS.reset(c, &err));
    x(OPS.get_state(c, &at, &err));
    assert_int_equal(at, VMIG_STATE_RUNNING);
    fake_close(&f, c);
}

/* ---- memory ---- */

static uint8_t *memory;
static int memory_fd;

static void map_memory(void *c, uint64_t iova, unsigned first_page, unsigned pages, bool writable,
                       bool with_fd)
{
    struct vmig_dma_map map = { .iova = iova,
                                .size_bytes = pages * 4096ull,
                                .vaddr = memory + first_page * 4096ull,
                                .fd = with_fd ? memory_fd : -1,
                                .fd_offset = first_page * 4096ull,
                                .writable = writable };
    x(OPS.dma_map(c, &map, &err));
}

static int memory_setup(void **state)
{
    (void)state;
    memory_fd = memfd_create("memory", MFD_CLOEXEC);
    assert_int_equal(ftruncate(memory_fd, MEMORY_BYTES), 0);
    memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    return memory == MAP_FAILED;
}

static int memory_teardown(void **state)
{
    (void)state;
    munmap(memory, MEMORY_BYTES);
    return close(memory_fd);
}

static void memory_travels_as_a_file_descriptor(void **state)
{
    (void)state;
    fake_init(&f);
    void *c = start();
    map_memory(c, 0x100000, 2, 4, true, true);
    map_memory(c, 0x200000, 8, 1, false, false);
    assert_int_equal(f.num_maps, 2);
    assert_int_equal(f.maps[0].argsz, 32);
    assert_int_equal(f.maps[0].flags, 3);
    assert_int_equal(f.maps[0].offset, 0x2000);
    assert_int_equal(f.maps[0].size_bytes, 0x4000);
    assert_int_equal(f.maps[1].flags, 1);
    assert_int_equal(f.maps[1].offset, 0);
    assert_int_equal(f.map_fds[1], -1);
    memory[0x2000] = 0x77;
    uint8_t seen;
    assert_int_equal(pread(f.map_fds[0], &seen, 1, 0x2000), 1);
    assert_int_equal(seen, 0x77);
    x(OPS.dma_unmap(c, 0x100000, 0x4000, &err));
    assert_int_equal(OPS.dma_unmap(c, 0x100000, 0x4000, NULL), -ENOENT);
    fake_close(&f, c);
}

static void more_mappings_than_the_server_takes_are_refused(void **state)
{
    (void)state;
    fake_init(&f);
    f.caps.max_dma_maps = 2;
    void *c = start();
    map_memory(c, 0x100000, 0, 1, true, true);
    map_memory(c, 0x200000, 1, 1, true, true);
    struct vmig_dma_map map = { .iova = 0x300000, .size_bytes = 4096, .vaddr = memory, .fd = -1 };
    assert_int_equal(OPS.dma_map(c, &map, NULL), -ENOSPC);
    fake_close(&f, c);
}

/* What a server does by message while the client waits for its region write. The offset says which
 * script runs. */
static int dma_results[8];
static uint8_t dma_buf[4 * 4096];

static bool dma_on_write(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                         size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_REGION_WRITE)
        return false;
    int *r = dma_results;
    memset(dma_buf, 0x11, sizeof(dma_buf));
    *r++ = fake_dma(fake, VUSER_DMA_WRITE, 0x101ff0, dma_buf, 0x20);   /* across pages 1 and 2 */
    *r++ = fake_dma(fake, VUSER_DMA_WRITE, 0x103000, dma_buf, 0x1001); /* over two mappings */
    *r++ = fake_dma(fake, VUSER_DMA_WRITE, 0x104fff, dma_buf, 2);      /* one byte beyond */
    *r++ = fake_dma(fake, VUSER_DMA_WRITE, 0x200000, dma_buf, 1);      /* read-only */
    *r++ = fake_dma(fake, VUSER_DMA_READ, 0x200000, dma_buf, 16);
    *r++ = fake_dma(fake, VUSER_DMA_READ, 0x0fffff, dma_buf + 64, 2); /* one byte before */
    *r++ = fake_dma(fake, VUSER_DMA_READ, UINT64_MAX - 1, dma_buf + 64, 4);
    *r++ = fake_dma(fake, VUSER_DMA_READ, 0x101ff0, dma_buf + 64, 0x20);
    return false;
}

static void check_dma_script(void *c)
{
    memset(memory, 0, MEMORY_BYTES); /* before it is mapped: later the device may use it any time */
    memcpy(memory + 8 * 4096, "secret", 7);
    map_memory(c, 0x100000, 0, 4, true, true);
    map_memory(c, 0x104000, 4, 1, true, false);
    map_memory(c, 0x200000, 8, 1, false, false);
    x(OPS.region_write(c, 1, 0, "x", 1, &err));
    static const int expected[8] = { 0, 0, -EFAULT, -EPERM, 0, -EFAULT, -EFAULT, 0 };
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(dma_results[i], expected[i]);
    assert_string_equal(dma_buf, "secret");
    assert_int_equal(dma_buf[64], 0x11);
    assert_int_equal(memory[0x1fef], 0);
    assert_int_equal(memory[0x1ff0], 0x11);
    assert_int_equal(memory[0x200f], 0x11);
    assert_int_equal(memory[0x2010], 0);
    assert_int_equal(memory[0x4000], 0x11);
    assert_int_equal(memory[0x4001], 0);
    assert_int_equal(memory[0x4fff], 0);
    assert_int_equal(memory[8 * 4096], 's');
}

static void check_dirty_marks(void *c)
{
    uint64_t bitmap = 0;
    x(OPS.dma_log_report(c, 0x100000, 0x4000, 4096, &bitmap, &err));
    assert_int_equal(bitmap, 0xe);
    x(OPS.dma_log_report(c, 0x100000, 0x4000, 4096, &bitmap, &err)); /* ORed, nothing new */
    assert_int_equal(bitmap, 0xe);
    bitmap = 0x80;
    x(OPS.dma_log_report(c, 0x104000, 0x1000, 4096, &bitmap, &err));
    assert_int_equal(bitmap, 0x81);
    bitmap = 0;
    x(OPS.dma_log_report(c, 0x100000, 0x4000, 4096, &bitmap, &err)); /* read and cleared */
    x(OPS.dma_log_report(c, 0x200000, 0x1000, 4096, &bitmap, &err));
    assert_int_equal(bitmap, 0);
    assert_int_equal(OPS.dma_log_report(c, 0x103000, 0x3000, 4096, &bitmap, NULL), -EINVAL);
}

static void the_server_reaches_mapped_memory_by_message(void **state)
{
    (void)state;
    fake_init(&f);
    f.hook = dma_on_write;
    void *c = start();
    check_dma_script(c);
    check_dirty_marks(c); /* although this device has no log */
    fake_close(&f, c);
}

static void the_same_on_a_twin_socket(void **state)
{
    (void)state;
    fake_init(&f);
    f.caps.twin_socket = true;
    f.hook = dma_on_write;
    void *c = start();
    check_dma_script(c);
    check_dirty_marks(c);
    fake_close(&f, c);
}

/* Writes without wanting a reply, then answers: that order is all it relies on. */
static bool quiet_write(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                        size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_REGION_WRITE)
        return false;
    uint8_t *message = calloc(1, 16 + 12 * 4096);
    struct vuser_header quiet = vuser_command_header(1, VUSER_DMA_WRITE, 16 + 12 * 4096);
    quiet.flags |= VUSER_NO_REPLY;
    vuser_dma_access_encode(&(struct vuser_dma_access) { 0x100000, 12 * 4096 }, message);
    vuser_socket_send_buf(&fake->twin, &quiet, message, 16 + 12 * 4096);
    free(message);
    return false;
}

static void what_was_written_before_a_reply_is_marked_when_it_is_here(void **state)
{
    (void)state;
    fake_init(&f);
    f.caps.twin_socket = true;
    f.hook = quiet_write;
    void *c = start();
    map_memory(c, 0x100000, 0, 16, true, false);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t bitmap = 0;
        x(OPS.region_write(c, 1, 0, "x", 1, &err));
        x(OPS.dma_log_report(c, 0x100000, 0x10000, 4096, &bitmap, &err));
        assert_int_equal(bitmap, 0xfff);
    }
    fake_close(&f, c);
}

static bool dma_before_unmap(struct fake *fake, const struct vuser_header *h,
                             const uint8_t *payload, size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command == VUSER_DMA_UNMAP || h->command == VUSER_REGION_WRITE)
        dma_results[0] = fake_dma(fake, VUSER_DMA_WRITE, 0x100000, dma_buf, 16);
    return false;
}

static void unmapped_memory_cannot_be_reached(void **state)
{
    (void)state;
    fake_init(&f);
    f.hook = dma_before_unmap;
    void *c = start();
    map_memory(c, 0x100000, 0, 1, true, false);
    x(OPS.dma_unmap(c, 0x100000, 4096, &err)); /* still used until the server has answered */
    assert_int_equal(dma_results[0], 0);
    x(OPS.region_write(c, 1, 0, "x", 1, &err));
    assert_int_equal(dma_results[0], -EFAULT);
    fake_close(&f, c);
}

/* ---- DMA logging ---- */

/* Answers REPORT with bit 0 and the last bit of the range set, in pages of log_pgsize. */
static uint64_t log_pgsize;
static unsigned log_bits;
static size_t start_bytes;

static bool log_hook(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                     size_t length, const struct vuser_fds *fds)
{
    (void)fds;
    struct vuser_feature feature;
    struct vuser_log_report report;
    uint8_t out[512] = { 0 };
    if (h->command != VUSER_DEVICE_FEATURE)
        return false;
    vuser_feature_decode(payload, &feature);
    if (feature.flags == (VUSER_FEATURE_SET | 6)) {
        start_bytes = length;
        memcpy(out, payload, length);
        memcpy(out + 8, &log_pgsize, 8);
        fake_reply(fake, h, out, length);
        return true;
    }
    if (feature.flags != (VUSER_FEATURE_GET | 8))
        return false;
    vuser_log_report_decode(payload + 8, &report);
    if (report.pgsize != log_pgsize) {
        fake_error(fake, h, EINVAL);
        return true;
    }
    log_bits = (unsigned)(report.size_bytes / report.pgsize);
    size_t bytes = (log_bits + 63) / 64 * 8;
    memcpy(out, payload, 32);
    out[32] = 1;
    out[32 + (log_bits - 1) / 8] |= (uint8_t)(1 << (log_bits - 1) % 8);
    fake_reply(fake, h, out, feature.argsz < 32 + bytes ? 32 : 32 + bytes);
    return true;
}

static void the_devices_log_is_read_in_whole_mappings(void **state)
{
    (void)state;
    fake_init(&f);
    f.logging = true;
    f.hook = log_hook;
    log_pgsize = 8192;
    void *c = start();
    struct vmig_migration_info info;
    x(OPS.migration_info(c, &info, &err));
    assert_true(info.has_dma_logging);
    map_memory(c, 0x100000, 0, 16, true, true);
    struct vmig_dma_range ranges[2] = { { 0x100000, 0x8000 }, { 0x108000, 0x8000 } };
    uint64_t pgsize = 4096, bitmap = 0;
    x(OPS.dma_log_start(c, ranges, 2, &pgsize, &err));
    assert_int_equal(pgsize, 8192); /* the device's choice */
    assert_int_equal(start_bytes, 8 + 16 + 2 * 16);
    /* Part of the mapping is asked for: the device is asked for all of it, and what it said about
     * the rest comes with the rest's report. */
    x(OPS.dma_log_report(c, 0x100000, 0x2000, 4096, &bitmap, &err));
    assert_int_equal(bitmap, 3);
    assert_int_equal(log_bits, 8);
    x(OPS.dma_log_stop(c, &err));
    bitmap = 0;
    x(OPS.dma_log_report(c, 0x102000, 0xe000, 4096, &bitmap, &err));
    assert_int_equal(bitmap, 0x3000); /* pages 14 and 15, counted from 2 */
    fake_close(&f, c);
}

static void a_report_in_larger_pages_merges_them(void **state)
{
    (void)state;
    fake_init(&f);
    f.logging = true;
    f.hook = log_hook;
    log_pgsize = 4096;
    void *c = start();
    map_memory(c, 0x100000, 0, 16, true, true);
    struct vmig_dma_range range = { 0x100000, 0x10000 };
    uint64_t pgsize = 4096, bitmap = 0;
    x(OPS.dma_log_start(c, &range, 1, &pgsize, &err));
    x(OPS.dma_log_report(c, 0x100000, 0x10000, 0x4000, &bitmap, &err));
    assert_int_equal(bitmap, 9);
    fake_close(&f, c);
}

static bool empty_report(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                         size_t length, const struct vuser_fds *fds)
{
    struct vuser_feature feature;
    if (h->command == VUSER_DEVICE_FEATURE) {
        vuser_feature_decode(payload, &feature);
        if (feature.flags == (VUSER_FEATURE_GET | 8)) {
            fake_reply(fake, h, NULL, 0);
            return true;
        }
    }
    return log_hook(fake, h, payload, length, fds);
}

static void a_successful_report_without_bits_is_an_error(void **state)
{
    (void)state;
    fake_init(&f);
    f.logging = true;
    f.hook = empty_report;
    log_pgsize = 4096;
    void *c = start();
    map_memory(c, 0x100000, 0, 16, true, true);
    struct vmig_dma_range range = { 0x100000, 0x10000 };
    uint64_t pgsize = 4096, bitmap = 0;
    x(OPS.dma_log_start(c, &range, 1, &pgsize, &err));
    assert_int_equal(OPS.dma_log_report(c, 0x100000, 0x10000, 4096, &bitmap, NULL), -EPROTO);
    enum vmig_state at; /* and the connection lives */
    x(OPS.get_state(c, &at, &err));
    fake_close(&f, c);
}

/* ---- addresses ---- */

static int open_address(const char *address, struct vmig_error *err)
{
    void *self = NULL;
    int rc = OPS.open(address, &fake_hasty, &self, err);
    if (!rc)
        OPS.close(self);
    return rc;
}

static void wrong_addresses_are_refused_with_a_reason(void **state)
{
    (void)state;
    char longest[200] = "vfio-user:/", pipe_address[40];
    int fds[2];
    memset(longest + strlen(longest), 'a', 120);
    assert_int_equal(pipe(fds), 0);
    snprintf(pipe_address, sizeof(pipe_address), "vfio-user:fd:%d", fds[0]);
    const struct {
        const char *address;
        int rc;
        const char *text;
    } rows[] = {
        { "vfio-user:/nowhere/at/all", -ENOENT, "is the server running" },
        { "vfio-user:", -EINVAL, "must have 1 to 107" },
        { longest, -EINVAL, "must have 1 to 107" },
        { "vfio-user:fd:", -EINVAL, "number of a file descriptor" },
        { "vfio-user:fd:x", -EINVAL, "number of a file descriptor" },
        { "vfio-user:fd:-1", -EINVAL, "number of a file descriptor" },
        { "vfio-user:fd:99999999999", -EINVAL, "number of a file descriptor" },
        { "vfio-user:fd:9999", -EINVAL, "no connected UNIX stream socket" },
        { pipe_address, -EINVAL, "no connected UNIX stream socket" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct vmig_error err = { 0 };
        int rc = open_address(rows[i].address, &err);
        if (rc != rows[i].rc || !strstr(err.text, rows[i].text))
            fail_msg("%s: %d '%s'", rows[i].address, rc, err.text);
    }
    close(fds[0]);
    close(fds[1]);
}

static void the_address_forms_are_known(void **state)
{
    (void)state;
    assert_true(OPS.matches("vfio-user:/run/x"));
    assert_true(OPS.matches("vfio-user:fd:3"));
    assert_false(OPS.matches("0000:3b:00.2"));
    assert_false(OPS.matches("vfio-use"));
}

static bool answer_ebusy(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                         size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    fake_error(fake, h, EBUSY);
    return true;
}

static void a_busy_server_is_named(void **state)
{
    (void)state;
    fake_init(&f);
    f.hook = answer_ebusy;
    fake_start(&f);
    fake_open_err(&f, &fake_options, -EBUSY, "serving another client");
    fake_stop(&f);
}

static bool answer_nothing(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                           size_t length, const struct vuser_fds *fds)
{
    (void)fake, (void)h, (void)payload, (void)length, (void)fds;
    return true;
}

static void a_server_that_does_not_answer_version_times_out(void **state)
{
    (void)state;
    fake_init(&f);
    f.hook = answer_nothing;
    fake_start(&f);
    fake_open_err(&f, &fake_hasty, -ETIMEDOUT, "did not answer VERSION within 200 ms");
    fake_stop(&f);
}

/* A path whose server answers DEVICE_FEATURE with errno 0 and is out of step from then on. */
struct path_server {
    char path[108];
    int listen_fd;
    unsigned connections;
    atomic_uint features;
};

static bool features_break(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                           size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_DEVICE_FEATURE)
        return false;
    atomic_fetch_add(&((struct path_server *)fake->arg)->features, 1);
    fake_error(fake, h, 0);
    fake_raw(fake, "garbage garbage garbage", 23);
    return true;
}

static void *path_server_main(void *arg)
{
    struct path_server *s = arg;
    for (int i = 0; i < 2; i++) {
        struct fake one;
        fake_init(&one);
        one.hook = features_break;
        one.arg = s;
        fake_start(&one);
        /* Join the client's socket and the fake's by replacing the fake's end. */
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        s->connections++;
        char buf[4096];
        int other = one.client_fd;
        struct timeval t = { .tv_usec = 5000 };
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
        setsockopt(other, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
        for (ssize_t n = 1, m = 1; n != 0 && m != 0;) {
            n = recv(fd, buf, sizeof(buf), 0);
            if (n > 0)
                send(other, buf, (size_t)n, MSG_NOSIGNAL);
            m = recv(other, buf, sizeof(buf), 0);
            if (m > 0)
                send(fd, buf, (size_t)m, MSG_NOSIGNAL);
        }
        close(fd);
        fake_stop(&one);
        close(other);
    }
    return NULL;
}

static void a_server_that_breaks_on_features_is_connected_again_and_not_asked(void **state)
{
    (void)state;
    struct path_server s = { .path = "" };
    char dir[] = "/tmp/vuser-XXXXXX", address[140];
    assert_non_null(mkdtemp(dir));
    snprintf(s.path, sizeof(s.path), "%s/s", dir);
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    memcpy(name.sun_path, s.path, sizeof(s.path));
    s.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s.listen_fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(s.listen_fd, 4), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, path_server_main, &s), 0);
    snprintf(address, sizeof(address), "vfio-user:%s", s.path);
    void *c = NULL;
    struct vmig_migration_info info;
    x(OPS.open(address, &fake_options, &c, &err));
    x(OPS.migration_info(c, &info, &err));
    assert_int_equal(info.flags, 0);
    assert_string_equal(info.reason, "vfio-user-no-migration");
    struct vmig_device_info device = { 0 };
    x(OPS.info(c, &device, &err)); /* and it works */
    OPS.close(c);
    pthread_join(thread, NULL);
    assert_int_equal(s.connections, 2);
    assert_int_equal(s.features, 1);
    close(s.listen_fd);
    unlink(s.path);
    rmdir(dir);
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void a_closed_device_leaves_no_file_descriptor(void **state)
{
    (void)state;
    unsigned before = open_fds();
    fake_init(&f);
    f.caps.twin_socket = true;
    void *c = start(), *map;
    struct vmig_region_info region;
    x(OPS.region_info(c, 1, &region, &err));
    x(OPS.region_map(c, 1, &region.areas[0], &map, &err));
    map_memory(c, 0x100000, 0, 4, true, true);
    fake_close(&f, c);
    assert_int_equal(open_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_and_interrupts_are_described),
        cmocka_unit_test(a_region_is_read_written_and_mapped),
        cmocka_unit_test(a_long_region_access_is_cut_at_the_servers_limit),
        cmocka_unit_test(interrupts_are_set_in_batches_that_the_server_takes),
        cmocka_unit_test(only_announced_extensions_are_used),
        cmocka_unit_test(a_device_that_cannot_migrate_says_why),
        cmocka_unit_test(enotty_means_no_as_einval_does),
        cmocka_unit_test(the_state_is_asked_and_set),
        cmocka_unit_test(memory_travels_as_a_file_descriptor),
        cmocka_unit_test(more_mappings_than_the_server_takes_are_refused),
        cmocka_unit_test(the_server_reaches_mapped_memory_by_message),
        cmocka_unit_test(the_same_on_a_twin_socket),
        cmocka_unit_test(what_was_written_before_a_reply_is_marked_when_it_is_here),
        cmocka_unit_test(unmapped_memory_cannot_be_reached),
        cmocka_unit_test(the_devices_log_is_read_in_whole_mappings),
        cmocka_unit_test(a_report_in_larger_pages_merges_them),
        cmocka_unit_test(a_successful_report_without_bits_is_an_error),
        cmocka_unit_test(wrong_addresses_are_refused_with_a_reason),
        cmocka_unit_test(the_address_forms_are_known),
        cmocka_unit_test(a_busy_server_is_named),
        cmocka_unit_test(a_server_that_does_not_answer_version_times_out),
        cmocka_unit_test(a_server_that_breaks_on_features_is_connected_again_and_not_asked),
        cmocka_unit_test(a_closed_device_leaves_no_file_descriptor),
    };
    return cmocka_run_group_tests_name("vfio-user client", tests, memory_setup, memory_teardown);
}
