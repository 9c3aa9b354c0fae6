; Starts the other processors of a machine (INIT, STARTUP; Intel SDM volume 3, section 9.4.4), and lets them do something.
;
; CPUS and ACTION come from the test. Every processor that is started reports, and waits for all others to have done so; then
; those carry ACTION out that it is meant for.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"

ACTION_PRINT    equ 0                   ; all write their number to the debug console, PRINTS times
ACTION_EXIT     equ 1                   ; the last one ends the machine with (42 << 1) | 1
ACTION_SLEEP    equ 2                   ; the last one switches the machine off
ACTION_RESET    equ 3                   ; the last one resets the machine
ACTION_RESETS   equ 4                   ; all reset the machine, at once
ACTION_STRAY    equ 5                   ; the last one jumps to where no memory is, the first one sleeps
ACTION_STRAY_0  equ 6                   ; the first one does, all others sleep
PRINTS          equ 200

LAPIC_SVR       equ 0xfee000f0
LAPIC_ICR       equ 0xfee00300
LAPIC_ENABLE    equ 0x1ff
ICR_INIT        equ 0x000c4500          ; to all but self
ICR_STARTUP     equ 0x000c4600

DEBUG_CONSOLE   equ 0xe9
NO_MEMORY       equ 0xa0000             ; the hole of a display adapter

; Conventional memory that no loader touches: it keeps its contents over a reset.
TRAMPOLINE      equ 0x40000
BOOTS           equ 0x50000
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `boot `
        mov     eax, [BOOTS]
        call    print_decimal
        inc     dword [BOOTS]
        mov     esi, trampoline
        mov     edi, TRAMPOLINE
        mov     ecx, trampoline_end - trampoline
        rep     movsb
        mov     dword [LAPIC_SVR], LAPIC_ENABLE
        mov     dword [LAPIC_ICR], ICR_INIT
        mov     dword [LAPIC_ICR], ICR_STARTUP | TRAMPOLINE >> 12
.wait:
        pause
        cmp     byte [TRAMPOLINE + started - trampoline], CPUS - 1
        jne     .wait
        say     `: `
        mov     eax, [TRAMPOLINE + started - trampoline]
        call    print_decimal
        say     ` processors started, topology `
        mov     eax, 0xb                ; extended topology: the level above threads
        mov     ecx, 1
        cpuid
        mov     eax, ebx
        and     eax, 0xffff
        call    print_decimal
        say     `\n`
        cmp     dword [BOOTS], 2
        je      power_off
        mov     byte [TRAMPOLINE + go - trampoline], 1
        mov     eax, ACTION
        cmp     eax, ACTION_PRINT
        jne     .halt
.finished:
        pause
        cmp     byte [TRAMPOLINE + finished - trampoline], CPUS - 1
        jne     .finished
        jmp     power_off
.halt:
        cmp     eax, ACTION_STRAY_0
        je      near NO_MEMORY
        hlt
        jmp     .halt

; Copied to TRAMPOLINE, and run there in real mode with CS = TRAMPOLINE >> 4 by each processor that starts.
trampoline:
bits 16
        mov     ax, cs
        mov     ds, ax
        mov     eax, 1
        cpuid
        shr     ebx, 24                 ; the initial APIC id
        lock inc byte [started - trampoline]
.wait:
        pause
        cmp     byte [go - trampoline], 1
        jne     .wait
        mov     eax, ACTION
        cmp     al, ACTION_PRINT
        je      .print
        cmp     al, ACTION_RESETS
        je      .reset
        cmp     bl, CPUS - 1
        jne     .halt
        cmp     al, ACTION_RESET
        je      .reset
        cmp     al, ACTION_EXIT
        je      .exit
        cmp     al, ACTION_STRAY
        je      .stray
        cmp     al, ACTION_SLEEP
        jne     .halt
        mov     dx, PM1_CNT
        mov     ax, SLP_EN
        out     dx, ax
        jmp     .halt
.stray:
        jmp     NO_MEMORY >> 4:0
.exit:
        mov     dx, DEBUG_EXIT
        mov     al, 42
        out     dx, al
        jmp     .halt
.reset:
        mov     dx, 0xcf9
        mov     al, 0x06
        out     dx, al
        jmp     .halt
.print:
        mov     cx, PRINTS
        mov     dx, DEBUG_CONSOLE
        lea     ax, [bx + '0']
.next:
        out     dx, al
        loop    .next
        lock inc byte [finished - trampoline]
.halt:
        cli
        hlt
        jmp     .halt
align 4, db 0
started:
        dd      0
finished:
        db      0
go:
        db      0
trampoline_end:
bits 32

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
