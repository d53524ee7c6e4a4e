/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first words: what the source wants to move, checked against what the target has before
 * anything is touched, and the answer. JSON, because it grows; bounded by a command's 64 KiB.
 *
 * {"protocol":1, "migration":"32 hex digits", "channels":1, "switchover-ack":true,
 *  "numbered-acks":true,
 *  "participants":[{"id","kind","identity","precopy"}], "ram":[{"name","iova","size"}],
 *  "vmstate":[{"name","instance","version"}], "offers":{"id":"hex digits"}, "control":{"path","boot"}}
 * The target's list must have the same entries; the order is the source's and numbers them from
 * here on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/control.h"
#include "lib/migration/migration.h"
#include "lib/migration/participants.h"
#include "lib/participant/device.h"

static const char *const kind_names[] = {
    [PARTICIPANT_RAM] = "ram",
    [PARTICIPANT_DEVICE] = "device",
    [PARTICIPANT_OTHER] = "other",
};

static void hex(const uint8_t *bytes, size_t count, char *ret)
{
    for (size_t i = 0; i < count; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

static bool unhex(const char *text, uint8_t *ret, size_t count)
{
    if (!text || strlen(text) != 2 * count || strspn(text, "0123456789abcdef") != 2 * count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (sscanf(text + 2 * i, "%2hhx", &ret[i]) != 1)
            return false;
    return true;
}

/* Whatever did not fit into memory makes all of it NULL: a list that lacks something would be refused
 * by the other side, for a reason that is none. */
static json_t *append(json_t *take_list, json_t *take_entry)
{
    if (json_array_append_new(take_list, take_entry) == 0)
        return take_list;
    json_decref(take_list);
    return NULL;
}

static json_t *participants_json(const struct vmig_migration *m)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        bool precopy = p->device && m->parameters[PARAMETER_PRE_COPY] &&
                       participant_device_will_precopy(p->opaque);
        list =
            append(list, json_pack("{s:s, s:s, s:s, s:b}", "id", p->id, "kind", kind_names[p->kind],
                                   "identity", p->identity, "precopy", precopy));
    }
    return list;
}

static json_t *ram_json(const struct vmig_migration *m)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < m->ram->num_blocks; i++) {
        const struct vmig_ram_block *b = &m->ram->blocks[i].desc;
        list = append(list, json_pack("{s:s, s:I, s:I}", "name", b->name, "iova",
                                      (json_int_t)b->iova, "size", (json_int_t)b->size_bytes));
    }
    return list;
}

/* A message has 64 KiB. Where there are more names than fit into half of it they are left out: what is
 * refused here early is refused in the pause for certain. */
#define VMSTATE_NAMES_MAX 32768u

static json_t *vmstate_json(const struct vmig_migration *m)
{
    size_t bytes = 0;
    json_t *list = json_array();
    for (unsigned i = 0; list && i < m->vmstates.count; i++) {
        const struct vmstate_section *s = &m->vmstates.sections[i];
        bytes += strlen(s->idstr) + 64; /* of keys and numbers */
        list = append(list, json_pack("{s:s, s:I, s:I}", "name", s->idstr, "instance",
                                      (json_int_t)s->instance_id, "version",
                                      (json_int_t)s->vmsd->version));
    }
    if (bytes <= VMSTATE_NAMES_MAX)
        return list;
    json_decref(list);
    return json_null();
}

static char *dump(json_t *take)
{
    char *text = take ? json_dumps(take, JSON_COMPACT) : NULL;
    json_decref(take);
    return text;
}

/* What a participant's own operation said, or that it said nothing. */
static int refused_by(const struct participant *p, int rc, struct vmig_error *err)
{
    error_set(err, rc, VMIG_STAGE_PREPARE, p->id, NULL, "refused: %s", strerror(-rc));
    error_locate(err, VMIG_STAGE_PREPARE, p->id);
    return rc;
}

static int add_offer(const struct participant *p, size_t *room, json_t *list,
                     struct vmig_error *err)
{
    uint8_t bytes[VMIG_OFFERS_BYTES_MAX];
    char text[2 * sizeof(bytes) + 1] = "";
    size_t length = 0;
    int rc = p->ops->offer(p->opaque, bytes, *room, &length, err);
    if (rc < 0)
        return refused_by(p, rc, err);
    if (length > *room)
        return error_set(err, E2BIG, VMIG_STAGE_PREPARE, p->id, NULL,
                         "it offers %zu bytes, and there is room for %zu of %d", length, *room,
                         VMIG_OFFERS_BYTES_MAX);
    hex(bytes, length, text);
    *room -= length;
    return json_object_set_new(list, p->id, json_string(text)) == 0
               ? 0
               : error_set(err, ENOMEM, VMIG_STAGE_PREPARE, p->id, NULL, "out of memory");
}

static int offers_json(const struct vmig_migration *m, json_t *list, struct vmig_error *err)
{
    size_t room = VMIG_OFFERS_BYTES_MAX;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < m->num_participants; i++)
        if (m->participants[i]->ops->offer)
            rc = add_offer(m->participants[i], &room, list, err);
    return rc;
}

int hello_request(struct vmig_migration *m, char **ret, struct vmig_error *err)
{
    char identity[33];
    json_t *offers = json_object();
    int rc = offers_json(m, offers, err);
    if (rc < 0) {
        json_decref(offers);
        return rc;
    }
    hex(m->identity, sizeof(m->identity), identity);
    *ret = dump(json_pack(
        "{s:i, s:s, s:I, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o*}", "protocol", WIRE_PROTOCOL,
        "migration", identity, "channels", (json_int_t)m->lanes_wanted, "switchover-ack",
        (int)m->switchover_ack, "numbered-acks", (int)(m->switchover_ack && !m->unnumbered_acks),
        "ram-digest", (int)m->ram_digest, "participants", participants_json(m), "ram", ram_json(m),
        "vmstate", vmstate_json(m), "offers", offers, "control", control_where(m)));
    return *ret ? 0 : error_set(err, ENOMEM, VMIG_STAGE_PREPARE, NULL, NULL, "out of memory");
}

char *hello_reply(struct vmig_migration *m)
{
    return dump(json_pack("{s:i, s:i, s:b, s:b, s:o*}", "protocol", WIRE_PROTOCOL, "window",
                          (int)WIRE_WINDOW_BYTES, "numbered-acks", (int)m->numbered_acks,
                          "run-state", (int)!m->no_run_state, "control", control_where(m)));
}

static int refuse(struct vmig_error *err, const char *device, const char *reason,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

static int refuse(struct vmig_error *err, const char *device, const char *reason,
                  const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return error_set(err, EINVAL, VMIG_STAGE_PREPARE, device, reason, "%s", text);
}

static int check_participant(struct vmig_migration *m, json_t *entry, unsigned index,
                             struct vmig_error *err)
{
    const char *id, *kind, *identity;
    int precopy;
    if (json_unpack(entry, "{s:s, s:s, s:s, s:b}", "id", &id, "kind", &kind, "identity", &identity,
                    "precopy", &precopy) != 0)
        return refuse(err, NULL, "bad-stream", "the list of participants is malformed");
    struct participant *p = participant_find(m, id);
    if (!p)
        return refuse(
            err, id, "layout-mismatch",
            "the source sends \"%.60s\" and the target has nothing of that name; give both "
            "sides the same devices and memory",
            id);
    if (strcmp(kind, kind_names[p->kind]) != 0)
        return refuse(err, id, "layout-mismatch", "it is a %.20s at the source and a %s here", kind,
                      kind_names[p->kind]);
    if (strcmp(identity, p->identity) != 0)
        return refuse(err, id, "foreign-device",
                      "the source's device is %.60s, this one is %.60s; use a device of the same "
                      "kind",
                      identity, p->identity);
    p->precopy = precopy;
    /* take the source's numbering */
    struct participant *other = m->participants[index];
    if (index > p->index)
        return refuse(err, id, "layout-mismatch", "the source lists \"%.60s\" twice", id);
    LOCK_SCOPE(&m->lock); /* somebody may ask how it goes */
    m->participants[p->index] = other;
    other->index = p->index;
    m->participants[index] = p;
    p->index = index;
    return 0;
}

static int check_block(struct vmig_migration *m, json_t *entry, unsigned index,
                       struct vmig_error *err)
{
    const char *name;
    json_int_t iova, size;
    if (json_unpack(entry, "{s:s, s:I, s:I}", "name", &name, "iova", &iova, "size", &size) != 0)
        return refuse(err, NULL, "bad-stream", "the list of memory blocks is malformed");
    struct ram_block *b = ram_find(m->ram, name);
    if (!b)
        return refuse(err, "ram", "layout-mismatch", "the target has no memory block \"%.60s\"",
                      name);
    if (b->desc.iova != (uint64_t)iova || b->desc.size_bytes != (uint64_t)size)
        return refuse(err, "ram", "layout-mismatch",
                      "block \"%.60s\" is %" PRIu64 " bytes at IOVA %#" PRIx64
                      " at the source and %" PRIu64 " bytes at %#" PRIx64
                      " at the target; make them the same",
                      name, (uint64_t)size, (uint64_t)iova, b->desc.size_bytes, b->desc.iova);
    struct ram_block *other = &m->ram->blocks[index], swap = *other;
    if (b < other)
        return refuse(err, "ram", "layout-mismatch", "the source lists block \"%.60s\" twice",
                      name);
    *other = *b;
    *b = swap;
    return 0;
}

static bool is_listed(json_t *list, const char *id)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "id"));
        if (name && strcmp(name, id) == 0)
            return true;
    }
    return false;
}

/* One of those that are at one side only: the longer list has some, unless it is no proper one. */
static const char *find_single(struct vmig_migration *m, json_t *list)
{
    if (json_array_size(list) < m->num_participants) {
        for (unsigned i = 0; i < m->num_participants; i++)
            if (!is_listed(list, m->participants[i]->id))
                return m->participants[i]->id;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "id"));
        if (name && !participant_find(m, name))
            return name;
    }
    return "";
}

static int check_lists(struct vmig_migration *m, json_t *participants, json_t *ram,
                       struct vmig_error *err)
{
    if (json_array_size(participants) != m->num_participants)
        return refuse(err, NULL, "layout-mismatch",
                      "the source moves %zu participants and the target has %u, \"%.60s\" is at "
                      "one of them only; give both sides the same devices and memory",
                      json_array_size(participants), m->num_participants,
                      find_single(m, participants));
    if (json_array_size(ram) != m->ram->num_blocks)
        return refuse(err, "ram", "layout-mismatch",
                      "the source has %zu memory blocks and the target %u", json_array_size(ram),
                      m->ram->num_blocks);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < m->num_participants; i++)
        rc = check_participant(m, json_array_get(participants, i), i, err);
    for (unsigned i = 0; rc == 0 && i < m->ram->num_blocks; i++)
        rc = check_block(m, json_array_get(ram, i), i, err);
    return rc;
}

static int check_vmstate(const struct vmig_migration *m, json_t *entry, struct vmig_error *err)
{
    const char *name;
    json_int_t instance, version;
    if (json_unpack(entry, "{s:s, s:I, s:I}", "name", &name, "instance", &instance, "version",
                    &version) != 0)
        return refuse(err, NULL, "bad-stream", "the list of vmstates is malformed");
    const struct vmstate_section *s = vmstates_find(&m->vmstates, name, (uint32_t)instance);
    if (!s)
        return refuse(err, NULL, "layout-mismatch",
                      "the source has vmstate \"%.80s\" instance %lld and the target has not; give "
                      "both sides the same devices",
                      name, (long long)instance);
    if (version < s->vmsd->minimum_version || version > s->vmsd->version)
        return refuse(err, NULL, "format-version",
                      "vmstate \"%.80s\" has version %lld at the source, and %" PRIu32
                      " to %" PRIu32 " are known here; use the same version on both sides",
                      name, (long long)version, s->vmsd->minimum_version, s->vmsd->version);
    return 0;
}

static bool is_offered(json_t *list, const struct vmstate_section *s)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        if (strcmp(json_string_value(json_object_get(entry, "name")), s->idstr) == 0 &&
            json_integer_value(json_object_get(entry, "instance")) == s->instance_id)
            return true;
    }
    return false;
}

static int check_vmstates(const struct vmig_migration *m, json_t *list, struct vmig_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = check_vmstate(m, json_array_get(list, i), err);
    for (unsigned i = 0; rc == 0 && json_is_array(list) && i < m->vmstates.count; i++) {
        const struct vmstate_section *s = &m->vmstates.sections[i];
        if (!s->vmsd->needed && !is_offered(list, s))
            rc = refuse(err, NULL, "layout-mismatch",
                        "the target has vmstate \"%.80s\" instance %" PRIu32
                        " and the source has not; give both sides the same devices",
                        s->idstr, s->instance_id);
    }
    return rc;
}

/* In our order, and only of whom is asked. */
static int check_offers(const struct vmig_migration *m, json_t *list, struct vmig_error *err)
{
    uint8_t bytes[VMIG_OFFERS_BYTES_MAX];
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        json_t *offer = json_object_get(list, p->id);
        const char *text = json_string_value(offer);
        if (!p->ops->accept || !offer)
            continue;
        size_t length = json_string_length(offer) / 2;
        if (length > sizeof(bytes) || !unhex(text, bytes, length))
            return refuse(err, p->id, "bad-stream", "what the source offers is malformed");
        rc = p->ops->accept(p->opaque, bytes, length, err);
        if (rc < 0)
            refused_by(p, rc, err);
    }
    return rc;
}

static int check_header(struct vmig_migration *m, json_t *root, struct vmig_error *err)
{
    const char *identity = NULL;
    json_int_t protocol = 0, channels = -1;
    int ack = 0, numbered = 0, digest = 0;
    json_unpack(root, "{s:I, s:s, s:I, s:b, s?b, s?b}", "protocol", &protocol, "migration",
                &identity, "channels", &channels, "switchover-ack", &ack, "numbered-acks",
                &numbered, "ram-digest", &digest);
    if (protocol != WIRE_PROTOCOL)
        return refuse(err, NULL, "protocol-version",
                      "the source speaks protocol %lld, this side %d; use the same version on both",
                      (long long)protocol, WIRE_PROTOCOL);
    uint8_t bytes[sizeof(m->identity)];
    if (!unhex(identity, bytes, sizeof(bytes)) || channels < 0 || channels > LANES_MAX)
        return refuse(err, NULL, "bad-stream", "the source's first message is malformed");
    run_set_identity(m, bytes);
    m->lanes_wanted = (unsigned)channels;
    m->switchover_ack = ack;
    m->numbered_acks = ack && numbered;
    m->ram_digest = digest;
    m->carrier = channels ? &carrier_lanes : &carrier_sections;
    return 0;
}

int hello_accept(struct vmig_migration *m, const char *json, size_t length, struct vmig_error *err)
{
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, NULL);
    int rc = root ? check_header(m, root, err)
                  : refuse(err, NULL, "bad-stream", "the source's first message is no JSON");
    if (rc == 0)
        rc = check_lists(m, json_object_get(root, "participants"), json_object_get(root, "ram"),
                         err);
    if (rc == 0)
        rc = check_vmstates(m, json_object_get(root, "vmstate"), err);
    if (rc == 0)
        rc = check_offers(m, json_object_get(root, "offers"), err);
    if (rc == 0)
        control_note_peer(m, json_object_get(root, "control"));
    json_decref(root);
    return rc;
}

int hello_accept_reply(struct vmig_migration *m, const char *json, size_t length,
                       struct vmig_error *err)
{
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, NULL);
    json_int_t protocol = 0, window = 0;
    int numbered = 0, run_state = 0;
    json_unpack(root, "{s:I, s:I, s?b, s?b}", "protocol", &protocol, "window", &window,
                "numbered-acks", &numbered, "run-state", &run_state);
    int rc = 0;
    if (protocol != WIRE_PROTOCOL || window < WIRE_CHUNK_BYTES || window > INT_MAX)
        rc = refuse(err, NULL, "protocol-version",
                    "the target answered with protocol %lld and a window of %lld bytes; use the "
                    "same version on both sides",
                    (long long)protocol, (long long)window);
    if (rc == 0) {
        control_note_peer(m, json_object_get(root, "control"));
        LOCK_SCOPE(&m->lock);
        m->window_bytes = (uint64_t)window;
        m->numbered_acks = m->switchover_ack && numbered;
        m->peer_run_state = run_state;
        for (unsigned i = 0; i < m->num_participants; i++)
            m->participants[i]->credit_bytes = m->window_bytes;
    }
    json_decref(root);
    return rc;
}

char *hello_failure(const struct vmig_error *err)
{
    return dump(json_pack("{s:i, s:i, s:s, s:s, s:s}", "code", err->code, "stage", (int)err->stage,
                          "device", err->device, "reason", err->reason, "text", err->text));
}

void hello_read_failure(const char *json, size_t length, struct vmig_error *ret)
{
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, NULL);
    json_int_t code = 0, stage = 0;
    const char *device = "", *reason = "", *text = "";
    json_unpack(root, "{s?I, s?I, s?s, s?s, s?s}", "code", &code, "stage", &stage, "device",
                &device, "reason", &reason, "text", &text);
    if (code >= 0 || code < -4095)
        code = -EREMOTEIO;
    if (code == -ECANCELED || code == -EUCLEAN)
        code = -ECONNABORTED; /* that was there: nobody cancelled here, and nothing hangs */
    bool theirs = strncmp(reason, "device-", 7) == 0 || strcmp(reason, "cancelled") == 0;
    char prefixed[sizeof(ret->reason)];
    snprintf(prefixed, sizeof(prefixed), "%s%s", theirs ? "target-" : "", reason);
    if (stage < 0 || stage >= VMIG_STAGE_COUNT)
        stage = VMIG_STAGE_NONE;
    error_set(ret, (int)code, (enum vmig_stage)stage, device, prefixed, "%s",
              text[0] ? text : "no reason was given");
    json_decref(root);
}
