/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options that no subcommand has: argp would only say that it does not know them, so they are looked
 * for before it is asked, and the nearest one is named. What is understood stays argp's affair.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"

#define OPTIONS_MAX 64

/* Long options of a parser and of those it includes, as far as they fit. */
struct names {
    struct name {
        const char *text;
        const struct argp_option *option; /* an alias has the one before it */
    } all[OPTIONS_MAX];
    unsigned count;
};

static void collect(const struct argp *argp, struct names *names)
{
    const struct argp_option *o = argp->options, *real = o;
    for (; o && (o->name || o->key || o->doc || o->group); o++) {
        if (!(o->flags & OPTION_ALIAS))
            real = o;
        if (o->name && names->count < OPTIONS_MAX)
            names->all[names->count++] = (struct name) { o->name, real };
    }
    for (const struct argp_child *child = argp->children; child && child->argp; child++)
        collect(child->argp, names);
}

/* The option that @word of @length letters names or begins to; getopt understands both. */
static const struct argp_option *find_long(const struct names *names, const char *word,
                                           size_t length)
{
    for (unsigned i = 0; i < names->count; i++)
        if (!strncmp(names->all[i].text, word, length))
            return names->all[i].option;
    return NULL;
}

static bool is_argps_own(const char *word, size_t length)
{
    static const char *const own[] = { "help", "usage", "version" };
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (length && !strncmp(own[i], word, length))
            return true;
    return false;
}

static bool wants_argument(const struct argp_option *option)
{
    return option->arg && !(option->flags & OPTION_ARG_OPTIONAL);
}

/* Does a cluster of short options ("-qn") end with one that takes the next word? */
static bool short_takes_next(const struct names *names, const char *letters)
{
    for (; *letters; letters++)
        for (unsigned i = 0; i < names->count; i++)
            if (names->all[i].option->key == *letters && wants_argument(names->all[i].option))
                return letters[1] == '\0';
    return false;
}

static void refuse(const char *command, const struct names *names, const char *word, size_t length)
{
    const char *all[OPTIONS_MAX + 1] = { NULL };
    char typed[64];
    for (unsigned i = 0; i < names->count; i++)
        all[i] = names->all[i].text;
    snprintf(typed, sizeof(typed), "%.*s", (int)length, word);
    const char *nearest = cmd_nearest(typed, all);
    fprintf(stderr, "%s: unknown option '--%s'", command, typed);
    if (nearest)
        fprintf(stderr, "; did you mean '--%s'?\n", nearest);
    else
        fprintf(stderr, "; `%s --help` lists what there is\n", command);
    exit(CMD_USAGE);
}

void cmd_parse_options(const struct argp *argp, int argc, char **argv, void *input)
{
    struct names names = { .count = 0 };
    collect(argp, &names);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i] + 2;
        size_t length = strncmp(argv[i], "--", 2) ? 0 : strcspn(word, "=");
        if (!length) {
            i += argv[i][0] == '-' && short_takes_next(&names, argv[i] + 1);
            continue;
        }
        const struct argp_option *option = find_long(&names, word, length);
        if (!option && !is_argps_own(word, length))
            refuse(argv[0], &names, word, length);
        i += option && wants_argument(option) && word[length] != '=';
    }
    argp_parse(argp, argc, argv, 0, NULL, input);
}
