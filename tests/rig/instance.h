/* SPDX-License-Identifier: BSD-3-Clause */
/* Instances of the project's kernel module, and one opened with nothing but ioctls. */
#ifndef TESTS_RIG_INSTANCE_H
#define TESTS_RIG_INSTANCE_H

#include <stddef.h>
#include <stdint.h>

struct instance {
    char uuid[37];
};

/* Ends the program with a skipped test when the module is not loaded. */
void instances_required(void);

void instance_create(struct instance *instance, const char *profile);
/* Waits until nobody has it open. */
void instance_remove(const struct instance *instance);

/* Write an attribute (its folder refdev/): 0 or a negative errno; x_set() must succeed. */
int instance_set(const struct instance *instance, const char *name, const char *value);
void x_set(const struct instance *instance, const char *name, const char *value);
/* Its contents without the newline at the end, in a static buffer. */
const char *instance_get(const struct instance *instance, const char *name);
/* Wait until it is @value, a minute at most. */
void await_attribute(const struct instance *instance, const char *name, const char *value);

/* ---- by ioctl, over its group ---- */

struct raw {
    int container, group, device; /* -1: closed */
};

/* 0 or a negative errno of the one call that gives the device. */
int raw_open(const struct instance *instance, struct raw *ret);
void x_raw_open(const struct instance *instance, struct raw *ret);
void raw_close(struct raw *raw);

/* Migration state. @ret_data_fd: -1 where none was given; may be NULL, then it is closed. */
int raw_set_state(const struct raw *raw, unsigned state, int *ret_data_fd);
unsigned raw_state(const struct raw *raw);

/* A register of BAR 0. */
uint64_t raw_register(const struct raw *raw, unsigned offset);
void raw_write_register(const struct raw *raw, unsigned offset, uint64_t value);
/* Where region @index is in the device fd. */
uint64_t raw_region(const struct raw *raw, unsigned index);

#endif
