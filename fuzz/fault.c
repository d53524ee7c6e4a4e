/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text form of faults. The input is lines; each is parsed, and a device lives through the first
 * ones that are faults: it is saved, with PRE_COPY, and loads what it saved. Byte 0 chooses the
 * profile and how much is read and written at once.
 */
#include "fuzz/bare-door.h"
#include "fuzz/fuzz.h"
#include "lib/device/fsm.h"

#define STATE_MAX (128u << 10)
#define READS_MAX 300u

static void check_refusal(const char *text, const struct refdev_fault_error *error)
{
    size_t length = strlen(text);
    if (!error->why || !error->why[0] || error->at > length || error->length > length - error->at)
        abort();
}

/* What the model relies on. */
static void check_fault(const char *text, const struct refdev_fault *fault)
{
    struct refdev_fault again;
    if (strcmp(fault->text, text) || fault->what >= REFDEV_WHAT_COUNT ||
        fault->where >= REFDEV_WHERE_COUNT || !fault->names || fault->seen || fault->code < 1 ||
        fault->code > 4095 || (fault->where != REFDEV_AT_BYTE && !fault->nth))
        abort();
    if (refdev_fault_parse(fault->text, &again) || memcmp(&again, fault, sizeof(again)))
        abort();
}

static void take_line(const char *text, struct refdev_knobs *knobs)
{
    struct refdev_fault_error error;
    struct refdev_fault fault;
    if (refdev_fault_parse_why(text, &fault, &error)) {
        check_refusal(text, &error);
        return;
    }
    check_fault(text, &fault);
    if (knobs->fault_count < REFDEV_FAULTS_MAX)
        knobs->faults[knobs->fault_count++] = fault;
}

static void take_lines(const uint8_t *data, size_t size, struct refdev_knobs *knobs)
{
    char line[REFDEV_FAULT_TEXT_MAX + 8];
    size_t length = 0;
    for (size_t i = 0; i <= size; i++) {
        if (i < size && data[i] != '\n') {
            if (length < sizeof(line) - 1)
                line[length++] = (char)data[i];
            continue;
        }
        line[length] = '\0';
        take_line(line, knobs);
        length = 0;
    }
}

static void live(struct bare_device *device, size_t chunk)
{
    static uint8_t state[STATE_MAX];
    struct refdev_model *model = device->model;
    uint64_t initial, dirty, size, bits[1] = { 0 }, pgsize = 4096;
    size_t length = 0;
    for (unsigned command = 0; command < REFDEV_COMMAND_COUNT; command++)
        refdev_fault_command(model, (enum refdev_fault_command)command);
    refdev_log_start(model, NULL, 0, &pgsize);
    if (!refdev_set_state(model, VMIG_STATE_PRE_COPY)) {
        refdev_precopy_info(model, &initial, &dirty);
        length = bare_save(device, state, sizeof(state), chunk, READS_MAX);
    }
    refdev_log_report(model, 0, 1 << 16, 4096, bits);
    refdev_data_size(model, &size);
    if (!refdev_set_state(model, VMIG_STATE_STOP_COPY))
        length += bare_save(device, state + length, sizeof(state) - length, chunk, READS_MAX);
    refdev_set_state(model, VMIG_STATE_RUNNING);
    if (!refdev_set_state(model, VMIG_STATE_RESUMING))
        bare_load(device, state, length, chunk);
    refdev_set_state(model, VMIG_STATE_RUNNING);
    if (refdev_state(model) >= VMIG_STATE_COUNT)
        abort();
    refdev_reset(model);
    if (refdev_state(model) != VMIG_STATE_RUNNING)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t chunks[] = { 97, 1000, 4096, 65536 };
    struct refdev_knobs knobs = { 0 };
    struct bare_device device;
    unsigned profiles = 0;
    if (!size)
        return 0;
    while (refdev_profile_at(profiles))
        profiles++;
    knobs.profile = refdev_profile_at((data[0] >> 2) % profiles);
    take_lines(data + 1, size - 1, &knobs);
    if (!knobs.fault_count)
        return 0;
    bare_begin(&device, &knobs);
    live(&device, chunks[data[0] % 4]);
    bare_end(&device);
    return 0;
}
