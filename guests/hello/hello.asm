; The smallest guest: one line on the serial port, then power-off.
;
; Entered by PVH: 32-bit protected mode, flat segments, paging off, interrupts off.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"

STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `hello from the guest\n`
        jmp     power_off

align 16, db 0
image_end:
memory_end      equ image_end + STACK_SIZE
