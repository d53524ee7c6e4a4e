/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hand-over: how exactly one side ends up with the workload, whatever fails.
 *
 * The link (ordered; may be cut at any moment, and then loses what it likes of what was under way):
 *   target -> source   LOADED   all is here and checked
 *                      RUNNING  the workload runs here
 *                      FAILED   I let go of everything and shall never run
 *   source -> target   GO       I have given up: run
 *                      ABORT    I have not given up and go on: let go
 *
 * Rules of the link:
 *   L1  The source writes down that it gives up before it says GO. Until then every failure makes it
 *       run again (and say ABORT); from then on only RUNNING, FAILED or a resolution moves it.
 *   L2  A target that said LOADED and heard neither GO nor ABORT holds what it has. It no longer
 *       obeys a cancel: it may be the only one left.
 *   L3  A target that got GO runs, whatever becomes of the link. Only if its start fails before
 *       anything ran it lets go and says FAILED; the source then runs again.
 *   L4  A side that loses the link, or patience, closes the link and never reads it again.
 *       A source that has given up and a target that is loaded are then *unresolved*.
 *
 * Rules of `resolve`. Each side has a control socket. A question may reach it late, even after the
 * asker is gone; the answer may be lost. Only an unresolved side asks.
 *   R1  `run` asks the other side and runs only after the answer "yours". The other side answers at
 *       once, by the first line that fits:
 *         it has not given up, or it got GO, or it runs    "running"  (no: discard here)
 *         it waits for the answer to a question itself     "busy"     (no: try again)
 *         it has discarded                                 "yours"
 *         it holds                                         "yours", and it yields
 *       To yield is to close the link and to be unresolved; nothing is thrown away: the asker might
 *       be dead by now, and this copy is then the only one.
 *   R2  A side that runs tells the other so ("I run"), over the link or the control socket. An
 *       unresolved side that hears it discards.
 *   R3  `run` where the other side cannot be reached wants the operator's word: it is gone, and it
 *       did not run in between (the workload went on there, and this copy is old).
 *   R4  `discard` lets go at once. Neither is obeyed while a question waits for its answer.
 *
 * Checked: never do both run; while a complete and current copy exists, only the death of its last
 * holder ends it; the target never runs before everything was loaded, and nobody runs an old copy;
 * an operator who follows the rules settles what is unresolved with at most two commands.
 * The -DBREAK_x switches each take a rule away, and scripts/check-model wants spin to object to each.
 */

#ifndef QUESTIONS
#define QUESTIONS 3 /* asked by each side before the calm, by operators who know of nothing */
#endif
#ifndef COMMANDS
#define COMMANDS 2 /* enough in the calm for an operator who follows the rules */
#endif

/* Messages on the link, states, answers. */
mtype = { LOADED, RUNNING, FAILED, GO, ABORT };
mtype = { Sending, Waiting, GaveUp, WaitRunning, Released, Loading, Holding, GotGo,
          Unresolved, Runs, Discarded, Dead };
mtype = { none, yours, busy, running };

#define SOURCE 0
#define TARGET 1
#define OTHER(side) (1 - (side))

mtype state[2];

chan to_target = [2] of { mtype };
chan to_source = [2] of { mtype };
bool cut; /* the link is no more */

/* The control sockets: what is under way to a side. */
bool question[2]; /* one whose asker waits for the answer */
byte late[2];     /* those whose asker does not */
mtype answer[2] = none;
bool told[2]; /* "I run" */

bool asking[2]; /* this side waits for an answer */
byte asked[2];

/* What only the onlooker knows. */
bool all_sent;       /* so the target is loaded, or may still become so */
bool target_loaded;
bool source_resumed; /* after all was sent: what the target has is old */
bool target_ran;     /* what the source has is old */
bool excused;        /* the last holder of a current copy died */
bool kept[2];        /* an operator discarded the other side for the sake of this one */
bool calm;           /* nothing fails any more; one operator follows the rules */

#define IS(side, s) (state[side] == s)
#define SOURCE_RUNS (IS(SOURCE, Sending) || IS(SOURCE, Runs))
#define TARGET_RUNS (IS(TARGET, Runs))
#define SOURCE_OWNS (SOURCE_RUNS || IS(SOURCE, Waiting))
#define TARGET_OWNS (IS(TARGET, GotGo) || IS(TARGET, Runs))
#define SOURCE_HOLDS (IS(SOURCE, GaveUp) || IS(SOURCE, WaitRunning) || IS(SOURCE, Unresolved))
#define TARGET_HOLDS (IS(TARGET, Holding) || IS(TARGET, Unresolved))
#define SOURCE_HAS ((SOURCE_OWNS || SOURCE_HOLDS) && !target_ran)
#define TARGET_HAS ((TARGET_OWNS || TARGET_HOLDS) && !source_resumed)

inline check()
{
    assert(!(SOURCE_RUNS && TARGET_RUNS));       /* at most one runs */
    assert(SOURCE_HAS || TARGET_HAS || excused); /* nothing is lost */
    assert(!TARGET_RUNS || target_loaded);       /* nothing partial runs */
    assert(!TARGET_RUNS || !source_resumed);     /* nothing old runs, on the target */
    assert(!IS(SOURCE, Runs) || !target_ran);    /* ... or on the source */
    reach()
}

/* What the search must get to see, or it proves little: each is violated when its switch is on. */
inline reach()
{
#ifdef REACH_BOTH_ASK
    assert(!(asking[SOURCE] && asking[TARGET]));
#endif
#ifdef REACH_TARGET_RESOLVED
    assert(!(TARGET_RUNS && IS(SOURCE, Unresolved) && asked[TARGET] == 1));
#endif
#ifdef REACH_SOURCE_RESOLVED
    assert(!(IS(SOURCE, Runs) && IS(TARGET, Unresolved) && asked[SOURCE] == 1));
#endif
#ifdef REACH_LATE_QUESTION
    assert(!(late[SOURCE] > 0 && IS(TARGET, Dead) && IS(SOURCE, Unresolved)));
#endif
    skip
}

inline send(link, message)
{
    if
    :: cut -> skip
    :: else -> link!message
    fi
}

inline cut_link()
{
    cut = true;
    do
    :: nempty(to_target) -> to_target?_
    :: nempty(to_source) -> to_source?_
    :: break
    od
}

inline source_runs()
{
    state[SOURCE] = Runs;
    source_resumed = all_sent;
    told[TARGET] = true
}

inline target_runs()
{
    state[TARGET] = Runs;
    target_ran = true;
    told[SOURCE] = true
}

inline runs(side)
{
    if
    :: side == SOURCE -> source_runs()
    :: else -> target_runs()
    fi
}

inline ask(side)
{
    asking[side] = true;
    question[OTHER(side)] = true
}

/* R1. @owns and @holds: see the table there. */
inline serve(side, owns, holds)
{
    if
    :: question[side] -> question[side] = false; live = true
    :: late[side] > 0 -> late[side]--
    fi;
    if
    :: owns -> reply = running
#ifndef BREAK_BUSY
    :: !owns && asking[side] -> reply = busy
    :: !owns && !asking[side] && holds ->
#else
    :: !owns && holds ->
#endif
        reply = yours;
#ifdef BREAK_YIELD
        state[side] = Discarded
#else
        state[side] = Unresolved
#endif
    :: !owns && !holds -> reply = yours
    fi;
    if
    :: live -> answer[OTHER(side)] = reply
    :: else -> skip
    fi;
    live = false;
    reply = none
}

inline take_answer(side)
{
    if
    :: answer[side] == yours -> runs(side)
    :: else -> skip
    fi;
    answer[side] = none;
    asking[side] = false
}

/* Its question may still arrive. */
inline stop_waiting(side)
{
    if
    :: question[OTHER(side)] -> question[OTHER(side)] = false; late[OTHER(side)]++
    :: else -> skip
    fi;
    answer[side] = none;
    asking[side] = false
}

/* A side that has discarded may have ended as well, and then nobody answers there. */
#define MAY_ANSWER(side) (!IS(side, Dead))
#define MAY_BE_SILENT(side) (IS(side, Dead) || IS(side, Discarded))

#define OTHER_HAD_IT(side)                                                                         \
    ((side == SOURCE && (TARGET_OWNS || target_ran)) ||                                            \
     (side == TARGET && (IS(SOURCE, Runs) || source_resumed)))
#define OTHER_HAS_IT(side)                                                                         \
    ((side == SOURCE && TARGET_HAS) || (side == TARGET && SOURCE_HAS))
#define HONEST_WORD(side) (MAY_BE_SILENT(OTHER(side)) && !OTHER_HAD_IT(side))

/* Commands that operators may give at any time, several of them, to both sides. They are honest:
 * they give their word only where it is true, and do not discard both copies. */
inline careless_commands(side)
{
    if
    :: asked[side] < QUESTIONS && MAY_ANSWER(OTHER(side)) -> asked[side]++; ask(side)
    :: HONEST_WORD(side) -> runs(side)
    :: OTHER_HAS_IT(side) && !kept[side] -> kept[OTHER(side)] = true; state[side] = Discarded
    :: OTHER_HAD_IT(side) -> state[side] = Discarded
#ifdef BREAK_WORD
    :: !MAY_ANSWER(OTHER(side)) -> runs(side)
#endif
#ifdef BREAK_ASK
    :: true -> runs(side)
#endif
    :: else -> skip
    fi
}

proctype Source()
{
    mtype reply = none;
    bool live;

end:
    do
    /* All is sent; the workload stands still. */
    :: atomic { IS(SOURCE, Sending) && !cut -> all_sent = true; state[SOURCE] = Waiting; check() }
    /* L1: a failure or a cancel before it gave up. */
    :: atomic {
           IS(SOURCE, Sending) || IS(SOURCE, Waiting) ->
               send(to_target, ABORT);
               source_runs();
               check()
       }
    :: atomic {
           IS(SOURCE, Waiting) && to_source?[FAILED] ->
               to_source?FAILED;
               source_runs();
               check()
       }
    :: atomic {
           IS(SOURCE, Waiting) && to_source?[LOADED] ->
               to_source?LOADED;
               state[SOURCE] = GaveUp;
               check()
       }
    :: atomic { IS(SOURCE, GaveUp) -> send(to_target, GO); state[SOURCE] = WaitRunning; check() }
    :: atomic {
           IS(SOURCE, WaitRunning) && to_source?[RUNNING] ->
               to_source?RUNNING;
               state[SOURCE] = Released;
               check()
       }
    :: atomic {
           IS(SOURCE, WaitRunning) && to_source?[FAILED] ->
               to_source?FAILED;
               source_runs();
               check()
       }
    /* L4 */
    :: atomic {
           (IS(SOURCE, GaveUp) || IS(SOURCE, WaitRunning)) && cut ->
#ifdef BREAK_GIVE_UP
               source_runs();
#else
               state[SOURCE] = Unresolved;
#endif
               check()
       }
    /* R1 */
    :: atomic {
           (question[SOURCE] || late[SOURCE] > 0) && !IS(SOURCE, Dead) ->
               serve(SOURCE, SOURCE_OWNS, SOURCE_HOLDS);
               check()
       }
    :: atomic { asking[SOURCE] && answer[SOURCE] != none -> take_answer(SOURCE); check() }
    :: atomic { asking[SOURCE] && (!calm || IS(TARGET, Dead)) -> stop_waiting(SOURCE); check() }
    /* R2 */
    :: atomic {
           told[SOURCE] && SOURCE_HOLDS && !asking[SOURCE] ->
               told[SOURCE] = false;
               state[SOURCE] = Discarded;
               check()
       }
    :: atomic {
           IS(SOURCE, Unresolved) && !asking[SOURCE] && !calm ->
               careless_commands(SOURCE);
               check()
       }
    /* kill -9 */
    :: atomic {
           !IS(SOURCE, Dead) && !calm ->
               excused = excused || !TARGET_HAS;
               state[SOURCE] = Dead;
               stop_waiting(SOURCE);
               check();
               break
       }
    od
}

proctype Target()
{
    mtype reply = none;
    bool live;

end:
    do
    :: atomic {
           IS(TARGET, Loading) && all_sent ->
               target_loaded = true;
               state[TARGET] = Holding;
               send(to_source, LOADED);
               check()
       }
    /* Bad data, a cancel, or the link has ended too early. */
    :: atomic { IS(TARGET, Loading) -> state[TARGET] = Discarded; send(to_source, FAILED); check() }
#ifdef BREAK_CANCEL
    :: atomic { IS(TARGET, Holding) -> state[TARGET] = Discarded; send(to_source, FAILED); check() }
#endif
#ifdef BREAK_PARTIAL
    :: atomic { IS(TARGET, Loading) && IS(SOURCE, Dead) -> target_runs(); check() }
#endif
    :: atomic {
           (IS(TARGET, Loading) || IS(TARGET, Holding)) && to_target?[ABORT] ->
               to_target?ABORT;
               state[TARGET] = Discarded;
               check()
       }
    :: atomic {
           IS(TARGET, Holding) && to_target?[GO] ->
               to_target?GO;
               state[TARGET] = GotGo;
               check()
       }
#ifdef BREAK_CLOSE
    :: atomic {
           IS(TARGET, Unresolved) && to_target?[GO] ->
               to_target?GO;
               state[TARGET] = GotGo;
               check()
       }
#endif
    /* L3 */
    :: atomic { IS(TARGET, GotGo) -> target_runs(); send(to_source, RUNNING); check() }
    :: atomic {
           IS(TARGET, GotGo) ->
               excused = excused || !SOURCE_HAS;
               state[TARGET] = Discarded;
               send(to_source, FAILED);
               check()
       }
    /* L4 */
    :: atomic { IS(TARGET, Holding) && cut -> state[TARGET] = Unresolved; check() }
    /* R1 */
    :: atomic {
           (question[TARGET] || late[TARGET] > 0) && !IS(TARGET, Dead) ->
               serve(TARGET, TARGET_OWNS, TARGET_HOLDS);
               check()
       }
    :: atomic { asking[TARGET] && answer[TARGET] != none -> take_answer(TARGET); check() }
    :: atomic { asking[TARGET] && (!calm || IS(SOURCE, Dead)) -> stop_waiting(TARGET); check() }
    /* R2 */
    :: atomic {
           told[TARGET] && TARGET_HOLDS && !asking[TARGET] ->
               told[TARGET] = false;
               state[TARGET] = Discarded;
               check()
       }
    :: atomic {
           IS(TARGET, Unresolved) && !asking[TARGET] && !calm ->
               careless_commands(TARGET);
               check()
       }
    :: atomic {
           !IS(TARGET, Dead) && !calm ->
               excused = excused || !SOURCE_HAS;
               state[TARGET] = Dead;
               stop_waiting(TARGET);
               check();
               break
       }
    od
}

/* In the calm: one documented command for an unresolved side, and what its result calls for. */
inline resolve(side)
{
    if
    :: MAY_ANSWER(OTHER(side)) ->
        ask(side);
        !asking[side];
        if
        :: atomic { IS(side, Unresolved) && OTHER_HAD_IT(side) -> state[side] = Discarded } /* "running" */
        :: else -> skip
        fi
    :: MAY_BE_SILENT(OTHER(side)) ->
        if
        :: atomic { IS(side, Unresolved) && HONEST_WORD(side) -> runs(side) }
        :: atomic { IS(side, Unresolved) && !HONEST_WORD(side) -> state[side] = Discarded }
        :: else -> skip
        fi
    fi;
    check()
}

#define SETTLING(side)                                                                             \
    (IS(side, Sending) || IS(side, Waiting) || IS(side, GaveUp) || IS(side, WaitRunning) ||        \
     IS(side, Loading) || IS(side, Holding) || IS(side, GotGo) || asking[side])

proctype Operator()
{
    byte commands, side;

    /* The link is cut at some time, at the latest before the calm. */
    atomic { !cut -> cut_link() };
    calm = true;
    /* All that is under way comes to its end, or was lost. */
    if
    :: late[SOURCE] = 0
    :: late[TARGET] = 0
    :: told[SOURCE] = false
    :: told[TARGET] = false
    :: skip
    fi;
    !SETTLING(SOURCE) && !SETTLING(TARGET);
    if
    :: side = SOURCE
    :: side = TARGET
    fi;
    do
    :: IS(SOURCE, Unresolved) || IS(TARGET, Unresolved) ->
        assert(commands < COMMANDS); /* what is unresolved gets settled */
        if
        :: IS(side, Unresolved) -> commands++; resolve(side)
        :: else -> skip
        fi;
        side = OTHER(side)
    :: else -> break
    od
}

init
{
    atomic {
        state[SOURCE] = Sending;
        state[TARGET] = Loading;
        run Source();
        run Target();
        run Operator()
    }
}
