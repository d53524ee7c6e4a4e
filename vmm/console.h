/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the serial port's line ends: this program's standard input and output, a file, or nowhere.
 *
 * A vCPU never waits for who reads the console: what the guest says goes into a ring that the main loop
 * empties, and when the ring is full the port tells the guest that it is busy. What stands in the ring has
 * left the machine: it is written here, also when the guest has moved elsewhere.
 */
#ifndef VMM_CONSOLE_H
#define VMM_CONSOLE_H

#include <pthread.h>
#include <termios.h>

#include "vmm/loop.h"

#define CONSOLE_RING_BYTES 65536u

struct console_ops {
    unsigned (*accepts)(void *opaque); /* how many bytes it has room for */
    void (*typed)(void *opaque, const uint8_t *bytes, unsigned count);
    void (*room)(void *opaque); /* console_put() takes more again */
};

struct console {
    int in, out; /* -1: none */
    struct loop *loop;
    unsigned in_watch, out_watch;
    bool owns_out, is_terminal;
    struct termios before;         /* the terminal's settings */
    const struct console_ops *ops; /* of who is at the other end; called on the loop's thread */
    void *opaque;
    int wake_fd;          /* eventfd: there is something to write, or room for what is typed */
    pthread_mutex_t lock; /* guards the rest */
    uint8_t ring[CONSOLE_RING_BYTES];
    unsigned head, used;
};

/* @where: "stdio", "none" or "file:PATH". */
int console_open(struct console *console, const char *where, struct loop *loop,
                 const struct console_ops *ops, void *opaque, struct vmig_error *err);
/* Writes out what is left, unless nobody reads any of it for a second, and gives the terminal back as it was. */
void console_close(struct console *console);
/* Any thread; room() is called when a full ring has some again. False: it is full. */
bool console_put(struct console *console, uint8_t byte);
bool console_has_room(struct console *console);
/* Any thread: accepts() has something else to say. */
void console_wake(struct console *console);

#endif
