/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vmm/boot.h"

#define CODE_SELECTOR 0x10 /* as Linux's boot protocol says */
#define DATA_SELECTOR 0x18
#define CR0_PE (1u << 0)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_PG (1u << 31)
#define CR4_PAE (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define ENTRY_PRESENT_WRITABLE 3ull
#define ENTRY_LARGE 0x80ull

void boot_make_tables(struct memory *memory)
{
    static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
    memcpy(memory_low(memory, BOOT_GDT), gdt, sizeof(gdt));
    uint64_t *tables = memory_low(memory, BOOT_TABLES);
    tables[0] = (BOOT_TABLES + 0x1000) | ENTRY_PRESENT_WRITABLE;
    for (uint64_t gib = 0; gib < 4; gib++)
        tables[512 + gib] = (BOOT_TABLES + 0x2000 + gib * 0x1000) | ENTRY_PRESENT_WRITABLE;
    for (uint64_t n = 0; n < 4 * 512; n++)
        tables[1024 + n] = n << 21 | ENTRY_LARGE | ENTRY_PRESENT_WRITABLE;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
    return (struct kvm_segment) { .limit = 0xffffffff,
                                  .selector = selector,
                                  .type = type,
                                  .present = 1,
                                  .s = 1,
                                  .db = !code,
                                  .l = code,
                                  .g = 1 };
}

int boot_enter(struct vcpu *vcpu, const struct boot_entry *entry, struct vmig_error *err)
{
    struct kvm_regs regs = {
        .rip = entry->ip, .rsp = entry->sp, .rdi = entry->rdi, .rsi = entry->rsi, .rflags = 2
    };
    struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };
    struct kvm_sregs sregs;
    int rc = kvm_ask(vcpu->fd, KVM_GET_SREGS, &sregs, "reading a vCPU's registers", err);
    if (rc < 0)
        return rc;
    sregs.cs = segment(CODE_SELECTOR, 0xb, true);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(DATA_SELECTOR, 3, false);
    sregs.gdt = (struct kvm_dtable) { .base = BOOT_GDT, .limit = 31 };
    sregs.idt = (struct kvm_dtable) { 0 };
    sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
    sregs.cr3 = BOOT_TABLES;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LME | EFER_LMA;
    rc = kvm_ask(vcpu->fd, KVM_SET_SREGS, &sregs, "setting a vCPU's registers", err);
    if (rc >= 0)
        rc = kvm_ask(vcpu->fd, KVM_SET_REGS, &regs, "setting a vCPU's registers", err);
    if (rc >= 0)
        rc = kvm_ask(vcpu->fd, KVM_SET_MP_STATE, &state, "waking a vCPU", err);
    return rc < 0 ? rc : 0;
}
