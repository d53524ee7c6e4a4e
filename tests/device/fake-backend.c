/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/device/fake-backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/device.h"
#include "lib/device/fsm.h"

static void note(struct fake *fake, const char *what, const char *detail)
{
    size_t used = strlen(fake->history);
    snprintf(fake->history + used, sizeof(fake->history) - used, "%s%s ", what, detail);
}

static int scripted(const int *script, unsigned *count)
{
    unsigned n = (*count)++;
    return n < FAKE_STEPS ? script[n] : 0;
}

void fake_init(struct fake *fake)
{
    memset(fake, 0, sizeof(*fake));
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    fake->flags = VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P | VMIG_MIGRATION_PRE_COPY;
    fake->state = VMIG_STATE_RUNNING;
    fake->info.pci = true;
    fake->info.num_regions = 9;
    fake->info.num_irqs = 3;
    fake->migration.has_data_size = true;
    fake->migration.has_precopy_info = true;
    fake->migration.has_reinit = true;
    fake->migration.has_dma_logging = true;
    fake->regions[0] = (struct vmig_region_info) { .flags = 3, .size_bytes = 8192 };
    fake->regions[1] = (struct vmig_region_info) {
        .flags = 7, .size_bytes = 65536, .num_areas = 1, .areas = { { 4096, 8192 } }
    };
    fake->regions[2] = (struct vmig_region_info) { .flags = 1, .size_bytes = 16 };
    fake->regions[VMIG_REGION_CONFIG] =
        (struct vmig_region_info) { .flags = 3, .size_bytes = sizeof(fake->config) };
    static const uint8_t identity[] = {
        0x34, 0x12, 0x78, 0x56, 0, 0, 0, 0, 0x09, 0x03, 0x02, 0x01
    };
    memcpy(fake->config, identity, sizeof(identity));
    memcpy(&fake->config[0x2c], "\xcd\xab\xef\xbe", 4);
}

int fake_open(struct fake *fake, const struct vmig_device_options *options,
              struct vmig_device **ret, struct vmig_error *err)
{
    char address[64];
    snprintf(address, sizeof(address), "fake:%p", (void *)fake);
    return device_open(&(struct backend_choice) { .ops = { &fake_ops } }, address, options, ret,
                       err);
}

void fake_wait_hanging(struct fake *fake)
{
    LOCK_SCOPE(&fake->lock);
    while (!fake->hanging)
        pthread_cond_wait(&fake->changed, &fake->lock);
}

void fake_release(struct fake *fake)
{
    LOCK_SCOPE(&fake->lock);
    fake->hang = false;
    pthread_cond_broadcast(&fake->changed);
}

bool fake_is_closed(struct fake *fake)
{
    LOCK_SCOPE(&fake->lock);
    return fake->closed;
}

static void maybe_hang(struct fake *fake)
{
    LOCK_SCOPE(&fake->lock);
    fake->hanging = fake->hang;
    pthread_cond_broadcast(&fake->changed);
    while (fake->hang)
        pthread_cond_wait(&fake->changed, &fake->lock);
}

/* ---- the table ---- */

static bool op_matches(const char *address)
{
    return !strncmp(address, "fake:", 5);
}

static int op_open(const char *address, const struct backend_options *options, void **ret_self,
                   struct vmig_error *err)
{
    void *self = NULL;
    (void)options;
    (void)err;
    if (sscanf(address, "fake:%p", &self) != 1)
        return -EINVAL;
    struct fake *fake = self;
    if (!fake->open_rc)
        *ret_self = fake;
    return fake->open_rc;
}

static void op_close(void *self)
{
    struct fake *fake = self;
    LOCK_SCOPE(&fake->lock);
    fake->closed = true;
    pthread_cond_broadcast(&fake->changed);
}

static int op_info(void *self, struct vmig_device_info *ret, struct vmig_error *err)
{
    (void)err;
    *ret = ((struct fake *)self)->info;
    return 0;
}

static int op_region_info(void *self, unsigned index, struct vmig_region_info *ret,
                          struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    note(fake, "region", "");
    *ret = fake->regions[index];
    return fake->region_info_rc;
}

static int op_region_read(void *self, unsigned index, uint64_t offset, void *buf, size_t length,
                          struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    memset(buf, (int)index, length);
    if (index == VMIG_REGION_CONFIG)
        memcpy(buf, &fake->config[offset], length);
    return 0;
}

static int op_region_write(void *self, unsigned index, uint64_t offset, const void *buf,
                           size_t length, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    if (index == VMIG_REGION_CONFIG)
        memcpy(&fake->config[offset], buf, length);
    return 0;
}

static int op_region_map(void *self, unsigned index, const struct vmig_region_area *area,
                         void **ret, struct vmig_error *err)
{
    (void)index;
    (void)err;
    *ret = &((struct fake *)self)->taken[area->offset_bytes % 4096];
    note(self, "map", "");
    return 0;
}

static int op_irq_info(void *self, unsigned index, struct vmig_irq_info *ret,
                       struct vmig_error *err)
{
    (void)err;
    *ret = (struct vmig_irq_info) { .index = index,
                                    .flags = index == VMIG_IRQ_INTX ? 7 : 1,
                                    .count = index == 2 ? 4 : 1 };
    return ((struct fake *)self)->irq_info_rc;
}

static int op_set_irqs(void *self, unsigned index, unsigned start, unsigned count,
                       const int *eventfds, struct vmig_error *err)
{
    char text[64];
    (void)eventfds;
    (void)err;
    snprintf(text, sizeof(text), "%u:%u+%u", index, start, count);
    note(self, "irqs:", text);
    return 0;
}

static int op_unmask_irqs(void *self, unsigned index, unsigned start, unsigned count,
                          struct vmig_error *err)
{
    char text[64];
    (void)err;
    snprintf(text, sizeof(text), "%u:%u+%u", index, start, count);
    note(self, "unmask:", text);
    return 0;
}

static int op_dma_map(void *self, const struct vmig_dma_map *map, struct vmig_error *err)
{
    (void)map;
    (void)err;
    note(self, "dma_map", "");
    return ((struct fake *)self)->map_rc;
}

static int op_dma_unmap(void *self, uint64_t iova, uint64_t size, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)iova;
    (void)size;
    (void)err;
    note(self, "dma_unmap", "");
    if (fake->log_ends_with_mapping)
        fake->log_report_rc = -EINVAL;
    return fake->unmap_rc;
}

static int op_reset(void *self, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    note(fake, "reset", "");
    int rc = scripted(fake->resets, &fake->num_resets);
    if (!rc)
        fake->state = fake->after_reset ? fake->after_reset : VMIG_STATE_RUNNING;
    return rc;
}

static int op_migration_info(void *self, struct vmig_migration_info *ret, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    *ret = fake->migration;
    ret->flags = fake->flags;
    return 0;
}

static int op_get_state(void *self, enum vmig_state *ret, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    note(fake, "get", "");
    int rc = scripted(fake->gets, &fake->num_gets);
    if (!rc)
        *ret = fake->state;
    return rc;
}

static int op_set_state(void *self, enum vmig_state target, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    note(fake, "set:", vmig_state_name(target));
    maybe_hang(fake);
    struct fake_set step = { 0 };
    if (fake->num_sets < FAKE_STEPS)
        step = fake->sets[fake->num_sets];
    fake->num_sets++;
    if (step.lies)
        return 0;
    if (!step.rc && fsm_next(fake->flags, fake->state, target) < 0)
        return -EINVAL;
    if (step.rc && step.lands != FAKE_STAYS)
        fake->state = (enum vmig_state)step.lands;
    if (!step.rc)
        fake->state = step.lands > 0 ? (enum vmig_state)step.lands : target;
    return step.rc;
}

static int op_data_size(void *self, uint64_t *ret, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    *ret = fake->data_size;
    return fake->data_size_rc;
}

static int op_precopy_info(void *self, struct vmig_precopy_info *ret, struct vmig_error *err)
{
    (void)err;
    note(self, "precopy_info", "");
    *ret = ((struct fake *)self)->precopy;
    return 0;
}

static int op_enable_reinit(void *self, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    fake->num_reinits++;
    return fake->reinit_rc;
}

static ssize_t op_data_read(void *self, void *buf, size_t size, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    size_t limit = fake->state == VMIG_STATE_STOP_COPY ? fake->length : fake->precopy_length;
    size_t part = limit - fake->given < size ? limit - fake->given : size;
    fake->largest_read = size > fake->largest_read ? size : fake->largest_read;
    if (fake->read_rc)
        return fake->read_rc;
    if (fake->too_much)
        return (ssize_t)size + 1;
    if (!part)
        return fake->empty;
    memcpy(buf, fake->data + fake->given, part);
    fake->given += part;
    return (ssize_t)part;
}

static int op_data_write(void *self, const void *buf, size_t length, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    fake->num_writes++;
    if (fake->write_rc)
        return fake->write_rc;
    if (fake->taken_length + length <= sizeof(fake->taken))
        memcpy(fake->taken + fake->taken_length, buf, length);
    fake->taken_length += length;
    return 0;
}

static int op_data_flush(void *self, struct vmig_error *err)
{
    (void)err;
    return ((struct fake *)self)->flush_rc;
}

static int op_dma_log_start(void *self, const struct vmig_dma_range *ranges, unsigned num_ranges,
                            uint64_t *pgsize, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)ranges;
    (void)num_ranges;
    (void)err;
    note(fake, "log_start", "");
    if (fake->log_pgsize)
        *pgsize = fake->log_pgsize;
    return fake->log_start_rc;
}

static int op_dma_log_stop(void *self, struct vmig_error *err)
{
    (void)err;
    note(self, "log_stop", "");
    ((struct fake *)self)->num_log_stops++;
    return 0;
}

static int op_dma_log_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                             uint64_t *bitmap, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)err;
    fake->num_reports++;
    fake->reported_iova = iova;
    fake->reported_size = size;
    fake->reported_pgsize = pgsize;
    if (!fake->log_report_rc)
        bitmap[0] |= fake->log_word || fake->log_empty ? fake->log_word : 1;
    if (fake->log_empty)
        fake->log_word = 0;
    return fake->log_report_rc;
}

static int op_iommu_log_info(void *self, struct backend_iommu_log *ret, struct vmig_error *err)
{
    (void)err;
    *ret = ((struct fake *)self)->iommu_log;
    return 0;
}

static int op_iommu_log_start(void *self, struct vmig_error *err)
{
    (void)err;
    note(self, "iommu_start", "");
    return ((struct fake *)self)->iommu_start_rc;
}

static int op_iommu_log_stop(void *self, struct vmig_error *err)
{
    (void)err;
    note(self, "iommu_stop", "");
    return 0;
}

static int op_iommu_log_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                               uint64_t *bitmap, struct vmig_error *err)
{
    struct fake *fake = self;
    (void)pgsize;
    (void)err;
    fake->num_iommu_reports++;
    fake->iommu_iova = iova;
    fake->iommu_size = size;
    if (!fake->iommu_report_rc) {
        bitmap[0] |= fake->iommu_word;
        fake->iommu_word = 0;
    }
    return fake->iommu_report_rc;
}

static int op_iommu_log_unmap(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                              uint64_t *bitmap, struct vmig_error *err)
{
    note(self, "iommu_unmap", "");
    int rc = op_iommu_log_report(self, iova, size, pgsize, bitmap, err);
    return rc ? rc : ((struct fake *)self)->unmap_rc;
}

const struct backend_ops fake_ops = {
    .name = "fake",
    .matches = op_matches,
    .open = op_open,
    .close = op_close,
    .info = op_info,
    .region_info = op_region_info,
    .region_read = op_region_read,
    .region_write = op_region_write,
    .region_map = op_region_map,
    .irq_info = op_irq_info,
    .set_irqs = op_set_irqs,
    .unmask_irqs = op_unmask_irqs,
    .dma_map = op_dma_map,
    .dma_unmap = op_dma_unmap,
    .reset = op_reset,
    .migration_info = op_migration_info,
    .get_state = op_get_state,
    .set_state = op_set_state,
    .data_size = op_data_size,
    .precopy_info = op_precopy_info,
    .enable_reinit = op_enable_reinit,
    .data_read = op_data_read,
    .data_write = op_data_write,
    .data_flush = op_data_flush,
    .dma_log_start = op_dma_log_start,
    .dma_log_stop = op_dma_log_stop,
    .dma_log_report = op_dma_log_report,
    .iommu_log_info = op_iommu_log_info,
    .iommu_log_start = op_iommu_log_start,
    .iommu_log_stop = op_iommu_log_stop,
    .iommu_log_report = op_iommu_log_report,
    .iommu_log_unmap = op_iommu_log_unmap,
};
