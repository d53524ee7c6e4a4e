/* SPDX-License-Identifier: BSD-3-Clause */
#include <argp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/memory.h"
#include "vmm/options.h"
#include "vmm/vcpu.h"

/* What an option is for: a member that gets its text or becomes true, or a function's business. */
#define TEXT(member) (0x1000 + (int)offsetof(struct options, member))
#define FLAG(member) (TEXT(member) + (int)sizeof(struct options))
enum { KEY_GUEST = 0x200, KEY_WITHOUT, KEY_CPUS, KEY_MEMORY, KEY_SERIAL, KEY_DEVICE, KEY_DIRTY };

static const struct argp_option table[] = {
    { "guest", KEY_GUEST, "pattern", 0, "Run the built-in guest", 0 },
    { "kernel", TEXT(kernel), "FILE", 0, "Run Linux, from a bzImage", 0 },
    { "initrd", TEXT(initrd), "FILE", 0, "With this initial file system", 0 },
    { "append", TEXT(append), "TEXT", 0, "The guest's command line", 0 },
    { "cpus", KEY_CPUS, "N", 0, "Virtual processors, 1 to 8 (1)", 0 },
    { "without", KEY_WITHOUT, "FEATURE", 0,
      "Processors without it, as /proc/cpuinfo names it, so that the guest can move to hosts that "
      "lack it; may be repeated",
      0 },
    { "memory", KEY_MEMORY, "SIZE", 0, "Guest memory, 16M to 16G, a multiple of 2M (256M)", 0 },
    { "huge-pages", FLAG(huge_pages), NULL, 0,
      "Memory in huge pages, which must have been set aside", 0 },
    { "dirty-tracking", KEY_DIRTY, "HOW", 0,
      "How KVM tells what processors write while the guest moves: ring or log (ring where it has "
      "one)",
      0 },
    { "serial", KEY_SERIAL, "WHERE", 0, "The guest's console: stdio, none or file:PATH (stdio)",
      0 },
    { "device", KEY_DEVICE, "ADDRESS[,SETTING...]", 0,
      "A VFIO device, as `vfio-migrate --help` has them; may be repeated. SETTING: id=ID, "
      "enable-migration=on|off|auto, ramfb=on|off (a picture in front of its display, which the "
      "monitor's screenshot shows), ramfb-migrate=on|off|auto",
      0 },
    { "incoming", TEXT(incoming), "ADDRESS", 0,
      "The guest comes from there: tcp:HOST:PORT, unix:PATH, file:PATH...; defer: when the monitor "
      "is told to",
      0 },
    { "qmp", TEXT(qmp), "unix:PATH", 0, "A monitor, through which a migration is asked for", 0 },
    { "control", TEXT(control), "PATH", 0,
      "Where `vfio-migrate resolve` settles a hand-over that hangs", 0 },
    { "history", TEXT(history), "PATH", 0,
      "Remember in this file what pauses were made of, to predict the next one", 0 },
    { "only-migratable", FLAG(only_migratable), NULL, 0, "Refuse whatever could not move", 0 },
    { "compat", TEXT(compat), "VERSION", 0, "Move only what that machine version had, such as 8.1",
      0 },
    { 0 },
};

/* Which of @names @text is; -1: none. */
static int which(const char *const *names, unsigned count, const char *text)
{
    for (unsigned i = 0; i < count; i++)
        if (!strcmp(names[i], text))
            return (int)i;
    return -1;
}

/* A number with K, M or G behind it. */
static uint64_t size_of(const struct argp_state *state, const char *text)
{
    static const char units[] = "KMG";
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    bool bad =
        end == text || text[0] == '-' || (*end && (!unit || end[1])) || value >> (40 - shift);
    value <<= bad ? 0 : shift;
    if (bad || value < MEMORY_MIN || value > MEMORY_MAX || value % (2 << 20))
        argp_error(state, "--memory %s: a multiple of 2M between 16M and 16G is wanted, such as 1G",
                   text);
    return value;
}

static unsigned cpus_of(const struct argp_state *state, const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || value < 1 || value > VCPUS_MAX)
        argp_error(state, "--cpus %s: a number between 1 and %d is wanted", text, VCPUS_MAX);
    return (unsigned)value;
}

static enum dirty_how dirty_of(const struct argp_state *state, const char *text)
{
    static const char *const names[] = {
        [DIRTY_AUTO] = "auto", [DIRTY_LOG] = "log", [DIRTY_RING] = "ring"
    };
    int how = which(names, 3, text);
    if (how < 0)
        argp_error(state, "--dirty-tracking %s: ring, log or auto is wanted", text);
    return (enum dirty_how)how;
}

static const char *serial_of(const struct argp_state *state, const char *text)
{
    if (strcmp(text, "stdio") && strcmp(text, "none") && (strncmp(text, "file:", 5) || !text[5]))
        argp_error(state, "--serial %s: stdio, none or file:PATH is wanted", text);
    return text;
}

/* What is behind @name and '=' in @word; NULL: another name. */
static const char *value_of(const char *word, const char *name)
{
    size_t length = strlen(name);
    return !strncmp(word, name, length) && word[length] == '=' ? word + length + 1 : NULL;
}

static void read_switch(const char *name, const char *value, bool auto_too,
                        enum vmig_on_off_auto *ret, char why[200])
{
    static const char *const names[] = {
        [VMIG_AUTO] = "auto", [VMIG_ON] = "on", [VMIG_OFF] = "off"
    };
    int i = which(names, 3, value);
    if (i > 0 || (i == 0 && auto_too))
        *ret = (enum vmig_on_off_auto)i;
    else
        snprintf(why, 200, "%s is %s, not '%.60s'", name,
                 auto_too ? "on, off or auto" : "on or off", value);
}

/* A word behind a device's address: false if it belongs to that. @why: what is wrong with it. */
static bool set_device(struct device_option *device, const char *word, char why[200])
{
    enum vmig_on_off_auto ramfb = device->settings.ramfb ? VMIG_ON : VMIG_OFF;
    const struct {
        const char *name;
        bool auto_too;
        enum vmig_on_off_auto *value;
    } switches[] = { { "enable-migration", true, &device->settings.enable_migration },
                     { "ramfb-migrate", true, &device->settings.ramfb_migrate },
                     { "ramfb", false, &ramfb } };
    const char *id = value_of(word, "id"), *value = id;
    if (id && *id && strlen(id) < sizeof(device->id))
        strcpy(device->id, id);
    else if (id)
        snprintf(why, 200, "a device's name has 1 to %zu letters, not %zu", sizeof(device->id) - 1,
                 strlen(id));
    for (size_t i = 0; !value && i < sizeof(switches) / sizeof(switches[0]); i++) {
        value = value_of(word, switches[i].name);
        if (value)
            read_switch(switches[i].name, value, switches[i].auto_too, switches[i].value, why);
    }
    device->settings.ramfb = ramfb == VMIG_ON;
    return value;
}

/* An address may have commas of its own: what is no setting of ours belongs to it. */
static void add_device(const struct argp_state *state, struct options *options, const char *text)
{
    struct device_option *device = &options->devices[options->num_devices];
    char word[sizeof(device->address)], why[200] = "";
    if (options->num_devices == DEVICES_MAX)
        argp_error(state, "more than %d devices", DEVICES_MAX);
    if (strlen(text) >= sizeof(word))
        argp_error(state, "--device %s: it has at most %zu letters", text, sizeof(word) - 1);
    snprintf(device->id, sizeof(device->id), "device%u", options->num_devices++);
    device->settings.size = sizeof(device->settings);
    for (const char *at = text, *next; at; at = next ? next + 1 : NULL) {
        next = strchr(at, ',');
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, ","), at);
        if (at != text && set_device(device, word, why))
            continue;
        if (at != text)
            strcat(device->address, ",");
        strcat(device->address, word);
    }
    if (!device->address[0])
        snprintf(why, sizeof(why), "it has no address");
    if (why[0])
        argp_error(state, "--device %s: %s", text, why);
}

static void check(const struct argp_state *state, const struct options *options)
{
    unsigned ramfbs = 0;
    for (unsigned i = 0; i < options->num_devices; i++)
        ramfbs += options->devices[i].settings.ramfb;
    if (ramfbs > 1)
        argp_error(state, "%u devices with ramfb=on: a machine has one ramfb", ramfbs);
    int guests = options->pattern + !!options->kernel + !!options->incoming;
    if (guests != 1)
        argp_error(state,
                   "%s: one of --kernel FILE, --guest pattern and --incoming ADDRESS is wanted",
                   guests ? "more than one guest" : "nothing to run");
    if (options->incoming && !strcmp(options->incoming, "defer") && !options->qmp)
        argp_error(state, "--incoming defer goes with --qmp, which is told from where");
    if (options->initrd && !options->kernel)
        argp_error(state, "--initrd goes with --kernel");
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case KEY_GUEST:
        if (strcmp(arg, "pattern"))
            argp_error(state, "--guest %s: the built-in guest is called pattern", arg);
        options->pattern = true;
        break;
    case KEY_WITHOUT:
        if (options->num_without == WITHOUT_MAX)
            argp_error(state, "more than %d features to leave out", WITHOUT_MAX);
        options->without[options->num_without++] = arg;
        break;
    case KEY_CPUS:
        options->cpus = cpus_of(state, arg);
        break;
    case KEY_MEMORY:
        options->memory_bytes = size_of(state, arg);
        break;
    case KEY_DIRTY:
        options->dirty = dirty_of(state, arg);
        break;
    case KEY_SERIAL:
        options->serial = serial_of(state, arg);
        break;
    case KEY_DEVICE:
        add_device(state, options, arg);
        break;
    case ARGP_KEY_END:
        check(state, options);
        break;
    default:
        if (key < TEXT(pattern) || key >= FLAG(pattern) + (int)sizeof(*options))
            return ARGP_ERR_UNKNOWN;
        if (key < FLAG(pattern))
            *(const char **)((char *)options + (key - TEXT(pattern))) = arg;
        else
            *(bool *)((char *)options + (key - FLAG(pattern))) = true;
    }
    return 0;
}

void options_parse(int argc, char **argv, struct options *ret)
{
    static const struct argp argp = {
        .options = table,
        .parser = on_option,
        .doc = "Run a virtual machine whose VFIO devices migrate.\v"
               "Exit codes: 0 the guest switched the machine off, or ^C or SIGTERM did; 1 failed; "
               "2 wrong usage; 4 ended by force while a hand-over hung; "
               "6 there is no KVM that can be used.",
    };
    *ret = (struct options) { .serial = "stdio", .cpus = 1, .memory_bytes = UINT64_C(256) << 20 };
    argp_err_exit_status = VMM_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, ret);
}
