/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/endpoint.h"
#include "cmd/progress.h"

#define BAR_CELLS 24

/* What was longer than the terminal is wide would go to a line of its own, and stay there. */
static int line_length(void)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? size.ws_col - 1 : 79;
}

void progress_draw(const struct vmig_event *event)
{
    if (event->stage == VMIG_STAGE_NONE)
        return; /* not begun, or over */
    char bar[BAR_CELLS + 1], sent[32], left[32];
    uint64_t all = event->sent_bytes + event->remaining_bytes;
    /* before the rounds nobody has looked how much there is */
    bool known = all && event->stage >= VMIG_STAGE_ROUNDS;
    double done = known ? (double)event->sent_bytes / (double)all : 0;
    int cells = (int)(done * BAR_CELLS);
    memset(bar, ' ', BAR_CELLS);
    memset(bar, '#', (size_t)cells);
    bar[BAR_CELLS] = '\0';
    cmd_format_size(event->sent_bytes, sent, sizeof(sent));
    cmd_format_size(event->remaining_bytes, left, sizeof(left));
    char line[160];
    snprintf(line, sizeof(line), "[%s] %3.0f %%  %-10s round %-3u %s sent, %s left", bar,
             done * 100, vmig_stage_name(event->stage), event->round, sent, left);
    fprintf(stderr, "\r%.*s\033[K", line_length(), line);
}

void progress_end(struct endpoint *e)
{
    if (e->progress_shown)
        fputs("\r\033[K", stderr);
    e->progress_shown = false;
}

static void say(struct endpoint *e, const char *what, const char *text)
{
    progress_end(e);
    fprintf(stderr, "vfio-migrate %s: %s%s\n", e->name, what, text);
}

void progress_event(void *opaque, const struct vmig_event *event)
{
    struct endpoint *e = opaque;
    if (e->check)
        return; /* it lists what there is */
    if (event->kind == VMIG_EVENT_WARNING) {
        say(e, "warning: ", event->text);
    } else if (event->kind == VMIG_EVENT_WAITING || event->kind == VMIG_EVENT_QUIESCE_NOTICE) {
        say(e, "", event->text);
    } else if (event->kind == VMIG_EVENT_LISTENING) {
        if (!e->quiet)
            say(e, "listening on ", event->text);
    } else if (event->kind == VMIG_EVENT_TRACKING) {
        if (!e->quiet)
            say(e, "", event->text);
    } else if (!e->quiet && !e->json && !e->num_traces && isatty(STDERR_FILENO)) {
        progress_draw(event);
        e->progress_shown = true;
    }
}
