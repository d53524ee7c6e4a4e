/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Profile mtty: the kernel's sample serial card with two ports, its 96-byte stream and its ways.
 * No DMA, registers that survive a reset, and a stream that is not looked at twice: data whose
 * header was refused can still be "loaded".
 */
#include "refdev/model/stream-small.h"

#define MTTY_MAGIC 0x7e9d09898c3e2c4eull
#define MTTY_HEAD_BYTES 24
#define MTTY_PORT_BYTES 36
#define MTTY_TOTAL_BYTES (MTTY_HEAD_BYTES + REFDEV_MTTY_PORTS * MTTY_PORT_BYTES)
#define MTTY_CONFIG_BYTES 255
#define MTTY_BAR_BYTES 8

enum { UART_DATA = 0, UART_IER = 1, UART_FCR = 2, UART_LCR = 3, UART_LSR = 5, UART_SCRATCH = 7 };
#define UART_LCR_DLAB 0x80
#define UART_LSR_EMPTY 0x60
#define UART_LSR_DATA 0x01

/* ---- stream ---- */

static void put32(uint8_t *bytes, uint32_t value)
{
    refdev_copy(bytes, &value, sizeof(value));
}

static void build_head(uint8_t *bytes)
{
    uint64_t magic = MTTY_MAGIC;
    refdev_copy(bytes, &magic, sizeof(magic));
    put32(bytes + 8, 1);  /* major */
    put32(bytes + 12, 0); /* minor */
    put32(bytes + 16, REFDEV_MTTY_PORTS);
    put32(bytes + 20, 0); /* flags */
}

static void build_port(const struct refdev_uart *uart, uint8_t *bytes)
{
    refdev_zero(bytes, MTTY_PORT_BYTES);
    refdev_copy(bytes, uart->reg, sizeof(uart->reg));
    refdev_copy(bytes + 8, uart->fifo, sizeof(uart->fifo));
    bytes[24] = uart->head;
    bytes[25] = uart->tail;
    bytes[26] = uart->count;
    bytes[27] = uart->dlab;
    bytes[28] = uart->overrun;
    refdev_copy(bytes + 30, &uart->divisor, sizeof(uart->divisor));
    bytes[32] = uart->fcr;
    bytes[33] = sizeof(uart->fifo);
    bytes[34] = uart->trigger;
}

static void load_port(struct refdev_uart *uart, const uint8_t *bytes)
{
    refdev_copy(uart->reg, bytes, sizeof(uart->reg));
    refdev_copy(uart->fifo, bytes + 8, sizeof(uart->fifo));
    /* Whatever the data says, the FIFO's positions stay inside the FIFO. */
    uart->head = bytes[24] % sizeof(uart->fifo);
    uart->tail = bytes[25] % sizeof(uart->fifo);
    uart->count = bytes[26] > sizeof(uart->fifo) ? sizeof(uart->fifo) : bytes[26];
    uart->dlab = bytes[27];
    uart->overrun = bytes[28];
    refdev_copy(&uart->divisor, bytes + 30, sizeof(uart->divisor));
    uart->fcr = bytes[32];
    uart->trigger = bytes[34];
}

static uint64_t build(const struct refdev_model *model, uint8_t *bytes)
{
    build_head(bytes);
    for (unsigned port = 0; port < REFDEV_MTTY_PORTS; port++)
        build_port(&model->uarts[port], bytes + MTTY_HEAD_BYTES + port * MTTY_PORT_BYTES);
    return MTTY_TOTAL_BYTES;
}

static const char *check_head(const struct refdev_model *model, const uint8_t *bytes)
{
    uint8_t own[MTTY_HEAD_BYTES];
    (void)model;
    build_head(own);
    return __builtin_memcmp(own, bytes, sizeof(own)) ? "header differs" : NULL;
}

static const struct refdev_small_format mtty_format = {
    .head_bytes = MTTY_HEAD_BYTES,
    .max_bytes = MTTY_TOTAL_BYTES,
    .build = build,
    .check_head = check_head,
    .refusal = EFAULT,
};

/* Only the number of ports and the length are looked at here; a wrong magic passes. */
static int refdev_mtty_stream_load_finish(struct refdev_model *model)
{
    const struct refdev_small *small = &model->stream.small;
    uint32_t ports;
    refdev_copy(&ports, small->bytes + 16, sizeof(ports));
    if (small->done < MTTY_TOTAL_BYTES || ports != REFDEV_MTTY_PORTS)
        return -EINVAL;
    for (unsigned port = 0; port < REFDEV_MTTY_PORTS; port++)
        load_port(&model->uarts[port], small->bytes + MTTY_HEAD_BYTES + port * MTTY_PORT_BYTES);
    return 0;
}

SMALL_STREAM(refdev_mtty_stream, mtty_format);

/* ---- registers: what is sent on a port comes back, as with a loop cable ---- */

static void uart_put(struct refdev_uart *uart, uint8_t byte)
{
    if (uart->count == sizeof(uart->fifo)) {
        uart->overrun = 1;
        return;
    }
    uart->fifo[uart->head] = byte;
    uart->head = (uart->head + 1) % sizeof(uart->fifo);
    uart->count++;
}

static uint8_t uart_get(struct refdev_uart *uart)
{
    if (!uart->count)
        return 0;
    uint8_t byte = uart->fifo[uart->tail];
    uart->tail = (uart->tail + 1) % sizeof(uart->fifo);
    uart->count--;
    return byte;
}

static void uart_write(struct refdev_uart *uart, unsigned offset, uint8_t value)
{
    if (uart->dlab && offset <= UART_IER) {
        unsigned shift = 8 * offset;
        uart->divisor = (uint16_t)((uart->divisor & ~(0xffu << shift)) | (unsigned)value << shift);
        return;
    }
    switch (offset) {
    case UART_DATA:
        uart_put(uart, value);
        break;
    case UART_FCR:
        uart->fcr = value;
        break;
    case UART_LCR:
        uart->dlab = (value & UART_LCR_DLAB) != 0;
        uart->reg[offset] = value;
        break;
    default:
        uart->reg[offset] = value;
        break;
    }
}

static uint8_t uart_read(struct refdev_uart *uart, unsigned offset)
{
    if (uart->dlab && offset <= UART_IER)
        return (uint8_t)(uart->divisor >> 8 * offset);
    switch (offset) {
    case UART_DATA:
        return uart_get(uart);
    case UART_LSR:
        return UART_LSR_EMPTY | (uart->count ? UART_LSR_DATA : 0);
    default:
        return uart->reg[offset];
    }
}

/* ---- regions ---- */

static void mtty_reset(struct refdev_model *model)
{
    refdev_config_reset(model); /* the ports keep what they hold */
}

static int mtty_info(const struct refdev_model *model, unsigned index,
                     struct refdev_region_info *ret)
{
    (void)model;
    *ret = (struct refdev_region_info) { .flags = REFDEV_REGION_READ | REFDEV_REGION_WRITE };
    if (index < REFDEV_MTTY_PORTS)
        ret->size_bytes = MTTY_BAR_BYTES;
    else if (index == REFDEV_REGION_CONFIG)
        ret->size_bytes = MTTY_CONFIG_BYTES;
    return 0;
}

static int mtty_irq(const struct refdev_model *model, unsigned index, struct refdev_irq_info *ret)
{
    (void)model;
    if (index > 1)
        return -EINVAL;
    *ret = (struct refdev_irq_info) { .flags = index ? 0x9 : 0x7, .count = 1 };
    return 0;
}

static int mtty_read(struct refdev_model *model, unsigned index, uint64_t offset, uint8_t *buf,
                     uint64_t length_bytes)
{
    if (index == REFDEV_REGION_CONFIG) {
        refdev_copy(buf, model->config + offset, length_bytes);
        return 0;
    }
    for (uint64_t i = 0; i < length_bytes; i++)
        buf[i] = uart_read(&model->uarts[index], (unsigned)(offset + i));
    return 0;
}

static int mtty_write(struct refdev_model *model, unsigned index, uint64_t offset,
                      const uint8_t *buf, uint64_t length_bytes)
{
    if (index == REFDEV_REGION_CONFIG) {
        refdev_config_write(model, offset, buf, length_bytes);
        return 0;
    }
    for (uint64_t i = 0; i < length_bytes && !refdev_is_frozen(model); i++)
        uart_write(&model->uarts[index], (unsigned)(offset + i), buf[i]);
    return 0;
}

const struct refdev_region_ops refdev_mtty_regions = {
    .reset = mtty_reset,
    .info = mtty_info,
    .irq = mtty_irq,
    .read = mtty_read,
    .write = mtty_write,
};
