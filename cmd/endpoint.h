/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One end of a migration as a command holds it: devices opened, memory mapped and shown to them, ^C
 * turned into a cancel, progress on a terminal, errors turned into exit codes. save, restore, send
 * and receive are thin over this.
 */
#ifndef CMD_ENDPOINT_H
#define CMD_ENDPOINT_H

#include <sys/types.h>
#include "cmd/cmd.h"
#include "cmd/device-argument.h"

#define ENDPOINT_DEVICES_MAX VMIG_DEVICES_MAX
#define ENDPOINT_RAM_MAX 16

#define ENDPOINT_TRACES_MAX 32

struct endpoint_ram {
    char path[4096];
    uint64_t iova;
    int fd;
    void *vaddr;
    uint64_t size_bytes;
};

struct endpoint {
    const char *name; /* of the subcommand */
    bool json, quiet;
    unsigned num_addresses, num_devices, num_ram;
    const char *addresses[ENDPOINT_DEVICES_MAX];                /* ADDRESS[,id=NAME]..., as typed */
    struct vmig_device_settings settings[ENDPOINT_DEVICES_MAX]; /* of those that were opened */
    bool only_migratable;
    const char *compat; /* as typed; NULL: the newest */
    const char *ramfb;  /* file of a ramfb device; NULL: there is none */
    bool check;         /* it is only looked at */
    struct vmig_device *devices[ENDPOINT_DEVICES_MAX];
    struct endpoint_ram ram[ENDPOINT_RAM_MAX];
    const char *backend; /* as typed; NULL: what fits */
    const char *control;
    const char *history;     /* as typed; NULL: where such things are kept */
    const char *qmp_address; /* as typed; NULL: no monitor */
    struct qmp *qmp;         /* cmd/qmp.h */
    struct vmig_migration *migration;
    const char *traces[ENDPOINT_TRACES_MAX]; /* --trace, as typed */
    unsigned num_traces;
    bool progress_shown; /* a line without its newline stands on the terminal */
    struct {
        const char *name;
        uint64_t value;
    } parameters[32];
    unsigned num_parameters;
    struct vmig_capability capabilities[32];
    unsigned num_capabilities;
    bool has_uuid;
    uint8_t uuid[16];
    struct endpoint_tracking {
        const char *device; /* its id; NULL: all */
        size_t device_bytes;
        enum vmig_dirty_tracking how;
    } tracking[ENDPOINT_DEVICES_MAX];
    unsigned num_tracking;
};

/* For argp's children; the input is the struct endpoint. --quiet, --json and --trace: */
extern const struct argp endpoint_state_argp;
/* the same with --device, --ram-file, --control and --only-migratable: */
extern const struct argp endpoint_argp;
/* The source's tuning: --downtime-limit, --max-bandwidth, --max-rounds, --channels, --no-pre-copy,
 * --all-dirty, --dirty-tracking, --state-size, --transition-timeout, --history. Same input. */
extern const struct argp endpoint_tuning_argp;

/* A stream's address that makes no sense ends the program with argp's usage message. */
void endpoint_check_address(const char *address, struct argp_state *state);

/* Remember a parameter for endpoint_open(). */
void endpoint_set(struct endpoint *e, const char *name, uint64_t value);
/* The same for a capability. */
void endpoint_switch(struct endpoint *e, const char *capability, bool on);

/* Open devices and memory, make the migration, set its parameters, catch SIGINT and SIGTERM. */
int endpoint_open(struct endpoint *e, struct vmig_error *err);
/* What options asked for: parameters, capabilities, --control. */
int endpoint_configure(const struct endpoint *e, struct vmig_migration *migration,
                       struct vmig_error *err);
/* What was typed as device @index: its name, too, if that was left out, and its settings. */
void endpoint_device(const struct endpoint *e, unsigned index, struct device_argument *ret);
/* --dirty-tracking, for devices that were added. */
int endpoint_set_tracking(const struct endpoint *e, struct vmig_migration *migration,
                          struct vmig_error *err);
/* A source remembers what its pauses took, unless it shall not. */
int endpoint_remember(const struct endpoint *e, struct vmig_migration *migration,
                      struct vmig_error *err);
/* The migration is over, its control socket goes; devices and memory stay. */
void endpoint_end_migration(struct endpoint *e);
void endpoint_close(struct endpoint *e);

/* Print the failure, as text or JSON, and return its exit code. */
enum cmd_exit endpoint_fail(struct endpoint *e, const struct vmig_error *err);
/* The result of one that succeeded, for people (only when @verbose or on a terminal) or JSON. */
void endpoint_report(struct endpoint *e);

/* Wait for SIGINT, SIGTERM, or endpoint_interrupt(). */
void endpoint_wait_signal(void);
/* What they do: end waits, cancel what runs. Any thread. */
void endpoint_interrupt(void);
/* Readable from then on. */
int endpoint_interrupted_fd(void);

#endif
