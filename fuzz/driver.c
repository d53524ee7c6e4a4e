/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver FOLDER COUNT: run the target on each file of the corpus in FOLDER, then on COUNT mutations
 * of them, always the same.
 *
 * An input that breaks something breaks the process. Of a seed the name was printed before; any
 * input is written to the file named by FUZZ_INPUT_FILE, if that is set, before it is run.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

#define SEEDS_MAX 256u

struct corpus {
    unsigned count;
    struct fuzz_input seeds[SEEDS_MAX];
};

/* Each input in memory of exactly its size, so that a sanitizer sees reads past its end. */
static void run(const struct fuzz_input *in)
{
    const char *keep = getenv("FUZZ_INPUT_FILE");
    FILE *file = keep ? fopen(keep, "wb") : NULL;
    uint8_t *exact = malloc(in->size ? in->size : 1);
    if (file) {
        fwrite(in->data, 1, in->size, file);
        fclose(file);
    }
    if (in->size)
        memcpy(exact, in->data, in->size);
    LLVMFuzzerTestOneInput(exact, in->size);
    free(exact);
}

static int read_seed(struct corpus *corpus, const char *path)
{
    struct fuzz_input in = { 0, malloc(FUZZ_INPUT_MAX) };
    FILE *file = fopen(path, "rb");
    if (!file || !in.data || corpus->count == SEEDS_MAX) {
        free(in.data);
        if (file)
            fclose(file);
        return -1;
    }
    in.size = fread(in.data, 1, FUZZ_INPUT_MAX, file);
    fclose(file);
    in.data = realloc(in.data, in.size ? in.size : 1);
    corpus->seeds[corpus->count++] = in;
    printf("# %s, %zu bytes\n", path, in.size);
    fflush(stdout);
    run(&corpus->seeds[corpus->count - 1]);
    return 0;
}

/* Run all seeds, in the order of their names. */
static int replay_folder(struct corpus *corpus, const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), failed = n < 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            failed |= read_seed(corpus, path) < 0;
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return failed || corpus->count == 0 ? -1 : 0;
}

static void replay_mutations(const struct corpus *corpus, unsigned long count)
{
    struct fuzz_input in = { 0, malloc(FUZZ_INPUT_MAX) };
    uint64_t random_state = 0x9e3779b97f4a7c15;
    for (unsigned long i = 0; in.data && i < count; i++) {
        fuzz_mutate(corpus->seeds, corpus->count, &random_state, &in);
        run(&in);
    }
    free(in.data);
}

int main(int argc, char **argv)
{
    static struct corpus corpus;
    if (argc != 3) {
        fputs("usage: driver FOLDER COUNT\n", stderr);
        return 2;
    }
    unsigned long count = strtoul(argv[2], NULL, 10);
    puts("1..2");
    int failed = replay_folder(&corpus, argv[1]);
    printf("%sok 1 - the corpus of %u inputs does no harm\n", failed ? "not " : "", corpus.count);
    fflush(stdout);
    if (!failed)
        replay_mutations(&corpus, count);
    printf("%sok 2 - %lu mutations of it do no harm\n", failed ? "not " : "", count);
    for (unsigned i = 0; i < corpus.count; i++)
        free(corpus.seeds[i].data);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
