/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/migration/configuration.h"
#include "lib/migration/sections.h"
#include "lib/participant/device.h"
#include "lib/stream/vfio-section.h"
#include "lib/stream/vmdesc-write.h"

/* QEMU's versions of what stands in these sections. */
#define RAM_VERSION 4
#define VFIO_VERSION 1

static void write_ram_start(struct vmig_migration *m, const struct participant *p, struct writer *w)
{
    qemu_write_start(w, p->section_id, p->idstr, 0, RAM_VERSION);
    struct qemu_ram_block list[RAM_BLOCKS_MAX] = { 0 };
    for (unsigned i = 0; i < m->ram->num_blocks; i++) {
        snprintf(list[i].name, sizeof(list[i].name), "%s", m->ram->blocks[i].desc.name);
        list[i].used_length = m->ram->blocks[i].desc.size_bytes;
    }
    qemu_write_ram_blocks(w, list, m->ram->num_blocks);
    qemu_write_ram_item(w, 0, QEMU_RAM_EOS, NULL);
    qemu_write_footer(w, p->section_id);
}

static void write_device_start(const struct participant *p, struct writer *w)
{
    qemu_write_start(w, p->section_id, p->idstr, 0, VFIO_VERSION);
    qemu_vfio_write_setup(w);
    qemu_write_footer(w, p->section_id);
}

int sections_send_setup(struct vmig_migration *m, struct vmig_error *err)
{
    struct writer w;
    writer_init(&w);
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        if (p->kind == PARTICIPANT_RAM)
            write_ram_start(m, p, &w);
        else
            write_device_start(p, &w);
    }
    int rc = main_send(m, &w, err);
    writer_done(&w);
    return rc;
}

static const enum manifest_kind manifest_kinds[] = {
    [PARTICIPANT_RAM] = MANIFEST_RAM,
    [PARTICIPANT_DEVICE] = MANIFEST_DEVICE,
    [PARTICIPANT_OTHER] = MANIFEST_OTHER,
};

/* Nothing else would notice a damaged config record: most of its bytes may have any value. */
static int add_config_digest(const struct vmig_pci_state *config, uint64_t *digest,
                             struct vmig_error *err)
{
    struct writer w;
    writer_init(&w);
    int rc = pci_config_write(&w, config, err);
    if (rc == 0)
        rc = w.error;
    if (rc == 0)
        *digest = XXH3_64bits_withSeed(w.buf, w.length, *digest);
    writer_done(&w);
    return rc;
}

static const struct vmig_pci_state *config_of(const struct participant *p)
{
    return p->kind == PARTICIPANT_DEVICE ? participant_device_config(p->opaque) : NULL;
}

/* Pages change while they are sent. So memory has a digest only where pages travel in sections,
 * with ram-digest, when a copy is hashed and sent; on data channels each run has its own. */
static uint64_t digest_of(const struct participant *p)
{
    const struct vmig_migration *m = p->migration;
    bool taken = m->carrier == &carrier_sections &&
                 (m->ram_digest || (m->one_way && m->side == SIDE_TARGET));
    return p->kind != PARTICIPANT_RAM || taken ? XXH3_64bits_digest(p->digest) : 0;
}

static int add_entry(struct manifest *list, struct participant *p, const char *id,
                     struct vmig_error *err)
{
    bool ram = p->kind == PARTICIPANT_RAM;
    bool target = p->migration->side == SIDE_TARGET;
    struct manifest_entry entry = {
        .kind = manifest_kinds[p->kind],
        .length_bytes =
            ram && target ? p->migration->counters.normal_pages * RAM_PAGE_SIZE : p->data_bytes,
        .digest = digest_of(p),
    };
    snprintf(entry.id, sizeof(entry.id), "%s", id);
    snprintf(entry.identity, sizeof(entry.identity), "%s", p->identity);
    int rc = config_of(p) ? add_config_digest(config_of(p), &entry.digest, err) : 0;
    return rc < 0 ? rc : manifest_add(list, &entry, err);
}

/* The end of the stream while it is put together. */
struct tail {
    struct vmig_migration *m;
    struct writer w;
    struct manifest ours;
    /* The description's, for files and pipes. On a connection nobody would read it, and it would
     * lengthen the pause. */
    struct writer *text;
};

static int write_config(struct tail *t, struct participant *p, struct vmig_error *err)
{
    const struct vmig_pci_state *config = config_of(p);
    if (!config)
        return 0;
    qemu_write_full(&t->w, p->section_id, p->idstr, 0, VFIO_VERSION);
    size_t start = t->w.length;
    writer_u64(&t->w, QEMU_VFIO_DEV_CONFIG_STATE);
    int rc = pci_config_write(&t->w, config, err);
    qemu_vfio_write_end(&t->w);
    if (t->text)
        vmdesc_add_opaque(t->text, p->idstr, 0, t->w.length - start);
    qemu_write_footer(&t->w, p->section_id);
    return rc;
}

static int write_configs(struct tail *t, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < t->m->num_participants; i++) {
        struct participant *p = t->m->participants[i];
        rc = write_config(t, p, err);
        if (rc == 0)
            rc = add_entry(&t->ours, p, p->id, err);
    }
    return rc;
}

/* Its digest is of the stream up to there, so what comes before it goes first. */
static int send_manifest(struct tail *t, uint32_t section_id, struct vmig_error *err)
{
    manifest_write(&t->w, section_id, &t->ours);
    int rc = main_send(t->m, &t->w, err);
    if (rc == 0)
        manifest_seal(&t->w, section_id, main_digest(t->m));
    if (t->text)
        vmdesc_add_opaque(t->text, MANIFEST_IDSTR, 0, manifest_bytes(&t->ours));
    return rc;
}

static int send_tail(struct tail *t, struct writer *states, struct vmig_error *err)
{
    struct vmig_migration *m = t->m;
    uint32_t next_id = m->num_participants + 1;
    uint64_t start_ns = clock_ns();
    int rc = vmstates_save(&m->vmstates, t->text ? states : NULL, err);
    m->model.vmstates_save_ms = clock_ms_since(start_ns);
    if (rc == 0)
        rc = write_configs(t, err);
    if (rc == 0)
        rc = run_state_write(m, next_id + 1, &t->w, t->text, err);
    if (rc == 0)
        rc = vmstates_list(&m->vmstates, &t->ours, err);
    if (rc == 0)
        rc = send_manifest(t, next_id, err);
    if (rc < 0)
        return rc;
    vmstates_write(&m->vmstates, &t->w, next_id + 2);
    qemu_write_eof(&t->w);
    if (t->text) {
        vmdesc_append(t->text, states);
        vmdesc_finish(&t->w, t->text);
    }
    return handover_send_last(m, &t->w, err);
}

int sections_send_tail(struct vmig_migration *m, struct vmig_error *err)
{
    struct tail t = { .m = m };
    struct writer text, states;
    writer_init(&t.w);
    writer_init(&text);
    writer_init(&states);
    manifest_init(&t.ours, m->identity);
    if (m->one_way) {
        t.text = &text;
        vmdesc_begin(&text, SECTIONS_MACHINE, configuration_has_uuid(m), RAM_PAGE_SIZE);
    }
    int rc = send_tail(&t, &states, err);
    writer_done(&t.w);
    writer_done(&text);
    writer_done(&states);
    manifest_done(&t.ours);
    return rc;
}

int sections_check_manifest(struct vmig_migration *m, const struct manifest *theirs,
                            const char *only_id, struct vmig_error *err)
{
    struct manifest ours;
    int rc = 0;
    manifest_init(&ours, theirs->identity);
    for (unsigned i = 0; rc == 0 && i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        bool renamed = only_id[0] && p->kind == PARTICIPANT_DEVICE;
        rc = add_entry(&ours, p, renamed ? only_id : p->id, err);
    }
    if (rc == 0)
        rc = vmstates_list(&m->vmstates, &ours, err);
    if (rc == 0)
        rc = manifest_compare(theirs, &ours, err);
    manifest_done(&ours);
    return rc;
}
