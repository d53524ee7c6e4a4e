/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One device, without a migration around it: opened, looked at, taken through its states with its
 * data, handed on, closed, while one call fails. What failed says why and takes nothing else along,
 * and the device can be opened and used again. So can handles of migrations, and their control
 * sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <jansson.h>

#include <vfio-migrate.h>
#include "lib/migration/control.h"
#include "lib/migration/migration.h"
#include "refdev/registers.h"
#include "refdev/server.h"
#include "tests/fail/campaign.h"

#define MEMORY_BYTES (256u << 10)
#define IOVA 0x100000u

/* ---- the server: nobody's calls ---- */

static struct host {
    struct refdev_server *server;
    pthread_t thread;
    int listen_fd;
    char directory[40], path[60], address[80], control[60];
    char *memory;
    int memory_fd;
} host;

static void *serve(void *opaque)
{
    (void)opaque;
    refdev_server_run(host.server, host.listen_fd);
    return NULL;
}

static void start_host(void)
{
    struct refdev_config config = { .local_bytes = 64 << 10 };
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    config.knobs.profile = refdev_profile_find("default");
    assert_int_equal(refdev_server_new(&config, &host.server, NULL), 0);
    strcpy(host.directory, "/tmp/vfio-migrate-fail.XXXXXX");
    assert_non_null(mkdtemp(host.directory));
    snprintf(host.path, sizeof(host.path), "%s/device", host.directory);
    snprintf(host.control, sizeof(host.control), "%s/control", host.directory);
    snprintf(host.address, sizeof(host.address), "vfio-user:%s", host.path);
    strcpy(name.sun_path, host.path);
    host.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(host.listen_fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(host.listen_fd, 8), 0);
    assert_int_equal(pthread_create(&host.thread, NULL, serve, NULL), 0);
    host.memory_fd = memfd_create("memory", MFD_CLOEXEC);
    assert_int_equal(ftruncate(host.memory_fd, MEMORY_BYTES), 0);
    host.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, host.memory_fd, 0);
    assert_true(host.memory != MAP_FAILED);
}

static void end_host(void)
{
    refdev_server_stop(host.server);
    pthread_join(host.thread, NULL);
    refdev_server_free(host.server);
    close(host.listen_fd);
    munmap(host.memory, MEMORY_BYTES);
    close(host.memory_fd);
    unlink(host.path);
    unlink(host.control);
    rmdir(host.directory);
}

/* ---- a visit: each step is one call of the public interface ---- */

struct visit {
    struct vmig_device *device;
    uint8_t *data;
    size_t length;
    int eventfd;
};

#define DATA_BYTES (1u << 20)

static int set(struct visit *v, enum vmig_state state, struct vmig_error *err)
{
    return vmig_device_set_state(v->device, state, VMIG_STATE_ERROR, err);
}

static int open_device(struct visit *v, struct vmig_error *err)
{
    struct vmig_device_options options = { .size = sizeof(options), .id = "device" };
    return vmig_device_open(host.address, &options, &v->device, err);
}

static int look(struct visit *v, struct vmig_error *err)
{
    struct vmig_region_info region = { 0 };
    struct vmig_irq_info irq = { 0 };
    void *mapped;
    int rc = vmig_device_region_info(v->device, REFDEV_BAR_REGISTERS, &region, err);
    if (rc == 0)
        rc = vmig_device_region_info(v->device, 2, &region, err);
    if (rc == 0 && region.flags & VMIG_REGION_MMAP)
        rc = vmig_device_region_map(v->device, 2, 0, &mapped, err);
    return rc < 0 ? rc : vmig_device_irq_info(v->device, VMIG_IRQ_MSIX, &irq, err);
}

static int use(struct visit *v, struct vmig_error *err)
{
    uint64_t value = 0;
    int rc = vmig_device_region_read(v->device, REFDEV_BAR_REGISTERS, 0, &value, 8, err);
    if (rc == 0)
        rc = vmig_device_set_irqs(v->device, VMIG_IRQ_MSIX, 0, 1, &v->eventfd, err);
    return rc < 0 ? rc : vmig_device_set_irqs(v->device, VMIG_IRQ_MSIX, 0, 0, NULL, err);
}

static int map(struct visit *v, struct vmig_error *err)
{
    struct vmig_dma_map map = { .iova = IOVA,
                                .size_bytes = MEMORY_BYTES,
                                .vaddr = host.memory,
                                .fd = host.memory_fd,
                                .writable = true };
    return vmig_device_dma_map(v->device, &map, err);
}

static int log_dma(struct visit *v, struct vmig_error *err)
{
    struct vmig_dma_range range = { IOVA, MEMORY_BYTES };
    uint64_t pgsize = 4096, bits[MEMORY_BYTES / 4096 / 64 + 1] = { 0 };
    int rc = vmig_device_dma_log_start(v->device, &range, 1, &pgsize, err);
    if (rc == 0)
        rc = vmig_device_dma_log_report(v->device, IOVA, MEMORY_BYTES, pgsize, bits, err);
    return rc < 0 ? rc : vmig_device_dma_log_stop(v->device, err);
}

static int unmap(struct visit *v, struct vmig_error *err)
{
    return vmig_device_dma_unmap(v->device, IOVA, MEMORY_BYTES, err);
}

static int save(struct visit *v, struct vmig_error *err)
{
    int rc = set(v, VMIG_STATE_STOP_COPY, err);
    v->length = 0;
    while (rc == 0 && v->length < DATA_BYTES) {
        ssize_t n =
            vmig_device_data_read(v->device, v->data + v->length, DATA_BYTES - v->length, err);
        if (n <= 0)
            return (int)n;
        v->length += (size_t)n;
    }
    return rc;
}

static int load(struct visit *v, struct vmig_error *err)
{
    int rc = set(v, VMIG_STATE_STOP, err);
    if (rc == 0)
        rc = set(v, VMIG_STATE_RESUMING, err);
    if (rc == 0)
        rc = vmig_device_data_write(v->device, v->data, v->length, err);
    return rc < 0 ? rc : set(v, VMIG_STATE_RUNNING, err);
}

static int reset(struct visit *v, struct vmig_error *err)
{
    return vmig_device_reset(v->device, err);
}

static int (*const steps[])(struct visit *v, struct vmig_error *err) = {
    open_device, reset, look, use, map, log_dma, unmap, save, load,
};

static int visit(struct vmig_error *err)
{
    struct visit v = { .eventfd = eventfd(0, EFD_CLOEXEC), .data = malloc(DATA_BYTES) };
    int rc = 0;
    assert_non_null(v.data);
    inject_act_for(INJECT_SOURCE);
    for (size_t i = 0; rc == 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
        rc = steps[i](&v, err);
    v.device = vmig_device_close(v.device);
    inject_act_for(INJECT_NOBODY);
    free(v.data);
    close(v.eventfd);
    return rc;
}

/* The server notices that its client is gone before it takes the next one. */
static void visit_attempt(void)
{
    struct vmig_error err = { 0 };
    start_host();
    campaign_begin();
    int rc = visit(&err);
    bool may_fail = campaign_end();
    if (rc < 0 && !may_fail)
        fail_msg("%d %s", rc, err.text);
    if (rc < 0) {
        err.stage = err.stage ? err.stage : VMIG_STAGE_OPEN; /* single calls have none */
        campaign_error_helps("the device", rc, &err);
        assert_true(err.device[0] || err.stage == VMIG_STAGE_OPEN);
        err = (struct vmig_error) { 0 };
        rc = visit(&err);
        if (rc < 0)
            fail_msg("after that: %d %s", rc, err.text);
    }
    end_host();
}

static void device_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("device", INJECT_SOURCE, visit_attempt);
}

/* ---- handed on ---- */

/* A descriptor is the new owner's once it is taken; refused before that, it is still ours. */
static void close_handed_on(const char *address)
{
    int fd = -1, twin = -1;
    const char *named = strstr(address, "twin=");
    sscanf(address, "vfio-user:fd:%d", &fd);
    if (named)
        sscanf(named, "twin=%d", &twin);
    if (fd >= 0 && fcntl(fd, F_GETFD) == 0)
        close(fd);
    if (twin >= 0 && fcntl(twin, F_GETFD) == 0)
        close(twin);
}

/* To this process, as it happens. */
static int hand_on(struct vmig_error *err)
{
    struct visit v = { .eventfd = -1 };
    char address[4096] = "";
    inject_act_for(INJECT_SOURCE);
    int rc = open_device(&v, err);
    if (rc == 0)
        rc = map(&v, err);
    if (rc == 0)
        rc = vmig_device_hand_on(v.device, address, sizeof(address), err);
    v.device = vmig_device_close(v.device);
    if (rc == 0)
        rc = vmig_device_open(address, NULL, &v.device, err);
    if (!v.device)
        close_handed_on(address);
    if (rc == 0)
        rc = unmap(&v, err);
    v.device = vmig_device_close(v.device);
    inject_act_for(INJECT_NOBODY);
    return rc;
}

static void hand_on_attempt(void)
{
    struct vmig_error err = { 0 };
    start_host();
    campaign_begin();
    int rc = hand_on(&err);
    bool may_fail = campaign_end();
    if (rc < 0 && !may_fail)
        fail_msg("%d %s", rc, err.text);
    if (rc < 0) {
        err.stage = err.stage ? err.stage : VMIG_STAGE_OPEN;
        campaign_error_helps("handing on", rc, &err);
    }
    end_host();
}

static void handing_on_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("hand on", INJECT_SOURCE, hand_on_attempt);
}

/* ---- handles of migrations ---- */

static int on_load(void *opaque, const void *buf, size_t length, struct vmig_error *err)
{
    (void)opaque;
    (void)buf;
    (void)length;
    (void)err;
    return 0;
}

static const struct vmig_participant_ops other_ops = { .size = sizeof(other_ops), .load = on_load };

static int add_ram(struct vmig_migration *m, struct vmig_device *device, struct vmig_error *err)
{
    struct vmig_ram_block block = { .name = "memory",
                                    .iova = IOVA,
                                    .size_bytes = MEMORY_BYTES,
                                    .vaddr = host.memory,
                                    .fd = host.memory_fd };
    (void)device;
    return vmig_migration_add_ram(m, &block, err);
}

static int add_device(struct vmig_migration *m, struct vmig_device *device, struct vmig_error *err)
{
    return vmig_migration_add_device(m, device, err);
}

static int add_other(struct vmig_migration *m, struct vmig_device *device, struct vmig_error *err)
{
    (void)device;
    return vmig_migration_add_participant(m, "other", &other_ops, NULL, err);
}

static int set_control(struct vmig_migration *m, struct vmig_device *device, struct vmig_error *err)
{
    (void)device;
    return vmig_migration_set_control(m, host.control, err);
}

static int add_blocker(struct vmig_migration *m, struct vmig_device *device, struct vmig_error *err)
{
    uint64_t id;
    int rc = vmig_migration_add_blocker(m, "host-specific", vmig_device_id(device), "text", NULL,
                                        &id, err);
    assert_int_equal(vmig_migration_blockers(m, NULL, 0), rc == 0);
    return rc < 0 ? rc : vmig_migration_remove_blocker(m, id, err);
}

static int add_again(struct vmig_migration *m, struct vmig_device *device, struct vmig_error *err)
{
    struct vmig_device_settings settings = { .size = sizeof(settings), .viommu = true };
    vmig_migration_remove_device(m, device, NULL);
    return vmig_migration_add_device_with(m, device, &settings, err);
}

static int (*const additions[])(struct vmig_migration *m, struct vmig_device *device,
                                struct vmig_error *err) = {
    add_ram, add_device, add_blocker, add_again, add_other, set_control,
};

/* What failed once works when it is done again. The first error. */
static int make_migration(struct vmig_device *device, struct vmig_error *err)
{
    int first = 0;
    struct vmig_migration *m = vmig_migration_new(NULL, err);
    if (!m)
        first = err->code;
    if (!m)
        m = vmig_migration_new(NULL, NULL);
    assert_non_null(m);
    for (size_t i = 0; i < sizeof(additions) / sizeof(additions[0]); i++) {
        struct vmig_error again = { 0 };
        int rc = additions[i](m, device, err);
        if (rc < 0 && additions[i](m, device, &again) < 0)
            fail_msg("addition %zu: %d %s; again: %s", i, rc, err->text, again.text);
        first = first ? first : rc;
    }
    vmig_migration_free(m);
    return first;
}

static void handle_attempt(void)
{
    struct visit v = { .eventfd = -1 };
    struct vmig_error err = { 0 };
    start_host();
    assert_int_equal(open_device(&v, NULL), 0);
    campaign_begin();
    inject_act_for(INJECT_SOURCE);
    int rc = make_migration(v.device, &err);
    inject_act_for(INJECT_NOBODY);
    if (campaign_end() && rc < 0)
        campaign_error_helps("making a migration", rc, &err);
    else if (rc < 0)
        fail_msg("%d %s", rc, err.text);
    vmig_device_close(v.device);
    end_host();
}

static void making_a_migration_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("handles", INJECT_SOURCE, handle_attempt);
}

/* ---- the control socket ---- */

/* A question and its answer; both ends are tried, one a campaign. */
static void ask(enum inject_side asker, const char *what, bool may_fail)
{
    struct vmig_error err = { 0 };
    inject_act_for(asker);
    json_t *answer = control_call(host.control, json_pack("{s:s}", "execute", what), &err);
    inject_act_for(INJECT_NOBODY);
    if (!answer && !may_fail)
        fail_msg("%s: %d %s", what, err.code, err.text);
    if (!answer)
        campaign_error_helps(what, err.code, &err);
    json_decref(answer);
}

static void control_attempt(void)
{
    start_host();
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    assert_non_null(m);
    inject_act_for(INJECT_TARGET);
    assert_int_equal(vmig_migration_set_control(m, host.control, NULL), 0);
    inject_act_for(INJECT_NOBODY);
    campaign_begin();
    ask(INJECT_SOURCE, "status", campaign_errors());
    ask(INJECT_SOURCE, "cancel", campaign_errors());
    campaign_end();
    ask(INJECT_NOBODY, "status", false);
    vmig_migration_free(m);
    end_host();
}

/* ---- somebody who listens to it ---- */

static struct {
    sem_t begun; /* or over */
    unsigned heard;
    int rc;
    struct vmig_error err;
} ear;

static void on_line(void *opaque, json_t *line)
{
    (void)opaque;
    (void)line;
    if (ear.heard++ == 0)
        sem_post(&ear.begun);
}

static void *ear_main(void *opaque)
{
    (void)opaque;
    inject_act_for(INJECT_SOURCE);
    ear.rc = control_listen(host.control, on_line, NULL, &ear.err);
    inject_act_for(INJECT_NOBODY);
    sem_post(&ear.begun);
    return NULL;
}

/* Who listens hears all, or that it does not; who tells is never the worse for it. */
static void listen_attempt(void)
{
    pthread_t thread;
    start_host();
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    assert_non_null(m);
    memset(&ear, 0, sizeof(ear));
    sem_init(&ear.begun, 0, 0);
    inject_act_for(INJECT_TARGET);
    assert_int_equal(vmig_migration_set_control(m, host.control, NULL), 0);
    inject_act_for(INJECT_NOBODY);
    campaign_begin();
    assert_int_equal(pthread_create(&thread, NULL, ear_main, NULL), 0);
    sem_wait(&ear.begun);
    inject_act_for(INJECT_TARGET);
    run_event(m, VMIG_EVENT_WARNING, "something is told");
    run_event(m, VMIG_EVENT_WARNING, "and something else");
    vmig_migration_set_control(m, NULL, NULL);
    inject_act_for(INJECT_NOBODY);
    pthread_join(thread, NULL);
    bool may_fail = campaign_end();
    if (ear.rc < 0 && !may_fail)
        fail_msg("%d %s", ear.rc, ear.err.text);
    if (ear.rc < 0)
        assert_true(ear.err.code < 0 && ear.err.text[0]);
    else
        assert_int_equal(ear.heard, 4); /* begin, two, end */
    sem_destroy(&ear.begun);
    vmig_migration_free(m);
    end_host();
}

static void listening_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("events, who listens", INJECT_SOURCE, listen_attempt);
    campaign("events, who tells", INJECT_TARGET, listen_attempt);
}

static void control_socket_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("control, who asks", INJECT_SOURCE, control_attempt);
    campaign("control, who answers", INJECT_TARGET, control_attempt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        campaign_test(device_may_fail_in_any_call),
        campaign_test(handing_on_may_fail_in_any_call),
        campaign_test(making_a_migration_may_fail_in_any_call),
        campaign_test(control_socket_may_fail_in_any_call),
        campaign_test(listening_may_fail_in_any_call),
    };
    cmocka_set_test_filter(getenv("FAIL_TEST"));
    return cmocka_run_group_tests(tests, campaign_setup, NULL);
}
