#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A count that cannot fail proves nothing: what scripts/count-tests makes of unhappy programs."""
import json
import os
import subprocess
import sys
import tempfile

COUNT = sys.argv[1]
OK = {"result": "OK", "returncode": 0}
CASES = []


def case(sentence, last_line, *tests, status=1):
    CASES.append((sentence, last_line, tests, status))


case("tests that pass are counted one by one", "2 passed, 0 failed, 0 skipped",
     dict(OK, stdout="1..2\nok 1 - a\nok 2 - b\n"), status=0)
case("a failed test is counted beside its neighbours", "1 passed, 1 failed, 0 skipped",
     {"result": "FAIL", "returncode": 1, "stdout": "1..2\nok 1 - a\nnot ok 2 - b\n"})
case("tests that a crash prevented are failures", "1 passed, 2 failed, 0 skipped",
     {"result": "ERROR", "returncode": -11, "stdout": "1..3\nok 1 - a\n"})
case("a crash before the first line is a failure", "0 passed, 1 failed, 0 skipped",
     {"result": "ERROR", "returncode": -6, "stdout": ""})
case("a leak after the last test is a failure", "1 passed, 1 failed, 0 skipped",
     {"result": "ERROR", "returncode": 23, "stdout": "1..1\nok 1 - a\n"})
case("a program that hangs after its tests is a failure", "1 passed, 1 failed, 0 skipped",
     {"result": "TIMEOUT", "returncode": -15, "stdout": "1..1\nok 1 - a\n"})
case("a TAP program without a test is a failure", "0 passed, 1 failed, 0 skipped",
     dict(OK, stdout=""))
case("cmocka's skipped test is no failure", "1 passed, 0 failed, 1 skipped",
     {"result": "FAIL", "returncode": 0, "stdout": "1..2\nok 1 - a\nnot ok 2 # SKIP b\n"}, status=0)
case("a skipped test is counted", "1 passed, 0 failed, 1 skipped",
     dict(OK, stdout="1..2\nok 1 - a\nok 2 - b # SKIP no kvm here\n"), status=0)
case("a run in which everything is skipped fails", "0 passed, 0 failed, 1 skipped",
     {"result": "SKIP", "returncode": 0, "stdout": "1..0 # SKIP no tool\n"})
case("a program without TAP counts as one test", "1 passed, 1 failed, 0 skipped",
     dict(OK, name="p:s / plain", stdout="hello\n"),
     {"name": "plain", "result": "FAIL", "returncode": 1, "stdout": "oh\n"})
case("a log without a test is a failure", "0 passed, 1 failed, 0 skipped")


WORDS = [
    ("a failed test is shown with its own remarks",
     {"result": "FAIL", "returncode": 1,
      "stdout": "1..3\nok 1 - a\nnot ok 2 - b\n# here\n#   and there\nok 3 - c\n# elsewhere\n"},
     ["FAILED: x/t: b", "    here", "    and there"]),
    ("a program that ended early is shown with the end of its errors",
     {"result": "ERROR", "returncode": 125, "stdout": "1..2\nok 1 - a\n",
      "stderr": "".join("line %d\n" % n for n in range(20))},
     ["FAILED: x/t: test 2 of 2 (did not run: exit status 125)"] +
     ["    line %d" % n for n in range(12, 20)]),
]


def run(path):
    return subprocess.run([COUNT, "x=" + path], stdout=subprocess.PIPE, text=True, check=False)


def count(path):
    ran = run(path)
    return ran.stdout.splitlines()[-1], ran.returncode


def write_log(path, tests):
    with open(path, "w", encoding="utf-8") as log:
        for test in tests:
            log.write(json.dumps(dict({"name": "p:s / t"}, **test)) + "\n")


def main():
    wrong = 0
    print("1..%d" % (len(CASES) + len(WORDS) + 1))
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "meson-info"))
        os.mkdir(os.path.join(folder, "meson-logs"))
        path = os.path.join(folder, "meson-logs", "log.json")
        with open(os.path.join(folder, "meson-info", "intro-tests.json"), "w",
                  encoding="utf-8") as known:
            json.dump([{"name": "t", "protocol": "tap"}, {"name": "plain", "protocol": "exitcode"}],
                      known)
        for number, (sentence, last_line, tests, status) in enumerate(CASES, 1):
            write_log(path, tests)
            got = count(path)
            good = got == (last_line, status)
            print("%s %d - %s" % ("ok" if good else "not ok", number, sentence))
            if not good:
                wrong += 1
                print("# got %s" % (got,))
        good = count(os.path.join(folder, "none")) == ("0 passed, 1 failed, 0 skipped", 1)
        wrong += not good
        print("%s %d - a log that is not there is a failure" %
              ("ok" if good else "not ok", len(CASES) + 1))
        for number, (sentence, test, words) in enumerate(WORDS, len(CASES) + 2):
            write_log(path, [test])
            got = run(path).stdout.splitlines()[:-1]
            wrong += got != words
            print("%s %d - %s" % ("ok" if got == words else "not ok", number, sentence))
            if got != words:
                print("# got %s" % (got,))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
