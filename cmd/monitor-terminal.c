/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/monitor-terminal.h"

/* A handler has nowhere else to look. */
static struct termios as_found, as_ours;

/* ---- modes ---- */

/* In the background the terminal is somebody else's. */
static void give_back(void)
{
    if (tcgetpgrp(STDIN_FILENO) == getpgrp())
        tcsetattr(STDIN_FILENO, TCSANOW, &as_found);
}

/* In the background the process stands still here until it is in the foreground. */
static void take_again(void)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &as_ours);
}

/* What is being printed goes on behind a handler. */
static void handle(int number, void (*handler)(int), bool alone)
{
    struct sigaction now, action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    sigaction(number, NULL, &now);
    if (now.sa_handler == SIG_IGN) /* nohup */
        return;
    if (alone)
        sigfillset(&action.sa_mask);
    else
        action.sa_flags |= SA_NODEFER;
    sigaction(number, &action, NULL);
}

static void on_end(int number)
{
    give_back();
    signal(number, SIG_DFL);
    raise(number); /* comes when this returns */
}

/* Stands still in raise(), unless nobody is there who would let it go on. */
static void on_stop(int number)
{
    int kept = errno;
    give_back();
    signal(number, SIG_DFL);
    raise(number);
    handle(number, on_stop, false);
    take_again();
    errno = kept;
}

static void on_continue(int number)
{
    int kept = errno;
    (void)number;
    take_again();
    errno = kept;
}

void terminal_found(void)
{
    static const int ends[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
    tcgetattr(STDIN_FILENO, &as_found);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        handle(ends[i], on_end, true);
}

void terminal_ours(void)
{
    tcgetattr(STDIN_FILENO, &as_ours);
    handle(SIGTSTP, on_stop, false);
    handle(SIGCONT, on_continue, false); /* after a SIGSTOP, too */
}

void terminal_leave(void)
{
    signal(SIGTSTP, SIG_DFL);
    signal(SIGCONT, SIG_DFL);
    give_back();
}

/* ---- what is typed ---- */

static void forget(struct typed *t, size_t length)
{
    t->length -= length;
    memmove(t->bytes, t->bytes + length, t->length);
}

bool typed_next(struct typed *t, char *ret)
{
    if (!t->length)
        return read(STDIN_FILENO, ret, 1) == 1;
    *ret = t->bytes[0];
    forget(t, 1);
    return true;
}

bool typed_ahead(struct typed *t)
{
    char more[512];
    ssize_t n = read(STDIN_FILENO, more, sizeof(more));
    char *larger = n > 0 ? realloc(t->bytes, t->length + (size_t)n) : NULL;
    if (!larger)
        return true;
    t->bytes = larger;
    memcpy(t->bytes + t->length, more, (size_t)n);
    t->length += (size_t)n;
    const char *last = memrchr(t->bytes, TERMINAL_INTERRUPT, t->length);
    if (last)
        forget(t, (size_t)(last - t->bytes) + 1);
    return last;
}
