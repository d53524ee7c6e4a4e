/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trackers together, on a real device over vfio-user: what the reference device's DMA writes is in
 * its log and in no other tracker; what the process writes is in the other.
 */
#include "tests/memory/region.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "refdev/registers.h"
#include "refdev/server.h"

#define PAGES 64
#define BASE UINT64_C(0x40000000)

struct device {
    struct refdev_server *server;
    pthread_t thread;
    int server_fd, irq;
    struct vmig_device *device;
};

static void *serve(void *opaque)
{
    struct device *device = opaque;

    refdev_server_serve(device->server, device->server_fd);
    return NULL;
}

static void put(struct device *device, uint64_t reg, uint64_t value)
{
    ok(vmig_device_region_write(device->device, REFDEV_BAR_REGISTERS, reg, &value, 8, &err));
}

/* A device that may reach @region, at BASE, by file or by messages only. */
static void device_start(struct device *device, const struct region *region, bool by_file)
{
    struct refdev_config config = { .local_bytes = 1 << 20 };
    uint16_t command = 6; /* memory and bus master */
    struct vmig_dma_map map = { .iova = BASE,
                                .size_bytes = region->bytes,
                                .vaddr = region->memory,
                                .fd = by_file ? region->fd : -1,
                                .writable = true };
    char address[40];
    int pair[2];

    ok(refdev_server_new(&config, &device->server, &err));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    device->server_fd = pair[0];
    assert_int_equal(pthread_create(&device->thread, NULL, serve, device), 0);
    snprintf(address, sizeof(address), "vfio-user:fd:%d", pair[1]);
    ok(vmig_device_open(address, NULL, &device->device, &err));
    ok(vmig_device_dma_map(device->device, &map, &err));
    ok(vmig_device_region_write(device->device, VMIG_REGION_CONFIG, 4, &command, 2, &err));
    device->irq = eventfd(0, EFD_CLOEXEC);
    ok(vmig_device_set_irqs(device->device, VMIG_IRQ_MSIX, REFDEV_VECTOR_COPY, 1, &device->irq,
                            &err));
}

static void device_stop(struct device *device)
{
    vmig_device_close(device->device);
    refdev_server_stop(device->server);
    pthread_join(device->thread, NULL);
    refdev_server_free(device->server);
    close(device->irq);
}

/* The device copies page @from to page @to of its memory. */
static void copy_page(struct device *device, uint64_t from, uint64_t to)
{
    uint64_t count;

    put(device, REFDEV_REG_COPY_SOURCE, BASE + from * RAM_PAGE_SIZE);
    put(device, REFDEV_REG_COPY_TARGET, BASE + to * RAM_PAGE_SIZE);
    put(device, REFDEV_REG_COPY_LENGTH, RAM_PAGE_SIZE);
    put(device, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
    assert_int_equal(poll(&(struct pollfd) { .fd = device->irq, .events = POLLIN }, 1, 20000), 1);
    assert_int_equal(read(device->irq, &count, sizeof(count)), 8);
}

static struct region ram_at_base(void)
{
    struct region region = region_new(REGION_MEMFD, PAGES);

    region.block->desc.iova = BASE;
    for (uint64_t page = 0; page < PAGES; page++)
        region_write(&region, page);
    return region;
}

static void each_writer_is_in_its_own_tracker(bool by_file)
{
    struct region region = ram_at_base();
    struct device device;
    struct tracker *log, *cpu;

    device_start(&device, &region, by_file);
    ok(tracker_device_new(device.device, &log, &err));
    ok(log->ops->start(log, region.ram, &err));
    cpu = tracker_on(&region, TRACKER_CPU_AUTO);
    for (unsigned round = 0; round < 3; round++) {
        copy_page(&device, 0, 10 + round);
        region_write(&region, 40 + round);
        tracker_sync(log, &region);
        assert_dirty(&region, 10 + round);
        tracker_sync(cpu, &region);
        if (by_file)
            assert_dirty(&region, 40 + round);
        else /* the server asked us to write: that is this process's write, too */
            assert_dirty(&region, 10 + round, 40 + round);
    }
    tracker_end(cpu);
    tracker_end(log);
    device_stop(&device);
    region_free(&region);
}

static void dma_into_a_shared_file_is_in_the_devices_log_only(void **state)
{
    (void)state;
    each_writer_is_in_its_own_tracker(true);
}

static void dma_by_messages_is_in_the_devices_log(void **state)
{
    (void)state;
    each_writer_is_in_its_own_tracker(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dma_into_a_shared_file_is_in_the_devices_log_only),
        cmocka_unit_test(dma_by_messages_is_in_the_devices_log),
    };
    return cmocka_run_group_tests_name("tracker-refdev", tests, NULL, NULL);
}
