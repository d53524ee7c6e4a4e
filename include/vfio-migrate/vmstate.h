/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State of emulated devices, as tables: each member of a structure is an entry, and the table says
 * how it is saved, loaded and described. What comes out is byte for byte what QEMU's VMState makes of
 * the same table, with QEMU's names of types.
 *
 *   static const struct vmig_vmstate_field fields[] = {
 *       VMIG_VMSTATE_UINT32(divisor, struct uart),
 *       VMIG_VMSTATE_UINT8_ARRAY(fifo, struct uart),
 *       VMIG_VMSTATE_END(),
 *   };
 *   static const struct vmig_vmstate uart_state = { .name = "uart", .version = 1,
 *                                                   .minimum_version = 1, .fields = fields };
 *   vmig_migration_add_vmstate(migration, "uart", 0, &uart_state, &uart, &err);
 *
 * Tables are constant and outlive the migration. Nothing that is loaded is trusted: counts are
 * checked against the table's, and what does not fit is an error that names the field and the offset.
 */
#ifndef VFIO_MIGRATE_VMSTATE_H
#define VFIO_MIGRATE_VMSTATE_H

#include <vfio-migrate/migration.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an element is. Integers have the host's byte order in memory and are big-endian on the wire. */
enum vmig_vmstate_kind {
    VMIG_VMSTATE_KIND_BOOL,
    VMIG_VMSTATE_KIND_INT8,
    VMIG_VMSTATE_KIND_UINT8,
    VMIG_VMSTATE_KIND_INT16,
    VMIG_VMSTATE_KIND_UINT16,
    VMIG_VMSTATE_KIND_INT32,
    VMIG_VMSTATE_KIND_UINT32,
    VMIG_VMSTATE_KIND_INT64,
    VMIG_VMSTATE_KIND_UINT64,
    /* what is loaded must equal what is there */
    VMIG_VMSTATE_KIND_UINT8_EQUAL,
    VMIG_VMSTATE_KIND_UINT16_EQUAL,
    VMIG_VMSTATE_KIND_INT32_EQUAL,
    VMIG_VMSTATE_KIND_UINT32_EQUAL,
    VMIG_VMSTATE_KIND_UINT64_EQUAL,
    VMIG_VMSTATE_KIND_INT32_LE, /* must be from 0 to what is there */
    VMIG_VMSTATE_KIND_CPU_DOUBLE,
    VMIG_VMSTATE_KIND_FLOAT64, /* 8 bytes each: the double's own */
    VMIG_VMSTATE_KIND_TIMER,   /* int64_t: when it expires, in ns of its clock; -1: not armed */
    VMIG_VMSTATE_KIND_BUFFER,  /* count bytes as they are */
    VMIG_VMSTATE_KIND_UNUSED,  /* count bytes of zeros, ignored when loaded; no member */
    VMIG_VMSTATE_KIND_BITMAP,  /* count bits in uint64_t words; bit k of word w is bit 64 w + k */
    VMIG_VMSTATE_KIND_CUSTOM,  /* as its codec says */
    VMIG_VMSTATE_KIND_STRUCT,  /* as its vmsd says, in that table's current version */
    VMIG_VMSTATE_KIND_VSTRUCT, /* in version vmsd_version, whatever the table's is */
    /* A structure of size bytes that exists for the call only, made up by the table's pre_save, taken
     * apart by its post_load; its first member is a pointer to the structure that it stands in. */
    VMIG_VMSTATE_KIND_TMP,
    VMIG_VMSTATE_KIND_VALIDATE, /* no bytes: exists() must be true, saving and loading */
    VMIG_VMSTATE_KIND_TAILQ, /* elements of a container, each as its vmsd says; count: the most */
    VMIG_VMSTATE_KIND_LIST,
    VMIG_VMSTATE_KIND_TREE, /* the same with keys */
    VMIG_VMSTATE_KIND_COUNT
};

enum {
    VMIG_VMSTATE_POINTED = 1,  /* the member points to the element or the first element; not NULL */
    VMIG_VMSTATE_ALLOCATE = 2, /* POINTED, and loading frees it and allocates as many as come */
    VMIG_VMSTATE_POINTERS =
        4, /* an array of pointers, one to each element, NULL where there is none:
                                  the same ones on both sides */
};

/* Bytes that only their owner understands. */
struct vmig_vmstate_codec {
    const char *name; /* the description's type, as "msix state" */
    /* How many bytes @member has on the wire: it follows from what was loaded before. */
    size_t (*length)(void *member);
    /* Exactly @length_bytes of them. */
    int (*save)(void *member, void *buf, size_t length_bytes, struct vmig_error *err);
    int (*load)(void *member, const void *buf, size_t length_bytes, struct vmig_error *err);
};

/* How a list or a tree is walked and built; @container is the member. An element is what the field's
 * vmsd describes. */
struct vmig_vmstate_container {
    /* The one after @element; NULL asks for the first. NULL: there are no more. */
    void *(*next)(void *container, void *element);
    /* Add an empty element at the end, or under @key (which is borrowed); NULL: no memory. */
    void *(*add)(void *container, const void *key);
    void (*clear)(void *container); /* loading begins: drop all elements */
    /* Trees: the key, a uint64_t or, with key_vmsd, a structure of key_bytes that it describes. */
    const void *(*key)(void *container, void *element);
    const struct vmig_vmstate *key_vmsd;
    size_t key_bytes;
};

/* The macros below fill it in. */
struct vmig_vmstate_field {
    const char *name; /* NULL: the list of fields ends */
    enum vmig_vmstate_kind kind;
    unsigned flags;
    size_t offset;        /* of the member in its structure */
    size_t size;          /* of an element in memory */
    uint32_t count;       /* elements, or what the kind counts; with a count member: the most */
    size_t count_offset;  /* of the count member, an earlier field; and its */
    unsigned count_bytes; /* 1, 2 or 4; 0: there is none, count is it */
    uint32_t multiply;    /* what the count member counts in; 0 is 1 */
    uint32_t version;     /* from this version of the table on */
    bool (*exists)(void *opaque, uint32_t version); /* NULL: by version; otherwise this decides */
    const struct vmig_vmstate *vmsd;
    uint32_t vmsd_version; /* VSTRUCT */
    const struct vmig_vmstate_container *container;
    const struct vmig_vmstate_codec *codec;
};

/* Higher ones come first in the stream, as QEMU has them; any int will do. */
enum {
    VMIG_VMSTATE_PRIORITY_DEFAULT,
    VMIG_VMSTATE_PRIORITY_IOMMU,
    VMIG_VMSTATE_PRIORITY_PCI_BUS,
    VMIG_VMSTATE_PRIORITY_VIRTIO_MEM,
    VMIG_VMSTATE_PRIORITY_GICV3_ITS,
    VMIG_VMSTATE_PRIORITY_GICV3,
};

/* A structure's table. NULL members are skipped; a hook returns 0 or a negative errno and fills
 * @err. */
struct vmig_vmstate {
    const char *name;                  /* a subsection's begins with its parent's: "uart/fifo" */
    uint32_t version, minimum_version; /* what is saved; the oldest that can be loaded */
    int priority;                      /* of a section */
    const struct vmig_vmstate_field *fields;
    const struct vmig_vmstate *const *subsections; /* ends with NULL */
    /* Saving: is it sent at all? Of a subsection or a section. A section without this must come. */
    bool (*needed)(void *opaque);
    int (*pre_save)(void *opaque, struct vmig_error *err);
    void (*post_save)(void *opaque); /* once for each pre_save that succeeded, also on failure */
    int (*pre_load)(void *opaque, struct vmig_error *err); /* what does not come keeps its value */
    int (*post_load)(void *opaque, uint32_t version, struct vmig_error *err);
};

/* Save @opaque, which @vmsd describes, as the payload of a section has it; it does not ask needed().
 * @ret_buf: to be freed with free(). -EINVAL: the table is none, a count is over its bound or a
 * pointer is NULL; -ENOMEM; what a hook said. Any thread. */
int vmig_vmstate_save(const struct vmig_vmstate *vmsd, void *opaque, void **ret_buf,
                      size_t *ret_length_bytes, struct vmig_error *err);

/* The reverse, all of @buf. -EINVAL: malformed, or bytes are left over; -ENODATA: cut short;
 * -EOPNOTSUPP: a @version that is not loaded; -ENOMEM; what a hook said. @opaque is half loaded then
 * and may be loaded again. */
int vmig_vmstate_load(const struct vmig_vmstate *vmsd, uint32_t version, void *opaque,
                      const void *buf, size_t length_bytes, struct vmig_error *err);

/* A section of its own for @opaque, under @idstr (at most 200 bytes, copied) and @instance_id (0, or
 * what tells several of one name apart), the same on both sides. The source saves it in the pause,
 * when the workload and the devices stand still; the target loads it when everything has come and was
 * proved to be what was sent, before the devices leave RESUMING. Both on the thread that called send
 * or receive, highest priority first, then in the order added. A failure ends the migration and the
 * source goes on. A section that the target lacks, that it wants and that was not sent, or of another
 * version, is refused.
 * @vmsd and @opaque are borrowed until removed. -EEXIST that name is taken, -EINVAL name or table,
 * -E2BIG over VMIG_VMSTATES_MAX, -EBUSY a migration runs, -ENOMEM. */
int vmig_migration_add_vmstate(struct vmig_migration *migration, const char *idstr,
                               uint32_t instance_id, const struct vmig_vmstate *vmsd, void *opaque,
                               struct vmig_error *err);
/* -ENOENT, -EBUSY. */
int vmig_migration_remove_vmstate(struct vmig_migration *migration, const char *idstr,
                                  uint32_t instance_id, struct vmig_error *err);
#define VMIG_VMSTATES_MAX 512

/* ---- entries ----
 * @type is the structure, @member a member of it (also "inner.member" or "array[2]"), @kind a name of
 * vmig_vmstate_kind without its prefix. Without a version and a test a field is always there. */
#define VMIG_VMSTATE_SIZE(member, type) sizeof(((type *)0)->member)
#define VMIG_VMSTATE_ELEMENT(member, type) sizeof(((type *)0)->member[0])
#define VMIG_VMSTATE_ELEMENTS(member, type)                                                        \
    (uint32_t)(VMIG_VMSTATE_SIZE(member, type) / VMIG_VMSTATE_ELEMENT(member, type))
#define VMIG_VMSTATE_COUNT_IN(member, type)                                                        \
    offsetof(type, member), (unsigned)VMIG_VMSTATE_SIZE(member, type)
#define VMIG_VMSTATE_COUNT_FIXED 0, 0
/* @counted: one of the two above */
#define VMIG_VMSTATE_ENTRY(kind, flags, member, type, size, count, counted, multiply, version,     \
                           exists, vmsd)                                                           \
    {                                                                                              \
#member, VMIG_VMSTATE_KIND_##kind, flags, offsetof(type, member), size, count, counted,    \
            multiply, version, exists, vmsd, 0, 0, 0                                               \
    }
#define VMIG_VMSTATE_END()                                                                         \
    {                                                                                              \
        0, VMIG_VMSTATE_KIND_BOOL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                           \
    }

/* One value, and one that is there since a version, or if a test says so. */
#define VMIG_VMSTATE_VALUE_IF(kind, member, type, version, exists)                                 \
    VMIG_VMSTATE_ENTRY(kind, 0, member, type, VMIG_VMSTATE_SIZE(member, type), 1,                  \
                       VMIG_VMSTATE_COUNT_FIXED, 0, version, exists, 0)
#define VMIG_VMSTATE_VALUE(kind, member, type) VMIG_VMSTATE_VALUE_IF(kind, member, type, 0, 0)
#define VMIG_VMSTATE_BOOL(member, type) VMIG_VMSTATE_VALUE(BOOL, member, type)
#define VMIG_VMSTATE_INT8(member, type) VMIG_VMSTATE_VALUE(INT8, member, type)
#define VMIG_VMSTATE_UINT8(member, type) VMIG_VMSTATE_VALUE(UINT8, member, type)
#define VMIG_VMSTATE_INT16(member, type) VMIG_VMSTATE_VALUE(INT16, member, type)
#define VMIG_VMSTATE_UINT16(member, type) VMIG_VMSTATE_VALUE(UINT16, member, type)
#define VMIG_VMSTATE_INT32(member, type) VMIG_VMSTATE_VALUE(INT32, member, type)
#define VMIG_VMSTATE_UINT32(member, type) VMIG_VMSTATE_VALUE(UINT32, member, type)
#define VMIG_VMSTATE_INT64(member, type) VMIG_VMSTATE_VALUE(INT64, member, type)
#define VMIG_VMSTATE_UINT64(member, type) VMIG_VMSTATE_VALUE(UINT64, member, type)
#define VMIG_VMSTATE_TIMER(member, type) VMIG_VMSTATE_VALUE(TIMER, member, type)

/* All elements of an array. */
#define VMIG_VMSTATE_ARRAY_IF(kind, member, type, version, exists)                                 \
    VMIG_VMSTATE_ENTRY(kind, 0, member, type, VMIG_VMSTATE_ELEMENT(member, type),                  \
                       VMIG_VMSTATE_ELEMENTS(member, type), VMIG_VMSTATE_COUNT_FIXED, 0, version,  \
                       exists, 0)
#define VMIG_VMSTATE_ARRAY(kind, member, type) VMIG_VMSTATE_ARRAY_IF(kind, member, type, 0, 0)
#define VMIG_VMSTATE_UINT8_ARRAY(member, type) VMIG_VMSTATE_ARRAY(UINT8, member, type)
#define VMIG_VMSTATE_UINT16_ARRAY(member, type) VMIG_VMSTATE_ARRAY(UINT16, member, type)
#define VMIG_VMSTATE_UINT32_ARRAY(member, type) VMIG_VMSTATE_ARRAY(UINT32, member, type)
#define VMIG_VMSTATE_UINT64_ARRAY(member, type) VMIG_VMSTATE_ARRAY(UINT64, member, type)

/* The first @counter times @multiply elements of an array; of what the member points to, at most
 * @most; of what loading allocates. */
#define VMIG_VMSTATE_VARRAY(kind, member, type, counter, multiply)                                 \
    VMIG_VMSTATE_ENTRY(kind, 0, member, type, VMIG_VMSTATE_ELEMENT(member, type),                  \
                       VMIG_VMSTATE_ELEMENTS(member, type), VMIG_VMSTATE_COUNT_IN(counter, type),  \
                       multiply, 0, 0, 0)
#define VMIG_VMSTATE_VARRAY_POINTER(kind, member, type, counter, multiply, most)                   \
    VMIG_VMSTATE_ENTRY(kind, VMIG_VMSTATE_POINTED, member, type,                                   \
                       VMIG_VMSTATE_ELEMENT(member, type), most,                                   \
                       VMIG_VMSTATE_COUNT_IN(counter, type), multiply, 0, 0, 0)
#define VMIG_VMSTATE_VARRAY_ALLOC(kind, member, type, counter, multiply, most)                     \
    VMIG_VMSTATE_ENTRY(kind, VMIG_VMSTATE_POINTED | VMIG_VMSTATE_ALLOCATE, member, type,           \
                       VMIG_VMSTATE_ELEMENT(member, type), most,                                   \
                       VMIG_VMSTATE_COUNT_IN(counter, type), multiply, 0, 0, 0)

/* What the member points to. */
#define VMIG_VMSTATE_POINTER(kind, member, type)                                                   \
    VMIG_VMSTATE_ENTRY(kind, VMIG_VMSTATE_POINTED, member, type,                                   \
                       VMIG_VMSTATE_ELEMENT(member, type), 1, VMIG_VMSTATE_COUNT_FIXED, 0, 0, 0,   \
                       0)
#define VMIG_VMSTATE_ARRAY_OF_POINTERS(kind, member, type)                                         \
    VMIG_VMSTATE_ENTRY(kind, VMIG_VMSTATE_POINTERS, member, type, sizeof(*((type *)0)->member[0]), \
                       VMIG_VMSTATE_ELEMENTS(member, type), VMIG_VMSTATE_COUNT_FIXED, 0, 0, 0, 0)

/* The same of structures, each with its table. */
#define VMIG_VMSTATE_STRUCT_IF(member, type, vmsd, version, exists)                                \
    VMIG_VMSTATE_ENTRY(STRUCT, 0, member, type, VMIG_VMSTATE_SIZE(member, type), 1,                \
                       VMIG_VMSTATE_COUNT_FIXED, 0, version, exists, vmsd)
#define VMIG_VMSTATE_STRUCT(member, type, vmsd) VMIG_VMSTATE_STRUCT_IF(member, type, vmsd, 0, 0)
#define VMIG_VMSTATE_STRUCT_ARRAY(member, type, vmsd)                                              \
    VMIG_VMSTATE_ENTRY(STRUCT, 0, member, type, VMIG_VMSTATE_ELEMENT(member, type),                \
                       VMIG_VMSTATE_ELEMENTS(member, type), VMIG_VMSTATE_COUNT_FIXED, 0, 0, 0,     \
                       vmsd)
#define VMIG_VMSTATE_STRUCT_VARRAY(member, type, counter, multiply, vmsd)                          \
    VMIG_VMSTATE_ENTRY(STRUCT, 0, member, type, VMIG_VMSTATE_ELEMENT(member, type),                \
                       VMIG_VMSTATE_ELEMENTS(member, type), VMIG_VMSTATE_COUNT_IN(counter, type),  \
                       multiply, 0, 0, vmsd)
#define VMIG_VMSTATE_STRUCT_VARRAY_POINTER(member, type, counter, multiply, most, vmsd)            \
    VMIG_VMSTATE_ENTRY(STRUCT, VMIG_VMSTATE_POINTED, member, type,                                 \
                       VMIG_VMSTATE_ELEMENT(member, type), most,                                   \
                       VMIG_VMSTATE_COUNT_IN(counter, type), multiply, 0, 0, vmsd)
#define VMIG_VMSTATE_STRUCT_VARRAY_ALLOC(member, type, counter, multiply, most, vmsd)              \
    VMIG_VMSTATE_ENTRY(STRUCT, VMIG_VMSTATE_POINTED | VMIG_VMSTATE_ALLOCATE, member, type,         \
                       VMIG_VMSTATE_ELEMENT(member, type), most,                                   \
                       VMIG_VMSTATE_COUNT_IN(counter, type), multiply, 0, 0, vmsd)
#define VMIG_VMSTATE_STRUCT_POINTER(member, type, vmsd)                                            \
    VMIG_VMSTATE_ENTRY(STRUCT, VMIG_VMSTATE_POINTED, member, type,                                 \
                       VMIG_VMSTATE_ELEMENT(member, type), 1, VMIG_VMSTATE_COUNT_FIXED, 0, 0, 0,   \
                       vmsd)
#define VMIG_VMSTATE_STRUCT_ARRAY_OF_POINTERS(member, type, vmsd)                                  \
    VMIG_VMSTATE_ENTRY(STRUCT, VMIG_VMSTATE_POINTERS, member, type,                                \
                       sizeof(*((type *)0)->member[0]), VMIG_VMSTATE_ELEMENTS(member, type),       \
                       VMIG_VMSTATE_COUNT_FIXED, 0, 0, 0, vmsd)
/* In @version of that table. */
#define VMIG_VMSTATE_VSTRUCT(member, type, vmsd, version)                                          \
    {                                                                                              \
#member, VMIG_VMSTATE_KIND_VSTRUCT, 0, offsetof(type, member),                             \
            VMIG_VMSTATE_SIZE(member, type), 1, 0, 0, 0, 0, 0, vmsd, version, 0, 0                 \
    }
/* @temporary: its type */
#define VMIG_VMSTATE_TMP(temporary, vmsd)                                                          \
    {                                                                                              \
        "tmp", VMIG_VMSTATE_KIND_TMP, 0, 0, sizeof(temporary), 1, 0, 0, 0, 0, 0, vmsd, 0, 0, 0     \
    }

/* An array's bytes; those of what the member points to, @counter times @multiply of them. */
#define VMIG_VMSTATE_BUFFER_IF(member, type, version, exists)                                      \
    VMIG_VMSTATE_ENTRY(BUFFER, 0, member, type, 1, (uint32_t)VMIG_VMSTATE_SIZE(member, type),      \
                       VMIG_VMSTATE_COUNT_FIXED, 0, version, exists, 0)
#define VMIG_VMSTATE_BUFFER(member, type) VMIG_VMSTATE_BUFFER_IF(member, type, 0, 0)
#define VMIG_VMSTATE_VBUFFER(member, type, counter, multiply, most)                                \
    VMIG_VMSTATE_ENTRY(BUFFER, VMIG_VMSTATE_POINTED, member, type, 1, most,                        \
                       VMIG_VMSTATE_COUNT_IN(counter, type), multiply, 0, 0, 0)
#define VMIG_VMSTATE_VBUFFER_ALLOC(member, type, counter, multiply, most)                          \
    VMIG_VMSTATE_ENTRY(BUFFER, VMIG_VMSTATE_POINTED | VMIG_VMSTATE_ALLOCATE, member, type, 1,      \
                       most, VMIG_VMSTATE_COUNT_IN(counter, type), multiply, 0, 0, 0)
#define VMIG_VMSTATE_UNUSED_IF(bytes, version, exists)                                             \
    {                                                                                              \
        "unused", VMIG_VMSTATE_KIND_UNUSED, 0, 0, 1, bytes, 0, 0, 0, version, exists, 0, 0, 0, 0   \
    }
#define VMIG_VMSTATE_UNUSED(bytes) VMIG_VMSTATE_UNUSED_IF(bytes, 0, 0)
/* An array of words; what the member points to, with as many bits as @counter says. */
#define VMIG_VMSTATE_BITMAP(member, type, bits)                                                    \
    VMIG_VMSTATE_ENTRY(BITMAP, 0, member, type, 8, bits, VMIG_VMSTATE_COUNT_FIXED, 0, 0, 0, 0)
#define VMIG_VMSTATE_BITMAP_POINTER(member, type, counter, most)                                   \
    VMIG_VMSTATE_ENTRY(BITMAP, VMIG_VMSTATE_POINTED, member, type, 8, most,                        \
                       VMIG_VMSTATE_COUNT_IN(counter, type), 0, 0, 0, 0)

/* @text says what must be true. */
#define VMIG_VMSTATE_VALIDATE(text, test)                                                          \
    {                                                                                              \
        text, VMIG_VMSTATE_KIND_VALIDATE, 0, 0, 0, 0, 0, 0, 0, 0, test, 0, 0, 0, 0                 \
    }
#define VMIG_VMSTATE_CUSTOM(member, type, codec)                                                   \
    {                                                                                              \
#member, VMIG_VMSTATE_KIND_CUSTOM, 0, offsetof(type, member),                              \
            VMIG_VMSTATE_SIZE(member, type), 1, 0, 0, 0, 0, 0, 0, 0, 0, codec                      \
    }
/* @kind: TAILQ, LIST or TREE */
#define VMIG_VMSTATE_ELEMENTS_OF(kind, member, type, vmsd, container, most)                        \
    {                                                                                              \
#member, VMIG_VMSTATE_KIND_##kind, 0, offsetof(type, member), 0, most, 0, 0, 0, 0, 0,      \
            vmsd, 0, container, 0                                                                  \
    }

#ifdef __cplusplus
}
#endif
#endif
