/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "cmd/demo-report.h"

static double number(json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static uint64_t whole(json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static const char *text_of_size(uint64_t bytes, char *buf, size_t size)
{
    return bytes ? cmd_format_size(bytes, buf, size) : "-";
}

const char *demo_damage(json_t *v, char *buf, size_t size)
{
    const char *first = json_string_value(json_object_get(v, "first_wrong"));
    snprintf(buf, size,
             "%" PRIu64 " wrong pages%s%s%s, %" PRIu64 " lost writes, %" PRIu64
             " lost DMA pages, %" PRIu64 " wrong device pages, %" PRIu64 " DMA errors, %" PRIu64
             " lost interrupts, %" PRIu64 " missing reports",
             whole(v, "wrong_pages"), first && *first ? " (" : "", first ? first : "",
             first && *first ? ")" : "", whole(v, "lost_writes"), whole(v, "slot_mismatches"),
             whole(v, "device_wrong_pages") + whole(v, "local_mismatches"), whole(v, "dma_errors"),
             whole(v, "lost_interrupts"), whole(v, "missing_reports"));
    return buf;
}

static void print_phases(json_t *result)
{
    static const char *const phases[] = { "prepare", "setup",    "rounds",    "switchover",
                                          "quiesce", "complete", "hand-over", "cleanup" };
    json_t *stages = json_object_get(result, "stages");
    printf("\n  %-14s %10s %12s\n", "phase", "time", "sent");
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        json_t *stage = json_object_get(stages, phases[i]);
        char time[32], size[32];
        if (number(stage, "ms") <= 0)
            continue;
        printf("  %-14s %10s %12s\n", phases[i],
               cmd_format_duration(number(stage, "ms"), time, sizeof(time)),
               text_of_size(whole(stage, "bytes"), size, sizeof(size)));
    }
}

static void print_devices(json_t *result)
{
    json_t *devices = json_object_get(result, "devices"), *d;
    size_t i;
    printf("\n  %-14s %12s %12s %9s %9s %9s %9s\n", "device", "pre-copy", "stop-copy", "quiesce",
           "stop", "load", "resume");
    json_array_foreach(devices, i, d)
    {
        char before[32], after[32];
        printf("  %-14s %12s %12s %6.1f ms %6.1f ms %6.1f ms %6.1f ms\n",
               json_string_value(json_object_get(d, "id")),
               text_of_size(whole(d, "precopy_bytes"), before, sizeof(before)),
               text_of_size(whole(d, "stop_copy_bytes"), after, sizeof(after)),
               number(d, "quiesce_ms"), number(d, "stop_ms"), number(d, "load_ms"),
               number(d, "resume_ms"));
    }
}

static void print_memory(json_t *result)
{
    json_t *ram = json_object_get(result, "ram");
    char all[32], sent[32];
    printf("\n  memory         %s, %s sent in %" PRIu64 " round%s, %" PRIu64
           " pages sent again, %" PRIu64 " zero pages\n",
           cmd_format_size(whole(ram, "bytes"), all, sizeof(all)),
           cmd_format_size(whole(ram, "sent_bytes"), sent, sizeof(sent)), whole(ram, "rounds"),
           whole(ram, "rounds") == 1 ? "" : "s", whole(ram, "dirty_pages"),
           whole(ram, "zero_pages"));
}

static void print_pause(json_t *result)
{
    static const struct {
        const char *key, *text;
    } terms[] = {
        { "workload_stop_ms", "workload stops" },
        { "quiesce_ms", "quiesce" },
        { "stop_ms", "stop" },
        { "data_ms", "data" },
        { "load_ms", "load" },
        { "handover_ms", "hand-over" },
        { "start_ms", "devices start" },
        { "workload_start_ms", "workload starts" },
    };
    json_t *pause = json_object_get(result, "pause");
    json_t *predicted = json_object_get(pause, "predicted");
    json_t *measured = json_object_get(pause, "measured");
    char text[2][32];
    printf("\n  %-16s %10s %10s\n", "pause", "predicted", "was");
    for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++)
        printf("  %-16s %7.1f ms %7.1f ms\n", terms[i].text, number(predicted, terms[i].key),
               number(measured, terms[i].key));
    printf("  %-16s %10s %10s\n", "bytes of data",
           text_of_size(whole(predicted, "data_bytes"), text[0], sizeof(text[0])),
           text_of_size(whole(measured, "data_bytes"), text[1], sizeof(text[1])));
}

static void print_verdict(json_t *result)
{
    json_t *v = json_object_get(result, "verification");
    char total[32], pause[32], predicted[32], damage[300];
    printf("  total          %s\n",
           cmd_format_duration(number(result, "total_ms"), total, sizeof(total)));
    printf(
        "  pause          %s, predicted %s\n",
        cmd_format_duration(number(result, "downtime_ms"), pause, sizeof(pause)),
        cmd_format_duration(number(result, "predicted_downtime_ms"), predicted, sizeof(predicted)));
    bool verified = json_is_true(json_object_get(result, "verified"));
    if (verified && json_object_get(v, "reports"))
        printf("  verified       %" PRIu64 " pages that processors wrote and %" PRIu64
               " that devices wrote, %" PRIu64 " interrupts, %" PRIu64
               " reports: nothing was lost\n",
               whole(v, "checked_pages"), whole(v, "dma_pages"), whole(v, "interrupts"),
               whole(v, "reports"));
    else if (verified)
        printf("  verified       %" PRIu64 " pages of memory and all device state: nothing was "
               "lost\n",
               whole(v, "checked_pages"));
    else
        printf("  NOT VERIFIED   %s\n", demo_damage(v, damage, sizeof(damage)));
}

void demo_report(json_t *result, bool json, bool quiet)
{
    if (json) {
        cmd_print_json(json_incref(result));
        return;
    }
    if (quiet)
        return;
    print_phases(result);
    print_devices(result);
    print_pause(result);
    print_memory(result);
    print_verdict(result);
}
