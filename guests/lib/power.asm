; Power-off by ACPI, on a q35 machine. Needs serial.asm and pci.asm.
;
; Intel ICH9 data sheet: 13.1.3 (PMBASE), 13.1.4 (ACPI_CNTL), 13.8.3.3 (PM1_CNT); the ACPI specification, section
; 4.8.3.2.1, has SLP_EN and SLP_TYP. No firmware ran, so nobody but the guest may have given the power management block
; its ports.

LPC_BRIDGE      equ PCI_ENABLE | 31 << 11
ICH9_LPC_ID     equ 0x29188086
LPC_PMBASE      equ 0x40
LPC_ACPI_CNTL   equ 0x44
ACPI_EN         equ 0x80
PM_BASE         equ 0x600
PM1_CNT         equ PM_BASE + 4
SLP_EN          equ 1 << 13             ; with SLP_TYP 0, which this machine has for S5

; QEMU's isa-debug-exit: a write ends the machine with the exit status (value << 1) | 1. Where it is absent, nothing
; happens.
DEBUG_EXIT      equ 0x501

; Says why the guest cannot go on, and ends the machine.
%macro fail 1
        say     `guest: FAILED: `
        say     %1
        say     `\n`
        jmp     power_off_failed
%endmacro

; Ends the machine; does not return.
power_off:
        mov     ebp, LPC_BRIDGE
        mov     eax, PCI_ID
        call    config_read
        cmp     eax, ICH9_LPC_ID
        jne     .sleep
        mov     eax, LPC_PMBASE
        mov     ecx, PM_BASE | 1
        call    config_write
        mov     eax, LPC_ACPI_CNTL
        call    config_read
        mov     ecx, eax
        or      ecx, ACPI_EN
        mov     eax, LPC_ACPI_CNTL
        call    config_write
.sleep:
        mov     dx, PM1_CNT
        mov     ax, SLP_EN
        out     dx, ax
        cli
.halt:
        hlt
        jmp     .halt

; Ends the machine after a failure; does not return.
power_off_failed:
        mov     dx, DEBUG_EXIT
        mov     al, 1
        out     dx, al
        jmp     power_off
