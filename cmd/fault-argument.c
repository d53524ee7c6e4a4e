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

/* What there is, where, and what comes of it. */
static const struct {
    const char *what, *where, *text;
} kinds[] = {
    { "fail[:ERRNO]", "anywhere", "it answers the errno (EIO) and stays as it was" },
    { "error[:ERRNO]", "anywhere", "it answers the errno and is in the state ERROR" },
    { "hang", "anywhere", "it does not answer, nor does anything else" },
    { "late:TIME", "anywhere", "it answers after that time" },
    { "vanish", "anywhere", "it is gone" },
    { "lie:BYTES", "read", "0, the data ends early; else so many more come after its end" },
    { "lie:VALUE", "command/size, info (INITIAL,DIRTY), flags, state, log-report (0 or 1)", NULL },
    { "short[:BYTES]", "read", "at most so many (1)" },
    { "short", "byte", "a read ends before it" },
    { "corrupt", "read, write, byte", "a bit flips" },
    { "truncate", "read, write, byte", "the state ends" },
};

static json_t *words_json(const char *const *words)
{
    json_t *list = json_array();
    for (; *words; words++)
        json_array_append_new(list, json_string(*words));
    return list;
}

static void print_faults_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s?}", "what", kinds[i].what, "where",
                                              kinds[i].where, "about", kinds[i].text));
    cmd_print_json(json_pack("{s:o, s:o, s:o}", "faults", list, "arcs",
                             words_json(refdev_fault_states + 1), "commands",
                             words_json(refdev_fault_commands)));
}

void cmd_print_faults(bool json)
{
    if (json) {
        print_faults_json();
        return;
    }
    puts("WHAT[:VALUE]@WHERE[/NAME][#N[+]]: WHAT happens the Nth time (1) that the device is at\n"
         "WHERE; with + from then on. At byte, N is an offset in the stream (0).\n");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        printf("%-15s %s%s%s\n", kinds[i].what, kinds[i].where, kinds[i].text ? ": " : "",
               kinds[i].text ? kinds[i].text : "");
    putchar('\n');
    print_words("arc/", refdev_fault_states + 1);
    print_words("command/", refdev_fault_commands);
    puts("\n"
         "fail:EIO@arc/STOP_COPY      hang@arc/RUNNING_P2P#2    late:500ms@read#3\n"
         "corrupt@byte#65536          lie:0@command/size#1+     vanish@write#10");
}
