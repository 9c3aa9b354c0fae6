; Sends back what comes on any of four serial ports, on that port.
;
; EOT ends the machine, `!` stands for a break, and for ACK the port gets FLOOD_SIZE characters and COM1 then a line.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"

LSR             equ 5
LSR_BREAK       equ 0x10
NOTHING         equ 0xff                ; no port there
EOT             equ 4
ACK             equ 6
FLOOD_SIZE      equ 0x10000
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        mov     esi, ports
.greet:
        lodsw
        mov     dx, ax
        mov     al, '#'
        out     dx, al
        cmp     esi, ports_end
        jne     .greet
.round:
        mov     esi, ports
.port:
        lodsw
        movzx   ebx, ax
        call    serve
        cmp     esi, ports_end
        jne     .port
        jmp     .round

; Serves the port at BX.
serve:
        lea     edx, [ebx + LSR]
        in      al, dx
        cmp     al, NOTHING
        je      .done
        test    al, LSR_DATA_READY
        jz      .done
        mov     ah, al
        mov     edx, ebx
        in      al, dx
        test    ah, LSR_BREAK
        jnz     .break
        cmp     al, EOT
        je      power_off
        cmp     al, ACK
        je      .flood
        out     dx, al
.done:
        ret
.break:
        mov     al, '!'
        out     dx, al
        ret
.flood:
        mov     al, '.'
        mov     ecx, FLOOD_SIZE
.next:
        out     dx, al
        loop    .next
        say     `flooded\n`
        ret

ports:
        dw      0x3f8, 0x2f8, 0x3e8, 0x2e8
ports_end:

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
