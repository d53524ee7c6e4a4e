/* SPDX-License-Identifier: BSD-3-Clause */
/* How the text form of faults is explained to people who type it. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/fault-argument.h"

static void refuse(const struct argp_state *state, const char *text,
                   const struct refdev_fault_error *error)
{
    char word[REFDEV_FAULT_TEXT_MAX + 1];
    snprintf(word, sizeof(word), "%.*s", (int)error->length, text + error->at);
    const char *nearest = error->names ? cmd_nearest(word, error->names) : NULL;
    bool whole = !strcmp(word, text);
    argp_error(state, "--fault: '%s'%s%s%s %s%s%s%s; `vfio-migrate refdev --fault list` explains",
               word, whole ? "" : " in '", whole ? "" : text, whole ? "" : "'", error->why,
               nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

void cmd_arg_fault(const struct argp_state *state, const char *text, struct refdev_knobs *knobs)
{
    struct refdev_fault_error error;
    struct refdev_fault fault;
    if (refdev_fault_parse_why(text, &fault, &error)) {
        refuse(state, text, &error);
        return;
    }
    if (knobs->fault_count == REFDEV_FAULTS_MAX) {
        argp_error(state, "--fault: a device takes at most %d", REFDEV_FAULTS_MAX);
        return;
    }
    knobs->faults[knobs->fault_count++] = fault;
}

struct cmd_sided_fault cmd_arg_sided_fault(const struct argp_state *state, const char *text)
{
    static const char *const sides[] = { "source", "target" };
    struct cmd_sided_fault fault = { .text = NULL };
    struct refdev_fault_error error;
    struct refdev_fault parsed;
    for (unsigned i = 0; i < 2; i++) {
        size_t length = strlen(sides[i]);
        if (strncmp(text, sides[i], length))
            continue;
        char *end;
        fault.source = i == 0;
        fault.device = (unsigned)strtoul(text + length, &end, 10);
        if (*end == ':' && (end == text + length || isdigit((unsigned char)text[length])))
            fault.text = end + 1;
    }
    if (!fault.text)
        argp_error(state,
                   "--fault: '%s' does not begin with source: or target: (source1: is the "
                   "second device)",
                   text);
    else if (refdev_fault_parse_why(fault.text, &parsed, &error))
        refuse(state, fault.text, &error);
    return fault;
}

static void print_words(const char *title, const char *const *words)
{
    printf("%s", title);
    for (; *words; words++)
        printf(" %s", *words);
    putchar('\n');
}

void cmd_print_faults(void)
{
    puts("WHAT[:VALUE]@WHERE[/NAME][#N[+]]: WHAT happens the Nth time (1) that the device is at\n"
         "WHERE; with + from then on. At byte, N is an offset in the stream (0).\n"
         "\n"
         "fail[:ERRNO]    anywhere: it answers the errno (EIO) and stays as it was\n"
         "error[:ERRNO]   anywhere: it answers the errno and is in the state ERROR\n"
         "hang            anywhere: it does not answer, nor does anything else\n"
         "late:TIME       anywhere: it answers after that time\n"
         "vanish          anywhere: it is gone\n"
         "lie:BYTES       read: 0, the data ends early; else so many more come after its end\n"
         "lie:VALUE       command/size, info (INITIAL,DIRTY), flags, state, log-report (0 or 1)\n"
         "short[:BYTES]   read: at most so many (1); byte: a read ends before it\n"
         "corrupt         read, write, byte: a bit flips\n"
         "truncate        read, write, byte: the state ends\n");
    print_words("arc/", refdev_fault_states + 1);
    print_words("command/", refdev_fault_commands);
    puts("\n"
         "fail:EIO@arc/STOP_COPY      hang@arc/RUNNING_P2P#2    late:500ms@read#3\n"
         "corrupt@byte#65536          lie:0@command/size#1+     vanish@write#10");
}
