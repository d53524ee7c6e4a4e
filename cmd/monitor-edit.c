/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "cmd/monitor-edit.h"
#include "cmd/state.h"
#include "lib/error.h"

#define HISTORY_LINES 500

void edit_clear(struct edit *e)
{
    if (e->prompting)
        fputs("\r\033[K", stdout);
}

void edit_restore(struct edit *e)
{
    fflush(stdout);
    if (e->prompting)
        el_set(e->line, EL_REFRESH);
}

static char *prompt(EditLine *line)
{
    static char text[] = "(vfio-migrate) ";
    (void)line;
    return text;
}

/* ---- reading a character, and what comes meanwhile ---- */

/* One character in the terminal's encoding. */
static int read_character(struct typed *typed, wchar_t *ret)
{
    mbstate_t state = { 0 };
    char byte;
    while (typed_next(typed, &byte)) {
        size_t used = mbrtowc(ret, &byte, 1, &state);
        if (used != (size_t)-2) {
            if (used == (size_t)-1)
                *ret = L'?';
            return 1;
        }
    }
    return 0;
}

static int get_character(EditLine *line, wchar_t *ret)
{
    struct edit *e;
    el_get(line, EL_CLIENTDATA, &e);
    while (!e->typed.length) {
        struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                               { .fd = e->connection->fd, .events = POLLIN } };
        if (poll(p, 2, -1) < 0) { /* stopped and continued: something else stands on the screen */
            el_set(line, EL_REFRESH);
            continue;
        }
        if (p[1].revents && !connection_poll(e->connection)) {
            e->ended = true;
            return 0;
        }
        if (p[0].revents)
            break;
    }
    return read_character(&e->typed, ret);
}

/* ^C: the line stays on the screen, marked, and ends. */
static unsigned char drop_line(EditLine *line, int key)
{
    struct edit *e;
    const LineInfo *info = el_line(line);
    (void)key;
    el_get(line, EL_CLIENTDATA, &e);
    e->dropped = true;
    el_cursor(line, (int)(info->lastchar - info->cursor));
    el_insertstr(line, "^C");
    el_push(line, "\n");
    return CC_REFRESH;
}

/* ---- completion ---- */

static size_t shared_length(const json_t *matches)
{
    const char *first = json_string_value(json_array_get(matches, 0));
    size_t i, length = strlen(first);
    const json_t *match;
    json_array_foreach(matches, i, match)
    {
        const char *other = json_string_value(match);
        size_t same = 0;
        while (same < length && other[same] == first[same])
            same++;
        length = same;
    }
    return length;
}

static json_t *matches_of(const json_t *candidates, const char *word, size_t length)
{
    json_t *matches = json_array();
    size_t i;
    json_t *candidate;
    json_array_foreach(candidates, i,
                       candidate) if (strncmp(json_string_value(candidate), word, length) == 0)
        json_array_append(matches, candidate);
    return matches;
}

static void list_matches(const json_t *matches)
{
    size_t i;
    const json_t *match;
    putchar('\n');
    json_array_foreach(matches, i, match) printf("%s%s", i ? "  " : "", json_string_value(match));
    putchar('\n');
    fflush(stdout);
}

static unsigned char complete_matches(EditLine *line, const json_t *matches, size_t typed)
{
    if (!json_array_size(matches))
        return CC_ERROR;
    const char *first = json_string_value(json_array_get(matches, 0));
    size_t shared = shared_length(matches);
    char more[200];
    if (shared > typed) {
        snprintf(more, sizeof(more), "%.*s", (int)(shared - typed), first + typed);
        return el_insertstr(line, more) < 0 ? CC_ERROR : CC_REFRESH;
    }
    list_matches(matches);
    return CC_REDISPLAY;
}

static unsigned char complete(EditLine *line, int key)
{
    struct edit *e;
    const LineInfo *info = el_line(line);
    const char *word = info->cursor;
    (void)key;
    el_get(line, EL_CLIENTDATA, &e);
    while (word > info->buffer && word[-1] != ' ')
        word--;
    char *before = strndup(info->buffer, (size_t)(info->cursor - info->buffer));
    size_t typed = (size_t)(info->cursor - word);
    json_t *candidates = monitor_candidates(e->names, before, (size_t)(word - info->buffer));
    json_t *matches = matches_of(candidates, word, typed);
    unsigned char what = complete_matches(line, matches, typed);
    json_decref(matches);
    json_decref(candidates);
    free(before);
    return what;
}

/* ---- its life ---- */

static void open_history(struct edit *e)
{
    HistEvent event;
    char folder[3000];
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    if (state_folder("", folder, sizeof(folder)) < 0)
        return;
    snprintf(e->history_path, sizeof(e->history_path), "%s/monitor-history", folder);
    history(e->history, &event, H_LOAD, e->history_path);
}

/* Between two lines the library goes to another mode (-x) than while it reads one (-d): in both a key is to mean the same. */
static void take_terminal(EditLine *line)
{
    el_set(line, EL_SETTY, "-d", "intr=", NULL);
    el_set(line, EL_SETTY, "-x", "intr=", "-icanon", "-echo", "-iexten", "+inlcr", NULL);
    terminal_ours();
}

static void bind_keys(EditLine *line)
{
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_ADDFN, "complete", "complete commands and arguments", complete);
    el_set(line, EL_ADDFN, "drop", "drop the line", drop_line);
    el_set(line, EL_BIND, "^I", "complete", NULL);
    el_source(line, NULL); /* ~/.editrc, as everywhere */
    /* what the kernel makes of a ^D before the first prompt, and where the next key would be inserted */
    el_set(line, EL_BIND, "^@", "ed-ignore", NULL);
    el_set(line, EL_BIND, "^C", "drop", NULL);
    el_set(line, EL_BIND, "-a", "^C", "drop", NULL); /* vi's command mode */
}

int edit_open(struct edit *e, struct vmig_error *err)
{
    setlocale(LC_CTYPE, "");
    terminal_found();
    e->line = el_init("vfio-migrate", stdin, stdout, stderr);
    e->history = history_init();
    if (!e->line || !e->history)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL,
                         "the terminal cannot be used; give commands with -c or through a pipe");
    open_history(e);
    el_set(e->line, EL_CLIENTDATA, e);
    el_set(e->line, EL_PROMPT, prompt);
    el_set(e->line, EL_HIST, history, e->history);
    el_set(e->line, EL_GETCFN, get_character);
    bind_keys(e->line);
    take_terminal(e->line);
    return 0;
}

void edit_close(struct edit *e)
{
    HistEvent event;
    if (e->history && e->history_path[0])
        history(e->history, &event, H_SAVE, e->history_path);
    if (e->history)
        history_end(e->history);
    if (e->line) {
        el_set(e->line, EL_EDITMODE, 0); /* or it throws away what was typed for the shell */
        el_end(e->line);
    }
    terminal_leave();
    free(e->typed.bytes);
    e->history = NULL;
    e->line = NULL;
}

const char *edit_read(struct edit *e)
{
    static char *copy;
    HistEvent event;
    int length;
    e->prompting = true;
    e->dropped = false;
    const char *text = el_gets(e->line, &length);
    e->prompting = false;
    if (!text || length <= 0 || e->ended)
        return NULL;
    if (e->dropped)
        return "";
    if (text[0] != '\n')
        history(e->history, &event, H_ENTER, text);
    free(copy);
    copy = strndup(text, strcspn(text, "\n"));
    return copy;
}
