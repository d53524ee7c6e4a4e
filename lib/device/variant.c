/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two files of a modules folder have the aliases: modules.alias of those that are loaded, lines
 * "alias PATTERN MODULE", and modules.builtin.modinfo of those that are built in, NUL-terminated
 * "MODULE.alias=PATTERN". Of the patterns that match the one with the fewest '*' knows the device
 * best; generic vfio-pci's consists of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/variant.h"
#include "lib/error.h"

#define PATTERN_MAX 96    /* vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* */
#define PATTERNS_MAX 4096 /* Linux 6.12 has under 20 */
#define RECORD_MAX 512    /* longer lines are none of those we look for */
#define STARS_MAX 8       /* fnmatch takes long with many; PCI patterns have at most 7 */

struct pattern {
    char text[PATTERN_MAX], module[SYSFS_NAME_MAX];
};

struct variants {
    const struct kernel_tree *tree;
    bool readable; /* the modules' names were */
    unsigned count, room;
    struct pattern *patterns;
};

/* ---- what is known of Linux ---- */

/* Of several rows that fit a device the first counts. */
static const struct known {
    const char *driver;
    uint16_t vendor, first, last; /* device ids */
    uint8_t base_class;           /* 0: any */
    bool virtual_only;            /* the same id is also that of a function that cannot */
    bool migrates;
    unsigned major, minor; /* since when it migrates */
} known_drivers[] = {
    { "mlx5_vfio_pci", 0x15b3, 0x101e, 0x101e, 0, false, true, 5, 18 },
    { "hisi_acc_vfio_pci", 0x19e5, 0xa251, 0xa251, 0, false, true, 5, 18 },
    { "hisi_acc_vfio_pci", 0x19e5, 0xa256, 0xa256, 0, false, true, 5, 18 },
    { "hisi_acc_vfio_pci", 0x19e5, 0xa259, 0xa259, 0, false, true, 5, 18 },
    { "pds_vfio_pci", 0x1dd8, 0x1003, 0x1003, 0, false, true, 6, 6 },
    { "qat_vfio_pci", 0x8086, 0x4941, 0x4941, 0, false, true, 6, 10 },
    { "qat_vfio_pci", 0x8086, 0x4943, 0x4943, 0, false, true, 6, 10 },
    { "qat_vfio_pci", 0x8086, 0x4945, 0x4945, 0, false, true, 6, 10 },
    { "qat_vfio_pci", 0x8086, 0x4949, 0x4949, 0, false, true, 6, 17 },
    { "virtio_vfio_pci", 0x1af4, 0x1041, 0x1041, 0, true, true, 6, 13 },
    { "virtio_vfio_pci", 0x1af4, 0x1042, 0x1042, 0, true, true, 6, 15 },
    /* Panther Lake, Wildcat Lake, Battlemage. */
    { "xe-vfio-pci", 0x8086, 0xb080, 0xb0bf, 0x03, true, true, 6, 19 },
    { "xe-vfio-pci", 0x8086, 0xfd80, 0xfd81, 0x03, true, true, 6, 19 },
    { "xe-vfio-pci", 0x8086, 0xe200, 0xe22f, 0x03, true, true, 6, 19 },
    /* Not found by id: first > last. */
    { "nvgrace-gpu-vfio-pci", 0, 1, 0, 0, false, false, 0, 0 },
    { "vfio-pci", 0, 1, 0, 0, false, false, 0, 0 },
    { "mtty", 0, 1, 0, 0, false, true, 6, 7 },
    { "vfio_migrate_refdev", 0, 1, 0, 0, false, true, 6, 12 },
    { "vfio_ap_mdev", 0, 1, 0, 0, false, false, 0, 0 },
    { "vfio_ccw_mdev", 0, 1, 0, 0, false, false, 0, 0 },
    { "intel_vgpu_mdev", 0, 1, 0, 0, false, false, 0, 0 },
};
#define KNOWN_COUNT (sizeof(known_drivers) / sizeof(known_drivers[0]))

/* A module's name has '_' where its driver's may have '-'. */
static bool is_same(const char *a, const char *b)
{
    for (; *a && (*a == *b || (strchr("-_", *a) && *b && strchr("-_", *b))); a++)
        b++;
    return *a == *b;
}

static bool fits(const struct known *known, const struct sysfs_pci *pci)
{
    return known->vendor == pci->vendor && known->first <= pci->device &&
           pci->device <= known->last &&
           (!known->base_class || known->base_class == pci->class_code >> 16) &&
           (!known->virtual_only || pci->is_virtual);
}

static const struct known *find_known(const struct sysfs_pci *pci)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (fits(&known_drivers[i], pci))
            return &known_drivers[i];
    return NULL;
}

static const struct known *find_named(const char *driver)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (is_same(known_drivers[i].driver, driver))
            return &known_drivers[i];
    return NULL;
}

static bool is_in_time(const struct kernel_tree *tree, const struct known *known)
{
    return kernel_tree_is_since(tree, known->major, known->minor);
}

enum variant_skill variant_skill(const struct kernel_tree *tree, const char *driver)
{
    const struct known *known = find_named(driver);
    if (!known)
        return VARIANT_UNKNOWN;
    if (!known->migrates)
        return VARIANT_CANNOT;
    return is_in_time(tree, known) ? VARIANT_MIGRATES : VARIANT_TOO_OLD;
}

/* ---- what the modules say ---- */

static bool is_wanted(const char *pattern)
{
    unsigned stars = 0;
    for (const char *at = pattern; *at; at++)
        stars += *at == '*';
    return !strncmp(pattern, "vfio_pci:", 9) && strlen(pattern) < PATTERN_MAX && stars <= STARS_MAX;
}

static void add(struct variants *variants, const char *pattern, const char *module)
{
    if (!is_wanted(pattern) || !module[0] || strlen(module) >= SYSFS_NAME_MAX ||
        variants->count == PATTERNS_MAX)
        return;
    if (variants->count == variants->room) {
        unsigned room = variants->room ? 2 * variants->room : 32;
        struct pattern *grown = realloc(variants->patterns, room * sizeof(*grown));
        if (!grown)
            return;
        variants->patterns = grown;
        variants->room = room;
    }
    struct pattern *added = &variants->patterns[variants->count++];
    snprintf(added->text, sizeof(added->text), "%s", pattern);
    snprintf(added->module, sizeof(added->module), "%s", module);
}

/* "alias PATTERN MODULE" */
static void read_alias(struct variants *variants, char *record)
{
    char pattern[RECORD_MAX], module[RECORD_MAX];
    _Static_assert(RECORD_MAX == 512, "the widths below");
    if (sscanf(record, "alias %511s %511s", pattern, module) == 2)
        add(variants, pattern, module);
}

/* "MODULE.alias=PATTERN" */
static void read_modinfo(struct variants *variants, char *record)
{
    static const char key[] = ".alias=";
    char *at = strstr(record, key);
    if (!at)
        return;
    *at = '\0';
    add(variants, at + strlen(key), record);
}

/* Give each record of the file that ends with @end and is shorter than RECORD_MAX to @take. */
static bool read_records(struct variants *variants, const char *file, char end,
                         void (*take)(struct variants *variants, char *record))
{
    char path[256], chunk[16384], record[RECORD_MAX];
    size_t length = 0;
    snprintf(path, sizeof(path), "%s/%s", variants->tree->modules, file);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got;
    while ((got = read(fd, chunk, sizeof(chunk))) > 0 || (got < 0 && errno == EINTR))
        for (ssize_t i = 0; i < got; i++) {
            if (chunk[i] != end) {
                record[length < RECORD_MAX ? length : 0] = chunk[i];
                length += length < RECORD_MAX;
                continue;
            }
            if (length < RECORD_MAX) {
                record[length] = '\0';
                take(variants, record);
            }
            length = 0;
        }
    return got == 0;
}

struct variants *variants_new(const struct kernel_tree *tree)
{
    struct variants *variants = calloc(1, sizeof(*variants));
    if (!variants)
        return NULL;
    variants->tree = tree;
    bool modules = read_records(variants, "modules.alias", '\n', read_alias);
    bool builtin = read_records(variants, "modules.builtin.modinfo", '\0', read_modinfo);
    variants->readable = modules || builtin;
    return variants;
}

struct variants *variants_free(struct variants *variants)
{
    if (variants)
        free(variants->patterns);
    free(variants);
    return NULL;
}

static unsigned count_stars(const char *text)
{
    unsigned stars = 0;
    for (; *text; text++)
        stars += *text == '*';
    return stars;
}

/* The module made for this function, NULL when there is none but vfio-pci. */
static const char *find_module(const struct variants *variants, const struct sysfs_pci *pci)
{
    char name[PATTERN_MAX];
    const struct pattern *best = NULL;
    snprintf(name, sizeof(name), "vfio_pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", pci->vendor,
             pci->device, pci->subvendor, pci->subdevice, pci->class_code >> 16 & 0xff,
             pci->class_code >> 8 & 0xff, pci->class_code & 0xff);
    for (unsigned i = 0; variants && i < variants->count; i++) {
        const struct pattern *pattern = &variants->patterns[i];
        if (!is_same(pattern->module, "vfio_pci") && !fnmatch(pattern->text, name, 0) &&
            (!best || count_stars(pattern->text) < count_stars(best->text)))
            best = pattern;
    }
    return best ? best->module : NULL;
}

/* ---- what follows ---- */

/* What there is for a function, as far as this kernel and we can tell. */
struct finding {
    const struct known *known; /* NULL: we know nothing */
    const char *driver;        /* made for it; NULL: none */
    bool present;              /* in this kernel */
};

static struct finding look_for(const struct variants *variants, const struct sysfs_pci *pci)
{
    struct finding finding = { .known = find_known(pci), .driver = find_module(variants, pci) };
    if (finding.driver) {
        finding.present = true;
        /* A driver may be for functions with this id of which this is none. */
        const struct known *named = find_named(finding.driver);
        if (named && named->virtual_only && !pci->is_virtual)
            return (struct finding) { 0 };
        if (!finding.known || !is_same(finding.known->driver, finding.driver))
            finding.known = named;
    } else if (finding.known) {
        finding.present =
            variants && sysfs_has_pci_driver(variants->tree->sys, finding.known->driver);
    }
    if (finding.known) /* as the driver spells its name */
        finding.driver = finding.known->driver;
    return finding;
}

static bool migrates(const struct variants *variants, const struct finding *finding)
{
    return finding->present && (!finding->known || (finding->known->migrates &&
                                                    is_in_time(variants->tree, finding->known)));
}

void variants_find(const struct variants *variants, const struct sysfs_pci *pci,
                   char ret[SYSFS_NAME_MAX])
{
    struct finding finding = look_for(variants, pci);
    snprintf(ret, SYSFS_NAME_MAX, "%s",
             variants && migrates(variants, &finding) ? finding.driver : "");
}

/* Bound to the right driver already. */
static void explain_own(const struct variants *variants, const struct finding *finding,
                        const char *driver, char *remedy)
{
    const struct known *known = finding->known;
    if (known && known->migrates && !is_in_time(variants->tree, known))
        snprintf(remedy, VARIANT_REMEDY_MAX,
                 "its driver %.40s migrates it from Linux %u.%u on; this is Linux %.40s", driver,
                 known->major, known->minor, variants->tree->release);
    else if (known && !known->migrates)
        snprintf(remedy, VARIANT_REMEDY_MAX,
                 "its driver %.40s cannot migrate it, and none is known that can", driver);
    else
        snprintf(remedy, VARIANT_REMEDY_MAX,
                 "its driver %.40s could, but not this device with this firmware: update the "
                 "device's firmware, the kernel, and what drives its physical function",
                 driver);
}

/* There is one, but not here. */
static void explain_missing(const struct variants *variants, const struct known *known,
                            char *remedy)
{
    const char *release = variants->tree->release;
    if (!is_in_time(variants->tree, known))
        snprintf(remedy, VARIANT_REMEDY_MAX,
                 "Linux %u.%u and later migrate it with their driver %s; this is Linux %.40s",
                 known->major, known->minor, known->driver, release);
    else if (!variants->readable)
        snprintf(remedy, VARIANT_REMEDY_MAX,
                 "bind it to %s, if this kernel has it: %.80s cannot be read here", known->driver,
                 variants->tree->modules);
    else
        snprintf(remedy, VARIANT_REMEDY_MAX,
                 "its driver %s, in Linux since %u.%u, is not among this kernel's modules: install "
                 "or build it",
                 known->driver, known->major, known->minor);
}

void variants_explain(const struct variants *variants, const struct sysfs_pci *pci,
                      const char *driver, char ret_reason[VARIANT_REASON_MAX],
                      char ret_remedy[VARIANT_REMEDY_MAX])
{
    const char *reason = "vfio-no-kernel-support";
    struct finding finding = look_for(variants, pci);
    bool known_here = variants && finding.driver;
    if (known_here && is_same(finding.driver, driver))
        explain_own(variants, &finding, driver, ret_remedy);
    else if (known_here && migrates(variants, &finding)) {
        reason = "vfio-variant-driver-available";
        snprintf(ret_remedy, VARIANT_REMEDY_MAX, "bind it to %.40s, which is made for it%s%.40s",
                 finding.driver, driver[0] ? ", instead of " : "", driver);
    } else if (known_here && finding.known && finding.known->migrates) {
        reason = "vfio-variant-driver-missing";
        explain_missing(variants, finding.known, ret_remedy);
    } else
        snprintf(ret_remedy, VARIANT_REMEDY_MAX,
                 "no driver is known here that migrates it%s%.40s%s; its vendor may have one",
                 driver[0] ? " (" : "", driver, driver[0] ? " does not)" : "");
    snprintf(ret_reason, VARIANT_REASON_MAX, "%s", reason);
}

int variant_check_bound(const char *name, struct vmig_error *err)
{
    char driver[SYSFS_NAME_MAX], variant[SYSFS_NAME_MAX] = "";
    struct kernel_tree tree;
    struct sysfs_pci pci;
    kernel_tree_init(&tree);
    sysfs_find_driver(tree.sys, name, driver);
    if (sysfs_is_vfio(tree.sys, name, driver))
        return 0;
    if (sysfs_is_pci(name) && sysfs_find_pci(tree.sys, name, &pci)) {
        struct variants *variants = variants_new(&tree);
        variants_find(variants, &pci, variant);
        variants_free(variants);
    }
    return error_set(err, ENODEV, VMIG_STAGE_OPEN, NULL, "no-vfio-driver",
                     "the device %s%s; bind it to %s (vfio-migrate-probe(1) tells how)",
                     driver[0] ? "is bound to " : "has no driver", driver,
                     variant[0] ? variant : "a VFIO driver");
}
