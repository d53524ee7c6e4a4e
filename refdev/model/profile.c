/* SPDX-License-Identifier: BSD-3-Clause */
/* The profiles: what each real driver offers and does, as data. */
#include "refdev/model/internal.h"

#define STOP_COPY VMIG_MIGRATION_STOP_COPY
#define P2P VMIG_MIGRATION_P2P
#define PRE_COPY VMIG_MIGRATION_PRE_COPY

static const struct refdev_profile profiles[] = {
    {
        .name = "default",
        .about =
            "Everything: PRE_COPY with initial and dirty bytes, P2P, DMA logging, a DMA engine "
            "and local memory of any size, in a state format that refuses what is foreign, "
            "truncated or corrupt.",
        .vendor_id = 0x524d,
        .device_id = 0x0001,
        .class_code = 0x120000, /* processing accelerator */
        .migration_flags = STOP_COPY | P2P | PRE_COPY,
        .has_dma = true,
        .has_dma_log = true,
        .has_reinit = true,
        .default_local_bytes = 64ull << 20,
        .max_local_bytes = 1ull << 40,
        .stream = &refdev_bulk_stream,
        .regions = &refdev_pci_regions,
    },
    {
        .name = "mtty",
        .about = "The kernel's sample serial card, two ports: a 24-byte header in PRE_COPY and 72 "
                 "bytes in STOP_COPY, dirty_bytes always 0, a size that is always 96. No DMA; its "
                 "DMA log can be started and always says clean. A refused header can be loaded all "
                 "the same. Reset is not advertised and keeps the registers.",
        .vendor_id = 0x4348,
        .device_id = 0x3253,
        .class_code = 0x070002, /* 16550 serial controller */
        .migration_flags = STOP_COPY | P2P | PRE_COPY,
        .has_dma_log = true,
        .log_always_clean = true,
        .quirks = REFDEV_QUIRK_IRQ_NEEDS_INFO | REFDEV_QUIRK_NO_RESET_FLAG |
                  REFDEV_QUIRK_ECHO_INFO_FLAGS | REFDEV_QUIRK_ZERO_WHEN_DRAINED,
        .stream = &refdev_mtty_stream,
        .regions = &refdev_mtty_regions,
    },
    {
        .name = "hisi_acc",
        .about =
            "HiSilicon SEC, HPRE and ZIP: no P2P states, so one device per workload; 40 bytes of "
            "match data in PRE_COPY, checked when written (EFAULT), then 136 more, or none "
            "when the guest has no driver; the size is always told as 176; no DMA log, so "
            "its writes must be tracked by somebody else; empty reads instead of ENOMSG.",
        .vendor_id = 0x19e5,
        .device_id = 0xa256,
        .class_code = 0x100000, /* encryption controller */
        .migration_flags = STOP_COPY | PRE_COPY,
        .has_dma = true,
        .quirks = REFDEV_QUIRK_ZERO_WHEN_DRAINED,
        .stream = &refdev_hisi_stream,
        .regions = &refdev_pci_regions,
    },
    {
        .name = "pds",
        .about =
            "AMD Pensando: no PRE_COPY, so everything moves inside the pause; the size is always "
            "told as 65536, and no more than that is the state; a DMA log that answers only "
            "inside one logged range, refuses a second start (EEXIST) and ends with STOP_COPY.",
        .vendor_id = 0x1dd8,
        .device_id = 0x1003,
        .class_code = 0x020000, /* ethernet controller */
        .migration_flags = STOP_COPY | P2P,
        .has_dma = true,
        .has_dma_log = true,
        .log_one_range = true,
        .default_local_bytes = 32ull << 10,
        .max_local_bytes = 40ull << 10, /* with everything else, below 65536 */
        .constant_data_size = 65536,
        .stream = &refdev_bulk_stream,
        .regions = &refdev_pci_regions,
    },
    {
        .name = "mlx5",
        .about =
            "NVIDIA ConnectX and BlueField: everything, hundreds of MB. Its data is images in "
            "frames of 16 bytes, one that may not be skipped and is not known is refused "
            "(EOPNOTSUPP); new pre-copy data comes only after the pre-copy info was asked for; the "
            "size stays the whole size whatever was sent; truncated data is not noticed on leaving "
            "RESUMING, and entering it takes 8 times --transition-latency (memory is allocated); a "
            "DMA log with pages of 16K at least, whatever is asked for.",
        .vendor_id = 0x15b3,
        .device_id = 0x101e,
        .class_code = 0x020000, /* ethernet controller */
        .migration_flags = STOP_COPY | P2P | PRE_COPY,
        .has_dma = true,
        .has_dma_log = true,
        .log_pgsize = 16384,
        .has_reinit = true, /* with firmware that knows it */
        .quirks = REFDEV_QUIRK_INFO_FETCHES | REFDEV_QUIRK_SIZE_IS_WHOLE | REFDEV_QUIRK_IMAGES |
                  REFDEV_QUIRK_TRUNCATION_PASSES,
        .load_begin_arcs = 8,
        .default_local_bytes = 64ull << 20,
        .max_local_bytes = 1ull << 40,
        .stream = &refdev_bulk_stream,
        .regions = &refdev_pci_regions,
    },
    {
        .name = "qat",
        .about =
            "Intel QAT gen4: 64 bytes of set-up in PRE_COPY, checked when written (EINVAL), then "
            "the rest of 4096, which is the size that is always told; dirty_bytes always 0; empty "
            "reads instead of ENOMSG; the P2P states stop the whole device; truncated data is not "
            "noticed; no DMA log, so its writes must be tracked by somebody else.",
        .vendor_id = 0x8086,
        .device_id = 0x4941,
        .class_code = 0x0b4000, /* co-processor */
        .migration_flags = STOP_COPY | P2P | PRE_COPY,
        .has_dma = true,
        .quirks = REFDEV_QUIRK_ZERO_WHEN_DRAINED | REFDEV_QUIRK_TRUNCATION_PASSES |
                  REFDEV_QUIRK_P2P_FREEZES,
        .constant_data_size = 4096,
        .stream = &refdev_qat_stream,
        .regions = &refdev_pci_regions,
    },
    {
        .name = "virtio",
        .about =
            "A virtio VF: PRE_COPY in name, since each time the pre-copy info is asked for the "
            "whole state comes again and dirty_bytes is the whole size; the last copy is whole as "
            "well; images in frames as with mlx5; truncated data is not noticed; no DMA log, so "
            "its writes must be tracked by somebody else.",
        .vendor_id = 0x1af4,
        .device_id = 0x1041,
        .class_code = 0x020000, /* ethernet controller */
        .migration_flags = STOP_COPY | P2P | PRE_COPY,
        .has_dma = true,
        .quirks = REFDEV_QUIRK_INFO_FETCHES | REFDEV_QUIRK_WHOLE_AGAIN |
                  REFDEV_QUIRK_SIZE_IS_WHOLE | REFDEV_QUIRK_IMAGES | REFDEV_QUIRK_TRUNCATION_PASSES,
        .default_local_bytes = 1ull << 20,
        .max_local_bytes = 1ull << 40,
        .stream = &refdev_bulk_stream,
        .regions = &refdev_pci_regions,
    },
    {
        .name = "xe",
        .about =
            "Intel GPU VF: video memory, gigabytes with --state-size, all of it inside the pause, "
            "since there is no PRE_COPY; the P2P states stop the whole device; truncated data is "
            "not noticed; no DMA log, so its writes must be tracked by somebody else.",
        .vendor_id = 0x8086,
        .device_id = 0xe20b,
        .class_code = 0x030000, /* VGA controller */
        .migration_flags = STOP_COPY | P2P,
        .has_dma = true,
        .quirks = REFDEV_QUIRK_TRUNCATION_PASSES | REFDEV_QUIRK_P2P_FREEZES,
        .default_local_bytes = 128ull << 20,
        .max_local_bytes = 1ull << 40,
        .stream = &refdev_bulk_stream,
        .regions = &refdev_pci_regions,
    },
};

const struct refdev_profile *refdev_profile_at(unsigned n)
{
    return n < sizeof(profiles) / sizeof(profiles[0]) ? &profiles[n] : NULL;
}
