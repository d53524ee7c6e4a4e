/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user server, command by command, as the specification's tables have them. */
#include "raw-client.h"

#define IOVA 0x200000ull

static void version_answers_in_the_clients_terms(void **arg)
{
    struct refdev_config config = { .local_bytes = 4096 };
    struct fixture *f = server_start(&config);
    uint8_t old[4] = { 0, 0, 0, 0 }, newer[4] = { 0, 0, 9, 0 };
    (void)arg;
    f->fd = connect_client(f);
    assert_int_equal(call(f, CMD_VERSION, old, 4), 0); /* 0.0, no JSON: QEMU and SPDK */
    assert_int_equal(at32(f, 0), 0);
    const char *json = (char *)f->reply + 4;
    assert_int_equal(f->reply[f->reply_bytes - 1], 0);
    assert_non_null(strstr(json, "\"max_msg_fds\""));
    assert_non_null(strstr(json, "\"max_data_xfer_size\":1048576"));
    assert_non_null(strstr(json, "\"migration\":{\"pgsize\":4096"));
    assert_null(strstr(json, "x_vfio_migrate"));
    assert_null(strstr(json, "twin_socket\":{\"supported\":true"));
    assert_int_equal(call(f, CMD_VERSION, old, 4), EINVAL); /* once only, and no harm done */
    assert_int_equal(get_state(f), 2);
    close(f->fd);
    f->fd = connect_client(f);
    assert_int_equal(call(f, CMD_VERSION, newer, 4), 0);
    assert_int_equal(at32(f, 0) >> 16, 2);
    server_end(f);
}

static void wrong_version_is_answered_and_ends_the_connection(void **arg)
{
    static const struct {
        const char *payload;
        uint32_t length;
        uint16_t command;
    } bad[] = {
        { "\1\0\0\0", 4, CMD_VERSION },
        { "\0\0\0\0{\"capabilities\"", 18, CMD_VERSION },
        { "\0\0\0\0{}x", 7, CMD_VERSION },
        { "\0\0", 2, CMD_VERSION },
        { "\0\0\0\0[1]", 8, CMD_VERSION },
        { "\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, CMD_GET_INFO },
    };
    struct refdev_config config = { .local_bytes = 4096 };
    struct fixture *f = server_start(&config);
    struct wire_header header;
    (void)arg;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f->fd = connect_client(f);
        unsigned rc = call(f, bad[i].command, bad[i].payload, bad[i].length);
        assert_int_equal(rc, EINVAL);
        if (bad[i].length >= 4)
            assert_false(receive(f, f->fd, &header));
        close(f->fd);
    }
    f->fd = connect_client(f);
    say_version(f, full_json);
    server_end(f);
}

static void extensions_are_there_only_for_those_who_announce_them(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint32_t info[6] = { 24, 0 };
    (void)arg;
    assert_int_equal(try_feature(f, GET | 1, NULL, 0, 16), 0);
    assert_int_equal(at64(f, 8), 5);
    assert_int_equal(try_feature(f, GET | 9, NULL, 0, 16), EINVAL);
    assert_int_equal(try_feature(f, PROBE | GET | 9, NULL, 0, 8), EINVAL);
    assert_int_equal(try_set_state(f, 5), EINVAL);
    go(f, 6);
    assert_int_equal(call(f, CMD_PRECOPY_INFO, info, 24), EINVAL);
    go(f, 2);
    reconnect(f, full_json);
    assert_int_equal(try_feature(f, GET | 1, NULL, 0, 16), 0);
    assert_int_equal(at64(f, 8), 7);
    assert_int_equal(try_feature(f, GET | 9, NULL, 0, 16), 0);
    assert_true(at64(f, 8) > 1 << 20);
    assert_int_equal(call(f, CMD_PRECOPY_INFO, info, 24), EINVAL); /* not in PRE_COPY */
    go(f, 7);
    assert_int_equal(call(f, CMD_PRECOPY_INFO, info, 24), 0);
    assert_true(at64(f, 8) > 1 << 20);
    assert_int_equal(at64(f, 16), 0);
    reconnect(f, plain_json); /* who does not know P2P never sees it */
    assert_int_equal(get_state(f), 6);
    server_end(f);
}

static void device_is_described_as_the_tables_say(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint32_t info[4] = { 32, 0, 0, 0 }, irq[4] = { 16, 0, 2, 0 };
    (void)arg;
    assert_int_equal(call(f, CMD_GET_INFO, info, 16), 0);
    assert_int_equal(f->reply_bytes, 16);
    assert_int_equal(at32(f, 0), 16);
    assert_int_equal(at32(f, 4), 3);
    assert_int_equal(at32(f, 8), 9);
    assert_int_equal(at32(f, 12), 5);
    assert_int_equal(call(f, CMD_IRQ_INFO, irq, 16), 0);
    assert_int_equal(at32(f, 12), REFDEV_MSIX_VECTORS);
    irq[2] = 5;
    assert_int_equal(call(f, CMD_IRQ_INFO, irq, 16), EINVAL);
    info[0] = 8;
    assert_int_equal(call(f, CMD_GET_INFO, info, 16), EINVAL);
    server_end(f);
}

static void mappable_region_is_told_in_two_steps(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint32_t info[8] = { 32, 0, 2 };
    (void)arg;
    assert_int_equal(call(f, CMD_REGION_INFO, info, 32), 0);
    assert_int_equal(f->reply_bytes, 32);
    assert_int_equal(at32(f, 0), 64);
    assert_int_equal(f->reply_fd_count, 0);
    info[0] = 64;
    assert_int_equal(call(f, CMD_REGION_INFO, info, 32), 0);
    assert_int_equal(f->reply_bytes, 64);
    assert_int_equal(at32(f, 4), 0xf);
    assert_int_equal(at32(f, 12), 32);
    assert_int_equal(at64(f, 16), REFDEV_SHARED_BYTES);
    assert_int_equal(at32(f, 32), 1 << 16 | 1); /* sparse, version 1 */
    assert_int_equal(at32(f, 40), 1);
    assert_int_equal(f->reply_fd_count, 1);
    off_t at = (off_t)(at64(f, 24) + at64(f, 48));
    size_t size = at64(f, 56);
    uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f->reply_fds[0], at);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(ftruncate(f->reply_fds[0], 0), -1); /* nobody takes it away */
    close(f->reply_fds[0]);
    map[5] = 0x42;
    assert_int_equal(region_read(f, 2, REFDEV_SHARED_MAP_OFFSET + 5, 1), 0x42);
    munmap(map, size);
    for (uint32_t index = 0; index < 9; index++) {
        uint32_t any[8] = { 32, 0, index };
        assert_int_equal(call(f, CMD_REGION_INFO, any, 32), 0);
        assert_int_equal(at32(f, 8), index);
    }
    info[2] = 9;
    assert_int_equal(call(f, CMD_REGION_INFO, info, 32), EINVAL);
    server_end(f);
}

static void region_accesses_are_bounded(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    struct access bad[] = { { 4090, 0, 8, 0 }, { ~0ull, 0, 8, 0 },      { 0, 9, 4, 0 },
                            { 0, 1, 1, 0 },    { 0, 7, 0x7fffffff, 0 }, { 1ull << 63, 7, 4, 0 } };
    struct access empty = { 0, 0, 0, 0 };
    (void)arg;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(call(f, CMD_REGION_READ, &bad[i], 16), EINVAL);
        assert_int_equal(call(f, CMD_REGION_WRITE, &bad[i], 24), EINVAL);
    }
    assert_int_equal(call(f, CMD_REGION_READ, &empty, 16), 0);
    assert_int_equal(f->reply_bytes, 16);
    struct access config = { 0, 7, 4096, 0 };
    assert_int_equal(call(f, CMD_REGION_READ, &config, 16), 0);
    assert_int_equal(f->reply_bytes, 16 + 4096);
    struct access cut = { 0x40, 0, 8, 5 }; /* says 8, brings 4 */
    assert_int_equal(call(f, CMD_REGION_WRITE, &cut, 20), EINVAL);
    server_end(f);
}

static void posted_and_multiple_writes_are_done_in_order(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    struct access posted = { REFDEV_REG_SCRATCH, 0, 8, 77 }, wrong = { 0, 99, 8, 77 };
    struct {
        uint64_t count;
        struct {
            uint64_t offset;
            uint32_t region, count;
            uint64_t data;
        } writes[3];
    } multi = { 3,
                { { REFDEV_REG_SCRATCH, 0, 8, 1 },
                  { REFDEV_REG_SCRATCH, 0, 4, 2 },
                  { REFDEV_REG_SLOT_COUNT, 0, 8, 9 } } };
    (void)arg;
    send_command(f->fd, 1, CMD_REGION_WRITE, 0x10, &posted, 24, NULL, 0);
    send_command(f->fd, 1, CMD_REGION_WRITE, 0x10, &wrong, 24, NULL, 0);
    assert_int_equal(reg_read(f, REFDEV_REG_SCRATCH), 77);
    assert_int_equal(call(f, CMD_WRITE_MULTI, &multi, sizeof(multi)), 0);
    assert_int_equal(at64(f, 0), 3);
    assert_int_equal(reg_read(f, REFDEV_REG_SCRATCH), 2);
    assert_int_equal(reg_read(f, REFDEV_REG_SLOT_COUNT), 9);
    multi.count = 1ull << 61; /* times 24 wraps */
    assert_int_equal(call(f, CMD_WRITE_MULTI, &multi, sizeof(multi)), EINVAL);
    multi.count = 2;
    multi.writes[1].count = 9;
    assert_int_equal(call(f, CMD_WRITE_MULTI, &multi, sizeof(multi)), 0);
    assert_int_equal(at64(f, 0), 1);
    server_end(f);
}

static int memory_fd(size_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static void dma_maps_are_checked(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    int fd = memory_fd(1 << 20), read_only;
    char path[64];
    (void)arg;
    assert_int_equal(try_map(f, IOVA, 1 << 20, fd, 0, 3), 0);
    assert_int_equal(try_map(f, IOVA, 1 << 20, fd, 0, 3), EEXIST);
    assert_int_equal(try_map(f, IOVA - 4096, 8192, fd, 0, 3), EEXIST);
    assert_int_equal(try_map(f, IOVA + (1 << 20) - 4096, 8192, fd, 0, 3), EEXIST);
    assert_int_equal(try_map(f, IOVA - 4096, 4096, fd, 0, 3), 0);
    assert_int_equal(try_map(f, 0, 0, fd, 0, 3), EINVAL);
    assert_int_equal(try_map(f, -4096ull, 8192, fd, 0, 3), EINVAL);
    assert_int_equal(try_map(f, -4096ull, 4096, fd, 0, 3), 0);
    assert_int_equal(try_map(f, 0, 4096, fd, 1 << 20, 3), EINVAL); /* past the file's end */
    assert_int_equal(try_map(f, 0, 4096, fd, ~0ull, 3), EINVAL);
    assert_int_equal(try_map(f, 0, 4096, fd, 0, 0x10), EINVAL);
    assert_int_equal(try_map(f, 0, 4096, -1, 0, 7), EINVAL);
    assert_int_equal(try_map(f, 0, 4096, -1, 0, 3), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    read_only = open(path, O_RDONLY);
    assert_int_equal(try_map(f, 1 << 16, 4096, read_only, 0, 3), EACCES);
    assert_int_equal(try_map(f, 1 << 16, 4096, read_only, 0, 1), 0);
    struct {
        uint32_t argsz, flags;
        uint64_t iova, size;
    } one = { 24, 0, IOVA, 4096 }, all = { 24, 2, 0, 0 };
    assert_int_equal(call(f, CMD_DMA_UNMAP, &one, 24), ENOENT);
    one.size = 1 << 20;
    assert_int_equal(call(f, CMD_DMA_UNMAP, &one, 24), 0);
    assert_int_equal(f->reply_bytes, 24);
    assert_int_equal(at64(f, 8), IOVA);
    assert_int_equal(call(f, CMD_DMA_UNMAP, &one, 24), ENOENT);
    assert_int_equal(call(f, CMD_DMA_UNMAP, &all, 24), 0);
    assert_int_equal(try_map(f, IOVA, 1 << 20, fd, 0, 3), 0);
    close(fd);
    close(read_only);
    server_end(f);
}

static void ask_fill(struct fixture *f, uint64_t iova, uint64_t length)
{
    region_write(f, 7, 4, 6, 2);
    reg_write(f, REFDEV_REG_COPY_TARGET, iova);
    reg_write(f, REFDEV_REG_COPY_LENGTH, length);
    reg_write(f, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
}

static uint64_t copy_status(struct fixture *f)
{
    uint64_t status = REFDEV_STATUS_BUSY;
    while (status == REFDEV_STATUS_BUSY)
        status = reg_read(f, REFDEV_REG_COPY_STATUS);
    return status;
}

static int install_eventfd(struct fixture *f, uint32_t index, uint32_t vector)
{
    uint32_t set[5] = { 20, 0x24, index, vector, 1 };
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(call_fds(f, CMD_SET_IRQS, set, 20, &fd, 1), 0);
    return fd;
}

static void wait_for_eventfd(int fd)
{
    uint64_t count;
    assert_int_equal(read(fd, &count, 8), 8);
}

static void assert_filled(const uint8_t *memory, unsigned pages)
{
    for (unsigned page = 0; page < pages; page++) {
        uint64_t key = refdev_pattern_key(11, REFDEV_PATTERN_FILL, page, 1);
        assert_true(refdev_pattern_matches((const uint64_t *)(memory + page * 4096), key));
    }
}

static void dma_to_mapped_memory_is_logged_and_interrupts(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    int fd = memory_fd(1 << 20), event;
    uint8_t *memory = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
    struct {
        uint64_t pgsize;
        uint32_t ranges, reserved;
        uint64_t iova, size;
    } start = { 4096, 1, 0, IOVA, 1 << 20 };
    uint64_t report[3] = { IOVA, 1 << 20, 4096 };
    (void)arg;
    assert_int_equal(try_map(f, IOVA, 1 << 20, fd, 0, 3), 0);
    event = install_eventfd(f, 2, REFDEV_VECTOR_COPY);
    assert_int_equal(try_feature(f, SET | 6, &start, 32, 40), 0);
    assert_int_equal(at64(f, 8), 4096);
    ask_fill(f, IOVA + 4096, 3 * 4096);
    wait_for_eventfd(event);
    assert_int_equal(copy_status(f), REFDEV_STATUS_DONE);
    assert_filled(memory + 4096, 3);
    assert_int_equal(try_feature(f, GET | 8, report, 24, 8 + 24 + 31), EINVAL);
    assert_int_equal(try_feature(f, GET | 8, report, 24, 8 + 24 + 32), 0);
    assert_int_equal(f->reply_bytes, 8 + 24 + 32);
    assert_int_equal(at64(f, 32), 0xe);
    ask_fill(f, IOVA + (1 << 20) - 4096, 8192); /* half of it outside */
    assert_int_equal(copy_status(f), REFDEV_STATUS_FAILED);
    assert_int_equal(reg_read(f, REFDEV_REG_DMA_ERRORS), 1);
    assert_int_equal(try_feature(f, SET | 7, NULL, 0, 8), 0);
    assert_int_equal(try_feature(f, GET | 8, report, 24, 1000), EINVAL);
    munmap(memory, 1 << 20);
    close(fd);
    close(event);
    server_end(f);
}

static void memory_that_shrinks_is_an_error_not_a_crash(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    int fd = memory_fd(1 << 20);
    (void)arg;
    assert_int_equal(try_map(f, IOVA, 1 << 20, fd, 0, 3), 0);
    reg_write(f, REFDEV_REG_COPY_SOURCE, IOVA + 65536);
    assert_int_equal(ftruncate(fd, 4096), 0);
    region_write(f, 7, 4, 6, 2);
    reg_write(f, REFDEV_REG_COPY_TARGET, IOVA);
    reg_write(f, REFDEV_REG_COPY_LENGTH, 4096);
    reg_write(f, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
    assert_int_equal(copy_status(f), REFDEV_STATUS_FAILED);
    close(fd);
    server_end(f);
}

/* Serve DMA requests on @fd until the device has nothing more to ask of 3 pages. */
static void serve_fill(struct fixture *f, int fd, uint8_t *memory, bool bare)
{
    struct wire_header header;
    for (unsigned page = 0; page < 3; page++) {
        assert_true(receive(f, fd, &header));
        assert_int_equal(header.command, CMD_DMA_WRITE);
        assert_int_equal(header.flags, 0);
        uint64_t address = at64(f, 0), count = at64(f, 8);
        assert_int_equal(f->reply_bytes, 16 + count);
        memcpy(memory + (address - IOVA), f->reply + 16, count);
        struct wire_header reply = { header.id, header.command, bare ? 16 : 32, 1, 0 };
        uint64_t out[2 + 2] = { 0, 0, address, count };
        memcpy(out, &reply, 16);
        assert_true(try_send_raw(fd, out, bare ? 16 : 32));
    }
}

static void dma_without_fd_goes_by_message_and_is_not_logged(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint8_t memory[3 * 4096];
    uint64_t start[2] = { 4096, 0 }, report[3] = { IOVA, 3 * 4096, 4096 };
    (void)arg;
    assert_int_equal(try_map(f, IOVA, sizeof(memory), -1, 0, 3), 0);
    assert_int_equal(try_feature(f, SET | 6, start, 16, 24), 0);
    for (int bare = 0; bare < 2; bare++) {
        memset(memory, 0, sizeof(memory));
        ask_fill(f, IOVA, sizeof(memory));
        serve_fill(f, f->fd, memory, bare);
        assert_int_equal(copy_status(f), REFDEV_STATUS_DONE);
        assert_filled(memory, 3);
    }
    assert_int_equal(try_feature(f, GET | 8, report, 24, 100), 0);
    assert_int_equal(at64(f, 32), 0); /* what the client wrote the client records */
    server_end(f);
}

static void commands_between_a_dma_request_and_its_reply_wait_their_turn(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint8_t memory[3 * 4096];
    struct access scratch = { REFDEV_REG_SCRATCH, 0, 8, 123 };
    struct wire_header header;
    (void)arg;
    assert_int_equal(try_map(f, IOVA, sizeof(memory), -1, 0, 3), 0);
    ask_fill(f, IOVA, sizeof(memory));
    send_command(f->fd, 500, CMD_REGION_WRITE, 0, &scratch, 24, NULL, 0);
    send_command(f->fd, 501, CMD_REGION_READ, 0, &scratch, 16, NULL, 0);
    serve_fill(f, f->fd, memory, false);
    assert_true(receive(f, f->fd, &header));
    assert_int_equal(header.id, 500);
    assert_true(receive(f, f->fd, &header));
    assert_int_equal(header.id, 501);
    assert_int_equal(at64(f, 16), 123);
    assert_filled(memory, 3);
    server_end(f);
}

static void twin_socket_carries_dma_when_asked_for(void **arg)
{
    struct fixture *f =
        client_of("default", "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}");
    uint8_t memory[3 * 4096];
    (void)arg;
    assert_non_null(strstr((char *)f->reply + 4, "\"fd_index\":0"));
    assert_int_equal(f->reply_fd_count, 1);
    int twin = f->reply_fds[0];
    assert_int_equal(try_map(f, IOVA, sizeof(memory), -1, 0, 3), 0);
    ask_fill(f, IOVA, sizeof(memory));
    serve_fill(f, twin, memory, false);
    assert_int_equal(copy_status(f), REFDEV_STATUS_DONE);
    assert_filled(memory, 3);
    close(twin);
    server_end(f);
}

static void refused_dma_fails_the_operation_only(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    struct wire_header header;
    (void)arg;
    assert_int_equal(try_map(f, IOVA, 4096, -1, 0, 3), 0);
    ask_fill(f, IOVA, 4096);
    assert_true(receive(f, f->fd, &header));
    struct wire_header refused = { header.id, header.command, 16, 0x21, 0 };
    assert_true(try_send_raw(f->fd, &refused, 16)); /* errno 0 is legal here */
    assert_int_equal(copy_status(f), REFDEV_STATUS_FAILED);
    assert_int_equal(get_state(f), 2);
    server_end(f);
}

static void interrupts_are_wired_unwired_and_masked(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    int event = install_eventfd(f, 2, 3), intx, pipes[2];
    uint32_t fire[5] = { 20, 0x21, 2, 3, 1 }, off[5] = { 20, 0x21, 2, 0, 0 };
    uint32_t unwire[5] = { 20, 0x24, 2, 3, 1 }, past[5] = { 20, 0x21, 2, 8, 1 };
    uint32_t wrap[5] = { 20, 0x21, 2, 1, 0xffffffff }, two[5] = { 20, 0x23, 2, 0, 1 };
    uint32_t mask_msix[5] = { 20, 0x09, 2, 0, 1 };
    struct pollfd quiet;
    (void)arg;
    assert_int_equal(call(f, CMD_SET_IRQS, fire, 20), 0);
    wait_for_eventfd(event);
    reg_write(f, REFDEV_REG_INTERRUPT, 3);
    wait_for_eventfd(event);
    assert_int_equal(call(f, CMD_SET_IRQS, past, 20), EINVAL);
    assert_int_equal(call(f, CMD_SET_IRQS, wrap, 20), EINVAL);
    assert_int_equal(call(f, CMD_SET_IRQS, two, 20), EINVAL);
    assert_int_equal(call(f, CMD_SET_IRQS, mask_msix, 20), EINVAL);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(call_fds(f, CMD_SET_IRQS, unwire, 20, &pipes[1], 1), EINVAL);
    assert_int_equal(call_fds(f, CMD_SET_IRQS, unwire, 20, (int[]) { event, event }, 2), EINVAL);
    assert_int_equal(call(f, CMD_SET_IRQS, unwire, 20), 0);
    reg_write(f, REFDEV_REG_INTERRUPT, 3);
    quiet = (struct pollfd) { .fd = event, .events = POLLIN };
    assert_int_equal(get_state(f), 2);
    assert_int_equal(poll(&quiet, 1, 0), 0);
    assert_int_equal(call(f, CMD_SET_IRQS, off, 20), 0);

    /* INTx masks itself until the client has handled it. */
    uint32_t fire_intx[5] = { 20, 0x21, 0, 0, 1 }, unmask[5] = { 20, 0x11, 0, 0, 1 };
    intx = install_eventfd(f, 0, 0);
    assert_int_equal(call(f, CMD_SET_IRQS, fire_intx, 20), 0);
    wait_for_eventfd(intx);
    assert_int_equal(call(f, CMD_SET_IRQS, fire_intx, 20), 0);
    quiet.fd = intx;
    assert_int_equal(poll(&quiet, 1, 0), 0);
    assert_int_equal(call(f, CMD_SET_IRQS, unmask, 20), 0);
    wait_for_eventfd(intx);
    close(intx);
    close(event);
    close(pipes[0]);
    close(pipes[1]);
    server_end(f);
}

static void features_follow_the_uapi(void **arg)
{
    struct fixture *f = client_of("default", full_json);
    (void)arg;
    assert_int_equal(try_feature(f, PROBE | 1, NULL, 0, 8), 0);
    assert_int_equal(try_feature(f, PROBE | GET | SET | 2, NULL, 0, 8), 0);
    assert_int_equal(f->reply_bytes, 8);
    assert_int_equal(try_feature(f, PROBE | SET | 1, NULL, 0, 8), EINVAL);
    assert_int_equal(try_feature(f, GET | SET | 2, NULL, 0, 16), EINVAL);
    assert_int_equal(try_feature(f, 1, NULL, 0, 16), EINVAL);
    assert_int_equal(try_feature(f, GET | 1 | 1u << 19, NULL, 0, 16), EINVAL);
    assert_int_equal(try_feature(f, GET | 1, NULL, 0, 15), EINVAL);
    assert_int_equal(try_feature(f, SET | 2, "\1", 1, 16), EINVAL);
    for (uint32_t number = 0; number < 20; number++)
        if (number != 1 && number != 2 && (number < 6 || number > 9))
            assert_int_equal(try_feature(f, PROBE | number, NULL, 0, 8), EINVAL);
    assert_int_equal(try_set_state(f, 0), EINVAL);
    assert_int_equal(try_set_state(f, 8), EINVAL);
    assert_int_equal(try_set_state(f, 0xffffffff), EINVAL);
    go(f, 3);
    assert_int_equal(try_set_state(f, 6), EINVAL);
    assert_int_equal(get_state(f), 3);
    server_end(f);
}

static void start_with_ranges_that_do_not_fit_means_everything(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    /* The kernel's structure, with a pointer where the ranges should be. */
    uint64_t kernel[3] = { 4096, 3, 0x7fff12345678 }, report[3] = { IOVA, 4096, 4096 };
    int fd = memory_fd(4096);
    (void)arg;
    assert_int_equal(try_feature(f, SET | 6, kernel, 24, 32), 0);
    assert_int_equal(try_map(f, IOVA, 4096, fd, 0, 3), 0);
    ask_fill(f, IOVA, 4096);
    assert_int_equal(copy_status(f), REFDEV_STATUS_DONE);
    assert_int_equal(try_feature(f, GET | 8, report, 24, 100), 0);
    assert_int_equal(at64(f, 32), 1);
    close(fd);
    server_end(f);
}

static void state_moves_in_small_and_large_messages(void **arg)
{
    static const uint32_t chunks[][2] = { { 1 << 20, 1 << 20 }, { 1000, 32768 }, { 65536, 777 } };
    uint8_t *buf = malloc(2 << 20);
    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *source = client_of("default", full_json);
        struct fixture *target = client_of("default", full_json);
        reg_write(source, REFDEV_REG_SCRATCH, 4711);
        go(source, 3);
        size_t length = read_state(source, buf, chunks[i][0]);
        assert_true(length > 1 << 20);
        go(target, 4);
        assert_int_equal(try_write_state(target, buf, length, chunks[i][1]), 0);
        go(target, 2);
        assert_int_equal(reg_read(target, REFDEV_REG_SCRATCH), 4711);
        server_end(source);
        server_end(target);
    }
    free(buf);
}

static void dirty_pages_of_pre_copy_move_too(void **arg)
{
    struct fixture *source = client_of("default", full_json);
    struct fixture *target = client_of("default", full_json);
    uint8_t *buf = malloc(64 << 20);
    size_t length = 0;
    (void)arg;
    reg_write(source, REFDEV_REG_DIRTY_RATE, 20000);
    reg_write(source, REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN);
    go(source, 6);
    for (unsigned round = 0; round < 5; round++) {
        uint32_t want[2] = { 8 + (1 << 20), 1 << 20 };
        assert_int_equal(call(source, CMD_DATA_READ, want, 8), 0);
        memcpy(buf + length, source->reply + 8, at32(source, 4));
        length += at32(source, 4);
    }
    go(source, 7);
    go(source, 3);
    length += read_state(source, buf + length, 1 << 20);
    go(target, 4);
    assert_int_equal(try_write_state(target, buf, length, 1 << 20), 0);
    go(target, 2);
    reg_write(target, REFDEV_REG_CONTROL, 0);
    reg_write(target, REFDEV_REG_VERIFY, 1);
    while (reg_read(target, REFDEV_REG_VERIFY) == REFDEV_VERIFY_BUSY)
        continue;
    assert_int_equal(reg_read(target, REFDEV_REG_VERIFY), 0);
    assert_int_equal(reg_read(target, REFDEV_REG_LOCAL_MISMATCHES), 0);
    assert_true(reg_read(target, REFDEV_REG_LOCAL_STEPS) >=
                reg_read(source, REFDEV_REG_LOCAL_STEPS));
    free(buf);
    server_end(source);
    server_end(target);
}

static void data_commands_are_refused_in_the_wrong_state_or_size(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint32_t read[2] = { 108, 100 }, huge[2] = { 0xffffffff, 0xfffffff0 }, small[2] = { 50, 100 };
    uint32_t write[4] = { 16, 8, 0, 0 }, lie[4] = { 16, 100, 0, 0 };
    (void)arg;
    assert_int_equal(call(f, CMD_DATA_READ, read, 8), EINVAL);
    assert_int_equal(call(f, CMD_DATA_WRITE, write, 16), EINVAL);
    go(f, 3);
    assert_int_equal(call(f, CMD_DATA_READ, huge, 8), EINVAL);
    assert_int_equal(call(f, CMD_DATA_READ, small, 8), EINVAL);
    assert_int_equal(call(f, CMD_DATA_WRITE, write, 16), EINVAL);
    go(f, 4);
    assert_int_equal(call(f, CMD_DATA_WRITE, lie, 16), EINVAL);
    assert_int_equal(call(f, CMD_DATA_READ, read, 8), EINVAL);
    uint8_t nonsense[8 + 4096] = { 0 };
    uint32_t head[2] = { 8 + 4096, 4096 };
    memcpy(nonsense, head, 8);
    assert_int_equal(call(f, CMD_DATA_WRITE, nonsense, sizeof(nonsense)), EINVAL);
    assert_int_equal(get_state(f), 4); /* and the stream is in step */
    assert_int_equal(try_set_state(f, 1), EINVAL);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    assert_int_equal(get_state(f), 2);
    server_end(f);
}

static void client_with_small_limits_is_respected(void **arg)
{
    struct fixture *f = client_of("default", "{\"capabilities\":{\"max_data_xfer_size\":1024}}");
    uint32_t more[2] = { 8 + 1025, 1025 }, fits[2] = { 8 + 1024, 1024 };
    struct wire_header header;
    (void)arg;
    go(f, 3);
    assert_int_equal(call(f, CMD_DATA_READ, more, 8), EINVAL);
    assert_int_equal(call(f, CMD_DATA_READ, fits, 8), 0);
    go(f, 2);
    assert_int_equal(try_map(f, IOVA, 4096, -1, 0, 3), 0);
    ask_fill(f, IOVA, 4096);
    for (unsigned part = 0; part < 4; part++) {
        assert_true(receive(f, f->fd, &header));
        assert_int_equal(at64(f, 8), 1024);
        assert_int_equal(at64(f, 0), IOVA + 1024 * part);
        struct wire_header reply = { header.id, header.command, 16, 1, 0 };
        assert_true(try_send_raw(f->fd, &reply, 16));
    }
    assert_int_equal(copy_status(f), REFDEV_STATUS_DONE);
    server_end(f);
}

static void everything_but_data_is_allowed_in_every_state(void **arg)
{
    struct fixture *f = client_of("default", full_json);
    uint32_t info[4] = { 16 }, region[8] = { 32, 0, 0 }, irq[4] = { 16, 0, 2 };
    int fd = memory_fd(4096);
    struct {
        uint32_t argsz, flags;
        uint64_t iova, size;
    } unmap = { 24, 0, IOVA, 4096 };
    (void)arg;
    for (uint32_t state = 1; state < 8; state++) {
        go(f, state);
        assert_int_equal(call(f, CMD_GET_INFO, info, 16), 0);
        assert_int_equal(call(f, CMD_REGION_INFO, region, 32), 0);
        assert_int_equal(call(f, CMD_IRQ_INFO, irq, 16), 0);
        close(install_eventfd(f, 2, 1));
        assert_int_equal(try_map(f, IOVA, 4096, fd, 0, 3), 0);
        region_write(f, 7, 4, 6, 2);
        assert_int_equal(region_read(f, 7, 4, 2), 6);
        assert_int_equal(call(f, CMD_DMA_UNMAP, &unmap, 24), 0);
        assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
        assert_int_equal(get_state(f), 2);
    }
    close(fd);
    server_end(f);
}

static void state_outlives_the_client_but_maps_and_interrupts_do_not(void **arg)
{
    struct fixture *f = client_of("default", full_json);
    int fd = memory_fd(4096), event = install_eventfd(f, 2, 0);
    struct pollfd quiet = { .fd = event, .events = POLLIN };
    (void)arg;
    for (uint32_t state = 1; state < 8; state++) {
        assert_int_equal(try_map(f, IOVA, 4096, fd, 0, 3), 0);
        go(f, state);
        reconnect(f, full_json);
        assert_int_equal(get_state(f), state);
        assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    }
    reg_write(f, REFDEV_REG_INTERRUPT, 0);
    assert_int_equal(get_state(f), 2);
    assert_int_equal(poll(&quiet, 1, 0), 0);
    close(fd);
    close(event);
    server_end(f);
}

static void second_client_is_told_ebusy(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    struct wire_header header;
    uint8_t version[4] = { 0 };
    (void)arg;
    for (unsigned i = 0; i < 20; i++) {
        int second = connect_client(f);
        send_command(second, 77, CMD_VERSION, 0, version, 4, NULL, 0);
        assert_true(receive(f, second, &header));
        assert_int_equal(header.id, 77);
        assert_int_equal(header.flags, 0x21);
        assert_int_equal(header.error, EBUSY);
        assert_false(receive(f, second, &header));
        close(second);
    }
    int silent[20]; /* more than are kept: none of them disturbs the first */
    for (unsigned i = 0; i < 20; i++)
        silent[i] = connect_client(f);
    assert_int_equal(get_state(f), 2);
    for (unsigned i = 0; i < 20; i++)
        close(silent[i]);
    assert_int_equal(get_state(f), 2);
    reconnect(f, plain_json);
    assert_int_equal(get_state(f), 2);
    server_end(f);
}

static void stopping_ends_a_long_transition(void **arg)
{
    struct refdev_config config = { .local_bytes = 4096, .knobs.transition_ns = 3600000000000ull };
    struct fixture *f = server_start(&config);
    uint32_t set[4] = { 16, SET | 2, 1, 0 };
    (void)arg;
    f->fd = connect_client(f);
    say_version(f, plain_json);
    send_command(f->fd, 1, CMD_FEATURE, 0, set, 16, NULL, 0);
    server_end(f);
}

static void mtty_wants_its_info_read_before_interrupts_and_hides_reset(void **arg)
{
    struct fixture *f = client_of("mtty", full_json);
    uint32_t irq[4] = { 16, 0, 0 }, info[4] = { 16 }, precopy[6] = { 24, 5 };
    uint8_t buf[200];
    (void)arg;
    assert_int_equal(call(f, CMD_IRQ_INFO, irq, 16), EINVAL);
    assert_int_equal(call(f, CMD_GET_INFO, info, 16), 0);
    assert_int_equal(at32(f, 4), 2);
    assert_int_equal(call(f, CMD_IRQ_INFO, irq, 16), 0);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    go(f, 6);
    assert_int_equal(call(f, CMD_PRECOPY_INFO, precopy, 24), 0);
    assert_int_equal(at32(f, 4), 5); /* echoed */
    assert_int_equal(at64(f, 8), 24);
    assert_int_equal(read_state(f, buf, 100), 24);
    go(f, 3);
    assert_int_equal(read_state(f, buf, 100), 72);
    server_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_answers_in_the_clients_terms),
        cmocka_unit_test(wrong_version_is_answered_and_ends_the_connection),
        cmocka_unit_test(extensions_are_there_only_for_those_who_announce_them),
        cmocka_unit_test(device_is_described_as_the_tables_say),
        cmocka_unit_test(mappable_region_is_told_in_two_steps),
        cmocka_unit_test(region_accesses_are_bounded),
        cmocka_unit_test(posted_and_multiple_writes_are_done_in_order),
        cmocka_unit_test(dma_maps_are_checked),
        cmocka_unit_test(dma_to_mapped_memory_is_logged_and_interrupts),
        cmocka_unit_test(memory_that_shrinks_is_an_error_not_a_crash),
        cmocka_unit_test(dma_without_fd_goes_by_message_and_is_not_logged),
        cmocka_unit_test(commands_between_a_dma_request_and_its_reply_wait_their_turn),
        cmocka_unit_test(twin_socket_carries_dma_when_asked_for),
        cmocka_unit_test(refused_dma_fails_the_operation_only),
        cmocka_unit_test(interrupts_are_wired_unwired_and_masked),
        cmocka_unit_test(features_follow_the_uapi),
        cmocka_unit_test(start_with_ranges_that_do_not_fit_means_everything),
        cmocka_unit_test(state_moves_in_small_and_large_messages),
        cmocka_unit_test(dirty_pages_of_pre_copy_move_too),
        cmocka_unit_test(data_commands_are_refused_in_the_wrong_state_or_size),
        cmocka_unit_test(client_with_small_limits_is_respected),
        cmocka_unit_test(everything_but_data_is_allowed_in_every_state),
        cmocka_unit_test(state_outlives_the_client_but_maps_and_interrupts_do_not),
        cmocka_unit_test(second_client_is_told_ebusy),
        cmocka_unit_test(stopping_ends_a_long_transition),
        cmocka_unit_test(mtty_wants_its_info_read_before_interrupts_and_hides_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
