/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text form of faults. The words and what may be combined are tables; a text that says
 * something senseless is refused with the reason, so that nobody waits for a fault that cannot
 * happen.
 */
#include "lib/device/fsm.h"
#include "refdev/model/fault.h"

const char *const refdev_fault_whats[] = { "fail",  "error",   "hang",     "late",   "lie",
                                           "short", "corrupt", "truncate", "vanish", NULL };
_Static_assert(sizeof(refdev_fault_whats) / sizeof(char *) == REFDEV_WHAT_COUNT + 1, "a word each");

const char *const refdev_fault_wheres[] = { "arc", "read", "write", "byte", "command", NULL };
_Static_assert(sizeof(refdev_fault_wheres) / sizeof(char *) == REFDEV_WHERE_COUNT + 1,
               "a word each");

const char *const refdev_fault_states[] = { "ERROR",     "STOP",         "RUNNING",
                                            "STOP_COPY", "RESUMING",     "RUNNING_P2P",
                                            "PRE_COPY",  "PRE_COPY_P2P", NULL };
_Static_assert(sizeof(refdev_fault_states) / sizeof(char *) == VMIG_STATE_COUNT + 1, "a word each");

#define BIT(name) (1u << REFDEV_COMMAND_##name)

const char *const refdev_fault_commands[] = {
    "version",   "dma-map",     "dma-unmap",    "device-info", "region-info", "irq-info",
    "set-irqs",  "region-read", "region-write", "reset",       "probe",       "flags",
    "state",     "get-state",   "set-state",    "size",        "info",        "reinit",
    "log-start", "log-stop",    "log-report",   "data-read",   "data-write",  NULL,
};

/* In the order of the words. */
static const uint32_t command_bits[] = {
    BIT(VERSION),
    BIT(DMA_MAP),
    BIT(DMA_UNMAP),
    BIT(DEVICE_INFO),
    BIT(REGION_INFO),
    BIT(IRQ_INFO),
    BIT(SET_IRQS),
    BIT(REGION_READ),
    BIT(REGION_WRITE),
    BIT(RESET),
    BIT(PROBE),
    BIT(FLAGS),
    BIT(GET_STATE) | BIT(SET_STATE),
    BIT(GET_STATE),
    BIT(SET_STATE),
    BIT(SIZE),
    BIT(INFO),
    BIT(REINIT),
    BIT(LOG_START),
    BIT(LOG_STOP),
    BIT(LOG_REPORT),
    BIT(DATA_READ),
    BIT(DATA_WRITE),
};
_Static_assert(sizeof(command_bits) / sizeof(uint32_t) + 1 ==
                   sizeof(refdev_fault_commands) / sizeof(char *),
               "bits for each word");

#define SENSELESS "makes no sense: "
#define NO_BYTES "has no bytes of state; use read, write or byte"

/* Why a combination makes no sense; NULL: it does. */
static const char *const senseless[REFDEV_WHAT_COUNT][REFDEV_WHERE_COUNT] = {
    [REFDEV_LIE] = { [REFDEV_AT_ARC] = SENSELESS "an arc says nothing; use lie:STATE@command/state",
                     [REFDEV_AT_WRITE] =
                         SENSELESS "the answer to a write says nothing that could be a lie",
                     [REFDEV_AT_BYTE] = SENSELESS "bytes that are not true are corrupt@byte" },
    [REFDEV_SHORT] = { [REFDEV_AT_ARC] = SENSELESS "an arc " NO_BYTES,
                       [REFDEV_AT_WRITE] =
                           SENSELESS "a write is taken whole or refused; nothing tells the "
                                     "client that a part was taken",
                       [REFDEV_AT_COMMAND] =
                           SENSELESS "only reads of state can be short; use short@read" },
    [REFDEV_CORRUPT] = { [REFDEV_AT_ARC] = SENSELESS "an arc " NO_BYTES,
                         [REFDEV_AT_COMMAND] = SENSELESS "a command " NO_BYTES },
    [REFDEV_TRUNCATE] = { [REFDEV_AT_ARC] = SENSELESS "an arc " NO_BYTES,
                          [REFDEV_AT_COMMAND] = SENSELESS "a command " NO_BYTES },
};

/* The numbers are those of Linux on all architectures that matter. */
static const struct {
    const char *name;
    int number;
} errnos[] = {
    { "EPERM", EPERM },           { "ENOENT", ENOENT },
    { "EINTR", EINTR },           { "EIO", EIO },
    { "ENXIO", ENXIO },           { "E2BIG", E2BIG },
    { "EBADF", EBADF },           { "EAGAIN", EAGAIN },
    { "ENOMEM", ENOMEM },         { "EACCES", EACCES },
    { "EFAULT", EFAULT },         { "EBUSY", EBUSY },
    { "EEXIST", EEXIST },         { "ENODEV", ENODEV },
    { "EINVAL", EINVAL },         { "EMFILE", EMFILE },
    { "ENOTTY", ENOTTY },         { "EFBIG", EFBIG },
    { "ENOSPC", ENOSPC },         { "EROFS", EROFS },
    { "EPIPE", EPIPE },           { "ERANGE", ERANGE },
    { "ENOSYS", ENOSYS },         { "ENOMSG", ENOMSG },
    { "ENODATA", ENODATA },       { "ETIME", ETIME },
    { "EPROTO", EPROTO },         { "EOVERFLOW", EOVERFLOW },
    { "EOPNOTSUPP", EOPNOTSUPP }, { "ENOBUFS", ENOBUFS },
    { "ETIMEDOUT", ETIMEDOUT },   { "ECANCELED", ECANCELED },
    { "EREMOTEIO", EREMOTEIO },   { "EHOSTDOWN", EHOSTDOWN },
    { "ECOMM", ECOMM },           { "ENOTRECOVERABLE", ENOTRECOVERABLE },
};

/* ---- spans of text ---- */

struct span {
    const char *at;
    unsigned length;
};

struct parser {
    const char *text;
    struct refdev_fault_error *error;
};

static int bad(const struct parser *p, struct span span, const char *why, const char *const *names)
{
    *p->error = (struct refdev_fault_error) {
        .why = why, .at = (unsigned)(span.at - p->text), .length = span.length, .names = names
    };
    return -EINVAL;
}

static bool is_word(struct span span, const char *word)
{
    unsigned i;
    for (i = 0; i < span.length && word[i] && word[i] == span.at[i]; i++)
        ;
    return i == span.length && !word[i];
}

/* Which of @words it is, or -1. */
static int find_word(struct span span, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (is_word(span, words[i]))
            return i;
    return -1;
}

/* Cut @span at the first @separator: what is before it stays, what follows is @ret_rest. */
static bool cut(struct span *span, char separator, struct span *ret_rest)
{
    for (unsigned i = 0; i < span->length; i++) {
        if (span->at[i] != separator)
            continue;
        *ret_rest = (struct span) { span->at + i + 1, span->length - i - 1 };
        span->length = i;
        return true;
    }
    return false;
}

/* ---- numbers ---- */

static int digit(char c, unsigned base)
{
    int value = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : 99;
    return value < (int)base ? value : -1;
}

/* Take a number from the front of @span. False: there is none, or none of 64 bits. */
static bool take_number(struct span *span, uint64_t *ret)
{
    unsigned base = 10, i = 0;
    uint64_t value = 0;
    if (span->length > 2 && span->at[0] == '0' && span->at[1] == 'x') {
        base = 16;
        i = 2;
    }
    unsigned begin = i;
    for (; i < span->length && digit(span->at[i], base) >= 0; i++)
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (unsigned)digit(span->at[i], base), &value))
            return false;
    *span = (struct span) { span->at + i, span->length - i };
    *ret = value;
    return i > begin;
}

/* A number in units, 1 when @units has "" and none is written. */
struct unit {
    const char *name;
    uint64_t factor;
};

static bool parse_with_unit(struct span span, const struct unit *units, uint64_t *ret)
{
    if (!take_number(&span, ret))
        return false;
    for (; units->name; units++)
        if (is_word(span, units->name))
            return !__builtin_mul_overflow(*ret, units->factor, ret);
    return false;
}

static bool parse_bytes(struct span span, uint64_t *ret)
{
    static const struct unit units[] = { { "", 1 },           { "K", 1ull << 10 },
                                         { "M", 1ull << 20 }, { "G", 1ull << 30 },
                                         { "T", 1ull << 40 }, { NULL, 0 } };
    return parse_with_unit(span, units, ret);
}

static bool parse_time(struct span span, uint64_t *ret)
{
    static const struct unit units[] = {
        { "ns", 1 },         { "us", 1000 },          { "ms", 1000000 },
        { "s", 1000000000 }, { "m", 60000000000ull }, { NULL, 0 }
    };
    return parse_with_unit(span, units, ret);
}

static struct span whole(const char *text)
{
    struct span span = { text, 0 };
    while (text[span.length] && span.length < REFDEV_FAULT_TEXT_MAX)
        span.length++;
    return span;
}

bool refdev_parse_bytes(const char *text, uint64_t *ret)
{
    return parse_bytes(whole(text), ret);
}

bool refdev_parse_time(const char *text, uint64_t *ret)
{
    return parse_time(whole(text), ret);
}

static bool parse_errno(struct span span, int *ret)
{
    uint64_t number;
    for (unsigned i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
        if (is_word(span, errnos[i].name)) {
            *ret = errnos[i].number;
            return true;
        }
    }
    if (!take_number(&span, &number) || span.length || !number || number > 4095)
        return false;
    *ret = (int)number;
    return true;
}

/* ---- values ---- */

/* "5", "5,6", "5," or ",6": what is left out stays true. One alone is both. */
static bool parse_pair(struct span span, struct refdev_fault *fault)
{
    struct span second = { 0 };
    if (!cut(&span, ',', &second))
        second = span;
    fault->lies[0] = span.length;
    fault->lies[1] = second.length;
    return (span.length || second.length) &&
           (!span.length || parse_bytes(span, &fault->values[0])) &&
           (!second.length || parse_bytes(second, &fault->values[1]));
}

static int parse_lie(const struct parser *p, struct span span, struct refdev_fault *fault)
{
    int state = find_word(span, refdev_fault_states);
    bool command = fault->where == REFDEV_AT_COMMAND;
    fault->lies[0] = true;
    if (!command || fault->names == BIT(SIZE))
        return parse_bytes(span, &fault->values[0]) ? 0 : bad(p, span, "is no size", NULL);
    if (fault->names == BIT(INFO))
        return parse_pair(span, fault) ? 0
                                       : bad(p, span,
                                             "is no INITIAL,DIRTY in bytes, for instance "
                                             "4K,0 or ,1G",
                                             NULL);
    if (fault->names == BIT(LOG_REPORT)) {
        if (is_word(span, "0") || is_word(span, "1")) {
            fault->values[0] = span.at[0] == '1';
            return 0;
        }
        return bad(p, span, "is neither 0 (no page is dirty) nor 1 (all are)", NULL);
    }
    if (fault->names == BIT(FLAGS))
        return parse_bytes(span, &fault->values[0]) ? 0
                                                    : bad(p, span, "is no number of flags", NULL);
    fault->names = BIT(GET_STATE); /* setting the state says nothing */
    if (state >= 0)
        fault->values[0] = (uint64_t)state;
    return state >= 0 || parse_bytes(span, &fault->values[0])
               ? 0
               : bad(p, span, "is neither a number nor a state", refdev_fault_states);
}

static int check_lie(const struct parser *p, struct span name, const struct refdev_fault *fault)
{
    const uint32_t can = BIT(SIZE) | BIT(INFO) | BIT(FLAGS) | BIT(GET_STATE) | BIT(LOG_REPORT);
    if (fault->where != REFDEV_AT_COMMAND)
        return 0;
    if (fault->names == (BIT(GET_STATE) | BIT(SET_STATE)) || !(fault->names & ~can))
        return 0;
    return bad(p, name,
               "has no answer that could be a lie; size, info, flags, state and log-report "
               "have",
               NULL);
}

static int parse_value(const struct parser *p, bool given, struct span span,
                       struct refdev_fault *fault)
{
    fault->code = EIO;
    switch (fault->what) {
    case REFDEV_FAIL:
    case REFDEV_ERROR:
        if (!given || parse_errno(span, &fault->code))
            return 0;
        return bad(p, span, "is no errno: a name such as EIO or a number from 1 to 4095", NULL);
    case REFDEV_LATE:
        if (!given || !parse_time(span, &fault->values[0]))
            return bad(p, span, "is no time, which late needs, for instance late:500ms", NULL);
        return fault->values[0] <= REFDEV_FAULT_LATE_MAX_NS
                   ? 0
                   : bad(p, span, "is more than an hour; use hang", NULL);
    case REFDEV_LIE:
        if (!given || !span.length)
            return bad(p, span, "is no value, which lie needs, for instance lie:0@command/size",
                       NULL);
        return parse_lie(p, span, fault);
    case REFDEV_SHORT:
        if (fault->where == REFDEV_AT_BYTE)
            break;
        fault->values[0] = 1;
        if (!given || (parse_bytes(span, &fault->values[0]) && fault->values[0]))
            return 0;
        return bad(p, span, "is no size of at least 1 byte", NULL);
    default:
        break;
    }
    return given ? bad(p, span, "is a value where none belongs", NULL) : 0;
}

/* ---- the whole ---- */

static int parse_name(const struct parser *p, bool given, struct span span,
                      struct refdev_fault *fault)
{
    fault->names = ~0u;
    if (!given)
        return 0;
    if (fault->where != REFDEV_AT_ARC && fault->where != REFDEV_AT_COMMAND)
        return bad(p, span, "is a name, which only arc and command have", NULL);
    bool arc = fault->where == REFDEV_AT_ARC;
    const char *const *words = arc ? refdev_fault_states + 1 : refdev_fault_commands;
    int n = find_word(span, words);
    if (n < 0)
        return bad(p, span, arc ? "is no state that an arc leads to" : "is no command", words);
    fault->names = arc ? 1u << (n + 1) : command_bits[n];
    return 0;
}

static int parse_nth(const struct parser *p, bool given, struct span span,
                     struct refdev_fault *fault)
{
    bool byte = fault->where == REFDEV_AT_BYTE;
    struct span rest = span;
    fault->nth = !byte;
    if (!given)
        return 0;
    fault->from_then_on = span.length && span.at[span.length - 1] == '+';
    rest.length -= fault->from_then_on;
    if (byte ? !parse_bytes(rest, &fault->nth) : !take_number(&rest, &fault->nth) || rest.length)
        return bad(p, span, byte ? "is no offset" : "is no number", NULL);
    if (!fault->nth && !byte)
        return bad(p, span, "is before the first, which is #1", NULL);
    return 0;
}

static int check_nth(const struct parser *p, struct span span, const struct refdev_fault *fault)
{
    if (fault->from_then_on && fault->what == REFDEV_VANISH)
        return bad(p, span, "makes no sense with vanish: after it there is no more device", NULL);
    if (fault->what != REFDEV_SHORT || fault->where != REFDEV_AT_BYTE)
        return 0;
    if (fault->from_then_on)
        return bad(p, span, "is one place; for every read use short@read#1+", NULL);
    return fault->nth ? 0 : bad(p, span, "is the beginning, before which no read can end", NULL);
}

static int parse(const struct parser *p, struct span all, struct refdev_fault *fault)
{
    struct span what = all, value = { 0 }, where = { 0 }, name = { 0 }, nth = { 0 };
    if (!cut(&what, '@', &where))
        return bad(p, all, "has no @WHERE, for instance fail:EIO@arc/STOP_COPY", NULL);
    bool has_value = cut(&what, ':', &value);
    bool has_nth = cut(&where, '#', &nth);
    bool has_name = cut(&where, '/', &name);
    if (!has_value)
        value = what;
    if (!has_nth)
        nth = where;
    if (!has_name)
        name = where;
    int n = find_word(what, refdev_fault_whats), m = find_word(where, refdev_fault_wheres);
    if (n < 0)
        return bad(p, what, "is no fault", refdev_fault_whats);
    if (m < 0)
        return bad(p, where, "is no place for a fault", refdev_fault_wheres);
    fault->what = (enum refdev_fault_what)n;
    fault->where = (enum refdev_fault_where)m;
    if (senseless[n][m])
        return bad(p, all, senseless[n][m], NULL);
    int rc = parse_name(p, has_name, name, fault);
    if (!rc && fault->what == REFDEV_LIE)
        rc = check_lie(p, name, fault);
    if (!rc)
        rc = parse_value(p, has_value, value, fault);
    if (!rc)
        rc = parse_nth(p, has_nth, nth, fault);
    return rc ? rc : check_nth(p, nth, fault);
}

int refdev_fault_parse_why(const char *text, struct refdev_fault *ret,
                           struct refdev_fault_error *ret_error)
{
    struct refdev_fault fault;
    struct parser p = { text, ret_error };
    struct span all = whole(text);
    refdev_zero(&fault, sizeof(fault));
    if (all.length == REFDEV_FAULT_TEXT_MAX)
        return bad(&p, all, "is longer than any fault", NULL);
    int rc = parse(&p, all, &fault);
    if (rc)
        return rc;
    refdev_copy(fault.text, text, all.length);
    *ret = fault;
    return 0;
}

int refdev_fault_parse(const char *text, struct refdev_fault *ret)
{
    struct refdev_fault_error error;
    return refdev_fault_parse_why(text, ret, &error);
}
