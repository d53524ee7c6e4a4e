/* SPDX-License-Identifier: BSD-3-Clause */
/* relay HERE THERE: pass on what goes between two machines, and cut it inside of GO, when the source has given its
 * guest up and the target has not been told to run it. Both are paths of UNIX sockets. */
#include <stdio.h>
#include <unistd.h>

#include "tests/migration/relay.h"

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct relay *relay = relay_new(&(struct relay_plan) { .inside_go = true });
    relay_connect(relay, argv[1], argv[2]);
    for (;;)
        pause();
}
