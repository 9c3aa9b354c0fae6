; Waits for a character on the console, says that it has come, and sleeps for ever.

bits 32
org 0x100000

%include "serial.asm"

STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `waiting\n`
        call    read_char
        say     `ready\n`
        cli
.halt:
        hlt
        jmp     .halt

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
