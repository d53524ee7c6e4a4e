/* SPDX-License-Identifier: BSD-3-Clause */
/* What stands in the way, and what should be known, with nothing tried. */
#ifndef CMD_CHECK_H
#define CMD_CHECK_H

#include "cmd/cmd.h"

/* Print it, as text or JSON. CMD_DONE: it could be sent; CMD_REFUSED: there is a blocker. */
enum cmd_exit check_report(struct vmig_migration *migration, bool json);

#endif
