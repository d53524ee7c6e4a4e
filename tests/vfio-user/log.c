/* SPDX-License-Identifier: BSD-3-Clause */
/* The DMA log of mappings whose bitmap does not fit into one message: parts, servers that refuse
 * them, and the reference device with memory beyond 32 GiB. The memory is sparse. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/memory/bitmap.h"
#include "refdev/registers.h"
#include "refdev/server.h"
#include "tests/vfio-user/fake-server.h"

#define OPS backend_vfio_user
#define BASE 0x100000000ull
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define ASKED_MAX 8

#define x(call)                                                                                    \
    do {                                                                                           \
        struct vmig_error err = { 0 };                                                             \
        int rc_ = (call);                                                                          \
        if (rc_)                                                                                   \
            fail_msg("%s: %d %s", #call, rc_, err.text);                                           \
    } while (0)

struct sparse {
    uint8_t *memory;
    uint64_t size_bytes;
    int fd;
};

static void sparse_new(struct sparse *s, uint64_t size_bytes)
{
    s->size_bytes = size_bytes;
    s->fd = memfd_create("sparse", MFD_CLOEXEC);
    assert_int_equal(ftruncate(s->fd, (off_t)size_bytes), 0);
    s->memory =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, s->fd, 0);
    assert_true(s->memory != MAP_FAILED);
}

static void sparse_done(struct sparse *s)
{
    munmap(s->memory, s->size_bytes);
    close(s->fd);
}

static struct vmig_dma_map mapping_of(const struct sparse *s)
{
    return (struct vmig_dma_map) {
        .iova = BASE, .size_bytes = s->size_bytes, .vaddr = s->memory, .fd = s->fd, .writable = true
    };
}

/* ---- a server whose log has the first and the last page of what it is asked for ---- */

static struct fake f;
static struct {
    uint64_t iova, size;
} asked[ASKED_MAX];
static unsigned num_asked;
static uint64_t log_pgsize;
static int refusal;   /* what a request for a part is answered with; 0: the part */
static bool prefixes; /* but parts at the beginning are answered */
static uint64_t whole;

static void answer_report(struct fake *fake, const struct vuser_header *h, const uint8_t *payload)
{
    struct vuser_log_report report;
    vuser_log_report_decode(payload + 8, &report);
    assert_true(num_asked < ASKED_MAX);
    asked[num_asked].iova = report.iova;
    asked[num_asked++].size = report.size_bytes;
    if (refusal && report.size_bytes != whole && !(prefixes && report.iova == BASE)) {
        fake_error(fake, h, -refusal);
        return;
    }
    uint64_t bits = report.size_bytes / report.pgsize, bytes = bitmap_words(bits) * 8;
    uint8_t *out = calloc(1, 32 + bytes);
    memcpy(out, payload, 32);
    bitmap_set((uint64_t *)(void *)(out + 32), 0);
    bitmap_set((uint64_t *)(void *)(out + 32), bits - 1);
    fake_reply(fake, h, out, 32 + bytes);
    free(out);
}

static bool log_hook(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                     size_t length, const struct vuser_fds *fds)
{
    (void)fds;
    struct vuser_feature feature;
    uint8_t out[256];
    if (h->command != VUSER_DEVICE_FEATURE)
        return false;
    vuser_feature_decode(payload, &feature);
    if (feature.flags == (VUSER_FEATURE_GET | 8)) {
        answer_report(fake, h, payload);
        return true;
    }
    if (feature.flags != (VUSER_FEATURE_SET | 6))
        return false;
    memcpy(out, payload, length);
    memcpy(out + 8, &log_pgsize, 8);
    fake_reply(fake, h, out, length);
    return true;
}

/* A client whose server takes and sends @xfer_bytes of data, with @s mapped and logged in pages of
 * @pgsize. */
static void *start(const struct sparse *s, uint64_t xfer_bytes, uint64_t pgsize)
{
    struct vmig_dma_range range = { BASE, s->size_bytes };
    struct vmig_dma_map map = mapping_of(s);
    fake_init(&f);
    f.logging = true;
    f.hook = log_hook;
    f.caps.max_data_xfer_size = xfer_bytes;
    log_pgsize = pgsize;
    num_asked = 0;
    whole = s->size_bytes;
    fake_start(&f);
    void *c = fake_open(&f, &fake_options);
    x(OPS.dma_map(c, &map, &err));
    x(OPS.dma_log_start(c, &range, 1, &pgsize, &err));
    return c;
}

/* Which pages are dirty, at most @room of them; read and cleared. */
static unsigned report(void *c, const struct sparse *s, uint64_t *pages, unsigned room)
{
    uint64_t count = s->size_bytes / 4096, *bitmap = bitmap_new(count);
    unsigned found = 0;
    x(OPS.dma_log_report(c, BASE, s->size_bytes, 4096, bitmap, &err));
    for (uint64_t page = 0; (page = bitmap_next_set(bitmap, count, page)) < count; page++) {
        assert_true(found < room);
        pages[found++] = page;
    }
    free(bitmap);
    return found;
}

static void expect_pages(void *c, const struct sparse *s, const uint64_t *expected, unsigned count)
{
    uint64_t pages[32];
    assert_int_equal(report(c, s, pages, 32), count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pages[i], expected[i]);
}

/* ---- parts ---- */

/* 4096 bytes of bitmap are 32768 pages, 128 MiB of memory. */
static void a_long_log_is_fetched_in_parts_that_fit(void **state)
{
    static const uint64_t expected[] = { 0, 32767, 32768, 65535, 65536, 76799 };
    struct sparse s;
    (void)state;
    refusal = 0;
    sparse_new(&s, 300 * MIB);
    void *c = start(&s, 4096, 4096);
    expect_pages(c, &s, expected, 6);
    assert_int_equal(num_asked, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(asked[i].iova, BASE + i * 128 * MIB);
        assert_int_equal(asked[i].size, i < 2 ? 128 * MIB : 44 * MIB);
    }
    fake_close(&f, c);
    sparse_done(&s);
}

static void a_log_that_just_fits_is_fetched_whole(void **state)
{
    static const uint64_t fits[] = { 0, 32767 }, too_long[] = { 0, 32767, 32768 };
    struct sparse s;
    (void)state;
    refusal = 0;
    for (unsigned more = 0; more < 2; more++) {
        sparse_new(&s, 128 * MIB + more * 4096);
        void *c = start(&s, 4096, 4096);
        expect_pages(c, &s, more ? too_long : fits, more ? 3 : 2);
        assert_int_equal(num_asked, 1 + more);
        fake_close(&f, c);
        sparse_done(&s);
    }
}

static void coarse_pages_make_long_parts(void **state)
{
    static const uint64_t expected[] = { 0, 1, 2, 3, 76796, 76797, 76798, 76799 };
    struct sparse s;
    (void)state;
    refusal = 0;
    sparse_new(&s, 300 * MIB);
    void *c = start(&s, 4096, 16384);
    expect_pages(c, &s, expected, 8);
    assert_int_equal(num_asked, 1);
    fake_close(&f, c);
    sparse_done(&s);
}

/* The smallest limit that a server can announce is one byte, and no report is less than a word. */
static void a_word_is_asked_for_at_least(void **state)
{
    static const uint64_t expected[] = { 0, 63, 64, 127 };
    struct sparse s;
    (void)state;
    refusal = 0;
    sparse_new(&s, 128 * 4096);
    void *c = start(&s, 1, 4096);
    expect_pages(c, &s, expected, 4);
    assert_int_equal(num_asked, 2);
    fake_close(&f, c);
    sparse_done(&s);
}

/* ---- servers that answer for whole mappings only ---- */

static void server_that_refuses_parts_is_asked_for_the_whole(void **state)
{
    static const int codes[] = { -EOPNOTSUPP, -EINVAL, -ENOENT };
    static const uint64_t ends[] = { 0, 76799 }, with_prefix[] = { 0, 32767, 76799 };
    struct sparse s;
    (void)state;
    sparse_new(&s, 300 * MIB);
    for (unsigned i = 0; i < 6; i++) {
        refusal = codes[i % 3];
        prefixes = i >= 3; /* what that said was cleared with the telling */
        void *c = start(&s, 4096, 4096);
        expect_pages(c, &s, prefixes ? with_prefix : ends, prefixes ? 3 : 2);
        assert_int_equal(num_asked, prefixes ? 3 : 2);
        num_asked = 0;
        expect_pages(c, &s, ends, 2); /* and the next time at once */
        assert_int_equal(num_asked, 1);
        assert_int_equal(asked[0].size, 300 * MIB);
        fake_close(&f, c);
    }
    refusal = 0;
    prefixes = false;
    sparse_done(&s);
}

static void any_other_failure_of_a_part_is_the_reports(void **state)
{
    struct sparse s;
    (void)state;
    refusal = -EIO;
    sparse_new(&s, 300 * MIB);
    void *c = start(&s, 4096, 4096);
    uint64_t *bitmap = bitmap_new(300 * MIB / 4096);
    assert_int_equal(OPS.dma_log_report(c, BASE, s.size_bytes, 4096, bitmap, NULL), -EIO);
    assert_int_equal(num_asked, 1);
    free(bitmap);
    fake_close(&f, c);
    refusal = 0;
    sparse_done(&s);
}

/* ---- the reference device ---- */

static void *serve(void *arg)
{
    struct {
        struct refdev_server *server;
        int fd;
    } *job = arg;
    refdev_server_serve(job->server, job->fd);
    return NULL;
}

static void put(void *c, uint64_t offset, uint64_t value)
{
    x(OPS.region_write(c, REFDEV_BAR_REGISTERS, offset, &value, 8, &err));
}

/* The one page the device fills, at @offset of the memory. */
static void fill_page(void *c, uint64_t offset)
{
    uint64_t status = REFDEV_STATUS_BUSY;
    put(c, REFDEV_REG_COPY_TARGET, BASE + offset);
    put(c, REFDEV_REG_COPY_LENGTH, 4096);
    put(c, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
    while (status == REFDEV_STATUS_BUSY)
        x(OPS.region_read(c, REFDEV_BAR_REGISTERS, REFDEV_REG_COPY_STATUS, &status, 8, &err));
    assert_int_equal(status, REFDEV_STATUS_DONE);
}

/* 33 GiB in pages of 4 KiB are 1 MiB of bitmap and 32 KiB more: two messages. */
static void pages_beyond_32_gib_are_logged(void **state)
{
    struct refdev_config config = { .local_bytes = 4096 };
    struct {
        struct refdev_server *server;
        int fd;
    } job;
    struct vmig_dma_range range = { BASE, 33 * GIB };
    uint64_t pgsize = 4096;
    uint16_t command = 6;
    struct sparse s;
    pthread_t thread;
    int ends[2];
    char address[40];
    void *c;
    (void)state;
    x(refdev_server_new(&config, &job.server, &err));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    job.fd = ends[1];
    assert_int_equal(pthread_create(&thread, NULL, serve, &job), 0);
    snprintf(address, sizeof(address), "vfio-user:fd:%d", ends[0]);
    x(OPS.open(address, &fake_options, &c, &err));
    sparse_new(&s, 33 * GIB);
    struct vmig_dma_map map = mapping_of(&s);
    x(OPS.dma_map(c, &map, &err));
    x(OPS.region_write(c, 7, 4, &command, 2, &err));
    x(OPS.dma_log_start(c, &range, 1, &pgsize, &err));
    const uint64_t expected[] = { 5, 32 * GIB / 4096 - 1, 32 * GIB / 4096, 33 * GIB / 4096 - 1 };
    for (unsigned i = 0; i < 4; i++)
        fill_page(c, expected[i] * 4096);
    expect_pages(c, &s, expected, 4);
    expect_pages(c, &s, expected, 0);
    OPS.close(c);
    refdev_server_stop(job.server);
    pthread_join(thread, NULL);
    refdev_server_free(job.server);
    sparse_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_log_is_fetched_in_parts_that_fit),
        cmocka_unit_test(a_log_that_just_fits_is_fetched_whole),
        cmocka_unit_test(coarse_pages_make_long_parts),
        cmocka_unit_test(a_word_is_asked_for_at_least),
        cmocka_unit_test(server_that_refuses_parts_is_asked_for_the_whole),
        cmocka_unit_test(any_other_failure_of_a_part_is_the_reports),
        cmocka_unit_test(pages_beyond_32_gib_are_logged),
    };
    return cmocka_run_group_tests_name("vfio-user log", tests, NULL, NULL);
}
