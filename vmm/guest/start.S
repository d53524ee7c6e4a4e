/* SPDX-License-Identifier: BSD-3-Clause */
/* Every vCPU begins here: RDI has the parameters, RSI the CPU's number. */
    .section .text.start, "ax"
    .globl start
start:
    lea     1(%rsi), %rax
    shl     $14, %rax
    lea     stacks(%rip), %rsp
    add     %rax, %rsp
    xor     %ebp, %ebp
    call    guest_main
1:  hlt
    jmp     1b

/* An entry for each interrupt vector, VECTOR_BYTES apart: it pushes a code where the processor does not, and its
 * number. What a C function may change is kept around it. */
    .globl vectors
    .balign 16
vectors:
    .set    vector, 0
    .rept   256
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
    push    $0
    .endif
    push    $vector
    jmp     on_vector
    .set    vector, vector + 1
    .endr

on_vector:
    push    %rax
    push    %rcx
    push    %rdx
    push    %rsi
    push    %rdi
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    mov     72(%rsp), %rdi
    mov     80(%rsp), %rsi
    mov     88(%rsp), %rdx
    cld
    call    cpu_on_interrupt
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rdi
    pop     %rsi
    pop     %rdx
    pop     %rcx
    pop     %rax
    add     $16, %rsp
    iretq

    .bss
    .balign 16
stacks:
    .skip 8 * 16384
    .section .note.GNU-stack, "", @progbits
