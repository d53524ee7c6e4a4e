/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user client against a server that follows the input. Byte 0: bit 0 offers a twin socket,
 * bit 1 all extensions. Then records, each a kind and its arguments (lengths are u16):
 *
 *   0 n             answer the next n + 1 commands honestly
 *   1 length bytes  reply to the next command with this payload
 *   2 number        reply to it with this error
 *   3               leave it unanswered
 *   4 delta length bytes  reply with a header whose size is wrong by delta (s8)
 *   5 command length bytes  send a command of the server's own
 *   6 length bytes  send these bytes as they are
 *
 * When the input is over the server hangs up. The client goes through all it can do meanwhile, as
 * far as it gets.
 */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "tests/vfio-user/fake-server.h"

#define OPS backend_vfio_user
#define PAGES 16

struct script {
    const uint8_t *at, *end;
    unsigned honest;
};

static unsigned take_byte(struct script *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

static size_t take_length(struct script *s)
{
    size_t length = take_byte(s);
    length |= (size_t)take_byte(s) << 8;
    return length < (size_t)(s->end - s->at) ? length : (size_t)(s->end - s->at);
}

/* Runs records until one has dealt with the command @h. */
static bool follow(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                   size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    struct script *s = f->arg;
    while (s->honest == 0 && s->at < s->end) {
        unsigned kind = take_byte(s) % 7;
        struct vuser_header header;
        int8_t delta = 0;
        if (kind == 0) {
            s->honest = 1 + take_byte(s) % 64;
            continue;
        }
        if (kind == 2) {
            fake_error(f, h, (int)take_byte(s));
            return true;
        }
        if (kind == 3)
            return true;
        header = vuser_reply_header(h, 0);
        if (kind == 4)
            delta = (int8_t)take_byte(s);
        if (kind == 5)
            header = vuser_command_header((uint16_t)s->honest, (uint16_t)take_byte(s), 0);
        size_t bytes = take_length(s);
        if (kind == 1)
            fake_reply(f, h, s->at, bytes);
        header.size_bytes = (uint32_t)((int)(vuser_header_BYTES + bytes) + delta);
        if (kind == 4 || kind == 5) {
            uint8_t wire[vuser_header_BYTES];
            vuser_header_encode(&header, wire);
            fake_raw(f, wire, sizeof(wire));
        }
        if (kind >= 4)
            fake_raw(f, s->at, bytes);
        s->at += bytes;
        if (kind == 1 || kind == 4)
            return true;
    }
    if (s->honest == 0) {
        fake_vanish(f);
        return true;
    }
    s->honest--;
    return false;
}

/* ---- the client ---- */

static void use_regions(void *c)
{
    struct vmig_device_info info;
    uint8_t buf[300] = { 0 };
    if (OPS.info(c, &info, NULL))
        return;
    for (unsigned i = 0; i < 3; i++) {
        struct vmig_region_info region;
        void *map;
        if (OPS.region_info(c, i, &region, NULL) == 0 && region.num_areas > 0)
            OPS.region_map(c, i, &region.areas[region.num_areas - 1], &map, NULL);
    }
    OPS.region_read(c, 1, 0, buf, sizeof(buf), NULL);
    OPS.region_write(c, 1, 8, buf, sizeof(buf), NULL);
    struct vmig_irq_info irq;
    OPS.irq_info(c, VMIG_IRQ_MSIX, &irq, NULL);
    OPS.set_irqs(c, VMIG_IRQ_MSIX, 0, 2, (int[2]) { -1, -1 }, NULL);
}

static void use_memory(void *c, uint8_t *memory)
{
    struct vmig_dma_map map = {
        .iova = 0x1000, .size_bytes = PAGES * 4096, .vaddr = memory, .fd = -1, .writable = true
    };
    struct vmig_dma_range range = { 0x1000, PAGES * 4096 };
    uint64_t pgsize = 4096, bitmap[1];
    OPS.dma_map(c, &map, NULL);
    map.iova += PAGES * 4096;
    map.fd = STDIN_FILENO;
    OPS.dma_map(c, &map, NULL);
    OPS.dma_log_start(c, &range, 1, &pgsize, NULL);
    OPS.dma_log_report(c, 0x1000, PAGES * 4096, 4096, bitmap, NULL);
    OPS.dma_log_report(c, map.iova, PAGES * 4096, 4096, bitmap, NULL);
    OPS.dma_log_stop(c, NULL);
}

static void drain(void *c)
{
    uint8_t buf[5000];
    for (unsigned i = 0; i < 12 && OPS.data_read(c, buf, sizeof(buf) >> i % 4, NULL) > 0; i++)
        ;
}

static void use_migration(void *c)
{
    enum vmig_state state;
    struct vmig_precopy_info precopy;
    uint64_t size;
    uint8_t buf[5000] = { 0 };
    OPS.get_state(c, &state, NULL);
    OPS.set_state(c, VMIG_STATE_PRE_COPY, NULL);
    OPS.precopy_info(c, &precopy, NULL);
    drain(c);
    OPS.precopy_info(c, &precopy, NULL);
    OPS.data_size(c, &size, NULL);
    OPS.set_state(c, VMIG_STATE_STOP_COPY, NULL);
    drain(c);
    OPS.reset(c, NULL);
    OPS.set_state(c, VMIG_STATE_RESUMING, NULL);
    for (unsigned i = 0; i < 4; i++)
        OPS.data_write(c, buf, sizeof(buf), NULL);
    OPS.data_flush(c, NULL);
    OPS.set_state(c, VMIG_STATE_STOP, NULL);
    OPS.get_state(c, &state, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct backend_options hasty = { .command_timeout_ms = 10,
                                                  .transition_timeout_ms = 10 };
    struct script script = { data, data + size, 0 };
    struct fake *f = malloc(sizeof(*f));
    uint8_t *memory = aligned_alloc(4096, PAGES * 4096);
    char address[40];
    void *c = NULL;
    if (!f || !memory)
        abort();
    memset(memory, 0, PAGES * 4096);
    unsigned flags = take_byte(&script);
    fake_init(f);
    f->caps.twin_socket = flags & 1;
    f->caps.extensions = flags & 2 ? VUSER_EXT_ALL : 0;
    f->caps.max_data_xfer_size = 4096;
    f->logging = true;
    f->save_bytes = 30000;
    f->precopy_bytes = 10000;
    f->hook = follow;
    f->arg = &script;
    f->ignore_replies = true;
    fake_start(f);
    snprintf(address, sizeof(address), "vfio-user:fd:%d", f->client_fd);
    if (OPS.open(address, &hasty, &c, NULL) == 0) {
        use_regions(c);
        use_memory(c, memory);
        use_migration(c);
        OPS.close(c);
    }
    fake_stop(f);
    free(memory);
    free(f);
    return 0;
}
