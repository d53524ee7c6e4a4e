/* SPDX-License-Identifier: BSD-3-Clause */
/* "name=number name=number ..."; what is not known is ignored, as kernels do with their command lines. */
#include "vmm/guest/guest.h"

static const struct option {
    const char *name;
    size_t offset;
    uint64_t standard, min, max;
} table[] = {
    { "report", offsetof(struct options, report), 1000, 1, ~0ull },
    { "steps", offsetof(struct options, steps), 0, 0, ~0ull },
    { "copies", offsetof(struct options, copies), 0, 0, ~0ull },
    { "pages", offsetof(struct options, pages), 0, 0, ~0ull },
    { "seed", offsetof(struct options, seed), 1, 0, ~0ull },
    { "lanes", offsetof(struct options, lanes), 512, 1, 512 },
    { "dma", offsetof(struct options, dma), 1000, 0, ~0ull },
    { "intx", offsetof(struct options, intx), 0, 0, 1 },
    { "mask", offsetof(struct options, mask), 0, 0, 1 },
    { "idle", offsetof(struct options, idle), 0, 0, 1 },
};

static uint64_t *member(struct options *options, const struct option *option)
{
    return (uint64_t *)(void *)((char *)options + option->offset);
}

/* The text behind "name=", NULL: another name. */
static const char *match(const char *word, const char *name)
{
    while (*name && *word == *name)
        word++, name++;
    return !*name && *word == '=' ? word + 1 : NULL;
}

static uint64_t number(const char *text)
{
    uint64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

static uint64_t clamp(uint64_t value, uint64_t min, uint64_t max)
{
    return value < min ? min : value > max ? max : value;
}

static void say_unknown(const char *word)
{
    for (; *word > ' '; word++)
        say((const char[]) { *word, '\0' });
    say(": no option of this guest\n");
}

static void parse_word(const char *word, struct options *options)
{
    bool known = *word <= ' ';
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *text = match(word, table[i].name);
        known |= text != NULL;
        if (text)
            *member(options, &table[i]) = clamp(number(text), table[i].min, table[i].max);
    }
    if (!known)
        say_unknown(word);
}

void options_parse(const char *text, struct options *ret)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        *member(ret, &table[i]) = table[i].standard;
    while (*text) {
        parse_word(text, ret);
        while (*text && *text != ' ')
            text++;
        while (*text == ' ')
            text++;
    }
}
