/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vmm/layout.h"
#include "vmm/lock.h"
#include "vmm/serial.h"

enum { DATA = 0, IER = 1, IIR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCRATCH = 7 };

#define IER_RECEIVED 0x01
#define IER_TRANSMITTED 0x02
#define IIR_NONE 0x01
#define IIR_TRANSMITTED 0x02
#define IIR_RECEIVED 0x04
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVED 0x02
#define LCR_DIVISOR 0x80
#define MCR_LOOP 0x10
#define LSR_RECEIVED 0x01
#define LSR_EMPTY 0x60 /* holding and shift register */
#define MSR_READY 0xb0 /* carrier, data set ready, clear to send */

static uint8_t pending_locked(const struct serial *serial)
{
    if ((serial->ier & IER_RECEIVED) && serial->fifo_used)
        return IIR_RECEIVED;
    if ((serial->ier & IER_TRANSMITTED) && serial->thr_interrupt)
        return IIR_TRANSMITTED;
    return IIR_NONE;
}

static void update_locked(struct serial *serial)
{
    bool level = pending_locked(serial) != IIR_NONE;
    if (level != serial->level)
        kvm_irq_line(serial->kvm, SERIAL_IRQ, level);
    serial->level = level;
}

static void receive_locked(struct serial *serial, uint8_t byte)
{
    if (serial->fifo_used < SERIAL_FIFO_BYTES)
        serial->fifo[serial->fifo_used++] = byte;
}

static uint8_t read_data_locked(struct serial *serial)
{
    uint8_t byte = serial->fifo[0];
    if (!serial->fifo_used)
        return 0;
    memmove(serial->fifo, serial->fifo + 1, --serial->fifo_used);
    if (!serial->fifo_used)
        console_wake(serial->console);
    return byte;
}

static void write_data_locked(struct serial *serial, uint8_t byte)
{
    if (serial->mcr & MCR_LOOP)
        receive_locked(serial, byte);
    else
        console_put(serial->console,
                    byte); /* a guest that does not ask whether there is room loses it */
    serial->thr_interrupt = console_has_room(serial->console);
}

static uint8_t read_iir_locked(struct serial *serial)
{
    uint8_t pending = pending_locked(serial);
    if (pending == IIR_TRANSMITTED)
        serial->thr_interrupt = false; /* reading it is the acknowledgement */
    return pending | (serial->fifo_on ? IIR_FIFO : 0);
}

/* In a loop the outputs come back as inputs; a driver looks for that to find out whether there is a port. */
static uint8_t read_msr_locked(const struct serial *serial)
{
    if (!(serial->mcr & MCR_LOOP))
        return MSR_READY;
    return (uint8_t)((serial->mcr & 0x0c) << 4 | (serial->mcr & 0x02) << 3 |
                     (serial->mcr & 0x01) << 5);
}

static uint8_t read_locked(struct serial *serial, unsigned offset)
{
    bool divisor = serial->lcr & LCR_DIVISOR;
    switch (offset) {
    case DATA:
        return divisor ? serial->divisor[0] : read_data_locked(serial);
    case IER:
        return divisor ? serial->divisor[1] : serial->ier;
    case IIR:
        return read_iir_locked(serial);
    case LCR:
        return serial->lcr;
    case MCR:
        return serial->mcr;
    case LSR:
        return (serial->fifo_used ? LSR_RECEIVED : 0) |
               (console_has_room(serial->console) ? LSR_EMPTY : 0);
    case MSR:
        return read_msr_locked(serial);
    default:
        return serial->scratch;
    }
}

static void write_fcr_locked(struct serial *serial, uint8_t value)
{
    serial->fifo_on = value & FCR_ENABLE;
    if (value & FCR_CLEAR_RECEIVED)
        serial->fifo_used = 0;
}

static void write_locked(struct serial *serial, unsigned offset, uint8_t value)
{
    bool divisor = serial->lcr & LCR_DIVISOR;
    switch (offset) {
    case DATA:
        if (divisor)
            serial->divisor[0] = value;
        else
            write_data_locked(serial, value);
        break;
    case IER:
        if (divisor)
            serial->divisor[1] = value;
        else if ((value & IER_TRANSMITTED) && !(serial->ier & IER_TRANSMITTED))
            serial->thr_interrupt = console_has_room(serial->console);
        if (!divisor)
            serial->ier = value & 0x0f;
        break;
    case IIR:
        write_fcr_locked(serial, value);
        break;
    case LCR:
        serial->lcr = value;
        break;
    case MCR:
        serial->mcr = value & 0x1f;
        break;
    case SCRATCH:
        serial->scratch = value;
        break;
    default: /* the status registers */
        break;
    }
}

static void serial_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    struct serial *serial = opaque;
    LOCK_SCOPE(&serial->lock);
    for (unsigned i = 0; i < length_bytes; i++)
        ((uint8_t *)data)[i] = read_locked(serial, (unsigned)offset + i);
    update_locked(serial);
}

static void serial_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    struct serial *serial = opaque;
    LOCK_SCOPE(&serial->lock);
    for (unsigned i = 0; i < length_bytes; i++)
        write_locked(serial, (unsigned)offset + i, ((const uint8_t *)data)[i]);
    update_locked(serial);
}

static unsigned serial_accepts(void *opaque)
{
    struct serial *serial = opaque;
    if (!serial->listens)
        return 0;
    LOCK_SCOPE(&serial->lock);
    return SERIAL_FIFO_BYTES - serial->fifo_used;
}

static void serial_typed(void *opaque, const uint8_t *bytes, unsigned count)
{
    struct serial *serial = opaque;
    LOCK_SCOPE(&serial->lock);
    for (unsigned i = 0; i < count; i++)
        receive_locked(serial, bytes[i]);
    update_locked(serial);
}

static void serial_room(void *opaque)
{
    struct serial *serial = opaque;
    LOCK_SCOPE(&serial->lock);
    serial->thr_interrupt = true;
    update_locked(serial);
}

int serial_new(struct serial *serial, struct kvm *kvm, struct console *console, struct bus *ports,
               struct vmig_error *err)
{
    static const struct bus_ops ops = { serial_read, serial_write };
    *serial = (struct serial) { .kvm = kvm, .console = console };
    pthread_mutex_init(&serial->lock, NULL);
    return bus_claim(ports, SERIAL_PORT, 8, &ops, serial, err);
}

void serial_listen(struct serial *serial)
{
    serial->listens = true;
    LOCK_SCOPE(&serial->lock);
    serial->thr_interrupt =
        true; /* where it came from that may have been told too late to be saved */
    serial->level = pending_locked(serial) != IIR_NONE;
    kvm_irq_line(serial->kvm, SERIAL_IRQ, serial->level); /* nobody has raised it here */
    console_wake(serial->console);
}

void serial_done(struct serial *serial)
{
    pthread_mutex_destroy(&serial->lock);
}

const struct console_ops serial_console_ops = {
    .accepts = serial_accepts,
    .typed = serial_typed,
    .room = serial_room,
};

/* Something may be typed in the pause. */
static int begin_saving(void *opaque, struct vmig_error *err)
{
    struct serial *serial = opaque;
    (void)err;
    pthread_mutex_lock(&serial->lock);
    return 0;
}

static void end_saving(void *opaque)
{
    struct serial *serial = opaque;
    pthread_mutex_unlock(&serial->lock);
}

/* The line's level is the interrupt controller's, and moves with it. */
static const struct vmig_vmstate_field fields[] = {
    VMIG_VMSTATE_UINT8(ier, struct serial),
    VMIG_VMSTATE_UINT8(lcr, struct serial),
    VMIG_VMSTATE_UINT8(mcr, struct serial),
    VMIG_VMSTATE_UINT8(scratch, struct serial),
    VMIG_VMSTATE_UINT8_ARRAY(divisor, struct serial),
    VMIG_VMSTATE_BOOL(fifo_on, struct serial),
    VMIG_VMSTATE_BOOL(thr_interrupt, struct serial),
    VMIG_VMSTATE_BOOL(level, struct serial),
    VMIG_VMSTATE_UINT8(fifo_used, struct serial),
    VMIG_VMSTATE_VARRAY(UINT8, fifo, struct serial, fifo_used, 1),
    VMIG_VMSTATE_END(),
};
const struct vmig_vmstate serial_vmstate = { .name = "serial",
                                             .version = 1,
                                             .minimum_version = 1,
                                             .fields = fields,
                                             .pre_save = begin_saving,
                                             .post_save = end_saving };
