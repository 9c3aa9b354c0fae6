; PCI configuration space through the ports 0xcf8 and 0xcfc (PCI Local Bus Specification 3.0, section 3.2.2.3.2).
;
; A function is named by EBP: 0x80000000, plus slot << 11, plus function << 8, on bus 0.

CONFIG_ADDRESS  equ 0xcf8
CONFIG_DATA     equ 0xcfc
PCI_ENABLE      equ 0x80000000

PCI_ID          equ 0x00                ; vendor, then device
PCI_COMMAND     equ 0x04
PCI_BAR0        equ 0x10
PCI_INTERRUPT   equ 0x3c                ; line, then pin

COMMAND_IO      equ 0x01
COMMAND_MEMORY  equ 0x02
COMMAND_MASTER  equ 0x04

; Reads the dword register EAX, a multiple of 4, of the function EBP into EAX.
config_read:
        push    edx
        add     eax, ebp
        mov     dx, CONFIG_ADDRESS
        out     dx, eax
        mov     dx, CONFIG_DATA
        in      eax, dx
        pop     edx
        ret

; Writes ECX to the dword register EAX of the function EBP.
config_write:
        push    eax
        push    edx
        add     eax, ebp
        mov     dx, CONFIG_ADDRESS
        out     dx, eax
        mov     dx, CONFIG_DATA
        mov     eax, ecx
        out     dx, eax
        pop     edx
        pop     eax
        ret
