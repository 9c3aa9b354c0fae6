; Waits for a character on the console, says that it has come, and sleeps for ever.

bits 32
org 0x100000

%include "serial.asm"

LSR_DATA_READY  equ 0x01
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `waiting\n`
        mov     dx, COM1_LSR
.wait:
        in      al, dx
        test    al, LSR_DATA_READY
        jz      .wait
        say     `ready\n`
        cli
.halt:
        hlt
        jmp     .halt

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
