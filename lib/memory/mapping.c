/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kinds of mappings, as /proc/self/maps tells them.
 *
 * The block's description alone is not enough: its fd may be mapped privately (then written pages
 * are not in the file), and memory without an fd may still be shared, or a private mapping of some
 * file that does not read as zero where nothing was touched. A wrong guess would lose pages, so
 * only what is seen to be one of the two well-understood kinds is called so.
 */
#include "lib/memory/mapping.h"

#include <inttypes.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "lib/memory/ram.h"

struct maps_line {
    uint64_t start, end, offset;
    char rights[5]; /* "rw-s" */
    unsigned major, minor;
    uint64_t inode;
};

static bool parse_line(const char *line, struct maps_line *ret)
{
    return sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &ret->start,
                  &ret->end, ret->rights, &ret->offset, &ret->major, &ret->minor, &ret->inode) == 7;
}

static enum mapping_kind line_kind(const struct maps_line *line, const struct vmig_ram_block *desc)
{
    struct stat st;

    if (line->rights[3] == 'p')
        return line->inode ? MAPPING_OTHER : MAPPING_ANONYMOUS;
    if (desc->fd < 0 || fstat(desc->fd, &st) < 0)
        return MAPPING_OTHER;
    if (st.st_ino != line->inode || major(st.st_dev) != line->major ||
        minor(st.st_dev) != line->minor)
        return MAPPING_OTHER;
    /* Modulo 2^64: the mapping may begin before the block, or the block before the mapping. */
    uint64_t offset = line->offset + ((uint64_t)(uintptr_t)desc->vaddr - line->start);
    return offset == desc->fd_offset ? MAPPING_FILE : MAPPING_OTHER;
}

enum mapping_kind mapping_kind(const struct vmig_ram_block *desc)
{
    uint64_t next = (uint64_t)(uintptr_t)desc->vaddr, end = next + desc->size_bytes;
    enum mapping_kind kind = MAPPING_OTHER;
    bool first = true;
    char *text = NULL;
    size_t size = 0;
    FILE *maps = fopen("/proc/self/maps", "re");

    if (!maps)
        return MAPPING_OTHER;
    while (next < end && getline(&text, &size, maps) > 0) {
        struct maps_line line;

        if (!parse_line(text, &line) || line.end <= next)
            continue;
        if (line.start > next) /* a gap */
            break;
        enum mapping_kind here = line_kind(&line, desc);
        kind = first || here == kind ? here : MAPPING_OTHER;
        first = false;
        if (kind == MAPPING_OTHER)
            break;
        next = line.end;
    }
    free(text);
    fclose(maps);
    return next < end ? MAPPING_OTHER : kind;
}

uint64_t mapping_page_bytes(const struct vmig_ram_block *desc)
{
    struct statfs st;

    if (desc->fd >= 0 && !fstatfs(desc->fd, &st) && st.f_type == HUGETLBFS_MAGIC)
        return (uint64_t)st.f_bsize;
    return (uint64_t)sysconf(_SC_PAGESIZE);
}
