; Reads the console up to an EOT, and tells how many characters came before it and what their sum is.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"

EOT             equ 4
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `ready\n`
        xor     esi, esi
        xor     edi, edi
.next:
        call    read_char
        cmp     al, EOT
        je      .end
        inc     esi
        movzx   eax, al
        add     edi, eax
        jmp     .next
.end:
        mov     eax, esi
        call    print_decimal
        say     ` characters, sum `
        mov     eax, edi
        call    print_decimal
        say     `\n`
        jmp     power_off

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
