/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handle: opening and closing, whose turn it is, and what the device is.
 *
 * Everything asked once is asked at open and kept: info, identity from config space, migration
 * flags, the state. Later calls check their arguments against it, so that a backend only sees
 * requests that can make sense.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/device/device.h"
#include "lib/device/fsm.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/trace/trace.h"

#define COMMAND_TIMEOUT_MS 5000
#define TRANSITION_TIMEOUT_MS 30000

/* ---- errors ---- */

const char *device_errno_text(int rc)
{
    const char *text = strerrordesc_np(abs(rc));
    return text ? text : "unknown error";
}

int device_refuse(const struct vmig_device *device, struct vmig_error *err, int code,
                  const char *format, ...)
{
    char text[sizeof(err->text)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return error_set(err, code, VMIG_STAGE_NONE, device->id, NULL, "%s", text);
}

/* ---- references and the turn ---- */

static void device_free(struct vmig_device *device)
{
    log_call_done(device);
    if (device->backend) {
        device->ops->close(device->backend);
        TRACE(vfio_device_close, device->id);
    }
    pthread_cond_destroy(&device->turn);
    pthread_mutex_destroy(&device->lock);
    for (unsigned i = 0; i < LOG_SOURCES; i++)
        dirty_log_done(&device->logs[i]);
    free(device->mappings);
    free(device->regions);
    free(device->address);
    free(device);
}

void device_ref(struct vmig_device *device)
{
    atomic_fetch_add(&device->refs, 1);
}

void device_unref(struct vmig_device *device)
{
    if (atomic_fetch_sub(&device->refs, 1) == 1)
        device_free(device);
}

static bool device_is_lost(const struct vmig_device *device)
{
    return atomic_load(&device->health) == VMIG_HEALTH_LOST;
}

static int device_refuse_lost(const struct vmig_device *device, struct vmig_error *err)
{
    if (atomic_load(&device->handed_on))
        return device_refuse(device, err, ENODEV, "the device was handed on; close this handle");
    if (atomic_load(&device->hung)) /* who says so first may not be who waited for it */
        return device_refuse(device, err, ENODEV,
                             "the device is lost: %s; close it and open it again",
                             device->hung_call);
    return device_refuse(device, err, ENODEV, "the device is lost; close it and open it again");
}

static struct timespec deadline_after_ms(unsigned ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

int device_enter(struct vmig_device *device, struct vmig_error *err)
{
    struct timespec deadline = deadline_after_ms(device->turn_timeout_ms);
    LOCK_SCOPE(&device->lock);
    while (device->busy && !device_is_lost(device)) {
        if (pthread_cond_timedwait(&device->turn, &device->lock, &deadline) == ETIMEDOUT)
            return device_refuse(device, err, ETIMEDOUT,
                                 "another call on this device has not returned within %u ms",
                                 device->turn_timeout_ms);
    }
    if (device_is_lost(device))
        return device_refuse_lost(device, err);
    device->busy = true;
    atomic_fetch_add(&device->refs, 1);
    return 0;
}

static void device_release_turn(struct vmig_device *device)
{
    pthread_mutex_lock(&device->lock);
    device->busy = false;
    pthread_cond_signal(&device->turn);
    pthread_mutex_unlock(&device->lock);
    device_unref(device);
}

int device_leave(struct vmig_device *device, int rc, struct vmig_error *err, const char *format,
                 ...)
{
    if (rc < 0 && err && !err->code) {
        char what[sizeof(err->text) - 100];
        va_list args;
        va_start(args, format);
        vsnprintf(what, sizeof(what), format, args);
        va_end(args);
        error_set(err, rc, VMIG_STAGE_NONE, device->id, NULL, "%s: %s", what,
                  device_errno_text(rc));
    }
    if (rc < 0)
        error_locate(err, VMIG_STAGE_NONE, device->id);
    device_release_turn(device);
    return rc;
}

int device_enter_data(struct vmig_device *device, struct vmig_error *err)
{
    if (device_is_lost(device))
        return device_refuse_lost(device, err);
    atomic_fetch_add(&device->refs, 1);
    return 0;
}

int device_leave_data(struct vmig_device *device, int rc, struct vmig_error *err, const char *what)
{
    if (rc < 0 && rc != -ENOMSG) {
        error_set(err, rc, VMIG_STAGE_NONE, device->id, NULL, "%s: %s", what,
                  device_errno_text(rc));
        error_locate(err, VMIG_STAGE_NONE, device->id);
    }
    device_unref(device);
    return rc;
}

void device_abandon(struct vmig_device *device, const char *call, double ms)
{
    LOCK_SCOPE(&device->lock);
    if (!atomic_load(&device->hung))
        snprintf(device->hung_call, sizeof(device->hung_call),
                 "%s did not come back within %.0f ms", call, ms);
    atomic_store(&device->hung, true);
    atomic_store(&device->health, VMIG_HEALTH_LOST);
    pthread_cond_broadcast(&device->turn);
}

/* ---- open ---- */

/* What names the device in @address: a name that is in it, or what comes before all that was agreed
 * on about its descriptors. */
static const char *find_naming(const char *address, size_t *ret_length)
{
    static const char name_key[] = ",name=";
    bool is_fd = !strncmp(address, "fd:", 3) || !strncmp(address, "vfio-user:fd:", 13);
    const char *name = is_fd ? strstr(address, name_key) : NULL;
    if (name)
        address = name + strlen(name_key);
    *ret_length = is_fd ? strcspn(address, ",") : strlen(address);
    return address;
}

/* The id is at most 63 bytes, it goes on the wire: of a long address the end tells more. */
static int set_names(struct vmig_device *device, const char *address, const char *id,
                     struct vmig_error *err)
{
    device->address = strdup(address);
    if (!device->address)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, id, NULL, "out of memory");
    if (!id) {
        size_t length, max = sizeof(device->id) - 1;
        const char *name = find_naming(address, &length);
        size_t skip = length > max ? length - max : 0;
        snprintf(device->id, sizeof(device->id), "%.*s", (int)(length - skip), name + skip);
        return 0;
    }
    if (!id[0] || strlen(id) >= sizeof(device->id))
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "device id '%.80s': must have 1 to %zu bytes", id, sizeof(device->id) - 1);
    snprintf(device->id, sizeof(device->id), "%s", id);
    return 0;
}

static int read_options(const struct vmig_device_options *given, struct vmig_device_options *ret,
                        struct vmig_error *err)
{
    *ret = (struct vmig_device_options) { .size = sizeof(*ret) };
    if (given && given->size < sizeof(given->size))
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "vmig_device_options.size is %zu; set it to sizeof the structure",
                         given->size);
    /* An older program's structure is shorter: what it does not know keeps its default. */
    if (given)
        memcpy(ret, given, given->size < sizeof(*ret) ? given->size : sizeof(*ret));
    if (!ret->command_timeout_ms)
        ret->command_timeout_ms = COMMAND_TIMEOUT_MS;
    if (!ret->transition_timeout_ms)
        ret->transition_timeout_ms = TRANSITION_TIMEOUT_MS;
    return 0;
}

static uint16_t le16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

/* Identity is what config space says. A device without one, or whose config space is too short to
 * tell, has none, which is no error. */
static int read_identity(struct vmig_device *device, struct vmig_error *err)
{
    struct vmig_device_info *info = &device->info;
    struct vmig_region_info region = { .index = VMIG_REGION_CONFIG };
    uint8_t header[0x30];

    info->vendor_id = info->device_id = info->subsystem_vendor_id = info->subsystem_id = 0xffff;
    info->class_code = 0;
    info->revision = 0;
    if (!info->pci || info->num_regions <= VMIG_REGION_CONFIG)
        return 0;
    int rc = device->ops->region_info(device->backend, VMIG_REGION_CONFIG, &region, err);
    if (rc || region.size_bytes < sizeof(header) || !(region.flags & VMIG_REGION_READ))
        return rc;
    rc = device->ops->region_read(device->backend, VMIG_REGION_CONFIG, 0, header, sizeof(header),
                                  err);
    if (rc)
        return rc;
    info->vendor_id = le16(header);
    info->device_id = le16(header + 2);
    info->revision = header[8];
    info->class_code = (uint32_t)(header[9] | header[10] << 8 | header[11] << 16);
    info->subsystem_vendor_id = le16(header + 0x2c);
    info->subsystem_id = le16(header + 0x2e);
    return 0;
}

static int read_info(struct vmig_device *device, struct vmig_error *err)
{
    int rc = device->ops->info(device->backend, &device->info, err);
    if (rc)
        return rc;
    if (device->info.num_regions > DEVICE_REGIONS_MAX || device->info.num_irqs > DEVICE_IRQS_MAX)
        return error_set(err, EPROTO, VMIG_STAGE_OPEN, NULL, NULL,
                         "claims %u regions and %u interrupt kinds; at most %u and %u make sense",
                         device->info.num_regions, device->info.num_irqs, DEVICE_REGIONS_MAX,
                         DEVICE_IRQS_MAX);
    snprintf(device->info.backend, sizeof(device->info.backend), "%s", device->ops->name);
    device->regions = calloc(device->info.num_regions + 1, sizeof(*device->regions));
    if (!device->regions)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory");
    return read_identity(device, err);
}

static int read_iommu_log(struct vmig_device *device, struct vmig_error *err)
{
    struct backend_iommu_log *log = &device->iommu_log;
    snprintf(log->why, sizeof(log->why), "there is no IOMMU that could tell");
    int rc =
        device->ops->iommu_log_info ? device->ops->iommu_log_info(device->backend, log, err) : 0;
    device->migration.iommu_log = log->kind;
    return rc;
}

/* Without STOP_COPY there is no migration, whatever other bits say; bits of later kernels mean
 * nothing to us. */
static int read_migration(struct vmig_device *device, struct vmig_error *err)
{
    struct vmig_migration_info *migration = &device->migration;
    int rc = device->ops->migration_info(device->backend, migration, err);
    if (rc)
        return rc;
    migration->flags &= VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P | VMIG_MIGRATION_PRE_COPY;
    if (!(migration->flags & VMIG_MIGRATION_STOP_COPY)) {
        migration->flags = 0;
        if (!migration->reason[0])
            snprintf(migration->reason, sizeof(migration->reason), "vfio-no-stop-copy");
        return 0;
    }
    enum vmig_state state = VMIG_STATE_ERROR;
    rc = device->ops->get_state(device->backend, &state, err);
    atomic_store(&device->state, (int)state);
    return rc;
}

static struct vmig_device *device_new(void)
{
    struct vmig_device *device = calloc(1, sizeof(*device));
    if (!device)
        return NULL;
    atomic_store(&device->refs, 1);
    pthread_mutex_init(&device->lock, NULL);
    for (unsigned i = 0; i < LOG_SOURCES; i++)
        dirty_log_init(&device->logs[i]);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&device->turn, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return device;
}

static int device_start(struct vmig_device *device, const struct backend_choice *choice,
                        const struct vmig_device_options *options, struct vmig_error *err)
{
    struct backend_options backend_options = {
        .command_timeout_ms = options->command_timeout_ms,
        .transition_timeout_ms = options->transition_timeout_ms,
        .no_mmap = options->no_mmap,
    };
    /* The longest legitimate call: change, recover and reset, each with its look at the state. */
    device->turn_timeout_ms = 3 * options->transition_timeout_ms + 4 * options->command_timeout_ms;
    device->no_mmap = options->no_mmap;
    device_set_log_timeout(device, options->transition_timeout_ms);
    int rc = backend_open(choice, device->address, &backend_options, &device->ops, &device->backend,
                          err);
    if (!rc)
        rc = read_info(device, err);
    if (!rc)
        rc = read_migration(device, err);
    return rc ? rc : read_iommu_log(device, err);
}

static int open_by(const struct backend_choice *choice, const char *address,
                   const struct vmig_device_options *options, struct vmig_device **ret,
                   struct vmig_error *err)
{
    struct vmig_device *device = device_new();
    if (!device)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, options->id, NULL, "out of memory");
    int rc = set_names(device, address, options->id, err);
    if (!rc)
        rc = device_start(device, choice, options, err);
    if (!rc) {
        TRACE(vfio_device_open, device->id, device->address, device->ops->name);
        *ret = device;
        return 0;
    }
    error_set(err, rc, VMIG_STAGE_OPEN, device->id, NULL, "%s", device_errno_text(rc));
    error_locate(err, VMIG_STAGE_OPEN, device->id[0] ? device->id : NULL);
    if (device->backend && device->ops->give_back)
        device->ops->give_back(device->backend);
    device_unref(device);
    return rc;
}

int device_open(const struct backend_choice *choice, const char *address,
                const struct vmig_device_options *options, struct vmig_device **ret,
                struct vmig_error *err)
{
    struct vmig_device_options known;
    int rc = read_options(options, &known, err);
    return rc ? rc : open_by(choice, address, &known, ret, err);
}

/* Without the domain, as lspci prints it, an address is not stable across hosts: not guessed. */
static int refuse_address(const char *address, struct vmig_error *err)
{
    char with_domain[64];
    struct backend_choice choice;
    if (snprintf(with_domain, sizeof(with_domain), "0000:%s", address) < (int)sizeof(with_domain) &&
        !backend_choose(with_domain, NULL, &choice, NULL))
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                         "'%s' has no PCI domain; did you mean '%s'?", address, with_domain);
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                     "'%.200s' is no device address; use vfio-user:PATH, a PCI address such "
                     "as 0000:3b:00.2, a mediated device's UUID, or /dev/vfio/devices/vfioN",
                     address);
}

VMIG_EXPORT int vmig_device_open(const char *address, const struct vmig_device_options *options,
                                 struct vmig_device **ret, struct vmig_error *err)
{
    struct vmig_device_options known;
    struct backend_choice choice;
    struct vmig_error cause = { 0 };
    int rc = read_options(options, &known, err);
    if (rc)
        return rc;
    rc = backend_choose(address, known.backend, &choice, &cause);
    if (rc && !cause.code)
        return refuse_address(address, err);
    return rc ? error_copy(err, &cause) : open_by(&choice, address, &known, ret, err);
}

VMIG_EXPORT struct vmig_device *vmig_device_close(struct vmig_device *device)
{
    if (device)
        device_unref(device);
    return NULL;
}

/* ---- to another owner ---- */

static int refuse_to_hand_on(struct vmig_device *device, struct vmig_error *err)
{
    enum vmig_state state = VMIG_STATE_RUNNING;
    for (unsigned i = 0; i < LOG_SOURCES; i++)
        if (atomic_load(&device->logs[i].on))
            return device_refuse(device, err, EBUSY, "%s: the log is on; stop it first",
                                 log_call_name(i));
    int rc = device->migration.flags ? device->ops->get_state(device->backend, &state, err) : 0;
    if (rc || state == VMIG_STATE_RUNNING || state == VMIG_STATE_RUNNING_P2P ||
        state == VMIG_STATE_STOP)
        return rc;
    return device_refuse(device, err, EBUSY,
                         "it is in %s, whose data stream cannot be handed on; RUNNING, RUNNING_P2P "
                         "and STOP can",
                         vmig_state_name(state));
}

VMIG_EXPORT int vmig_device_hand_on(struct vmig_device *device, char *ret, size_t size_bytes,
                                    struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = device->ops->hand_on ? refuse_to_hand_on(device, err) : -ENOTTY;
    if (!rc)
        rc = device->ops->hand_on(device->backend, ret, size_bytes, err);
    if (!rc) {
        LOCK_SCOPE(&device->lock);
        atomic_store(&device->handed_on, true);
        atomic_store(&device->health, VMIG_HEALTH_LOST);
        pthread_cond_broadcast(&device->turn);
    }
    return device_leave(device, rc, err, "handing it on");
}

/* ---- what is known without asking ---- */

VMIG_EXPORT const char *vmig_device_id(const struct vmig_device *device)
{
    return device->id;
}

VMIG_EXPORT const char *vmig_device_address(const struct vmig_device *device)
{
    return device->address;
}

VMIG_EXPORT int vmig_device_info(struct vmig_device *device, struct vmig_device_info *ret,
                                 struct vmig_error *err)
{
    (void)err;
    *ret = device->info;
    return 0;
}

VMIG_EXPORT int vmig_device_migration_info(struct vmig_device *device,
                                           struct vmig_migration_info *ret, struct vmig_error *err)
{
    (void)err;
    *ret = device->migration;
    ret->reinit = atomic_load(&device->reinit);
    return 0;
}

VMIG_EXPORT enum vmig_health vmig_device_health(const struct vmig_device *device)
{
    return (enum vmig_health)atomic_load(&device->health);
}
