; Resets the machine once, in the way that the constant RESET names, and tells how it finds itself before and after.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"

RESET_CF9       equ 0                   ; RST_CNT (ICH9 data sheet, 13.7.5)
RESET_I8042     equ 1                   ; keyboard controller, command 0xfe
RESET_PORT92    equ 2                   ; INIT_NOW
RESET_TRIPLE    equ 3                   ; an exception without an IDT
NO_RESET        equ 4

LPC_PIRQA_ROUT  equ 0x60
LSI53C895A_ID   equ 0x00121000
; RAM that no loader touches: it keeps its contents over a reset.
BOOTS           equ 0x30000
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        mov     dx, COM1_LCR
        in      al, dx
        mov     [line_control], al
        call    serial_init
        say     `boot `
        mov     eax, [BOOTS]
        call    print_decimal
        say     `: lcr `
        mov     al, [line_control]
        mov     cl, 2
        call    print_hex
        say     ` image `
        mov     eax, [dirty]
        call    print_decimal
        say     ` pirq `
        mov     ebp, LPC_BRIDGE
        mov     eax, LPC_PIRQA_ROUT
        call    config_read
        mov     cl, 8
        call    print_hex
        say     ` bar `
        mov     eax, LSI53C895A_ID
        call    find_function
        jc      .no_device
        mov     eax, PCI_BAR0
        call    config_read
        mov     cl, 8
        call    print_hex
        mov     eax, PCI_BAR0
        mov     ecx, 0xd000
        call    config_write
        jmp     .dirty
.no_device:
        say     `none`
.dirty:
        say     `\n`
        mov     dword [dirty], 1
        mov     ebp, LPC_BRIDGE
        mov     eax, LPC_PIRQA_ROUT
        mov     ecx, 0x0b0b0b0b
        call    config_write
        inc     dword [BOOTS]
        cmp     dword [BOOTS], 2
        je      power_off

        mov     eax, RESET
        cmp     eax, RESET_CF9
        je      .cf9
        cmp     eax, RESET_I8042
        je      .i8042
        cmp     eax, RESET_PORT92
        je      .port92
        cmp     eax, RESET_TRIPLE
        je      .triple
        jmp     power_off
.cf9:
        mov     dx, 0xcf9
        mov     al, 0x06
        out     dx, al
        jmp     .hang
.i8042:
        mov     al, 0xfe
        out     0x64, al
        jmp     .hang
.port92:
        mov     al, 0x03
        out     0x92, al
        jmp     .hang
.triple:
        lidt    [no_idt]
        ud2
.hang:
        hlt
        jmp     .hang

line_control:
        db      0
align 4, db 0
dirty:
        dd      0
no_idt:
        dw      0
        dd      0

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
