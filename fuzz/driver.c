/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replays a fuzzer's corpus as an ordinary test: gives each file of the folders named as arguments
 * to the target once. A build with -Dfuzz=true has libFuzzer in place of this. An input that breaks
 * something breaks the process; its name was printed before.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (4u << 20)

/* Each input in memory of exactly its size, so that a sanitizer sees reads past its end. */
static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(INPUT_MAX);
    size_t size = file && bytes ? fread(bytes, 1, INPUT_MAX, file) : 0;
    uint8_t *exact = size ? realloc(bytes, size) : bytes;
    if (file)
        fclose(file);
    printf("# %s, %zu bytes\n", path, size);
    fflush(stdout);
    if (exact)
        LLVMFuzzerTestOneInput(exact, size);
    free(exact ? exact : bytes);
    return file && exact ? 0 : -1;
}

static int replay_folder(const char *folder, unsigned *count)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), failed = n < 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            failed |= replay(path) < 0;
            (*count)++;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return failed ? -1 : 0;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    int failed = 0;
    printf("1..1\n");
    for (int i = 1; i < argc; i++)
        failed |= replay_folder(argv[i], &count) < 0;
    failed |= count == 0;
    printf("%sok 1 - the corpus of %u inputs does no harm\n", failed ? "not " : "", count);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
