; Waits for a character on its console, stores to a register of an LSI 53C895A, says so, and counts on the debug console for ever
; without another access to the device.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"
%include "lsi53c895a.asm"

DEBUG_CONSOLE   equ 0xe9
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        call    enable_controller
        say     `waiting\n`
        call    read_char
        mov     dword [edi + SCRATCHA], 0x12345678
        say     `stored\n`
        mov     al, '.'
.count:
        out     DEBUG_CONSOLE, al
        mov     ecx, 1000
.pause:
        dec     ecx
        jnz     .pause
        jmp     .count

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
