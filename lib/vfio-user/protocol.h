/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The numbers and structures of vfio-user: what a message looks like, which commands there are.
 *
 * Everything on the wire is in host byte order and packed as written here. Each structure is one
 * list of fields; the list makes a struct for memory, NAME_BYTES for its size on the wire, and
 * NAME_encode() and NAME_decode(), which copy field by field and care about no alignment:
 *
 *     void NAME_encode(const struct NAME *in, void *out);    writes NAME_BYTES at @out
 *     void NAME_decode(const void *in, struct NAME *out);    reads NAME_BYTES at @in
 *
 * The caller has checked the length; the table of commands below says what may be relied on.
 */
#ifndef LIB_VFIO_USER_PROTOCOL_H
#define LIB_VFIO_USER_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vuser_command {
    VUSER_VERSION = 1,
    VUSER_DMA_MAP = 2,
    VUSER_DMA_UNMAP = 3,
    VUSER_DEVICE_GET_INFO = 4,
    VUSER_DEVICE_GET_REGION_INFO = 5,
    VUSER_DEVICE_GET_REGION_IO_FDS = 6,
    VUSER_DEVICE_GET_IRQ_INFO = 7,
    VUSER_DEVICE_SET_IRQS = 8,
    VUSER_REGION_READ = 9,
    VUSER_REGION_WRITE = 10,
    VUSER_DMA_READ = 11,
    VUSER_DMA_WRITE = 12,
    VUSER_DEVICE_RESET = 13,
    /* 14 was DIRTY_PAGES of the first migration protocol. */
    VUSER_REGION_WRITE_MULTI = 15,
    VUSER_DEVICE_FEATURE = 16,
    VUSER_MIG_DATA_READ = 17,
    VUSER_MIG_DATA_WRITE = 18,
    VUSER_GET_PRECOPY_INFO = 19, /* a proposal; we use it as an announced extension only */
};
#define VUSER_COMMAND_END 20

#define VUSER_FDS_MAX 253 /* the kernel's limit for one message (SCM_MAX_FD) */

enum vuser_direction {
    VUSER_TO_SERVER, /* the client sends the command */
    VUSER_TO_CLIENT,
};

/* One row a command. Payloads are counted without the 16 header bytes; a longer one than the fixed
 * structure is fine in both directions (real peers do that). */
struct vuser_rule {
    const char *name; /* NULL: no such command */
    enum vuser_direction direction;
    uint32_t command_min; /* shorter: refuse with EINVAL, before any handler sees it */
    uint32_t reply_min;   /* of a reply without the Error flag; shorter: the peer is broken */
    unsigned command_fds; /* fds that may come along; close the rest */
    unsigned reply_fds;
};

/* NULL for a number that is no command. */
const struct vuser_rule *vuser_rule(uint16_t command);
/* "MIG_DATA_READ", or "command 77" in @buf for unknown numbers. */
const char *vuser_command_name(uint16_t command, char buf[16]);

/* ---- flags ---- */

#define VUSER_TYPE_MASK 0x0fu
#define VUSER_TYPE_COMMAND 0u
#define VUSER_TYPE_REPLY 1u
#define VUSER_NO_REPLY 0x10u /* in a command: send no answer, not even an error */
#define VUSER_ERROR 0x20u    /* in a reply: header only, errno in .error */

#define VUSER_INFO_RESET (1u << 0)
#define VUSER_INFO_PCI (1u << 1)

#define VUSER_REGION_FLAG_READ (1u << 0)
#define VUSER_REGION_FLAG_WRITE (1u << 1)
#define VUSER_REGION_FLAG_MMAP (1u << 2)
#define VUSER_REGION_FLAG_CAPS (1u << 3)

#define VUSER_CAP_SPARSE_MMAP 1
#define VUSER_CAP_REGION_TYPE 2
#define VUSER_CAP_SPARSE_MMAP_FDS 0x8001
#define VUSER_CAP_SPARSE_MMAP_FDS_DRAFT 16 /* the same in a draft, without negotiation */

#define VUSER_DMA_READABLE (1u << 0)
#define VUSER_DMA_WRITABLE (1u << 1)
#define VUSER_DMA_BY_MMAP (1u << 2)    /* newer servers only: older ones refuse the bit */
#define VUSER_DMA_BY_FILE_IO (1u << 3) /* same */
#define VUSER_UNMAP_ALL (1u << 1)      /* DMA_UNMAP of everything, address and size 0 */

#define VUSER_IRQ_DATA_NONE (1u << 0)
#define VUSER_IRQ_DATA_BOOL (1u << 1)
#define VUSER_IRQ_DATA_EVENTFD (1u << 2)
#define VUSER_IRQ_MASK (1u << 3)
#define VUSER_IRQ_UNMASK (1u << 4)
#define VUSER_IRQ_TRIGGER (1u << 5)

#define VUSER_FEATURE_NUMBER_MASK 0xffffu
#define VUSER_FEATURE_GET (1u << 16)
#define VUSER_FEATURE_SET (1u << 17)
#define VUSER_FEATURE_PROBE (1u << 18)

enum vuser_feature_number {
    VUSER_FEATURE_MIGRATION = 1,
    VUSER_FEATURE_MIG_DEVICE_STATE = 2,
    VUSER_FEATURE_DMA_LOGGING_START = 6,
    VUSER_FEATURE_DMA_LOGGING_STOP = 7,
    VUSER_FEATURE_DMA_LOGGING_REPORT = 8,
    VUSER_FEATURE_MIG_DATA_SIZE = 9,      /* only as an announced extension */
    VUSER_FEATURE_MIG_PRECOPY_INFO2 = 12, /* same; then GET_PRECOPY_INFO's flags mean something */
};

/* ---- structures ---- */

/* clang-format off */

#define VUSER_HEADER_FIELDS(F) \
    F(uint16_t, id) F(uint16_t, command) F(uint32_t, size_bytes) F(uint32_t, flags) \
    F(uint32_t, error)
/* JSON text with its NUL may follow. */
#define VUSER_VERSION_FIELDS(F) \
    F(uint16_t, major) F(uint16_t, minor)
#define VUSER_DMA_MAP_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint64_t, offset) F(uint64_t, iova) \
    F(uint64_t, size_bytes)
#define VUSER_DMA_UNMAP_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint64_t, iova) F(uint64_t, size_bytes)
#define VUSER_DEVICE_INFO_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint32_t, num_regions) F(uint32_t, num_irqs)
/* cap_offset and every capability's next count from the start of this structure. */
#define VUSER_REGION_INFO_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint32_t, index) F(uint32_t, cap_offset) \
    F(uint64_t, size_bytes) F(uint64_t, offset)
#define VUSER_CAPABILITY_FIELDS(F) \
    F(uint16_t, id) F(uint16_t, version) F(uint32_t, next)
#define VUSER_SPARSE_FIELDS(F) \
    F(uint32_t, nr_areas) F(uint32_t, reserved)
#define VUSER_AREA_FIELDS(F) \
    F(uint64_t, offset) F(uint64_t, size_bytes)
#define VUSER_AREA_FD_FIELDS(F) \
    F(uint64_t, offset) F(uint64_t, fd_offset) F(uint64_t, size_bytes) F(uint32_t, fd_index) \
    F(uint32_t, reserved)
/* DEVICE_GET_REGION_IO_FDS: this, then count entries, both ways. */
#define VUSER_REGION_IO_FDS_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint32_t, index) F(uint32_t, count)
#define VUSER_IRQ_INFO_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint32_t, index) F(uint32_t, count)
#define VUSER_SET_IRQS_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint32_t, index) F(uint32_t, start) \
    F(uint32_t, count)
/* REGION_READ and REGION_WRITE, both ways; data follows in the write and in the read's reply. */
#define VUSER_REGION_ACCESS_FIELDS(F) \
    F(uint64_t, offset) F(uint32_t, region) F(uint32_t, count_bytes)
#define VUSER_WRITE_MULTI_FIELDS(F) \
    F(uint64_t, wr_cnt)
#define VUSER_WRITE_MULTI_ENTRY_FIELDS(F) \
    F(uint64_t, offset) F(uint32_t, region) F(uint32_t, count_bytes) F(uint64_t, data)
/* DMA_READ and DMA_WRITE, both ways; data follows in the write and in the read's reply. */
#define VUSER_DMA_ACCESS_FIELDS(F) \
    F(uint64_t, iova) F(uint64_t, count_bytes)
/* DEVICE_FEATURE: this, then the feature's data. */
#define VUSER_FEATURE_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags)
#define VUSER_MIGRATION_FIELDS(F) \
    F(uint64_t, flags)
#define VUSER_STATE_FIELDS(F) \
    F(uint32_t, device_state) F(int32_t, data_fd)
/* num_ranges ranges follow inline; 0 ranges are everything. */
#define VUSER_LOG_START_FIELDS(F) \
    F(uint64_t, pgsize) F(uint32_t, num_ranges) F(uint32_t, reserved)
#define VUSER_LOG_RANGE_FIELDS(F) \
    F(uint64_t, iova) F(uint64_t, size_bytes)
/* The reply's bitmap follows: u64 words, bit n is page iova + n * pgsize. */
#define VUSER_LOG_REPORT_FIELDS(F) \
    F(uint64_t, iova) F(uint64_t, size_bytes) F(uint64_t, pgsize)
#define VUSER_DATA_SIZE_FIELDS(F) \
    F(uint64_t, stop_copy_length)
/* MIG_DATA_READ and MIG_DATA_WRITE, both ways; data follows in the write and the read's reply. */
#define VUSER_MIG_DATA_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, size_bytes)
#define VUSER_PRECOPY_REINIT 1u /* flag: initial_bytes are new ones */
#define VUSER_PRECOPY_INFO_FIELDS(F) \
    F(uint32_t, argsz) F(uint32_t, flags) F(uint64_t, initial_bytes) F(uint64_t, dirty_bytes)
/* clang-format on */

/* X(name, fields, size on the wire as the specification's tables give it) */
#define VUSER_STRUCTS(X)                                                                           \
    X(vuser_header, VUSER_HEADER_FIELDS, 16)                                                       \
    X(vuser_version, VUSER_VERSION_FIELDS, 4)                                                      \
    X(vuser_dma_map, VUSER_DMA_MAP_FIELDS, 32)                                                     \
    X(vuser_dma_unmap, VUSER_DMA_UNMAP_FIELDS, 24)                                                 \
    X(vuser_device_info, VUSER_DEVICE_INFO_FIELDS, 16)                                             \
    X(vuser_region_info, VUSER_REGION_INFO_FIELDS, 32)                                             \
    X(vuser_capability, VUSER_CAPABILITY_FIELDS, 8)                                                \
    X(vuser_sparse, VUSER_SPARSE_FIELDS, 8)                                                        \
    X(vuser_area, VUSER_AREA_FIELDS, 16)                                                           \
    X(vuser_area_fd, VUSER_AREA_FD_FIELDS, 32)                                                     \
    X(vuser_region_io_fds, VUSER_REGION_IO_FDS_FIELDS, 16)                                         \
    X(vuser_irq_info, VUSER_IRQ_INFO_FIELDS, 16)                                                   \
    X(vuser_set_irqs, VUSER_SET_IRQS_FIELDS, 20)                                                   \
    X(vuser_region_access, VUSER_REGION_ACCESS_FIELDS, 16)                                         \
    X(vuser_write_multi, VUSER_WRITE_MULTI_FIELDS, 8)                                              \
    X(vuser_write_multi_entry, VUSER_WRITE_MULTI_ENTRY_FIELDS, 24)                                 \
    X(vuser_dma_access, VUSER_DMA_ACCESS_FIELDS, 16)                                               \
    X(vuser_feature, VUSER_FEATURE_FIELDS, 8)                                                      \
    X(vuser_migration, VUSER_MIGRATION_FIELDS, 8)                                                  \
    X(vuser_state, VUSER_STATE_FIELDS, 8)                                                          \
    X(vuser_log_start, VUSER_LOG_START_FIELDS, 16)                                                 \
    X(vuser_log_range, VUSER_LOG_RANGE_FIELDS, 16)                                                 \
    X(vuser_log_report, VUSER_LOG_REPORT_FIELDS, 24)                                               \
    X(vuser_data_size, VUSER_DATA_SIZE_FIELDS, 8)                                                  \
    X(vuser_mig_data, VUSER_MIG_DATA_FIELDS, 8)                                                    \
    X(vuser_precopy_info, VUSER_PRECOPY_INFO_FIELDS, 24)

#define VUSER_DECLARE_FIELD_(type, field) type field;
#define VUSER_COUNT_FIELD_(type, field) +sizeof(type)
#define VUSER_DECLARE_(name, fields, bytes)                                                        \
    struct name {                                                                                  \
        fields(VUSER_DECLARE_FIELD_)                                                               \
    };                                                                                             \
    enum { name##_BYTES = bytes };                                                                 \
    _Static_assert(0 fields(VUSER_COUNT_FIELD_) == (bytes), #name " as specified");                \
    void name##_encode(const struct name *in, void *out);                                          \
    void name##_decode(const void *in, struct name *out);
VUSER_STRUCTS(VUSER_DECLARE_)

#endif
