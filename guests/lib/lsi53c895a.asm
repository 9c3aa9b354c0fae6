; The LSI 53C895A as far as guests drive it (technical manual, chapter 4: operating registers). Offsets are those in memory
; space. Needs serial.asm, pci.asm and power.asm.

LSI53C895A_ID   equ 0x00121000          ; device 0012, vendor 1000

SCID            equ 0x04
DSTAT           equ 0x0c
DSA             equ 0x10
ISTAT0          equ 0x14
DSP             equ 0x2c                ; a write of its last byte starts SCRIPTS
DSPS            equ 0x30
SCRATCHA        equ 0x34                ; a register without a meaning of its own
DIEN            equ 0x39
SIEN0           equ 0x40
SIEN1           equ 0x41
SIST0           equ 0x42
SIST1           equ 0x43
STIME0          equ 0x48
RESPID0         equ 0x4a

ISTAT_RESET     equ 0x40
ISTAT_SIP       equ 0x02                ; SCSI interrupt pending: SIST0 and SIST1 say which
ISTAT_DIP       equ 0x01                ; DMA interrupt pending: DSTAT says which
SCID_ID7        equ 0x47                ; answers reselection, as initiator 7

; Finds the controller on PCI bus 0, gives its registers and its SCRIPTS RAM addresses in memory space, and lets it decode
; them and be bus master. EBP: the function. EDI: the address of the registers. ESI: that of SCRIPTS RAM. Changes EAX, EBX,
; ECX and EDX; ends the machine where there is no controller.
enable_controller:
        mov     eax, LSI53C895A_ID
        call    find_function
        jnc     .found
        fail    `there is no LSI 53C895A on PCI bus 0`
.found:
        mov     ebx, PCI_BAR0 + 4       ; behind the registers in I/O space
        call    place_bar
        mov     edi, eax
        mov     ebx, PCI_BAR0 + 8
        call    place_bar
        mov     esi, eax
        mov     eax, PCI_COMMAND
        mov     ecx, COMMAND_MEMORY | COMMAND_MASTER
        jmp     config_write
