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

static void drop_line(EditLine *line)
{
    const LineInfo *info = el_line(line);
    size_t length = (size_t)(info->lastchar - info->buffer);
    el_cursor(line, (int)(info->lastchar - info->cursor));
    el_deletestr(line, (int)length);
    fputs("^C\n", stdout);
    fflush(stdout);
    el_set(line, EL_REFRESH);
}

/* One character in the terminal's encoding. */
static int read_character(wchar_t *ret)
{
    mbstate_t state = { 0 };
    char byte;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n <= 0)
            return n == 0 ? 0 : -1;
        size_t used = mbrtowc(ret, &byte, 1, &state);
        if (used != (size_t)-2) {
            if (used == (size_t)-1)
                *ret = L'?';
            return 1;
        }
    }
}

/* A signal that came just before poll() would otherwise wait for the next key. */
#define LOOK_AGAIN_MS 200

static int get_character(EditLine *line, wchar_t *ret)
{
    struct edit *e;
    int seen = 0;
    el_get(line, EL_CLIENTDATA, &e);
    seen = *e->interrupted;
    for (;;) {
        struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                               { .fd = e->connection->fd, .events = POLLIN } };
        int n = poll(p, 2, LOOK_AGAIN_MS);
        if (*e->interrupted != seen) {
            seen = *e->interrupted;
            drop_line(line);
        }
        if (n <= 0)
            continue;
        if (p[1].revents && !connection_poll(e->connection)) {
            e->ended = true;
            return 0;
        }
        if (p[0].revents)
            return read_character(ret);
    }
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

int edit_open(struct edit *e, struct vmig_error *err)
{
    setlocale(LC_CTYPE, "");
    e->line = el_init("vfio-migrate", stdin, stdout, stderr);
    e->history = history_init();
    if (!e->line || !e->history)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL,
                         "the terminal cannot be used; give commands with -c or through a pipe");
    open_history(e);
    el_set(e->line, EL_CLIENTDATA, e);
    el_set(e->line, EL_PROMPT, prompt);
    el_set(e->line, EL_EDITOR, "emacs");
    el_set(e->line, EL_HIST, history, e->history);
    el_set(e->line, EL_ADDFN, "complete", "complete commands and arguments", complete);
    el_set(e->line, EL_BIND, "^I", "complete", NULL);
    el_set(e->line, EL_GETCFN, get_character);
    el_source(e->line, NULL); /* ~/.editrc, as everywhere */
    return 0;
}

void edit_close(struct edit *e)
{
    HistEvent event;
    if (e->history && e->history_path[0])
        history(e->history, &event, H_SAVE, e->history_path);
    if (e->history)
        history_end(e->history);
    if (e->line)
        el_end(e->line);
    e->history = NULL;
    e->line = NULL;
}

const char *edit_read(struct edit *e)
{
    static char *copy;
    HistEvent event;
    int length;
    e->prompting = true;
    const char *text = el_gets(e->line, &length);
    e->prompting = false;
    if (!text || length <= 0 || e->ended)
        return NULL;
    if (text[0] != '\n')
        history(e->history, &event, H_ENTER, text);
    free(copy);
    copy = strndup(text, strcspn(text, "\n"));
    return copy;
}
