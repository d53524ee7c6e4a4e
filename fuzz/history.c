/* SPDX-License-Identifier: BSD-3-Clause */
/* The file that migrations are remembered in. What is understood can be written, and is then understood
 * the same; and a size that is bounded however much it held. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/migration/history.h"

#define NOW 2000000000u

static void write_again(const struct history *h)
{
    struct history *again = history_new();
    char *text = history_format(h);
    if (!again || !text || strlen(text) > HISTORY_FILE_BYTES_MAX)
        abort();
    if (history_parse(text, strlen(text), NOW, again) < 0 || again->count > h->count)
        abort();
    free(text);
    free(again);
}

static void recall_all(const struct history *h)
{
    struct history_sample like;
    double past[HISTORY_TERMS];
    history_sample_init(&like, NOW);
    like.value[HISTORY_SOURCE_ARC] = 1;
    for (unsigned i = 0; i < h->count; i++) {
        history_recall(h, h->kinds[i].name, &like, past);
        for (unsigned t = 0; t < HISTORY_TERMS; t++)
            if (past[t] > 1e9)
                abort();
    }
    if (history_excess_ms(h) > 1e9)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct history *h = history_new();
    if (!h)
        abort();
    if (history_parse((const char *)data, size, NOW, h) == 0) {
        recall_all(h);
        write_again(h);
    } else if (h->count) {
        abort();
    }
    free(h);
    return 0;
}
