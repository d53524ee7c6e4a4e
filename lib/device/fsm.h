/* SPDX-License-Identifier: BSD-3-Clause */
/* The VFIO migration state machine as one table; who may go where, and through what. */
#ifndef LIB_DEVICE_FSM_H
#define LIB_DEVICE_FSM_H

#include <stdbool.h>
#include <stdint.h>
#include <vfio-migrate/device.h>

/* Does a device with these migration flags have @state (ERROR included)? */
bool fsm_has_state(uint64_t flags, enum vmig_state state);

/* The next state on the way from @from to @to, @to itself when they are one arc apart, @from when
 * they are equal, -EINVAL when there is no way. */
int fsm_next(uint64_t flags, enum vmig_state from, enum vmig_state to);

/* Does the single arc @from -> @to start a new data stream; does it end one? */
bool fsm_arc_opens_data(enum vmig_state from, enum vmig_state to);
bool fsm_arc_ends_data(enum vmig_state from, enum vmig_state to);

/* Number of arcs on the way, 0 when equal, -EINVAL when there is no way. */
int fsm_distance(uint64_t flags, enum vmig_state from, enum vmig_state to);

#endif
