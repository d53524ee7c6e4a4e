/* SPDX-License-Identifier: BSD-3-Clause */
/* A 16550 serial port at 0x3f8, interrupt 4: the guest's console. */
#ifndef VMM_SERIAL_H
#define VMM_SERIAL_H

#include <stdatomic.h>
#include <vfio-migrate/vmstate.h>

#include "vmm/bus.h"
#include "vmm/console.h"
#include "vmm/kvm.h"

#define SERIAL_FIFO_BYTES 16

struct serial {
    struct kvm *kvm;
    struct console *console;
    atomic_bool listens;
    pthread_mutex_t lock; /* guards the rest; the console's lock may be taken inside */
    uint8_t ier, lcr, mcr, scratch, divisor[2];
    bool fifo_on, thr_interrupt; /* "transmitter empty" is to be told */
    bool level;                  /* of the interrupt line */
    uint8_t fifo[SERIAL_FIFO_BYTES];
    uint8_t fifo_used;
};

int serial_new(struct serial *serial, struct kvm *kvm, struct console *console, struct bus *ports,
               struct vmig_error *err);
/* The guest is there, and about to run: take what is typed, and raise its interrupt if that is up. Any thread. */
void serial_listen(struct serial *serial);
void serial_done(struct serial *serial);
extern const struct vmig_vmstate serial_vmstate;
/* For console_open(), with the serial port as opaque. */
extern const struct console_ops serial_console_ops;

#endif
