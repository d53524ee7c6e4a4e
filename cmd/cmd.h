/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all subcommands share: the table of them, exit codes, --json, failing, parsing.
 *
 * A subcommand is one file and one row: declare cmd_NAME() below and add the row in main.c. It gets
 * an argv whose first element is "vfio-migrate NAME", so argp shows it right, and returns an
 * enum cmd_exit.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <vfio-migrate.h>

enum cmd_exit {
    CMD_DONE = 0,
    CMD_FAILED = 1,      /* the source is intact and running */
    CMD_USAGE = 2,       /* argp's 64 is changed to this */
    CMD_REFUSED = 3,     /* a blocker: nothing was touched */
    CMD_UNRESOLVED = 4,  /* the hand-over hangs; `vfio-migrate resolve` settles it */
    CMD_DEVICE_LOST = 5, /* failed, and a device was reset or lost, or the workload stands still */
    CMD_CANCELLED = 130, /* as a shell reports SIGINT */
};

/* What a failed send, receive or resolve means (exit.c). */
enum cmd_exit cmd_exit_of(const struct vmig_error *err);

struct cmd {
    const char *name;
    const char *help; /* one line, for `vfio-migrate --help` */
    int (*run)(int argc, char **argv);
};

/* ---- the subcommands, one file each ---- */

int cmd_demo(int argc, char **argv);
int cmd_monitor(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_receive(int argc, char **argv);
int cmd_resolve(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_workload(int argc, char **argv);
int cmd_refdev(int argc, char **argv);

/* ---- output (cmd.c) ---- */

/* Every subcommand offers --json: put CMD_JSON_OPTION in the argp options and handle its key. */
#define CMD_KEY_JSON 0x1000 /* keys of a subcommand's own long options start at 0x1001 */
#define CMD_JSON_OPTION                                                                            \
    {                                                                                              \
        "json", CMD_KEY_JSON, NULL, 0, "Print one JSON object on stdout", 0                        \
    }

/* Print @object (whose reference is taken) on stdout, indented, with a newline. */
void cmd_print_json(json_t *object);

/* @text, null where it is "". What is no UTF-8 is shown with '?'. New reference. */
json_t *cmd_text_json(const char *text);

/* {"code", "reason", "stage", "device", "message"}: the code's name ("ENODEV"), and null for a
 * reason, stage or device that is absent. New reference. */
json_t *cmd_error_json(const struct vmig_error *err);

/* The failure of subcommand @name. With @json
 *   {"status": "failed", "error": {...}}      ("refused", "unresolved", "cancelled" by @exit_code)
 * on stdout, else "vfio-migrate NAME: message" on stderr. Returns @exit_code. */
int cmd_fail(const char *name, bool json, enum cmd_exit exit_code, const struct vmig_error *err);

/* "failed", "refused", ...: what "status" says for an exit code; "completed" for CMD_DONE. */
const char *cmd_status_name(enum cmd_exit exit_code);

/* ---- suggestions (cmd.c) ---- */

/* The name in @names (NULL-terminated) nearest to @word, NULL when none is near. */
const char *cmd_nearest(const char *word, const char *const *names);

/* ---- options (options.c) ---- */

/* argp_parse(), but an option that is not there ends the program naming the nearest that is. */
void cmd_parse_options(const struct argp *argp, int argc, char **argv, void *input);

/* ---- parsing (parse.c) ---- */

/* All: 0, or -EINVAL (not a number, unknown unit, trailing text) or -ERANGE (over 64 bits or
 * negative). Decimal, or hexadecimal with 0x; a fraction only where a unit is big enough to make it
 * whole (1.5G). */
int cmd_parse_number(const char *text, uint64_t *ret);
int cmd_parse_size(const char *text, uint64_t *ret_bytes);  /* 4096 64K 64M 1.5G 2T, KiB.. too */
int cmd_parse_duration(const char *text, uint64_t *ret_ns); /* 100ns 50us 50ms 2s 1.5s 3m */
int cmd_parse_rate(const char *text, uint64_t *ret_per_second); /* bytes: 100M or 100M/s */

/* The same as the argument of option @option ("--ram"): a bad one, or one outside of [min, max],
 * ends the program with argp's usage message naming option, input and what is accepted. */
uint64_t cmd_arg_number(const struct argp_state *state, const char *option, const char *text,
                        uint64_t min, uint64_t max);
uint64_t cmd_arg_size(const struct argp_state *state, const char *option, const char *text,
                      uint64_t min, uint64_t max);
uint64_t cmd_arg_duration(const struct argp_state *state, const char *option, const char *text,
                          uint64_t min_ns, uint64_t max_ns);
uint64_t cmd_arg_rate(const struct argp_state *state, const char *option, const char *text,
                      uint64_t min, uint64_t max);

/* For people: "64 MiB", "1.5 GiB", "512 B"; "50 ms", "1.20 s". Returns @buf. */
const char *cmd_format_size(uint64_t bytes, char *buf, size_t size);
const char *cmd_format_duration(double ms, char *buf, size_t size);

#endif
