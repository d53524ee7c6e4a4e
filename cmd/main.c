/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-migrate: one binary, one row and one file per subcommand. This file finds the row and calls
 * it; it knows nothing of what the subcommands do.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"

static const struct cmd cmds[] = {
    { "demo", "Watch a running workload with its devices move, live, verified", cmd_demo },
    { "probe", "List devices, or tell what they are and can do, and whether they can migrate",
      cmd_probe },
    { "save", "Write a device's state to a file", cmd_save },
    { "restore", "Load a device's state from a file", cmd_restore },
    { "send", "Move devices, live, to another process or host", cmd_send },
    { "receive", "Be the target of a send", cmd_receive },
    { "resolve", "Settle a hand-over that hangs", cmd_resolve },
    { "monitor", "Talk to a monitor (QMP), from a terminal, a pipe or a script", cmd_monitor },
    { "trace", "List the points at which the library says what it does", cmd_trace },
    { "workload", "A process with a running workload, as the demo uses it", cmd_workload },
    { "refdev", "Serve a reference device, without hardware, over vfio-user", cmd_refdev },
    { NULL, NULL, NULL },
};

static void print_help(FILE *to)
{
    fputs("Usage: vfio-migrate SUBCOMMAND [ARGUMENT...]\n"
          "Live migration of VFIO devices.\n\n",
          to);
    for (const struct cmd *cmd = cmds; cmd->name; cmd++)
        fprintf(to, "  %-10s %s\n", cmd->name, cmd->help);
    fputs("\n`vfio-migrate SUBCOMMAND --help` tells more. DEVICE is one of\n"
          "  vfio-user:PATH   a vfio-user server's socket\n"
          "  0000:3b:00.2     a PCI device bound to a VFIO driver\n"
          "  UUID             a mediated device\n"
          "  /dev/vfio/devices/vfioN   either by its character device\n"
          "\n"
          "Exit codes: 0 done, 1 failed (the source is intact and running), 2 wrong usage,\n"
          "3 refused by a blocker, 4 hand-over unresolved, 5 a device was reset or lost,\n"
          "130 cancelled.\n",
          to);
}

static int unknown(const char *word)
{
    const char *names[sizeof(cmds) / sizeof(cmds[0])];
    for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
        names[i] = cmds[i].name;
    const char *nearest = cmd_nearest(word, names);
    fprintf(stderr, "vfio-migrate: unknown %s '%s'", word[0] == '-' ? "option" : "subcommand",
            word);
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?\n", nearest);
    else
        fputs("; `vfio-migrate --help` lists what there is\n", stderr);
    return CMD_USAGE;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    char name[64];
    snprintf(name, sizeof(name), "vfio-migrate %s", cmd->name);
    argv[0] = name;
    int exit_code = cmd->run(argc, argv);
    /* A report that could not be written must not look like one that was. */
    if ((fflush(stdout) || ferror(stdout)) && exit_code == CMD_DONE) {
        fprintf(stderr, "%s: writing to standard output: %s\n", name, strerror(errno));
        return CMD_FAILED;
    }
    return exit_code;
}

static int find_and_run(int argc, char **argv)
{
    for (const struct cmd *cmd = cmds; cmd->name; cmd++)
        if (!strcmp(argv[1], cmd->name))
            return run(cmd, argc - 1, argv + 1);
    return unknown(argv[1]);
}

/* A device's socket or a file to save to that came to stand where a closed standard descriptor was
 * would get what is printed. In their place is what can only be used the other way, so that printing
 * still fails. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
            exit(CMD_FAILED);
}

static int print_help_and_check(void)
{
    print_help(stdout);
    if (!fflush(stdout) && !ferror(stdout))
        return CMD_DONE;
    fprintf(stderr, "vfio-migrate: writing to standard output: %s\n", strerror(errno));
    return CMD_FAILED;
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    argp_err_exit_status = CMD_USAGE;
    if (argc < 2) {
        print_help(stderr);
        return CMD_USAGE;
    }
    bool help = !strcmp(argv[1], "help");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || (help && argc == 2))
        return print_help_and_check();
    if (help) { /* "help send" is "send --help" */
        char option[] = "--help", *swapped[] = { argv[0], argv[2], option, NULL };
        return find_and_run(3, swapped);
    }
    if (!strcmp(argv[1], "--version")) {
        puts("vfio-migrate " VMIG_VERSION);
        return CMD_DONE;
    }
    return find_and_run(argc, argv);
}
