/* SPDX-License-Identifier: BSD-3-Clause */
/* A monitor of ours in this process, with some memory to move and nothing that writes to it. */
#ifndef TESTS_MONITOR_OURS_H
#define TESTS_MONITOR_OURS_H

#include <vfio-migrate.h>
#include "tests/monitor/talk.h"

struct ours {
    struct vmig_migration *m;
    struct vmig_monitor *monitor;
    void *memory;
    struct talk talk;
};
/* A client is connected, and has not negotiated. */
void ours_start(struct ours *o, const char *directory, bool incoming);
/* Before a request of a dialogue with QEMU, which lets a VM go on that went elsewhere without a word. */
void ours_before(struct ours *o, const char *request);
void ours_end(struct ours *o);

#endif
