/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/console.h"
#include "vmm/fail.h"
#include "vmm/lock.h"

#define PATIENCE_MS 1000 /* with who reads slowly, at the end */

/* Write one stretch of the ring. False: nothing more can be written in that time. */
static bool write_some(struct console *console, int timeout_ms)
{
    uint8_t bytes[4096];
    pthread_mutex_lock(&console->lock);
    unsigned count = console->used < sizeof(bytes) ? console->used : (unsigned)sizeof(bytes);
    for (unsigned i = 0; i < count; i++)
        bytes[i] = console->ring[(console->head + i) % CONSOLE_RING_BYTES];
    pthread_mutex_unlock(&console->lock);
    if (!count)
        return false;
    struct pollfd out = { console->out, POLLOUT, 0 };
    if (poll(&out, 1, timeout_ms) != 1)
        return false;
    /* One that nobody reads any more takes everything: the guest is not to stand still for it. A terminal
     * or a pipe that is ready has room for some; @out need not be non-blocking, others may share it. */
    ssize_t written = write(console->out, bytes, count < 512 ? count : 512);
    if (written < 0)
        written = errno == EAGAIN || errno == EINTR ? 0 : count;
    pthread_mutex_lock(&console->lock);
    console->head = (console->head + (unsigned)written) % CONSOLE_RING_BYTES;
    console->used -= (unsigned)written;
    pthread_mutex_unlock(&console->lock);
    return written > 0;
}

static bool is_empty(struct console *console)
{
    LOCK_SCOPE(&console->lock);
    return console->used == 0;
}

static void watch_again(struct console *console)
{
    if (console->out >= 0)
        loop_set_events(console->loop, console->out_watch, is_empty(console) ? 0 : POLLOUT);
    if (console->in >= 0)
        loop_set_events(console->loop, console->in_watch,
                        console->ops->accepts(console->opaque) ? POLLIN : 0);
}

static void on_writable(void *opaque)
{
    struct console *console = opaque;
    if (write_some(console, 0))
        console->ops->room(console->opaque);
    watch_again(console);
}

static void on_wake(void *opaque)
{
    struct console *console = opaque;
    eventfd_t count;
    eventfd_read(console->wake_fd, &count);
    watch_again(console);
}

static void on_typed(void *opaque)
{
    struct console *console = opaque;
    uint8_t bytes[64];
    unsigned room = console->ops->accepts(console->opaque);
    ssize_t count = read(console->in, bytes, room < sizeof(bytes) ? room : sizeof(bytes));
    if (count > 0)
        console->ops->typed(console->opaque, bytes, (unsigned)count);
    watch_again(console);
    if (room && (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN))) {
        loop_set_events(console->loop, console->in_watch, 0);
        console->in = -1; /* its end: nothing more will be typed */
    }
}

void console_wake(struct console *console)
{
    eventfd_write(console->wake_fd, 1);
}

/* Every key goes to the guest as it is typed, but ^C and ^Z are for the VMM. */
static void take_terminal(struct console *console)
{
    if (tcgetattr(console->in, &console->before))
        return;
    struct termios raw = console->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_iflag &= ~(tcflag_t)ICRNL;
    console->is_terminal = tcsetattr(console->in, TCSANOW, &raw) == 0;
}

static int open_where(struct console *console, const char *where, struct vmig_error *err)
{
    if (!strcmp(where, "stdio")) {
        console->in = STDIN_FILENO;
        console->out = STDOUT_FILENO;
        take_terminal(console);
    } else if (!strncmp(where, "file:", 5)) {
        console->out = open(where + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (console->out < 0)
            return vmm_fail(err, errno, NULL, "opening %s for the console: %m", where + 5);
        console->owns_out = true;
    }
    return 0;
}

int console_open(struct console *console, const char *where, struct loop *loop,
                 const struct console_ops *ops, void *opaque, struct vmig_error *err)
{
    *console = (struct console) { .in = -1,
                                  .out = -1,
                                  .loop = loop,
                                  .ops = ops,
                                  .opaque = opaque,
                                  .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    pthread_mutex_init(&console->lock, NULL);
    if (console->wake_fd < 0)
        return vmm_fail(err, errno, NULL, "making the console: %m");
    int rc = open_where(console, where, err);
    if (rc == 0)
        rc = loop_watch(loop, console->wake_fd, POLLIN, on_wake, console, err);
    if (rc >= 0 && console->out >= 0) {
        rc = loop_watch(loop, console->out, 0, on_writable, console, err);
        console->out_watch = (unsigned)rc;
    }
    if (rc >= 0 && console->in >= 0) {
        rc = loop_watch(loop, console->in, POLLIN, on_typed, console, err);
        console->in_watch = (unsigned)rc;
    }
    return rc < 0 ? rc : 0;
}

void console_close(struct console *console)
{
    if (!console->loop)
        return;
    while (console->out >= 0 && write_some(console, PATIENCE_MS))
        ;
    if (console->is_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &console->before);
    if (console->owns_out)
        close(console->out);
    if (console->wake_fd >= 0)
        close(console->wake_fd);
    pthread_mutex_destroy(&console->lock);
    console->loop = NULL;
}

bool console_has_room(struct console *console)
{
    LOCK_SCOPE(&console->lock);
    return console->used < CONSOLE_RING_BYTES;
}

bool console_put(struct console *console, uint8_t byte)
{
    if (console->out < 0)
        return true;
    LOCK_SCOPE(&console->lock);
    if (console->used == CONSOLE_RING_BYTES)
        return false;
    console->ring[(console->head + console->used++) % CONSOLE_RING_BYTES] = byte;
    if (console->used == 1)
        console_wake(console);
    return true;
}
