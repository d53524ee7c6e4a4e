/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a Linux guest runs while it is moved: it keeps checksums over memory that it rewrites all the time, drives
 * a reference device from inside, through VFIO without an IOMMU, and writes a numbered line on the console every
 * 100 ms, with what it found. Statically linked, so that it can be all of a guest's user space.
 *
 *   linux-guest [PCI-ADDRESS]    when something is typed it ends with "end: good" or "end: bad"
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "refdev/pattern.h"

#define PAGE 4096u
#define PAGES 2048u /* that are rewritten */
#define SLICE 64u   /* of them between two looks at the clock */
#define COPY_PAGES 4u

struct device {
    volatile uint8_t *registers;
    uint64_t *buffer; /* COPY_PAGES, which lie behind each other */
    uint64_t buffer_address, seed;
    int interrupt;
    uint64_t asked, told, wrong;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- the device ---- */

static uint64_t get(const struct device *d, enum refdev_register reg)
{
    return *(volatile uint64_t *)(d->registers + reg);
}

static void set(const struct device *d, enum refdev_register reg, uint64_t value)
{
    *(volatile uint64_t *)(d->registers + reg) = value;
}

/* A huge page, since nothing else is sure to be in one piece. */
static void make_buffer(struct device *d)
{
    uint64_t entry;
    d->buffer = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
    if (d->buffer == MAP_FAILED)
        die("a huge page");
    int fd = open("/proc/self/pagemap", O_RDONLY);
    if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)d->buffer / PAGE * sizeof(entry))) !=
        sizeof(entry))
        die("pagemap");
    close(fd);
    d->buffer_address = (entry & ((UINT64_C(1) << 55) - 1)) * PAGE;
}

static int open_group(const char *address)
{
    char path[200], link[200], *number;
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
    ssize_t length = readlink(path, link, sizeof(link) - 1);
    if (length < 0)
        die(path);
    link[length] = '\0';
    number = strrchr(link, '/') + 1;
    snprintf(path, sizeof(path), "/dev/vfio/noiommu-%s", number);
    int group = open(path, O_RDWR), container = open("/dev/vfio/vfio", O_RDWR);
    if (group < 0 || container < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
        ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU))
        die(path);
    int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
    if (device < 0)
        die(address);
    return device;
}

static void open_device(struct device *d, const char *address)
{
    int fd = open_group(address);
    struct vfio_region_info config = { .argsz = sizeof(config),
                                       .index = VFIO_PCI_CONFIG_REGION_INDEX };
    struct vfio_region_info bar = { .argsz = sizeof(bar), .index = REFDEV_BAR_REGISTERS };
    uint16_t command = 6; /* memory, bus master */
    struct {
        struct vfio_irq_set head;
        int32_t fd;
    } irq = { { sizeof(irq), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                VFIO_PCI_MSIX_IRQ_INDEX, REFDEV_VECTOR_COPY, 1 },
              d->interrupt };
    if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &config) ||
        ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
        pwrite(fd, &command, sizeof(command), (off_t)config.offset + 4) != sizeof(command) ||
        ioctl(fd, VFIO_DEVICE_SET_IRQS, &irq))
        die("setting the device up");
    void *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)bar.offset);
    if (map == MAP_FAILED)
        die("the device's registers");
    d->registers = map;
    if (get(d, REFDEV_REG_MAGIC) != REFDEV_MAGIC)
        die("no reference device");
    d->seed = get(d, REFDEV_REG_SEED);
}

static void ask(struct device *d)
{
    memset(d->buffer, 0, COPY_PAGES * PAGE);
    d->asked++;
    set(d, REFDEV_REG_COPY_TARGET, d->buffer_address);
    set(d, REFDEV_REG_COPY_LENGTH, COPY_PAGES * PAGE);
    set(d, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
}

/* The interrupt of the copy that was asked for: the buffer is right then, and the next is asked for. */
static void serve(struct device *d)
{
    eventfd_t count;
    if (eventfd_read(d->interrupt, &count))
        return;
    d->told += count;
    for (unsigned page = 0; page < COPY_PAGES; page++)
        d->wrong +=
            !refdev_pattern_matches(d->buffer + page * REFDEV_PATTERN_LANES,
                                    refdev_pattern_key(d->seed, REFDEV_PATTERN_FILL, page, 1));
    ask(d);
}

/* An interrupt that is lost is never made up for: nothing is asked for before it comes. */
static bool is_served(struct device *d)
{
    struct pollfd wait = { d->interrupt, POLLIN, 0 };
    if (poll(&wait, 1, 20000) != 1)
        return false;
    serve(d);
    return true;
}

/* ---- memory ---- */

static uint64_t sum_of(const uint64_t *page)
{
    uint64_t sum = 0;
    for (unsigned lane = 0; lane < PAGE / 8; lane++)
        sum = refdev_mix(sum ^ page[lane]) + lane;
    return sum;
}

/* Check the checksums of the next pages, and rewrite them. Returns how many were wrong. */
static uint64_t rewrite(uint64_t *memory, uint64_t *sums, uint64_t *next)
{
    uint64_t wrong = 0;
    for (unsigned n = 0; n < SLICE; n++, ++*next) {
        uint64_t *page = memory + *next % PAGES * (PAGE / 8);
        if (*next >= PAGES)
            wrong += sum_of(page) != sums[*next % PAGES];
        refdev_pattern_fill(page, refdev_mix(*next));
        sums[*next % PAGES] = sum_of(page);
    }
    return wrong;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool is_typed(void)
{
    struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
    return poll(&in, 1, 0) == 1;
}

int main(int argc, char **argv)
{
    static uint64_t sums[PAGES];
    uint64_t wrong = 0, next = 0, back = 0;
    uint64_t *memory = aligned_alloc(PAGE, PAGES * PAGE);
    struct device device = { .interrupt = eventfd(0, EFD_NONBLOCK) };
    bool has_device = argc > 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (has_device) {
        make_buffer(&device);
        open_device(&device, argv[1]);
        ask(&device);
    }
    uint64_t seen = now_ms(), due;
    for (uint64_t line = 1; !is_typed(); line++) {
        uint64_t now;
        due = seen + 100;
        do {
            wrong += rewrite(memory, sums, &next);
            if (has_device)
                serve(&device);
            now = now_ms();
            back += now < seen;
            seen = now;
        } while (now < due);
        printf("tick %llu pages %llu wrong %llu time-back %llu copies %llu told %llu device-wrong "
               "%llu\n",
               (unsigned long long)line, (unsigned long long)next, (unsigned long long)wrong,
               (unsigned long long)back, (unsigned long long)device.asked,
               (unsigned long long)device.told, (unsigned long long)device.wrong);
    }
    bool served = !has_device || is_served(&device);
    bool good = served && !wrong && !back && !device.wrong &&
                (!has_device || device.told + 1 == device.asked);
    printf("end: %s\n", good ? "good" : "bad");
    return !good;
}
