/* SPDX-License-Identifier: BSD-3-Clause */
#include <histedit.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/monitor-command.h"
#include "lib/monitor/monitor.h"

#define SCREENSHOT "screenshot"
#define SCREENDUMP "screendump" /* QEMU's name for it */

static bool is_set_capabilities(const char *name)
{
    return strcmp(name, "migrate-set-capabilities") == 0;
}

static bool is_set_parameters(const char *name)
{
    return strcmp(name, "migrate-set-parameters") == 0;
}

/* ---- values ---- */

static const struct argument *find_argument(const struct command *command, const char *name)
{
    for (const struct argument *a = command ? command->arguments : NULL; a && a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

/* "on" and "off" as well, which no JSON is. */
static json_t *switch_value(const char *text)
{
    static const char *const words[] = { "off", "on", "false", "true" };
    for (size_t i = 0; i < 4; i++)
        if (strcmp(words[i], text) == 0)
            return json_boolean(i % 2);
    return NULL;
}

static json_t *size_value(const char *text)
{
    uint64_t bytes;
    return cmd_parse_size(text, &bytes) == 0 && bytes <= INT64_MAX ? json_integer((json_int_t)bytes)
                                                                   : NULL;
}

static json_t *value_of(const char *command_name, const char *name, const char *text)
{
    const struct command *command = command_find(command_name);
    const struct argument *a = find_argument(command, name);
    json_t *value = NULL;
    if (a && a->type == ARGUMENT_STRING)
        return json_string(text);
    if (is_set_parameters(command_name))
        value = size_value(text);
    if (!value)
        value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!value && (is_set_parameters(command_name) || (a && a->type == ARGUMENT_BOOLEAN)))
        value = switch_value(text);
    return value ? value : json_string(text);
}

/* ---- words ---- */

/* The '=' of NAME=VALUE; NULL: the word is a value. */
static const char *equals_of(const char *word)
{
    size_t length = strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return length && word[length] == '=' ? word + length : NULL;
}

static bool add_capability(json_t *arguments, const char *name, const char *text)
{
    json_t *list = json_object_get(arguments, "capabilities"), *value = switch_value(text);
    if (!value)
        return false;
    if (!list) {
        list = json_array();
        json_object_set_new(arguments, "capabilities", list);
    }
    return json_array_append_new(list,
                                 json_pack("{s:s, s:o}", "capability", name, "state", value)) == 0;
}

static bool add_word(json_t *arguments, const char *command_name, const char *word)
{
    const struct command *command = command_find(command_name);
    const char *equals = equals_of(word), *first = command ? command->arguments[0].name : NULL;
    char name[100];
    if (!equals && !first)
        return false;
    snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - word) : 99, equals ? word : first);
    const char *text = equals ? equals + 1 : word;
    if (is_set_capabilities(command_name) && strcmp(name, "capabilities") != 0)
        return add_capability(arguments, name, text);
    if (json_object_get(arguments, name))
        return false;
    return json_object_set_new(arguments, name, value_of(command_name, name, text)) == 0;
}

/* A file is where it is typed, which need not be where the host runs. */
static json_t *screenshot(int count, const char **words, char *buf, size_t size)
{
    char folder[4096] = "";
    if (count != 2 || (words[1][0] != '/' && !getcwd(folder, sizeof(folder)))) {
        snprintf(buf, size, "screenshot: FILE.png is wanted");
        return NULL;
    }
    json_t *path = json_sprintf("%s%s%s", folder, folder[0] ? "/" : "", words[1]);
    if (!path)
        snprintf(buf, size, "screenshot: the file's name is no UTF-8");
    return path ? json_pack("{s:s, s:{s:o, s:s}}", "execute", SCREENDUMP, "arguments", "filename",
                            path, "format", "png")
                : NULL;
}

static json_t *from_words(int count, const char **words, char *buf, size_t size)
{
    json_t *arguments = json_object();
    for (int i = 1; i < count; i++)
        if (!add_word(arguments, words[0], words[i])) {
            snprintf(buf, size, "%s: '%s' makes no sense here; NAME=VALUE is wanted", words[0],
                     words[i]);
            json_decref(arguments);
            return NULL;
        }
    if (!json_object_size(arguments)) {
        json_decref(arguments);
        return json_pack("{s:s}", "execute", words[0]);
    }
    return json_pack("{s:s, s:o}", "execute", words[0], "arguments", arguments);
}

static json_t *from_typed(const char *line, char *buf, size_t size)
{
    Tokenizer *tokenizer = tok_init(NULL);
    int count;
    const char **words;
    json_t *command = NULL;
    if (tok_str(tokenizer, line, &count, &words) != 0)
        snprintf(buf, size, "a quote is not closed");
    else if (count && strcmp(words[0], SCREENSHOT) == 0)
        command = screenshot(count, words, buf, size);
    else if (count)
        command = from_words(count, words, buf, size);
    tok_end(tokenizer);
    return command;
}

json_t *monitor_command(const char *line, char *buf, size_t size)
{
    json_error_t why;
    buf[0] = '\0';
    while (*line == ' ' || *line == '\t')
        line++;
    if (*line == '#') /* a comment in a script */
        return NULL;
    if (*line != '{')
        return from_typed(line, buf, size);
    json_t *command = json_loads(line, JSON_REJECT_DUPLICATES, &why);
    if (!command)
        snprintf(buf, size, "no JSON: %s", why.text);
    return command;
}

/* ---- completion ---- */

static bool contains(const json_t *names, const char *name)
{
    size_t i;
    const json_t *each;
    json_array_foreach(names, i, each) if (strcmp(json_string_value(each), name) == 0) return true;
    return false;
}

static void add_all(json_t *to, const json_t *names, const char *ending)
{
    size_t i;
    const json_t *name;
    json_array_foreach(names, i, name)
        json_array_append_new(to, json_sprintf("%s%s", json_string_value(name), ending));
}

json_t *monitor_candidates(const struct monitor_names *names, const char *line, size_t start)
{
    json_t *list = json_array();
    char name[100];
    size_t begin = strspn(line, " ");
    if (start <= begin) {
        add_all(list, names->commands, " ");
        if (contains(names->commands, SCREENDUMP))
            json_array_append_new(list, json_string(SCREENSHOT " "));
        return list;
    }
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(line + begin, " "), line + begin);
    if (is_set_capabilities(name))
        add_all(list, names->capabilities, "=");
    else if (is_set_parameters(name))
        add_all(list, names->parameters, "=");
    const struct command *command = command_find(name);
    for (const struct argument *a = command ? command->arguments : NULL; a && a->name; a++)
        if (a->type != ARGUMENT_OBJECTS)
            json_array_append_new(list, json_sprintf("%s=", a->name));
    return list;
}

/* ---- for people ---- */

static bool is_nested(const json_t *value)
{
    return json_is_object(value) || json_is_array(value);
}

static void show_scalar(const json_t *value)
{
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
    if (json_is_real(value))
        printf("%.6g\n", json_real_value(value));
    else
        puts(text ? text : json_string_value(value));
    free(text);
}

static void show_member(const char *name, const json_t *value, unsigned indent)
{
    printf("%*s%s:%s", (int)indent, "", name, is_nested(value) ? "\n" : " ");
    if (is_nested(value))
        monitor_show(value, indent + 2);
    else
        show_scalar(value);
}

/* {"capability": "events", "state": true} is "events: true", and {"name": "quit"} is "quit". */
static bool show_pair(const json_t *value, unsigned indent)
{
    const char *capability = json_string_value(json_object_get(value, "capability"));
    const char *name = json_string_value(json_object_get(value, "name"));
    if (name && json_object_size(value) == 1)
        printf("%*s%s\n", (int)indent, "", name);
    else if (capability)
        show_member(capability, json_object_get(value, "state"), indent);
    else
        return false;
    return true;
}

static void show_element(const json_t *value, unsigned indent)
{
    if (show_pair(value, indent))
        return;
    printf("%*s-%s", (int)indent, "", is_nested(value) ? "\n" : " ");
    if (is_nested(value))
        monitor_show(value, indent + 2);
    else
        show_scalar(value);
}

void monitor_show(const json_t *value, unsigned indent)
{
    const char *name;
    json_t *member;
    size_t i;
    if (!is_nested(value))
        show_scalar(value);
    else if (!json_object_size(value) && !json_array_size(value))
        printf("%*s%s\n", (int)indent, "", indent ? "none" : "ok");
    json_object_foreach((json_t *)value, name, member) show_member(name, member, indent);
    json_array_foreach(value, i, member) show_element(member, indent);
}
