/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <xxhash.h>
#include "lib/stream/config.h"
#include "lib/stream/manifest.h"
#include "lib/stream/vfio-section.h"
#include "tests/stream/small.h"

#define RAM 1
#define DEVICE 2
#define OTHER 0

static const char description[] =
    "{\"page_size\":4096,\"devices\":[{\"name\":\"globalstate\",\"instance_id\":0,\"vmsd_name\":"
    "\"globalstate\",\"version\":1,\"fields\":[{\"name\":\"size\",\"type\":\"uint32\",\"size\":4},"
    "{\"name\":\"runstate\",\"type\":\"buffer\",\"array_len\":2,\"size\":3}]}]}";

static void begin(struct writer *w)
{
    qemu_write_header(w);
    qemu_write_configuration(w, "virt");
    writer_u8(w, QEMU_SUBSECTION);
    writer_str8(w, "configuration/target-page-bits");
    writer_u32(w, 1);
    writer_u32(w, 12);
    qemu_write_command(w, QEMU_CMD_OPEN_RETURN_PATH, NULL, 0);
}

static void setup(struct writer *w)
{
    static const struct qemu_ram_block blocks[] = { { "m0", 3 * 4096, 0 }, { "rom", 4096, 0 } };
    qemu_write_start(w, RAM, "ram", 0, 4);
    qemu_write_ram_blocks(w, blocks, 2);
    qemu_write_ram_item(w, 0, QEMU_RAM_EOS, NULL);
    qemu_write_footer(w, RAM);
    qemu_write_start(w, DEVICE, "0000:00:01.0/vfio", 0, 1);
    qemu_vfio_write_setup(w);
    qemu_write_footer(w, DEVICE);
}

static size_t page_at; /* tests have one thread */

static void rounds(struct writer *w)
{
    static const uint8_t page[4096] = { 0x55 };
    qemu_write_part(w, RAM);
    qemu_write_ram_item(w, 0, QEMU_RAM_PAGE, "m0");
    page_at = w->length;
    writer_bytes(w, page, sizeof(page));
    qemu_write_ram_item(w, 4096, QEMU_RAM_ZERO | QEMU_RAM_CONTINUE, NULL);
    writer_u8(w, 0);
    qemu_write_ram_item(w, 0, QEMU_RAM_EOS, NULL);
    qemu_write_footer(w, RAM);
    qemu_write_part(w, DEVICE);
    qemu_vfio_write_data_head(w, 5);
    writer_bytes(w, "hello", 5);
    qemu_vfio_write_initial_sent(w);
    qemu_write_footer(w, DEVICE);
}

static void live_ends(struct writer *w)
{
    qemu_write_end(w, RAM);
    qemu_write_ram_item(w, 0, QEMU_RAM_EOS, NULL);
    qemu_write_footer(w, RAM);
    qemu_write_end(w, DEVICE);
    qemu_vfio_write_data_head(w, 4);
    writer_bytes(w, "last", 4);
    qemu_vfio_write_end(w);
    qemu_write_footer(w, DEVICE);
}

static void device_config(struct writer *w)
{
    static struct vmig_pci_state state; /* tests have one thread */
    memset(&state, 0, sizeof(state));
    state.config_bytes = PCI_CONFIG_SMALL;
    state.num_vectors = 3;
    state.has_ramfb = true;
    state.config[6] = 0x10; /* a capability list ... */
    state.config[0x34] = 0x40;
    state.config[0x40] = 0x11; /* ... of MSI-X alone */
    state.config[0x42] = 2;
    qemu_write_full(w, DEVICE, "0000:00:01.0/vfio", 0, 1);
    writer_u64(w, QEMU_VFIO_DEV_CONFIG_STATE);
    pci_config_write(w, &state, NULL);
    qemu_vfio_write_end(w);
    qemu_write_footer(w, DEVICE);
}

static uint64_t digest_but_for_the_page(const struct writer *w)
{
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, w->buf, page_at);
    XXH3_64bits_update(state, w->buf + page_at + 4096, w->length - page_at - 4096);
    uint64_t digest = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return digest;
}

static void manifest(struct writer *w)
{
    static const uint8_t identity[16] = "0123456789abcde";
    struct manifest_entry entry = { .id = "0000:00:01.0",
                                    .kind = MANIFEST_DEVICE,
                                    .length_bytes = 9,
                                    .digest = 0x0123456789abcdef,
                                    .identity = "1b36:0005" };
    struct manifest m;
    manifest_init(&m, identity);
    manifest_add(&m, &entry, NULL);
    manifest_write(w, 3, &m);
    manifest_seal(w, 3, digest_but_for_the_page(w));
    manifest_done(&m);
}

void small_stream(struct writer *w)
{
    begin(w);
    setup(w);
    rounds(w);
    live_ends(w);
    qemu_write_full(w, OTHER, "globalstate", 0, 1);
    writer_bytes(w, "0123456789", 10);
    qemu_write_footer(w, OTHER);
    device_config(w);
    manifest(w);
    qemu_write_eof(w);
    writer_u8(w, QEMU_VMDESCRIPTION);
    writer_u32(w, sizeof(description) - 1);
    writer_bytes(w, description, sizeof(description) - 1);
}
