; Writes to the debug console for ever, so that somebody can see whether it runs.

bits 32
org 0x100000

DEBUG_CONSOLE   equ 0xe9

entry:
        mov     al, '.'
.again:
        out     DEBUG_CONSOLE, al
        mov     ecx, 1000
.wait:
        dec     ecx
        jnz     .wait
        jmp     .again

image_end:
memory_end      equ (image_end + 15) & ~15
