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

    .bss
    .balign 16
stacks:
    .skip 8 * 16384
    .section .note.GNU-stack, "", @progbits
