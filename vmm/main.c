/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-vmm: a small KVM virtual machine monitor. docs/embedding.md walks through it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "vmm/machine.h"

static int exit_code_of(int rc, const struct vmig_error *err)
{
    if (rc == -EUCLEAN)
        return VMM_UNRESOLVED;
    return !strcmp(err->reason, "no-kvm") ? VMM_NO_KVM : VMM_FAILED;
}

/* A device may have thousands of interrupt vectors, with an eventfd each. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct options options;
    struct vmig_error err = { 0 };
    char text[700];
    struct machine *machine = malloc(sizeof(*machine));
    options_parse(argc, argv, &options);
    allow_descriptors();
    if (!machine)
        return VMM_FAILED;
    int rc = machine_new(machine, &options, &err);
    if (rc == 0)
        rc = machine_run(machine, &err);
    machine_done(machine);
    free(machine);
    if (rc == 0)
        return VMM_DONE;
    if (err.code)
        fprintf(stderr, "vfio-vmm: %s\n", vmig_error_message(&err, text, sizeof(text)));
    return exit_code_of(rc, &err);
}
