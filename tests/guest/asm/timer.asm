; Has the real-time clock interrupt it, and counts (MC146818A data sheet; IRQ 8 at IOAPIC input 8).

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"
%include "cpu.asm"

CLOCK_VECTOR    equ 0x42
RTC_A           equ 0x0a
RTC_B           equ 0x0b
RTC_C           equ 0x0c
RATE_64_HZ      equ 0x2a                ; 32.768 kHz divider, rate 10: 64 times a second
PERIODIC        equ 0x42                ; PIE; 24-hour mode
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        call    cpu_init
        call    apic_init
        mov     eax, clock_interrupt
        mov     ebx, CLOCK_VECTOR
        call    set_vector
        mov     dword [0xfec00000], 0x21        ; redirection entry 8: destination 0, then edge-triggered
        mov     dword [0xfec00010], 0
        mov     dword [0xfec00000], 0x20
        mov     dword [0xfec00010], CLOCK_VECTOR
        mov     al, RTC_A
        out     0x70, al
        mov     al, RATE_64_HZ
        out     0x71, al
        mov     al, RTC_B
        out     0x70, al
        mov     al, PERIODIC
        out     0x71, al
.wait:
        sti
        hlt
        cli
        cmp     dword [ticks], 10
        jb      .wait
        say     `10 interrupts of the clock\n`
        jmp     power_off

clock_interrupt:
        push    eax
        inc     dword [ticks]
        mov     al, RTC_C
        out     0x70, al
        in      al, 0x71                ; which lowers the line
        mov     dword [LAPIC_EOI], 0
        pop     eax
        interrupt_return

align 4, db 0
ticks:
        dd      0

image_end:
idt             equ (image_end + 15) & ~15
memory_end      equ idt + 256 * 8 + STACK_SIZE
