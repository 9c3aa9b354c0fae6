; The driver: starts SCRIPTS, waits for their interrupt, and makes sense of what it says.

%include "lsi53c895a.asm"

DSTAT_SIR       equ 0x04                ; SCRIPTS reached an INT instruction
DIEN_ALL        equ 0x75                ; master data parity, bus fault, aborted, SIR, illegal instruction
SIEN0_ERRORS    equ 0x8f                ; phase mismatch, gross error, unexpected disconnect, reset, parity
SIEN1_STO       equ 0x04                ; selection time-out
STIME_200MS     equ 0x0c

DISK_VECTOR     equ 0x40

; How long a command may take: 5 s at the 1 GHz that KVM's and QEMU's local APICs count with, divided by 16.
PATIENCE        equ 5 * 1000000000 / 16

STATUS_GOOD     equ 0x00
STATUS_CHECK    equ 0x02
SENSE_UNIT_ATTENTION equ 0x6
MAX_ATTEMPTS    equ 4

lsi_init:
        mov     ebx, [registers]
        mov     byte [ebx + ISTAT0], ISTAT_RESET
        mov     byte [ebx + ISTAT0], 0
        mov     byte [ebx + SCID], SCID_ID7
        mov     byte [ebx + RESPID0], 1 << 7
        mov     byte [ebx + STIME0], STIME_200MS
        mov     byte [ebx + DIEN], DIEN_ALL
        mov     byte [ebx + SIEN0], SIEN0_ERRORS
        mov     byte [ebx + SIEN1], SIEN1_STO
        ret

; Keeps what the controller reports, which also takes its interrupt back, and tells the local APIC.
disk_interrupt:
        push    eax
        push    ebx
        mov     ebx, [registers]
        mov     al, [ebx + ISTAT0]
        test    al, ISTAT_SIP
        jz      .dma
        mov     ah, [ebx + SIST0]
        mov     [scsi_status], ah
        mov     ah, [ebx + SIST1]
        mov     [scsi_status + 1], ah
.dma:
        test    al, ISTAT_DIP
        jz      .report
        mov     ah, [ebx + DSTAT]
        mov     [dma_status], ah
        push    dword [ebx + DSPS]
        pop     dword [script_status]
.report:
        test    al, ISTAT_SIP | ISTAT_DIP
        jz      .acknowledge            ; the line is shared: it may have been another device
        mov     byte [interrupted], 1
        inc     dword [interrupts]
.acknowledge:
        mov     dword [LAPIC_EOI], 0
        pop     ebx
        pop     eax
        interrupt_return

; Carries out the command at ESI (data length, command length, command), with the data in `buffer`. Returns only on
; success: a unit attention is reported and the command repeated, anything else ends the guest.
scsi_command:
        mov     ebp, MAX_ATTEMPTS
.attempt:
        call    run_scripts
        cmp     al, STATUS_GOOD
        je      .done
        cmp     al, STATUS_CHECK
        jne     .bad_status
        push    esi
        mov     esi, request_sense
        call    run_scripts
        pop     esi
        call    print_sense
        mov     al, [buffer + 2]        ; fixed format: the sense key (SPC-4, section 4.5.3)
        and     al, 0xf
        cmp     al, SENSE_UNIT_ATTENTION
        jne     .give_up
        dec     ebp
        jnz     .attempt
.give_up:
        fail    `the target refuses the command`
.bad_status:
        say     `guest: SCSI status 0x`
        mov     cl, 2
        call    print_hex
        say     `\n`
        jmp     .give_up
.done:
        ret

print_sense:
        say     `guest:   CHECK CONDITION, sense key `
        movzx   eax, byte [buffer + 2]
        and     eax, 0xf
        mov     cl, 1
        call    print_hex
        say     `, code `
        mov     al, [buffer + 12]
        mov     cl, 2
        call    print_hex
        say     `/`
        mov     al, [buffer + 13]
        call    print_hex
        say     `\n`
        ret

; Runs the command at ESI once. The target's status in AL.
run_scripts:
        lodsd
        mov     [table.data], eax
        lodsd
        mov     [table.command], eax
        mov     [table.command + 4], esi
        sub     esi, 8
        mov     byte [interrupted], 0
        mov     word [scsi_status], 0
        mov     byte [dma_status], 0
        mov     byte [status], 0xff
        mov     ebx, [registers]
        mov     dword [ebx + DSA], table
        mov     dword [ebx + DSP], scripts
        push    esi
        mov     esi, interrupted
        mov     eax, PATIENCE
        call    sleep_until
        pop     esi
        jc      .no_interrupt
        cmp     word [scsi_status], 0
        jne     .stopped
        test    byte [dma_status], DSTAT_SIR
        jz      .stopped
        cmp     dword [script_status], DONE
        jne     .stopped
        mov     al, [status]
        ret
.no_interrupt:
        fail    `no interrupt came within 5 seconds`
.stopped:
        test    byte [scsi_status + 1], SIEN1_STO
        jz      .unexpected
        fail    `no disk answers at SCSI target 0 (selection time-out)`
.unexpected:
        say     `guest: SIST1:SIST0 0x`
        movzx   eax, word [scsi_status]
        mov     cl, 4
        call    print_hex
        say     `, DSTAT 0x`
        mov     al, [dma_status]
        mov     cl, 2
        call    print_hex
        say     `, DSPS 0x`
        mov     eax, [script_status]
        mov     cl, 8
        call    print_hex
        say     `\n`
        fail    `the SCRIPTS program stopped early`

request_sense:
        dd      18, 6
        db      0x03, 0, 0, 0, 18, 0

align 4, db 0
interrupts:
        dd      0
script_status:
        dd      0
scsi_status:
        dw      0                       ; SIST0, then SIST1
dma_status:
        db      0
interrupted:
        db      0
