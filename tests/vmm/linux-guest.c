/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a Linux guest runs while it is moved. One thread rewrites memory all the time, page after page, and checks
 * each against its checksum before. The other one drives a reference device, through VFIO without an IOMMU, and
 * writes a numbered line on the console every 100 ms of its own time, with what was found so far. Statically
 * linked, so that it can be all of a guest's user space.
 *
 *   linux-guest [PCI-ADDRESS]    when something is typed it checks everything and ends with "end: good" or "end: bad"
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
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
#define PAGES 4096u /* that are rewritten: 16 MiB */
#define BURST 8u    /* of them, and then a moment for others */
#define TICK_MS 100

/* In the one huge page that the device writes to. */
#define COPY_PAGES 4u
#define SLOTS 64u /* pages that it writes by itself */
#define SLOTS_OFFSET (64u * PAGE)
#define DMA_RATE 1000u /* of them a second */

/* Fewer registers to read a tick: these ought to be 0. */
static const enum refdev_register faults[] = { REFDEV_REG_SLOT_MISMATCHES, REFDEV_REG_DMA_ERRORS,
                                               REFDEV_REG_DMA_VIOLATIONS,
                                               REFDEV_REG_STOPPED_WRITES };
struct device {
    volatile uint8_t *registers; /* NULL: there is none */
    uint64_t *buffer;
    uint64_t buffer_address, seed;
    int interrupt;
    uint64_t asked, told, wrong;
};

static struct {
    uint64_t *pages, sums[PAGES];
    atomic_uint_fast64_t rewritten, wrong;
    atomic_bool end;
} memory;
static atomic_uint_fast64_t times_back;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Of one thread, which keeps in *@seen what it saw last. */
static uint64_t look_at_clock(uint64_t *seen)
{
    uint64_t now = now_ms();
    times_back += now < *seen;
    return *seen = now;
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
    struct {              /* struct vfio_irq_set with one eventfd */
        uint32_t argsz, flags, index, start, count;
        int32_t fd;
    } irq = { sizeof(irq),
              VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
              VFIO_PCI_MSIX_IRQ_INDEX,
              REFDEV_VECTOR_COPY,
              1,
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

/* One copy after the other, each when the last one's interrupt came; and pages that it writes by itself. */
static void begin_device(struct device *d, const char *address)
{
    make_buffer(d);
    open_device(d, address);
    set(d, REFDEV_REG_SLOT_BASE, d->buffer_address + SLOTS_OFFSET);
    set(d, REFDEV_REG_SLOT_COUNT, SLOTS);
    set(d, REFDEV_REG_DMA_RATE, DMA_RATE);
    set(d, REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN);
    ask(d);
}

/* The interrupt of the copy that was asked for, within @ms: the buffer is right then. */
static bool is_told(struct device *d, int ms)
{
    struct pollfd wait = { d->interrupt, POLLIN, 0 };
    eventfd_t count;
    if (poll(&wait, 1, ms) != 1 || eventfd_read(d->interrupt, &count))
        return false;
    d->told += count;
    for (unsigned page = 0; page < COPY_PAGES; page++)
        d->wrong +=
            !refdev_pattern_matches(d->buffer + page * REFDEV_PATTERN_LANES,
                                    refdev_pattern_key(d->seed, REFDEV_PATTERN_FILL, page, 1));
    return true;
}

static uint64_t wrong_of(const struct device *d)
{
    uint64_t wrong = d->wrong;
    for (size_t i = 0; d->registers && i < sizeof(faults) / sizeof(faults[0]); i++)
        wrong += get(d, faults[i]);
    return wrong;
}

/* An interrupt that is lost is never made up for, since nothing is asked for before it comes. The device has counted
 * its copies, too, and looks at all that it wrote by itself. */
static bool end_device(struct device *d)
{
    if (!is_told(d, 20000))
        return false;
    set(d, REFDEV_REG_VERIFY, 1);
    while (get(d, REFDEV_REG_VERIFY) >= REFDEV_VERIFY_NOT_RUN)
        poll(NULL, 0, 10);
    d->wrong += get(d, REFDEV_REG_VERIFY);
    printf("device: copies %llu told %llu slots %llu\n",
           (unsigned long long)get(d, REFDEV_REG_COPIES), (unsigned long long)d->told,
           (unsigned long long)get(d, REFDEV_REG_DMA_STEPS));
    return d->told == d->asked && d->told == get(d, REFDEV_REG_COPIES) &&
           get(d, REFDEV_REG_DMA_STEPS) && !wrong_of(d);
}

/* ---- memory ---- */

static uint64_t sum_of(const uint64_t *page)
{
    uint64_t sum = 0;
    for (unsigned lane = 0; lane < PAGE / 8; lane++)
        sum = refdev_mix(sum ^ page[lane]) + lane;
    return sum;
}

static void check_page(unsigned index)
{
    memory.wrong += sum_of(memory.pages + index * (PAGE / 8)) != memory.sums[index];
}

static void write_page(unsigned index, uint64_t key)
{
    uint64_t *page = memory.pages + index * (PAGE / 8);
    refdev_pattern_fill(page, refdev_mix(key));
    memory.sums[index] = sum_of(page);
}

/* With moments for others: where processors are emulated, those who move the machine need some of the time. */
static void *rewrite(void *unused)
{
    uint64_t seen = now_ms();
    for (uint64_t next = PAGES; !memory.end; next++) {
        check_page(next % PAGES);
        write_page(next % PAGES, next);
        memory.rewritten++;
        if (next % BURST == 0)
            poll(NULL, 0, 5);
        look_at_clock(&seen);
    }
    return unused;
}

/* ---- the whole ---- */

static bool is_typed(void)
{
    struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
    return poll(&in, 1, 0) == 1;
}

/* Once at least, though it may be late already: a guest that gets little time does all of its work slowly. */
static void work_until(struct device *d, uint64_t due, uint64_t *seen)
{
    uint64_t now = look_at_clock(seen);
    do {
        int ms = now < due ? (int)(due - now) : 0;
        if (!d->registers)
            poll(NULL, 0, ms);
        else if (is_told(d, ms)) {
            ask(d);
            poll(NULL, 0, 1);
        }
        now = look_at_clock(seen);
    } while (now < due);
}

/* With the sum of its bytes at the end: none may be lost on its way. */
static void tick(const struct device *d, uint64_t number)
{
    char line[300];
    unsigned sum = 0;
    snprintf(line, sizeof(line),
             "tick %llu pages %llu wrong %llu time-back %llu copies %llu told %llu device-wrong "
             "%llu",
             (unsigned long long)number, (unsigned long long)memory.rewritten,
             (unsigned long long)memory.wrong, (unsigned long long)times_back,
             (unsigned long long)d->asked, (unsigned long long)d->told,
             (unsigned long long)wrong_of(d));
    for (const char *c = line; *c; c++)
        sum += (unsigned char)*c;
    printf("%s sum %u\n", line, sum);
}

int main(int argc, char **argv)
{
    struct device device = { .interrupt = eventfd(0, EFD_NONBLOCK) };
    pthread_t rewriter;
    setvbuf(stdout, NULL, _IOLBF, 0);
    memory.pages = aligned_alloc(PAGE, PAGES * PAGE);
    for (unsigned i = 0; i < PAGES; i++)
        write_page(i, i);
    if (argc > 1)
        begin_device(&device, argv[1]);
    if (pthread_create(&rewriter, NULL, rewrite, NULL))
        die("a thread");
    uint64_t seen = now_ms(), due = seen;
    for (uint64_t number = 1; !is_typed(); number++) {
        work_until(&device, due += TICK_MS, &seen);
        tick(&device, number);
    }
    memory.end = true;
    pthread_join(rewriter, NULL);
    for (unsigned i = 0; i < PAGES; i++)
        check_page(i);
    bool good = !device.registers || end_device(&device);
    good &= !memory.wrong && !times_back;
    printf("end: %s; memory-wrong %llu time-back %llu device-wrong %llu\n", good ? "good" : "bad",
           (unsigned long long)memory.wrong, (unsigned long long)times_back,
           (unsigned long long)wrong_of(&device));
    return !good;
}
