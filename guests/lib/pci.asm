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

; Looks on bus 0 for the function with the vendor (low half) and device number EAX. It is then in EBP; CF is set where
; there is none.
find_function:
        push    ecx
        mov     ecx, eax
        mov     ebp, PCI_ENABLE
.slot:
        mov     eax, PCI_ID
        call    config_read
        cmp     eax, ecx
        je      .found                  ; equal: CF is clear
        add     ebp, 1 << 11
        cmp     ebp, PCI_ENABLE | 32 << 11
        jb      .slot
        stc
.found:
        pop     ecx
        ret

; Sizes the base address register EBX of the function EBP, and gives it the next free address of its space that is
; aligned to its size (PCI 3.0, section 6.2.5.1). EAX: the address. ECX: the size in bytes, 0 where no register is. EDX:
; 1 for I/O space, 0 for memory.
place_bar:
        push    esi
        push    edi
        xor     edx, edx
        mov     eax, ebx
        mov     ecx, 0xffffffff
        call    config_write
        call    config_read
        mov     esi, eax
        test    eax, eax
        jz      .done
        mov     edi, next_memory
        mov     ecx, ~0xf               ; the low bits are no address: 4 in memory space, 2 in I/O space
        test    al, 1
        jz      .size
        inc     edx
        mov     edi, next_io
        mov     ecx, ~0x3
        or      eax, 0xffff0000         ; the upper half may be read-only zero in I/O space
.size:
        and     eax, ecx
        mov     esi, eax
        neg     esi
        lea     ecx, [esi-1]
        add     ecx, [edi]
        and     ecx, eax
        lea     eax, [ecx+esi]
        mov     [edi], eax
        mov     eax, ebx
        call    config_write
        mov     eax, ecx
.done:
        mov     ecx, esi
        pop     edi
        pop     esi
        ret

; What is free in the two spaces: above what firmware would hand out first, should some have run.
align 4, db 0
next_io:
        dd      0xd000
next_memory:
        dd      0xe0000000

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
