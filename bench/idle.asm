; Says that it is there, and sleeps for ever.

bits 32
org 0x100000

%include "serial.asm"

STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `idle\n`
        cli
.halt:
        hlt
        jmp     .halt

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
