/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's part in the fault plan: which command is which, hanging, vanishing, and the plan
 * that tests replace from another thread. That one waits under the lock until the next message, or
 * a hang, takes it over.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/device/fsm.h"
#include "refdev/server-internal.h"

/* ---- life ---- */

int refdev_plan_init(struct refdev_server *server)
{
    struct server_plan *plan = &server->plan;
    pthread_mutex_init(&plan->lock, NULL);
    pthread_cond_init(&plan->fired_changed, NULL);
    plan->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return plan->wake_fd < 0 ? -errno : 0;
}

void refdev_plan_done(struct refdev_server *server)
{
    if (server->plan.wake_fd >= 0)
        close(server->plan.wake_fd);
    pthread_cond_destroy(&server->plan.fired_changed);
    pthread_mutex_destroy(&server->plan.lock);
}

/* ---- replacing the plan ---- */

void refdev_server_set_faults(struct refdev_server *server, const struct refdev_fault *faults,
                              unsigned count)
{
    struct server_plan *plan = &server->plan;
    uint64_t one = 1;
    pthread_mutex_lock(&plan->lock);
    plan->count = count <= REFDEV_FAULTS_MAX ? count : REFDEV_FAULTS_MAX;
    if (plan->count)
        memcpy(plan->faults, faults, plan->count * sizeof(*faults));
    plan->replaced = true;
    plan->fired = 0;
    ssize_t n = write(plan->wake_fd, &one, sizeof(one));
    (void)n; /* full is readable, too */
    pthread_mutex_unlock(&plan->lock);
}

void refdev_plan_adopt(struct refdev_server *server)
{
    struct server_plan *plan = &server->plan;
    uint64_t drained;
    pthread_mutex_lock(&plan->lock);
    if (plan->replaced) {
        ssize_t n = read(plan->wake_fd, &drained, sizeof(drained));
        (void)n;
        refdev_set_faults(server->model, plan->faults, plan->count);
        plan->replaced = false;
    }
    pthread_mutex_unlock(&plan->lock);
}

/* ---- being told ---- */

bool refdev_server_fault_at(const struct refdev_server *server, unsigned index,
                            struct refdev_fault *ret)
{
    return refdev_fault_at(server->model, index, ret);
}

unsigned refdev_server_faults_fired(struct refdev_server *server)
{
    pthread_mutex_lock(&server->plan.lock);
    unsigned fired = server->plan.fired;
    pthread_mutex_unlock(&server->plan.lock);
    return fired;
}

bool refdev_server_await_fault(struct refdev_server *server, unsigned count, unsigned timeout_ms)
{
    struct server_plan *plan = &server->plan;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    pthread_mutex_lock(&plan->lock);
    while (plan->fired < count &&
           pthread_cond_timedwait(&plan->fired_changed, &plan->lock, &end) != ETIMEDOUT)
        ;
    bool came = plan->fired >= count;
    pthread_mutex_unlock(&plan->lock);
    return came;
}

/* ---- what the model asks ---- */

void refdev_server_faulted(void *door, const struct refdev_fault *fault)
{
    struct refdev_server *server = door;
    struct server_plan *plan = &server->plan;
    char line[REFDEV_FAULT_TEXT_MAX + 64];
    snprintf(line, sizeof(line), "fault %s, in state %s", fault->text,
             vmig_state_name(refdev_state(server->model)));
    if (server->config.fault_log)
        server->config.fault_log(server->config.log_arg, line);
    else
        refdev_server_log(server, "%s", line);
    pthread_mutex_lock(&plan->lock);
    if (!plan->replaced) /* else it is one of the plan before */
        plan->fired++;
    pthread_cond_broadcast(&plan->fired_changed);
    pthread_mutex_unlock(&plan->lock);
}

int refdev_server_hang(void *door)
{
    struct refdev_server *server = door;
    struct pollfd polls[2] = { { .fd = server->stop_fd, .events = POLLIN },
                               { .fd = server->plan.wake_fd, .events = POLLIN } };
    while (poll(polls, 2, -1) < 0 && errno == EINTR)
        ;
    if (polls[0].revents) {
        server->silent = server->broken = true;
        return -EINTR;
    }
    refdev_plan_adopt(server);
    return 0;
}

/* Nobody shall be able to connect any more; those who were waiting for it learn that, too. */
void refdev_server_vanish(void *door)
{
    struct refdev_server *server = door;
    server->silent = server->broken = server->vanished = true;
    if (server->listen_fd >= 0)
        shutdown(server->listen_fd, SHUT_RDWR);
}

/* ---- commands ---- */

static enum refdev_fault_command feature_command(const struct request *request)
{
    struct vuser_feature head;
    vuser_feature_decode(request->payload, &head);
    if (head.flags & VUSER_FEATURE_PROBE)
        return REFDEV_COMMAND_PROBE;
    switch (head.flags & VUSER_FEATURE_NUMBER_MASK) {
    case VUSER_FEATURE_MIGRATION:
        return REFDEV_COMMAND_FLAGS;
    case VUSER_FEATURE_MIG_DEVICE_STATE:
        return head.flags & VUSER_FEATURE_SET ? REFDEV_COMMAND_SET_STATE : REFDEV_COMMAND_GET_STATE;
    case VUSER_FEATURE_DMA_LOGGING_START:
        return REFDEV_COMMAND_LOG_START;
    case VUSER_FEATURE_DMA_LOGGING_STOP:
        return REFDEV_COMMAND_LOG_STOP;
    case VUSER_FEATURE_DMA_LOGGING_REPORT:
        return REFDEV_COMMAND_LOG_REPORT;
    case VUSER_FEATURE_MIG_DATA_SIZE:
        return REFDEV_COMMAND_SIZE;
    case VUSER_FEATURE_MIG_PRECOPY_INFO2:
        return REFDEV_COMMAND_REINIT;
    default:
        return REFDEV_COMMAND_OTHER;
    }
}

int refdev_plan_command(struct refdev_server *server, const struct request *request)
{
    static const uint8_t commands[VUSER_COMMAND_END] = {
        [VUSER_VERSION] = REFDEV_COMMAND_VERSION + 1,
        [VUSER_DMA_MAP] = REFDEV_COMMAND_DMA_MAP + 1,
        [VUSER_DMA_UNMAP] = REFDEV_COMMAND_DMA_UNMAP + 1,
        [VUSER_DEVICE_GET_INFO] = REFDEV_COMMAND_DEVICE_INFO + 1,
        [VUSER_DEVICE_GET_REGION_INFO] = REFDEV_COMMAND_REGION_INFO + 1,
        [VUSER_DEVICE_GET_IRQ_INFO] = REFDEV_COMMAND_IRQ_INFO + 1,
        [VUSER_DEVICE_SET_IRQS] = REFDEV_COMMAND_SET_IRQS + 1,
        [VUSER_REGION_READ] = REFDEV_COMMAND_REGION_READ + 1,
        [VUSER_REGION_WRITE] = REFDEV_COMMAND_REGION_WRITE + 1,
        [VUSER_REGION_WRITE_MULTI] = REFDEV_COMMAND_REGION_WRITE + 1,
        [VUSER_DEVICE_RESET] = REFDEV_COMMAND_RESET + 1,
        [VUSER_MIG_DATA_READ] = REFDEV_COMMAND_DATA_READ + 1,
        [VUSER_MIG_DATA_WRITE] = REFDEV_COMMAND_DATA_WRITE + 1,
        [VUSER_GET_PRECOPY_INFO] = REFDEV_COMMAND_INFO + 1,
    };
    uint8_t command = commands[request->header.command];
    refdev_plan_adopt(server);
    if (request->header.command == VUSER_DEVICE_FEATURE)
        return refdev_fault_command(server->model, feature_command(request));
    return refdev_fault_command(server->model, command ? (enum refdev_fault_command)(command - 1)
                                                       : REFDEV_COMMAND_OTHER);
}
