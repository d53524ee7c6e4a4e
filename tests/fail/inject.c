/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fail/inject.h"

#define FRAMES_MAX 24
#define PLACES_MAX 8192

static __thread enum inject_side acts_for;

static struct {
    pthread_mutex_t lock;
    /* read without it by calls that do not count */
    _Atomic enum inject_side side; /* NOBODY: disarmed */
    struct inject_plan plan;
    uint64_t count;
    struct injected last;
    void *frames[FRAMES_MAX];
    int num_frames;
    uint64_t places[PLACES_MAX];
    unsigned num_places;
    /* the watch */
    pthread_t watch;
    bool watching;
    time_t deadline; /* 0: none */
    char what[120];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static atomic_long allocations, mappings;

enum inject_side inject_act_for(enum inject_side side)
{
    enum inject_side before = acts_for;
    acts_for = side;
    return before;
}

void inject_arm(const struct inject_plan *plan, enum inject_side side)
{
    void *warm[2];
    backtrace(warm, 2); /* its first call loads a library */
    pthread_mutex_lock(&state.lock);
    state.plan = *plan;
    state.count = 0;
    state.num_frames = 0;
    state.last = (struct injected) { .fd = -1, .text = "no call" };
    atomic_store(&state.side, side);
    pthread_mutex_unlock(&state.lock);
}

void inject_disarm(void)
{
    pthread_mutex_lock(&state.lock);
    atomic_store(&state.side, INJECT_NOBODY);
    pthread_mutex_unlock(&state.lock);
}

const struct injected *inject_last(void)
{
    return &state.last;
}

/* ---- the calls ---- */

/* Three callers tell places apart that share what is called by everybody; two where nothing but a
 * loop around the call is in question. */
static const int place_frames[INJECT_KINDS] = { [INJECT_ERRORS] = 3, [INJECT_HICCUPS] = 2 };

static uint64_t place_of(void *const *frames, int count)
{
    uint64_t hash = 2 * (uint64_t)acts_for + state.plan.kind;
    for (int i = 0; i < count && i < place_frames[state.plan.kind]; i++)
        hash = (hash ^ (uintptr_t)frames[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return hash;
}

static bool is_new_place(uint64_t place)
{
    for (unsigned i = 0; i < state.num_places; i++)
        if (state.places[i] == place)
            return false;
    if (state.num_places < PLACES_MAX)
        state.places[state.num_places++] = place;
    return true;
}

static unsigned length_of(const int *list)
{
    unsigned count = 0;
    while (count < 4 && list[count])
        count++;
    return count;
}

static void note(const char *call, int fd, int fault)
{
    struct injected *l = &state.last;
    bool plain = fault == INJECT_SHORT || fault == INJECT_SPURIOUS;
    *l = (struct injected) {
        .done = true, .nth = state.count, .call = call, .fd = fd, .error = plain ? 0 : fault
    };
    snprintf(l->text, sizeof(l->text), "call %" PRIu64 ", %s: %s", l->nth, call,
             fault == INJECT_SHORT      ? "a short count"
             : fault == INJECT_SPURIOUS ? "a spurious wake-up"
                                        : strerrorname_np(fault));
    atomic_store(&state.side, INJECT_NOBODY); /* once */
}

int inject_now(const char *call, int fd, const struct inject_faults *faults)
{
    if (acts_for == INJECT_NOBODY || acts_for != atomic_load(&state.side))
        return 0;
    void *frames[FRAMES_MAX];
    int saved = errno, fault = 0, num_frames = backtrace(frames, FRAMES_MAX);
    int skip = 1; /* down to the wrapper; a sanitizer may stand in between */
    while (skip < num_frames && frames[skip - 1] != __builtin_return_address(0))
        skip++;
    pthread_mutex_lock(&state.lock);
    const int *list = state.plan.kind == INJECT_ERRORS ? faults->errors : faults->hiccups;
    bool counts = length_of(list) > state.plan.variant;
    if (acts_for == atomic_load(&state.side) && counts) {
        state.count++;
        bool now = state.plan.nth ? state.count == state.plan.nth
                                  : num_frames > skip &&
                                        is_new_place(place_of(frames + skip, num_frames - skip));
        if (now) {
            fault = list[state.plan.variant];
            memcpy(state.frames, frames, sizeof(frames));
            state.num_frames = num_frames;
            note(call, fd, fault);
        }
    }
    pthread_mutex_unlock(&state.lock);
    errno = saved;
    return fault;
}

/* ---- when it goes wrong ---- */

void inject_print_place(void)
{
    Dl_info here, info;
    dladdr((void *)(uintptr_t)inject_print_place, &here);
    dprintf(STDERR_FILENO, "# %s; failed: %s\n# addr2line -pife %s", state.what, state.last.text,
            here.dli_fname);
    for (int i = 0; i < state.num_frames; i++)
        if (dladdr(state.frames[i], &info) && info.dli_fbase == here.dli_fbase)
            dprintf(STDERR_FILENO, " %#tx", (char *)state.frames[i] - (char *)here.dli_fbase - 1);
    dprintf(STDERR_FILENO, "\n");
}

static void *watch_main(void *opaque)
{
    (void)opaque;
    for (;;) {
        nanosleep(&(struct timespec) { .tv_nsec = 200000000 }, NULL);
        pthread_mutex_lock(&state.lock);
        bool late = state.deadline && time(NULL) > state.deadline;
        pthread_mutex_unlock(&state.lock);
        if (!late)
            continue;
        dprintf(STDERR_FILENO, "# it hangs\n");
        if (getenv("FAIL_HUNG") && system(getenv("FAIL_HUNG")) != 0)
            dprintf(STDERR_FILENO, "# FAIL_HUNG failed\n");
        abort();
    }
    return NULL;
}

static void on_crash(int number)
{
    dprintf(STDERR_FILENO, "# signal %d\n", number);
    inject_print_place();
    signal(number, SIG_DFL);
    raise(number);
}

/* The sanitizers' runtime has it; called before it ends the program. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void start_watching(void)
{
    static const int crashes[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(inject_print_place);
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
        if (i == 0 || !__sanitizer_set_death_callback)
            signal(crashes[i], on_crash);
    state.watching = pthread_create(&state.watch, NULL, watch_main, NULL) == 0;
}

void inject_watch(unsigned seconds, const char *what)
{
    enum inject_side before = inject_act_for(INJECT_NOBODY);
    if (!state.watching)
        start_watching();
    inject_act_for(before);
    pthread_mutex_lock(&state.lock);
    state.deadline = seconds ? time(NULL) + seconds : 0;
    snprintf(state.what, sizeof(state.what), "%s", what);
    pthread_mutex_unlock(&state.lock);
}

/* ---- what is owned ---- */

void inject_count_allocation(long difference)
{
    atomic_fetch_add(&allocations, difference);
}

void inject_count_mapping(long difference)
{
    atomic_fetch_add(&mappings, difference);
}

static long count_fds(void)
{
    long count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

struct inject_owned inject_owned(void)
{
    return (struct inject_owned) { atomic_load(&allocations), atomic_load(&mappings), count_fds() };
}
