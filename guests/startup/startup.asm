; Says that it runs: one byte on the debug console, by its first instructions, and one on the serial port, as soon as
; that is set up.
;
; Entered by PVH: 32-bit protected mode, flat segments, paging off, interrupts off.

bits 32
org 0x100000

%include "serial.asm"

DEBUG_CONSOLE   equ 0xe9
STACK_SIZE      equ 0x1000

entry:
        mov     al, '!'
        out     DEBUG_CONSOLE, al
        mov     esp, memory_end
        cld
        call    serial_init
        say     `!`
.halted:
        hlt
        jmp     .halted

align 16, db 0
image_end:
memory_end      equ image_end + STACK_SIZE
