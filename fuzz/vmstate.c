/* SPDX-License-Identifier: BSD-3-Clause */
/* A section's payload into a machine with every kind of field: what was loaded is saved, loaded and
 * saved again as the same bytes. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/stream/vmstate.h"
#include "tests/stream/machine.h"

static int load(struct machine *m, const uint8_t *data, size_t size, struct vmig_error *err)
{
    machine_init(m);
    return vmig_vmstate_load(&machine_table, machine_table.version, m, data, size, err);
}

static void save(struct machine *m, struct writer *w)
{
    writer_init(w);
    MUST(vmstate_save(&machine_table, m, w, NULL, NULL) == 0 || w->error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine m, again;
    struct writer first, second;
    struct vmig_error err = { 0 };
    if (load(&m, data, size, &err) < 0) {
        MUST(err.code < 0 && err.text[0]);
        machine_done(&m);
        return 0;
    }
    save(&m, &first);
    MUST(load(&again, first.buf, first.length, &err) == 0);
    save(&again, &second);
    MUST(first.length == second.length && memcmp(first.buf, second.buf, first.length) == 0);
    writer_done(&first);
    writer_done(&second);
    machine_done(&m);
    machine_done(&again);
    return 0;
}
