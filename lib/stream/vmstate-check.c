/* SPDX-License-Identifier: BSD-3-Clause */
/* Is a table one? Whoever made a slip in it hears of it when it is added, not in a pause. */
#include <errno.h>
#include <string.h>

#include "lib/error.h"
#include "lib/stream/vmstate-kinds.h"
#include "lib/stream/vmstate.h"

bool vmstate_is_container(const struct vmig_vmstate_field *f)
{
    enum vmstate_form form = vmstate_kinds[f->kind].form;
    return form == VMSTATE_LIST || form == VMSTATE_TREE;
}

static bool needs_table(const struct vmig_vmstate_field *f)
{
    return vmstate_kinds[f->kind].form >= VMSTATE_STRUCT;
}

static int check_table(const struct vmig_vmstate *vmsd, unsigned depth, struct vmig_error *err);

static const char *fault_of(const struct vmig_vmstate_field *f)
{
    if ((unsigned)f->kind >= VMIG_VMSTATE_KIND_COUNT)
        return "there is no such kind";
    const struct vmstate_kind *kind = &vmstate_kinds[f->kind];
    if (kind->bytes && f->size != kind->bytes)
        return "the member's size is not the kind's";
    if (needs_table(f) && !f->vmsd)
        return "it has no table";
    if (f->kind == VMIG_VMSTATE_KIND_TMP && f->size < sizeof(void *))
        return "a temporary begins with a pointer";
    if (f->kind == VMIG_VMSTATE_KIND_VALIDATE && !f->exists)
        return "there is nothing to validate with";
    if (f->kind == VMIG_VMSTATE_KIND_CUSTOM &&
        (!f->codec || !f->codec->name || !f->codec->length || !f->codec->save || !f->codec->load))
        return "its codec is not complete";
    if (vmstate_is_container(f) &&
        (!f->container || !f->container->next || !f->container->add || !f->container->clear))
        return "its container is not complete";
    if (f->kind == VMIG_VMSTATE_KIND_TREE &&
        (!f->container->key || (f->container->key_vmsd && !f->container->key_bytes)))
        return "its keys are not described";
    if (f->count_bytes != 0 && f->count_bytes != 1 && f->count_bytes != 2 && f->count_bytes != 4)
        return "its count is no number of 1, 2 or 4 bytes";
    if (f->kind == VMIG_VMSTATE_KIND_VSTRUCT && f->vmsd_version > f->vmsd->version)
        return "its table has no such version";
    return NULL;
}

static int check_field(const struct vmig_vmstate *vmsd, const struct vmig_vmstate_field *f,
                       unsigned depth, struct vmig_error *err)
{
    const char *fault = fault_of(f);
    if (fault)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "table \"%.80s\", field \"%.80s\": %s", vmsd->name, f->name, fault);
    bool keyed = vmstate_is_container(f) && f->container->key_vmsd;
    int rc = f->vmsd ? check_table(f->vmsd, depth + 1, err) : 0;
    return rc == 0 && keyed ? check_table(f->container->key_vmsd, depth + 1, err) : rc;
}

static bool is_name_of_subsection(const char *parent, const char *name)
{
    size_t length = strlen(parent);
    return name && strncmp(name, parent, length) == 0 && name[length] && strlen(name) <= 255;
}

static int check_table(const struct vmig_vmstate *vmsd, unsigned depth, struct vmig_error *err)
{
    if (!vmsd->name || !vmsd->fields || vmsd->minimum_version > vmsd->version ||
        depth == VMSTATE_DEPTH_MAX)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "table \"%.80s\" lacks a name or fields, nests deeper than %u, or its "
                         "minimum version is above its version",
                         vmsd->name ? vmsd->name : "", VMSTATE_DEPTH_MAX);
    int rc = 0;
    for (const struct vmig_vmstate_field *f = vmsd->fields; rc == 0 && f->name; f++)
        rc = check_field(vmsd, f, depth, err);
    for (unsigned i = 0; rc == 0 && vmsd->subsections && vmsd->subsections[i]; i++)
        rc = is_name_of_subsection(vmsd->name, vmsd->subsections[i]->name)
                 ? check_table(vmsd->subsections[i], depth + 1, err)
                 : error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                             "table \"%.80s\": a subsection's name begins with it and goes on",
                             vmsd->name);
    return rc;
}

int vmstate_check(const struct vmig_vmstate *vmsd, struct vmig_error *err)
{
    return check_table(vmsd, 0, err);
}
