; Writes sectors to the disk behind an LSI 53C895A at slot 1, reads them back, and goes on without end, also when the controller loses
; all that it knew and says so by the interrupt of a SCSI bus reset (LSI53C895A technical manual, section 4.3, SIST0.RST): then it sets the
; controller up anew and repeats its command, as drivers do.
;
; Each round writes one sector; when all have had their turn, all are read again. A character on the console ends the machine.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"
%include "cpu.asm"
%include "scripts.asm"
%include "lsi53c895a.asm"

; Slot 1's INTA# is PIRQF, which arrives at IOAPIC input 21.
IOAPIC_INPUT    equ 21
DEVICE_VECTOR   equ 0x42
LPC_PIRQE_ROUT  equ 0x68

NO_DEVICE       equ 0xff
DSTAT_SIR       equ 0x04                ; SCRIPTS reached an INT instruction
DIEN_ALL        equ 0x75
SIST0_RST       equ 0x02
SIEN0_ERRORS    equ 0x8f                ; phase mismatch, gross error, unexpected disconnect, reset, parity
SIEN1_STO       equ 0x04                ; selection time-out

STATUS_GOOD     equ 0x00
MAX_ATTEMPTS    equ 8
PATIENCE        equ 30 * 1000000000 / 16
SECTORS         equ 64
SECTOR_SIZE     equ 512
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        call    cpu_init
        call    apic_init
.find:
        mov     eax, LSI53C895A_ID      ; which may just not be there
        call    find_function
        jc      .find
        call    enable_controller
        mov     [registers], edi
        mov     ebp, LPC_BRIDGE
        mov     eax, LPC_PIRQE_ROUT
        mov     ecx, 0x80808080
        call    config_write
        mov     eax, disk_interrupt
        mov     ebx, DEVICE_VECTOR
        call    set_vector
        mov     eax, IOAPIC_INPUT
        call    route_interrupt
        call    lsi_init
.round:
        call    write_sector
        mov     eax, [round]
        call    check_sector
        inc     dword [round]
        test    dword [round], 15
        jnz     .next
        say     `round `
        mov     eax, [round]
        call    print_decimal
        say     `\n`
        test    dword [round], SECTORS - 1
        jnz     .next
        call    check_all
.next:
        mov     dx, COM1_LSR
        in      al, dx
        test    al, LSR_DATA_READY
        jz      .round
        call    check_all
        say     `all is there after `
        mov     eax, [resets]
        call    print_decimal
        say     ` bus resets\n`
        jmp     power_off

lsi_init:
        mov     ebx, [registers]
        mov     byte [ebx + ISTAT0], ISTAT_RESET
        mov     byte [ebx + ISTAT0], 0
        mov     byte [ebx + SCID], SCID_ID7
        mov     byte [ebx + RESPID0], 1 << 7
        mov     byte [ebx + STIME0], 0x0c
        mov     byte [ebx + DIEN], DIEN_ALL
        mov     byte [ebx + SIEN0], SIEN0_ERRORS
        mov     byte [ebx + SIEN1], SIEN1_STO
        ret

; Keeps what the controller reports. What a controller that is gone seems to report is nothing.
disk_interrupt:
        push    eax
        push    ebx
        mov     ebx, [registers]
        mov     al, [ebx + ISTAT0]
        cmp     al, NO_DEVICE
        je      .acknowledge
        test    al, ISTAT_SIP
        jz      .dma
        mov     ah, [ebx + SIST0]
        cmp     ah, NO_DEVICE
        je      .acknowledge
        or      [scsi_status], ah
        mov     ah, [ebx + SIST1]
        mov     byte [interrupted], 1
.dma:
        test    al, ISTAT_DIP
        jz      .acknowledge
        push    ecx
        mov     ecx, [ebx + DSPS]       ; before DSTAT: it stays while that has something, and where
        mov     ah, [ebx + DSTAT]       ; a new controller takes over in between, that has nothing
        cmp     ah, NO_DEVICE
        je      .gone
        and     ah, DIEN_ALL            ; ISTAT0 may have been another controller's than this is
        jz      .gone
        mov     [script_status], ecx
        or      [dma_status], ah
        mov     byte [interrupted], 1
.gone:
        pop     ecx
.acknowledge:
        mov     dword [LAPIC_EOI], 0
        pop     ebx
        pop     eax
        interrupt_return

; Round [round] writes its sector: the round's number, and words that follow from it.
write_sector:
        mov     edi, buffer
        mov     eax, [round]
        mov     ecx, SECTOR_SIZE / 4
.word:
        stosd
        imul    eax, eax, 0x2c1b3c6d
        inc     eax
        loop    .word
        mov     eax, [round]
        call    address
        mov     [write10 + 2], eax
        mov     esi, write10
        jmp     must_succeed

; Reads the sector of the round EAX back: it has what that round has written.
check_sector:
        push    eax
        call    address
        mov     [read10 + 2], eax
        mov     edi, buffer
        mov     ecx, SECTOR_SIZE / 4
        xor     eax, eax
        rep     stosd
        mov     esi, read10
        call    must_succeed
        pop     eax
        mov     esi, buffer
        mov     ecx, SECTOR_SIZE / 4
.word:
        cmp     eax, [esi]
        jne     .wrong
        imul    eax, eax, 0x2c1b3c6d
        inc     eax
        add     esi, 4
        loop    .word
        ret
.wrong:
        fail    `the disk does not hold what it was given`

; Checks all sectors that have been written.
check_all:
        mov     ebx, [round]
        mov     ecx, SECTORS
        cmp     ebx, ecx
        jae     .next
        mov     ecx, ebx
.next:
        dec     ebx
        mov     eax, ebx
        push    ebx
        push    ecx
        call    check_sector
        pop     ecx
        pop     ebx
        loop    .next
        ret

; The sector of the round EAX, as a command has it.
address:
        and     eax, SECTORS - 1
        bswap   eax
        ret

; Carries out the command of 10 bytes at ESI with a sector of data. A disk that has been reset says so by a status (unit attention) to the
; first commands.
must_succeed:
        mov     ebp, MAX_ATTEMPTS
.attempt:
        call    scsi_command
        cmp     al, STATUS_GOOD
        je      .done
        dec     ebp
        jnz     .attempt
        fail    `the disk refuses a command`
.done:
        ret

; The target's status in AL.
scsi_command:
        mov     dword [table.data], SECTOR_SIZE
        mov     dword [table.command], 10
        mov     [table.command + 4], esi
        mov     byte [status], 0xff
        mov     word [interrupted], 0
        mov     byte [dma_status], 0
        mov     ebx, [registers]
        mov     dword [ebx + DSA], table
        mov     dword [ebx + DSP], scripts
        push    esi
        mov     esi, interrupted
        mov     eax, PATIENCE
        call    sleep_until
        pop     esi
        jc      .no_interrupt
        test    byte [scsi_status], SIST0_RST
        jnz     .reset
        cmp     byte [scsi_status], 0
        jne     .unexpected
        test    byte [dma_status], DSTAT_SIR
        jz      .unexpected
        cmp     dword [script_status], DONE
        jne     .unexpected
        mov     al, [status]
        ret
.reset:
        inc     dword [resets]
        say     `bus reset\n`
        call    lsi_init
        jmp     scsi_command
.no_interrupt:
        fail    `no interrupt came within 30 seconds`
.unexpected:
        fail    `the SCRIPTS program stopped early`

align 4, db 0
write10:
        db      0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0
align 4, db 0
read10:
        db      0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0
align 4, db 0
round:
        dd      0
resets:
        dd      0
registers:
        dd      0
script_status:
        dd      0
interrupted:
        db      0
scsi_status:
        db      0
dma_status:
        db      0

align 16, db 0
image_end:
buffer          equ image_end
idt             equ (buffer + SECTOR_SIZE + 15) & ~15
memory_end      equ idt + 256 * 8 + STACK_SIZE
