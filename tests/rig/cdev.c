/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ways to a kernel device: by its character device, by its group, by descriptors that somebody else
 * opened; who may, and who is in the way. What a device then does is asked elsewhere, of both
 * backends (kernel.c, device.c, edu.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <vfio-migrate.h>

#include "lib/device/cdev-node.h"
#include "lib/device/iommufd.h"
#include "lib/device/uapi.h"
#include "tests/rig/devices.h"

#define NOBODY 65534
#define PAGE 4096u
#define IOVA 0x100000u

struct fixture {
    struct mtty mtty;
    char node[SYSFS_NAME_MAX]; /* /dev/vfio/devices/vfioN */
    char group[32];            /* /dev/vfio/N */
};

static int setup(void **state)
{
    static struct fixture f;
    unsigned group = 0;
    mtty_create(&f.mtty, MTTY_TWO_PORTS);
    assert_true(cdev_node_find("/sys", f.mtty.uuid, f.node));
    assert_int_equal(sysfs_find_group("/sys", f.mtty.uuid, &group, NULL), 0);
    snprintf(f.group, sizeof(f.group), "/dev/vfio/%u", group);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    mtty_remove(&f->mtty);
    return 0;
}

/* ---- vocabulary: x_...() must succeed, refused() must fail so ---- */

static struct vmig_device *x_open(const char *address, const char *backend)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options), .backend = backend };
    if (vmig_device_open(address, &options, &device, &err))
        fail_msg("%s: %s", address, err.text);
    return device;
}

static struct vmig_error refused(const char *address, const char *backend, int code,
                                 const char *reason)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options), .backend = backend };
    int rc = vmig_device_open(address, &options, &device, &err);
    if (rc != code || strcmp(err.reason, reason) || device)
        fail_msg("%s: %d [%s] %s", address, rc, err.reason, err.text);
    return err;
}

static void assert_backend(struct vmig_device *device, const char *name)
{
    struct vmig_device_info info;
    assert_int_equal(vmig_device_info(device, &info, NULL), 0);
    assert_string_equal(info.backend, name);
    assert_true(info.pci);
}

static int x_open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void write_scratch(struct vmig_device *device, uint8_t value)
{
    assert_int_equal(vmig_device_region_write(device, 0, MTTY_SCRATCH, &value, 1, NULL), 0);
}

static uint8_t read_scratch(struct vmig_device *device)
{
    uint8_t value = 0;
    assert_int_equal(vmig_device_region_read(device, 0, MTTY_SCRATCH, &value, 1, NULL), 0);
    return value;
}

/* The whole state, as STOP_COPY gives it. */
static void assert_moves(struct vmig_device *device)
{
    uint8_t data[MTTY_STATE_BYTES + 1];
    size_t length = 0;
    ssize_t n;
    struct vmig_error err = { 0 };
    if (vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, &err))
        fail_msg("%s", err.text);
    while ((n = vmig_device_data_read(device, data + length, sizeof(data) - length, NULL)) > 0)
        length += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(length, MTTY_STATE_BYTES);
    assert_int_equal(vmig_device_set_state(device, VMIG_STATE_RUNNING, VMIG_STATE_ERROR, NULL), 0);
}

/* ---- which way ---- */

static void a_device_is_opened_by_its_character_device_where_there_is_one(void **state)
{
    struct fixture *f = *state;
    struct vmig_device *device = x_open(f->mtty.uuid, NULL);
    assert_backend(device, "cdev");
    vmig_device_close(device);
    device = x_open(f->mtty.uuid, "auto");
    assert_backend(device, "cdev");
    vmig_device_close(device);
}

static void the_option_says_by_which(void **state)
{
    struct fixture *f = *state;
    const char *const names[] = { "group", "cdev" };
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_device *device = x_open(f->mtty.uuid, names[i]);
        assert_backend(device, names[i]);
        vmig_device_close(device);
    }
    refused(f->mtty.uuid, "vfio-user", -EINVAL, "bad-address");
    refused(f->node, "group", -EINVAL, "bad-address");
    refused(f->mtty.uuid, "grope", -EINVAL, "no-such-backend");
}

static void the_path_of_a_character_device_is_an_address(void **state)
{
    struct fixture *f = *state;
    struct vmig_device *device = x_open(f->node, NULL);
    assert_backend(device, "cdev");
    assert_string_equal(vmig_device_id(device), f->node);
    assert_moves(device);
    vmig_device_close(device);
    refused("/dev/vfio/devices/vfio12345", NULL, -ENOENT, "no-such-device");
}

static void a_file_that_is_no_device_is_refused(void **state)
{
    (void)state;
    char address[64];
    int null = x_open_file("/dev/null"), iommufd = x_open_file("/dev/iommu");
    snprintf(address, sizeof(address), "fd:%d,iommufd=%d", null, iommufd);
    struct vmig_error err = refused(address, NULL, -EINVAL, "");
    assert_non_null(strstr(err.text, "no character device of VFIO"));
    assert_true(is_open(null) && is_open(iommufd));
    close(null);
    close(iommufd);
}

/* ---- who is in the way ---- */

static void a_device_in_use_is_busy_whichever_way_it_is_asked_for(void **state)
{
    struct fixture *f = *state;
    const char *const holders[] = { "group", "cdev" };
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_device *holder = x_open(f->mtty.uuid, holders[i]);
        refused(f->mtty.uuid, NULL, -EBUSY, "device-busy");
        refused(f->mtty.uuid, "cdev", -EBUSY, "device-busy");
        refused(f->mtty.uuid, "group", -EBUSY, "device-busy");
        refused(f->node, NULL, -EBUSY, "device-busy");
        vmig_device_close(holder);
    }
    vmig_device_close(x_open(f->mtty.uuid, "group"));
}

/* ---- descriptors that somebody else opened ---- */

static void an_opened_device_and_an_opened_iommufd_are_enough(void **state)
{
    struct fixture *f = *state;
    char address[64];
    int fd = x_open_file(f->node), iommufd = x_open_file("/dev/iommu");
    snprintf(address, sizeof(address), "fd:%d,iommufd=%d", fd, iommufd);
    struct vmig_device *device = x_open(address, NULL);
    assert_backend(device, "cdev");
    assert_moves(device);
    vmig_device_close(device);
    assert_false(is_open(fd));
    assert_true(is_open(iommufd));
    close(iommufd);
}

/* The second address space gets the number of the first one again only if that is gone. */
static void nothing_of_the_device_stays_in_the_callers_iommufd(void **state)
{
    struct fixture *f = *state;
    char address[64];
    int iommufd = x_open_file("/dev/iommu");
    for (unsigned i = 0; i < 3; i++) {
        uint32_t id = 0;
        snprintf(address, sizeof(address), "fd:%d,iommufd=%d", x_open_file(f->node), iommufd);
        vmig_device_close(x_open(address, NULL));
        assert_int_equal(iommufd_ioas_alloc(iommufd, &id), 0);
        assert_int_equal(iommufd_destroy(iommufd, id), 0);
        for (uint32_t other = 1; other < id; other++)
            assert_int_equal(iommufd_ioas_check(iommufd, other), -ENOENT);
    }
    close(iommufd);
}

/* The caller maps the memory, and says where; two devices share it. */
static void devices_can_share_the_callers_address_space(void **state)
{
    struct fixture *f = *state;
    struct mtty other;
    char node[SYSFS_NAME_MAX], address[100];
    struct vmig_device *devices[2];
    struct iommufd_place place = { .fd = x_open_file("/dev/iommu") };
    struct vmig_dma_map map = { .iova = IOVA, .size_bytes = 16 * PAGE, .fd = -1, .writable = true };
    struct vmig_dma_map told = map;
    mtty_create(&other, MTTY_TWO_PORTS);
    assert_true(cdev_node_find("/sys", other.uuid, node));
    map.vaddr = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(map.vaddr != MAP_FAILED);
    assert_int_equal(iommufd_ioas_alloc(place.fd, &place.ioas_id), 0);
    assert_int_equal(iommufd_map(&place, &map), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_dma_range range = { IOVA, 16 * PAGE };
        uint64_t bitmap = 0, pgsize = PAGE;
        snprintf(address, sizeof(address), "fd:%d,iommufd=%d,ioas=%u,name=%s",
                 x_open_file(i ? node : f->node), place.fd, place.ioas_id,
                 i ? other.uuid : f->mtty.uuid);
        devices[i] = x_open(address, NULL);
        assert_string_equal(vmig_device_id(devices[i]), i ? other.uuid : f->mtty.uuid);
        assert_int_equal(vmig_device_dma_map(devices[i], &map, NULL), -EEXIST);
        assert_int_equal(vmig_device_dma_map(devices[i], &told, NULL), 0);
        assert_int_equal(vmig_device_dma_log_start(devices[i], &range, 1, &pgsize, NULL), 0);
        assert_int_equal(
            vmig_device_dma_log_report(devices[i], IOVA, 16 * PAGE, pgsize, &bitmap, NULL), 0);
        assert_int_equal(vmig_device_dma_log_stop(devices[i], NULL), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        uint64_t done = 0;
        assert_int_equal(vmig_device_dma_unmap(devices[i], IOVA, 16 * PAGE, NULL), 0);
        if (i) /* it was only forgotten */
            assert_int_equal(iommufd_unmap(&place, IOVA, 16 * PAGE, &done), 0);
        vmig_device_close(devices[i]);
    }
    assert_int_equal(iommufd_destroy(place.fd, place.ioas_id), 0);
    close(place.fd);
    mtty_remove(&other);
}

static void an_address_space_that_is_not_there_is_refused(void **state)
{
    struct fixture *f = *state;
    char address[64];
    int fd = x_open_file(f->node), iommufd = x_open_file("/dev/iommu");
    snprintf(address, sizeof(address), "fd:%d,iommufd=%d,ioas=77", fd, iommufd);
    struct vmig_error err = refused(address, NULL, -EINVAL, "");
    assert_non_null(strstr(err.text, "no address space 77"));
    snprintf(address, sizeof(address), "fd:%d,iommufd=%d", fd, iommufd);
    vmig_device_close(x_open(address, NULL)); /* it was not bound */
    close(iommufd);
}

/* A group's device and its container, as a VMM has them. */
struct opened_group {
    int container, group, device;
};

static struct opened_group open_group(const char *path, const char *name)
{
    struct opened_group g = { .container = x_open_file("/dev/vfio/vfio"),
                              .group = x_open_file(path) };
    assert_int_equal(ioctl(g.group, VFIO_GROUP_SET_CONTAINER, &g.container), 0);
    assert_int_equal(ioctl(g.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
    g.device = ioctl(g.group, VFIO_GROUP_GET_DEVICE_FD, name);
    assert_true(g.device >= 0);
    return g;
}

static void a_groups_device_and_its_container_are_enough(void **state)
{
    struct fixture *f = *state;
    char address[128];
    struct opened_group g = open_group(f->group, f->mtty.uuid);
    snprintf(address, sizeof(address), "fd:%d,container=%d,name=%s", g.device, g.container,
             f->mtty.uuid);
    struct vmig_device *device = x_open(address, NULL);
    assert_backend(device, "group");
    assert_string_equal(vmig_device_id(device), f->mtty.uuid);
    assert_moves(device);
    vmig_device_close(device);
    assert_false(is_open(g.device));
    assert_true(is_open(g.container));
    close(g.group);
    close(g.container);
}

/* ---- handing on ---- */

static void x_hand_on(struct vmig_device *device, char *address, size_t size)
{
    struct vmig_error err = { 0 };
    if (vmig_device_hand_on(device, address, size, &err))
        fail_msg("%s", err.text);
    vmig_device_close(device);
}

/* What the program that was executed does: see main(). */
static int go_on(const char *address)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    uint8_t scratch = 0;
    enum vmig_state at = VMIG_STATE_ERROR;
    int rc = vmig_device_open(address, NULL, &device, &err);
    if (!rc)
        rc = vmig_device_get_state(device, &at, &err);
    if (!rc)
        rc = vmig_device_region_read(device, 0, MTTY_SCRATCH, &scratch, 1, &err);
    if (!rc) /* an inherited mapping can be taken away */
        rc = vmig_device_dma_unmap(device, IOVA, PAGE, &err);
    vmig_device_close(device);
    fprintf(stderr, "# %s: state %d, scratch 0x%x, %s\n", address, at, scratch, err.text);
    return !rc && at == VMIG_STATE_STOP && scratch == 0x5e ? 0 : 1;
}

static void close_named(const char *address)
{
    static const char *const keys[] = { "fd:", "iommufd=", "container=", "group=" };
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *at = strstr(address, keys[i]);
        if (at)
            close(atoi(at + strlen(keys[i])));
    }
}

static void a_program_that_is_executed_goes_on_with_the_device(void **state)
{
    struct fixture *f = *state;
    const char *const backends[] = { "cdev", "group" };
    void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct vmig_dma_map map = {
        .iova = IOVA, .size_bytes = PAGE, .vaddr = memory, .fd = -1, .writable = true
    };
    for (unsigned i = 0; i < 2; i++) {
        char address[256];
        int status = -1;
        struct vmig_device *device = x_open(f->mtty.uuid, backends[i]);
        write_scratch(device, 0x5e);
        assert_int_equal(vmig_device_dma_map(device, &map, NULL), 0);
        assert_int_equal(vmig_device_set_state(device, VMIG_STATE_STOP, VMIG_STATE_RUNNING, NULL),
                         0);
        x_hand_on(device, address, sizeof(address));
        pid_t pid = fork();
        if (pid == 0) {
            execl("/proc/self/exe", "cdev", "--go-on", address, (char *)NULL);
            _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        close_named(address);
    }
    munmap(memory, PAGE);
}

static void a_device_that_was_handed_on_is_not_bound_again(void **state)
{
    struct fixture *f = *state;
    char address[256], plain[64];
    int fd, iommufd;
    struct vmig_device *device = x_open(f->mtty.uuid, "cdev");
    write_scratch(device, 0x5f);
    x_hand_on(device, address, sizeof(address));
    assert_int_equal(sscanf(address, "fd:%d,iommufd=%d", &fd, &iommufd), 2);
    assert_true(is_open(fd) && is_open(iommufd));
    assert_false(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    snprintf(plain, sizeof(plain), "fd:%d,iommufd=%d", fd, iommufd);
    struct vmig_error err = refused(plain, NULL, -EINVAL, "");
    assert_non_null(strstr(err.text, "bound to an iommufd already"));
    assert_true(is_open(fd) && is_open(iommufd));
    device = x_open(address, NULL);
    assert_string_equal(vmig_device_id(device), f->mtty.uuid);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(read_scratch(device), 0x5f);
    vmig_device_close(device);
    assert_false(is_open(fd) || is_open(iommufd));
}

/* ---- who may ---- */

/* In a child that is nobody, with @limit of locked memory. Zero when it is as it should be; what is
 * not is told on standard error. */
static int as_nobody(int (*try)(void *), void *opaque, rlim_t limit)
{
    int status = -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit locked = { limit, limit };
        if (setrlimit(RLIMIT_MEMLOCK, &locked) || setresgid(NOBODY, NOBODY, NOBODY) ||
            setresuid(NOBODY, NOBODY, NOBODY))
            _exit(126);
        _exit(try(opaque));
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

struct attempt {
    const char *address;
    const char *reason;  /* it must be refused so; "": it must work */
    const char *says[2]; /* parts of the message */
    const char *backend; /* it must be opened by */
};

static int attempt(void *opaque)
{
    const struct attempt *a = opaque;
    struct vmig_error err = { 0 };
    struct vmig_device_info info = { 0 };
    struct vmig_device *device = NULL;
    int rc = vmig_device_open(a->address, NULL, &device, &err);
    bool as_told = !strcmp(err.reason, a->reason) && !rc == !a->reason[0];
    for (unsigned i = 0; i < 2; i++)
        as_told = as_told && (!a->says[i] || strstr(err.text, a->says[i]));
    if (!rc)
        vmig_device_info(device, &info, NULL);
    if (!rc && a->backend)
        as_told = as_told && !strcmp(info.backend, a->backend);
    vmig_device_close(device);
    if (!as_told)
        fprintf(stderr, "# %s: %d [%s] %s (%s)\n", a->address, rc, err.reason, err.text,
                info.backend);
    return as_told ? 0 : 1;
}

static void without_permission_the_message_names_what_was_tried(void **state)
{
    struct fixture *f = *state;
    struct attempt by_name = { .address = f->mtty.uuid,
                               .reason = "no-permission",
                               .says = { f->node, f->group } };
    struct attempt by_node = { .address = f->node, .reason = "no-permission", .says = { f->node } };
    assert_int_equal(as_nobody(attempt, &by_name, 65536), 0);
    assert_int_equal(as_nobody(attempt, &by_node, 65536), 0);
}

static void what_only_the_group_permits_is_opened_by_the_group(void **state)
{
    struct fixture *f = *state;
    struct stat before;
    struct attempt a = { .address = f->mtty.uuid, .reason = "", .backend = "group" };
    assert_int_equal(stat("/dev/vfio/vfio", &before), 0);
    assert_int_equal(chmod("/dev/vfio/vfio", 0666), 0);
    assert_int_equal(chmod(f->group, 0666), 0);
    assert_int_equal(as_nobody(attempt, &a, 65536), 0);
    assert_int_equal(chmod(f->node, 0666), 0); /* still not /dev/iommu */
    assert_int_equal(as_nobody(attempt, &a, 65536), 0);
    assert_int_equal(chmod("/dev/vfio/vfio", before.st_mode & 07777), 0);
}

static void a_busy_device_is_not_tried_the_other_way(void **state)
{
    struct fixture *f = *state;
    struct vmig_device *holder = x_open(f->mtty.uuid, "cdev");
    struct vmig_error err = refused(f->mtty.uuid, NULL, -EBUSY, "device-busy");
    assert_non_null(strstr(err.text, f->node));
    assert_null(strstr(err.text, "by its"));
    vmig_device_close(holder);
}

static void with_descriptors_that_were_passed_nobody_can_use_it(void **state)
{
    struct fixture *f = *state;
    char address[64];
    int fd = x_open_file(f->node), iommufd = x_open_file("/dev/iommu");
    struct attempt a = { .address = address, .reason = "", .backend = "cdev" };
    snprintf(address, sizeof(address), "fd:%d,iommufd=%d", fd, iommufd);
    assert_int_equal(as_nobody(attempt, &a, 65536), 0);
    close(fd);
    close(iommufd);
    struct opened_group g = open_group(f->group, f->mtty.uuid);
    a.backend = "group";
    snprintf(address, sizeof(address), "fd:%d,container=%d", g.device, g.container);
    assert_int_equal(as_nobody(attempt, &a, 65536), 0);
    close(g.device);
    close(g.group);
    close(g.container);
}

/* ---- locked memory; of a device that has its memory locked ---- */

#define LIMIT (64u * 1024)

static int lock_too_much(void *opaque)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    void *memory = mmap(NULL, 2 * LIMIT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct vmig_dma_map map = {
        .iova = IOVA, .size_bytes = 4 * PAGE, .vaddr = memory, .fd = -1, .writable = true
    };
    int rc = vmig_device_open(opaque, NULL, &device, &err);
    if (!rc)
        rc = vmig_device_dma_map(device, &map, &err);
    if (!rc)
        rc = vmig_device_dma_unmap(device, IOVA, 4 * PAGE, &err);
    if (rc) {
        fprintf(stderr, "# %s: %s\n", (const char *)opaque, err.text);
        return 1;
    }
    map.size_bytes = 2 * LIMIT;
    rc = vmig_device_dma_map(device, &map, &err);
    vmig_device_close(device);
    fprintf(stderr, "# %s: %d [%s] %s\n", (const char *)opaque, rc, err.reason, err.text);
    return rc == -ENOMEM && !strcmp(err.reason, "memlock") && strstr(err.text, "65536") &&
                   strstr(err.text, "131072")
               ? 0
               : 1;
}

static int setup_edu(void **state)
{
    (void)state;
    edu_bind();
    return 0;
}

static int teardown_edu(void **state)
{
    (void)state;
    edu_unbind();
    return 0;
}

static void the_limit_of_locked_memory_is_named_when_it_is_in_the_way(void **state)
{
    char node[SYSFS_NAME_MAX], address[64], path[32];
    unsigned group = 0;
    (void)state;
    assert_true(cdev_node_find("/sys", EDU, node));
    int fd = x_open_file(node), iommufd = x_open_file("/dev/iommu");
    snprintf(address, sizeof(address), "fd:%d,iommufd=%d", fd, iommufd);
    assert_int_equal(as_nobody(lock_too_much, address, LIMIT), 0);
    close(fd);
    close(iommufd);
    assert_int_equal(sysfs_find_group("/sys", EDU, &group, NULL), 0);
    snprintf(path, sizeof(path), "/dev/vfio/%u", group);
    struct opened_group g = open_group(path, EDU);
    snprintf(address, sizeof(address), "fd:%d,container=%d", g.device, g.container);
    assert_int_equal(as_nobody(lock_too_much, address, LIMIT), 0);
    close(g.device);
    close(g.group);
    close(g.container);
}

/* ---- hot reset ---- */

static void a_mediated_device_has_no_hot_reset(void **state)
{
    struct fixture *f = *state;
    const char *const backends[] = { "cdev", "group" };
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_hot_reset_info info;
        struct vmig_device *device = x_open(f->mtty.uuid, backends[i]);
        assert_int_equal(vmig_device_hot_reset_info(device, &info, NULL), -ENOTTY);
        vmig_device_close(device);
    }
}

static void a_device_on_the_root_bus_has_no_hot_reset(void **state)
{
    const char *const backends[] = { "cdev", "group" };
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct vmig_hot_reset_info info;
        struct vmig_error err = { 0 };
        struct vmig_device *device = x_open(EDU, backends[i]);
        assert_int_equal(vmig_device_hot_reset_info(device, &info, &err), -ENODEV);
        assert_non_null(strstr(err.text, "neither its slot nor its bus"));
        vmig_device_close(device);
    }
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define EDU_TEST(name) cmocka_unit_test_setup_teardown(name, setup_edu, teardown_edu)
    const struct CMUnitTest tests[] = {
        TEST(a_device_is_opened_by_its_character_device_where_there_is_one),
        TEST(the_option_says_by_which),
        TEST(the_path_of_a_character_device_is_an_address),
        TEST(a_file_that_is_no_device_is_refused),
        TEST(a_device_in_use_is_busy_whichever_way_it_is_asked_for),
        TEST(an_opened_device_and_an_opened_iommufd_are_enough),
        TEST(nothing_of_the_device_stays_in_the_callers_iommufd),
        TEST(devices_can_share_the_callers_address_space),
        TEST(an_address_space_that_is_not_there_is_refused),
        TEST(a_groups_device_and_its_container_are_enough),
        TEST(a_program_that_is_executed_goes_on_with_the_device),
        TEST(a_device_that_was_handed_on_is_not_bound_again),
        TEST(without_permission_the_message_names_what_was_tried),
        TEST(what_only_the_group_permits_is_opened_by_the_group),
        TEST(a_busy_device_is_not_tried_the_other_way),
        TEST(with_descriptors_that_were_passed_nobody_can_use_it),
        EDU_TEST(the_limit_of_locked_memory_is_named_when_it_is_in_the_way),
        TEST(a_mediated_device_has_no_hot_reset),
        EDU_TEST(a_device_on_the_root_bus_has_no_hot_reset),
    };
    if (argc == 3 && !strcmp(argv[1], "--go-on"))
        return go_on(argv[2]);
    return cmocka_run_group_tests_name("cdev", tests, NULL, NULL);
}
