/* SPDX-License-Identifier: BSD-3-Clause */
/* What the demo prints at its end: phases, devices, pause predicted and measured, verdict. */
#ifndef CMD_DEMO_REPORT_H
#define CMD_DEMO_REPORT_H

#include "cmd/cmd.h"

/* @result: statistics_json() with "verified" and "verification". */
void demo_report(json_t *result, bool json, bool quiet);

/* What a verification found wrong, in words. Returns @buf. */
const char *demo_damage(json_t *verification, char *buf, size_t size);

#endif
