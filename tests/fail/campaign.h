/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A good scenario again and again, failing one call more of it each time, until it passes without.
 *
 * By default one call from each place in the library is failed, with one of the errors that it has.
 * The environment can ask for more, or for one attempt again:
 *   FAIL_NTH=all        each call, with each of its errors: minutes
 *   FAIL_NTH=KIND:VARIANT:NTH   that one again, as printed when it went wrong
 *   FAIL_TEST=NAME     only this test
 *   FAIL_VERBOSE=1     say what is failed
 *   FAIL_PATIENCE=S    how long an attempt may take
 *   FAIL_HUNG=COMMAND  when it took longer: gdb -p $PPID -batch -ex "thread apply all bt", say
 */
#ifndef TESTS_FAIL_CAMPAIGN_H
#define TESTS_FAIL_CAMPAIGN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "lib/error.h"
#include "tests/fail/inject.h"

/* Before the first test. */
int campaign_setup(void **state);
/* After each test: says with which call it went wrong, if it did. */
int campaign_teardown(void **state);

/* Call @attempt with one call of @side failing each time. It calls campaign_begin() where that may
 * happen from, campaign_end() behind it, judges, and leaves nothing behind. */
void campaign(const char *name, enum inject_side side, void (*attempt)(void));

void campaign_begin(void);
/* Was something failed that must be visible, or may be? False: all must have gone well. */
bool campaign_end(void);
/* Before the end: is it errors that are tried, and not what must not be seen? */
bool campaign_errors(void);

/* @err says what a person needs: a code, a stage, a text that is more than an errno. */
void campaign_error_helps(const char *who, int rc, const struct vmig_error *err);

#define campaign_test(test) cmocka_unit_test_teardown(test, campaign_teardown)

#endif
