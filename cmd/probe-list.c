/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-migrate probe, without DEVICE: the devices of this host.
 *
 * The table goes to standard output, one line a device, so that other programs can read it; what it
 * means and what to do goes to standard error. Of sysfs alone comes what a device's driver can
 * ("likely"); what the device itself can tells only --open, which disturbs it a little.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/probe.h"

#define NOTES_MAX 20         /* more than a screen helps nobody; --json has them all */
#define NOTE_ADDRESSES_MAX 3 /* named of those that a note is about */

struct row {
    struct vmig_device_entry entry;
    bool asked;              /* opened: prospect UNKNOWN or LIKELY do not stand any more */
    uint64_t flags;          /* if asked: VMIG_MIGRATION_* */
    struct vmig_error error; /* why it could not be asked */
};

struct rows {
    struct row *all;
    size_t count, room;
};

/* ---- collecting ---- */

static int take_entry(const struct vmig_device_entry *entry, void *opaque)
{
    struct rows *rows = opaque;
    if (rows->count == rows->room) {
        size_t room = rows->room ? 2 * rows->room : 32;
        struct row *grown = realloc(rows->all, room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        rows->all = grown;
        rows->room = room;
    }
    rows->all[rows->count++] = (struct row) { .entry = *entry };
    return 0;
}

static void ask(struct row *row, const char *backend)
{
    struct vmig_device_entry *entry = &row->entry;
    struct vmig_migration_info info;
    struct vmig_device *device = NULL;
    struct vmig_device_options device_options = { .size = sizeof(device_options),
                                                  .backend = backend };
    if (!entry->vfio || entry->prospect == VMIG_PROSPECT_NO || entry->blocked[0] ||
        vmig_device_open(entry->address, &device_options, &device, &row->error))
        return;
    if (!vmig_device_migration_info(device, &info, &row->error)) {
        row->asked = true;
        row->flags = info.flags;
        entry->prospect = info.flags ? VMIG_PROSPECT_LIKELY : VMIG_PROSPECT_NO;
        snprintf(entry->reason, sizeof(entry->reason), "%s", info.reason);
        snprintf(entry->remedy, sizeof(entry->remedy), "%s", info.remedy);
    }
    vmig_device_close(device);
}

static const char *verdict_of(const struct row *row)
{
    switch (row->entry.prospect) {
    case VMIG_PROSPECT_NO:
        return "no";
    case VMIG_PROSPECT_LIKELY:
        return row->asked ? "yes" : "likely";
    case VMIG_PROSPECT_UNKNOWN:
        break;
    }
    return "unknown";
}

/* ---- the table ---- */

enum { COLUMNS = 5 };

static const char *const headings[COLUMNS] = { "DEVICE", "DRIVER", "GROUP", "CDEV", "MIGRATION" };

struct cells {
    const char *text[COLUMNS];
    char group[16];
};

static const char *or_dash(const char *text)
{
    return text[0] ? text : "-";
}

static void fill(const struct row *row, struct cells *cells)
{
    const struct vmig_device_entry *entry = &row->entry;
    const char *slash = strrchr(entry->cdev_node, '/');
    snprintf(cells->group, sizeof(cells->group), "%d", entry->group);
    cells->text[0] = entry->address;
    cells->text[1] = or_dash(entry->driver);
    cells->text[2] = entry->group < 0 ? "-" : cells->group;
    cells->text[3] = slash ? slash + 1 : "-";
    cells->text[4] = entry->prospect == VMIG_PROSPECT_NO ? entry->reason : verdict_of(row);
}

static void print_line(const char *const text[COLUMNS], const int widths[COLUMNS])
{
    for (int i = 0; i < COLUMNS - 1; i++)
        printf("%-*s  ", widths[i], text[i]);
    puts(text[COLUMNS - 1]);
}

static void print_table(const struct rows *rows)
{
    struct cells cells;
    int widths[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        widths[i] = (int)strlen(headings[i]);
    for (size_t i = 0; i < rows->count; i++) {
        fill(&rows->all[i], &cells);
        for (int j = 0; j < COLUMNS; j++)
            if ((int)strlen(cells.text[j]) > widths[j])
                widths[j] = (int)strlen(cells.text[j]);
    }
    print_line(headings, widths);
    for (size_t i = 0; i < rows->count; i++) {
        fill(&rows->all[i], &cells);
        print_line(cells.text, widths);
    }
    fflush(stdout);
}

/* ---- what it means ---- */

/* One sentence, and the devices it is about. */
struct note {
    char text[512];
    char addresses[NOTE_ADDRESSES_MAX][64];
    size_t count;
};

struct notes {
    struct note all[NOTES_MAX];
    size_t count, left_out;
};

static void add_note(struct notes *notes, const char *address, const char *text)
{
    struct note *note = notes->all;
    while (note < notes->all + notes->count && strncmp(note->text, text, sizeof(note->text) - 1))
        note++;
    if (note == notes->all + NOTES_MAX) {
        notes->left_out++;
        return;
    }
    if (note == notes->all + notes->count) {
        notes->count++;
        snprintf(note->text, sizeof(note->text), "%s", text);
    }
    if (note->count < NOTE_ADDRESSES_MAX)
        snprintf(note->addresses[note->count], sizeof(note->addresses[0]), "%s", address);
    note->count++;
}

static void note_row(struct notes *notes, const struct row *row)
{
    const struct vmig_device_entry *entry = &row->entry;
    char text[sizeof(entry->blocked_text) + 64];
    if (entry->remedy[0])
        add_note(notes, entry->address, entry->remedy);
    if (entry->blocked[0] && entry->prospect != VMIG_PROSPECT_NO) {
        snprintf(text, sizeof(text), "%s%s (%s)",
                 entry->prospect == VMIG_PROSPECT_UNKNOWN ? "migration unknown: " : "",
                 entry->blocked_text, entry->blocked);
        add_note(notes, entry->address, text);
    }
    if (row->error.code)
        add_note(notes, entry->address, row->error.text);
}

static void print_notes(const struct notes *notes)
{
    for (size_t i = 0; i < notes->count; i++) {
        const struct note *note = &notes->all[i];
        for (size_t j = 0; j < note->count && j < NOTE_ADDRESSES_MAX; j++)
            fprintf(stderr, "%s%s", j ? ", " : "", note->addresses[j]);
        if (note->count > NOTE_ADDRESSES_MAX)
            fprintf(stderr, " and %zu more", note->count - NOTE_ADDRESSES_MAX);
        fprintf(stderr, ": %s\n", note->text);
    }
    if (notes->left_out)
        fprintf(stderr, "%zu more notes are left out; --json has them all\n", notes->left_out);
}

static void explain(const struct rows *rows)
{
    struct notes *notes = calloc(1, sizeof(*notes));
    bool guessed = false;
    if (!notes)
        return;
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->all[i];
        note_row(notes, row);
        guessed |= !row->asked && row->entry.prospect != VMIG_PROSPECT_NO;
    }
    if ((notes->count || guessed) && isatty(STDOUT_FILENO))
        fputc('\n', stderr);
    print_notes(notes);
    if (guessed)
        fputs("\"likely\" and \"unknown\" go by the driver alone; `vfio-migrate probe DEVICE` asks "
              "the "
              "device itself.\n",
              stderr);
    free(notes);
}

/* ---- for programs ---- */

static json_t *row_json(const struct row *row)
{
    const struct vmig_device_entry *entry = &row->entry;
    bool identified = entry->vendor_id != 0xffff;
    json_t *migration =
        json_pack("{s:s, s:o, s:o, s:o}", "verdict", verdict_of(row), "flags",
                  row->asked ? probe_flags_json(row->flags) : json_null(), "reason",
                  cmd_text_json(entry->reason), "remedy", cmd_text_json(entry->remedy));
    json_t *pci = identified ? json_pack("{s:o, s:o, s:o}", "vendor_id",
                                         json_sprintf("%04x", entry->vendor_id), "device_id",
                                         json_sprintf("%04x", entry->device_id), "class_code",
                                         json_sprintf("%06x", (unsigned)entry->class_code))
                             : json_null();
    json_t *blocked = entry->blocked[0] ? json_pack("{s:s, s:s}", "reason", entry->blocked,
                                                    "message", entry->blocked_text)
                                        : json_null();
    return json_pack("{s:s, s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "address",
                     entry->address, "kind", entry->mediated ? "mdev" : "pci", "pci", pci, "vfio",
                     entry->vfio, "driver", cmd_text_json(entry->driver), "group",
                     entry->group < 0 ? json_null() : json_integer(entry->group), "group_node",
                     cmd_text_json(entry->group_node), "cdev_node", cmd_text_json(entry->cdev_node),
                     "migration", migration, "blocked", blocked, "error",
                     row->error.code ? cmd_error_json(&row->error) : json_null());
}

static void print_json(const struct rows *rows, enum cmd_exit exit_code,
                       const struct vmig_error *err)
{
    json_t *devices = json_array();
    for (size_t i = 0; i < rows->count; i++)
        json_array_append_new(devices, row_json(&rows->all[i]));
    cmd_print_json(json_pack("{s:s, s:o*, s:o}", "status", cmd_status_name(exit_code), "error",
                             err->code ? cmd_error_json(err) : NULL, "devices", devices));
}

/* ---- the whole ---- */

static enum cmd_exit judge(const struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        if (rows->all[i].entry.prospect != VMIG_PROSPECT_NO)
            return CMD_DONE;
    return CMD_REFUSED;
}

int probe_list(const struct probe_list_options *options, bool json)
{
    struct rows rows = { 0 };
    struct vmig_error err = { 0 };
    int rc = vmig_device_list(options->all ? VMIG_LIST_ALL : 0, take_entry, &rows, &err);
    if (rc && !err.code) {
        err.code = rc;
        snprintf(err.text, sizeof(err.text), "listing devices: %s", strerror(-rc));
    }
    for (size_t i = 0; !rc && options->open && i < rows.count; i++)
        ask(&rows.all[i], options->backend);
    enum cmd_exit exit_code = rc && rc != -ENODEV ? CMD_FAILED : judge(&rows);
    if (json)
        print_json(&rows, exit_code, &err);
    else if (rc) {
        cmd_fail(PROBE_NAME, false, exit_code, &err);
        if (rc == -ENODEV && !options->all && strcmp(err.reason, "no-such-device") != 0)
            fputs("`vfio-migrate probe --all` lists every PCI function.\n", stderr);
    } else {
        print_table(&rows);
        explain(&rows);
    }
    free(rows.all);
    return exit_code;
}
