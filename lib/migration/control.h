/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: one JSON object a line, {"execute": NAME, "arguments": {...}}, answered by
 * one line, {"return": {...}} or {"error": {"code","reason","text"}}. It serves `vfio-migrate
 * resolve`, and the other side when that wants to run.
 *
 *   status    returns {"status","side","migration","unresolved","waiting"}
 *   events    the same; then a line {"event","status","stage",...} for each event until
 *             {"event":"end"} or the client leaves, see listeners.h
 *   cancel    returns {"now"}, or the error "too-late"
 *   continue  goes on from pre-switchover; returns {"now"}, or the error "wrong-status"
 *   resolve   {"what":"run"|"discard", "other-side-gone":bool}
 *   yield     {"migration"}: the other side wants to run; returns {"answer"}
 *   i-run     {"migration"}: the other side runs now
 */
#ifndef LIB_MIGRATION_CONTROL_H
#define LIB_MIGRATION_CONTROL_H

#include <jansson.h>
#include <vfio-migrate/migration.h>
#include "lib/migration/handover.h"

struct control;

int control_new(struct vmig_migration *m, const char *path, struct control **ret,
                struct vmig_error *err);
struct control *control_free(struct control *control);

/* Where this side can be reached, for the first words; NULL without a control socket. */
json_t *control_where(struct vmig_migration *m);
/* Remember where the other side can be. @where may be NULL. */
void control_note_peer(struct vmig_migration *m, json_t *where);

/* Ask the other side to yield. */
enum handover_answer control_ask_peer(struct vmig_migration *m, struct vmig_error *err);
/* Tell it that this side runs; nothing depends on its arriving. */
void control_tell_peer(struct vmig_migration *m);

/* Send one request to @path and wait for the answer: the object under "return", or NULL and @err.
 */
json_t *control_call(const char *path, json_t *take_request, struct vmig_error *err);

/* Hear what happens at @path: the status under {"event":"begin",...}, then one object an event, the
 * last one {"event":"end"}. 0 then; -ECONNRESET without that last one. @err must not be NULL. */
typedef void control_heard(void *opaque, json_t *line);
int control_listen(const char *path, control_heard *heard, void *opaque, struct vmig_error *err);

#endif
