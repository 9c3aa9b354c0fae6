; Writes to the disk behind an LSI 53C895A without end, and says on the serial line how much of it is on stable storage.
;
; Write number `id` fills some sectors with bytes that tell which write and which sector they belong to; where it goes
; follows from the number and SEED, so that the other side knows it too (writer_guest.ts). Now and then the cache is
; flushed, and the number of the last write is printed when that is done: this one and all before it are to survive.
; A character on the serial line ends the machine.
;
; The controller is polled. FIRST_ID, SEED and SECTORS come from the builder.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"
%include "scripts.asm"
%include "lsi53c895a.asm"

NO_DEVICE       equ 0xff                ; what a device that has gone reads as
STATUS_GOOD     equ 0x00
MAX_ATTEMPTS    equ 8

SECTOR_SIZE     equ 512
MAX_COUNT       equ 128                 ; sectors of one write
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        call    enable_controller
        mov     [registers], edi
        call    lsi_init
        call    await_disk
        say     `ready\n`
.write:
        call    choose
        call    fill_buffer
        call    write_sectors
        mov     eax, [choice]
        shr     eax, 29
        jnz     .next                   ; one in eight is flushed
        call    flush
        say     `flushed `
        mov     eax, [id]
        call    print_decimal
        say     `\n`
.next:
        inc     dword [id]
        mov     dx, COM1_LSR
        in      al, dx
        test    al, LSR_DATA_READY
        jz      .write
        jmp     power_off

lsi_init:
        mov     ebx, [registers]
        mov     byte [ebx + ISTAT0], ISTAT_RESET
        mov     byte [ebx + ISTAT0], 0
        mov     byte [ebx + SCID], SCID_ID7
        mov     byte [ebx + RESPID0], 1 << 7
        ret

; Takes the unit attentions that a disk begins with.
await_disk:
        mov     edi, MAX_ATTEMPTS
.attempt:
        mov     esi, test_unit_ready
        mov     ecx, 6
        xor     eax, eax
        call    scsi_command
        cmp     al, STATUS_GOOD
        je      .ready
        dec     edi
        jnz     .attempt
        fail    `the disk does not become ready`
.ready:
        ret

; Where write [id] goes: [sector] and [count].
choose:
        mov     eax, [id]
        xor     eax, SEED
        imul    eax, eax, 0x85ebca6b
        mov     edx, eax
        shr     edx, 15
        xor     eax, edx
        imul    eax, eax, 0x2c1b3c6d
        mov     edx, eax
        shr     edx, 13
        xor     eax, edx
        mov     [choice], eax
        mov     ecx, eax
        and     ecx, 7
        mov     edx, 1
        shl     edx, cl
        dec     edx
        shr     eax, 3
        and     eax, edx
        inc     eax
        mov     [count], eax
        mov     eax, [choice]
        shr     eax, 10
        xor     edx, edx
        mov     ecx, SECTORS - MAX_COUNT
        div     ecx
        mov     [sector], edx
        ret

; Fills the buffer: sector.ts has the same words.
fill_buffer:
        mov     edi, buffer
        mov     ebp, [sector]
        mov     esi, [count]
.sector:
        mov     eax, ebp
        stosd
        mov     eax, [id]
        stosd
        imul    ebx, eax, 0xc2b2ae35
        mov     eax, ebp
        xor     eax, 0x9e3779b9
        imul    eax, eax, 0x85ebca6b
        xor     ebx, eax
        mov     ecx, 2
.word:
        imul    eax, ecx, 0x27d4eb2f
        xor     eax, ebx
        mov     edx, eax
        shr     edx, 15
        xor     eax, edx
        imul    eax, eax, 0x2c1b3c6d
        stosd
        inc     ecx
        cmp     ecx, SECTOR_SIZE / 4
        jb      .word
        inc     ebp
        dec     esi
        jnz     .sector
        ret

; WRITE (10), SBC-3 section 5.30
write_sectors:
        mov     eax, [sector]
        bswap   eax
        mov     [write10 + 2], eax
        mov     eax, [count]
        xchg    al, ah
        mov     [write10 + 7], ax
        mov     eax, [count]
        shl     eax, 9
        mov     esi, write10
        jmp     must_succeed

; SYNCHRONIZE CACHE (10), SBC-3 section 5.18: the whole disk
flush:
        xor     eax, eax
        mov     esi, synchronize_cache10
; Carries out the command of 10 bytes at ESI with EAX bytes of data; anything but success ends the guest.
must_succeed:
        mov     ecx, 10
        call    scsi_command
        cmp     al, STATUS_GOOD
        jne     .bad_status
        ret
.bad_status:
        say     `status `
        mov     cl, 2
        call    print_hex
        say     ` of write `
        mov     eax, [id]
        call    print_decimal
        say     `\n`
        fail    `the disk refuses a command`

; Carries out the command of ECX bytes at ESI, with EAX bytes of data in the buffer. The target's status in AL.
scsi_command:
        mov     [table.data], eax
        mov     [table.command], ecx
        mov     [table.command + 4], esi
        mov     byte [status], 0xff
        mov     ebx, [registers]
        mov     dword [ebx + DSA], table
        mov     dword [ebx + DSP], scripts
.poll:
        mov     al, [ebx + ISTAT0]
        cmp     al, NO_DEVICE
        je      .gone
        test    al, ISTAT_SIP | ISTAT_DIP
        jz      .poll
        test    al, ISTAT_SIP
        jnz     .unexpected
        mov     al, [ebx + DSTAT]       ; reading it takes the interrupt back
        mov     ecx, [ebx + DSPS]
        cmp     ecx, 0xffffffff
        je      .gone
        cmp     ecx, DONE
        jne     .unexpected
        mov     al, [status]
        ret
.gone:
        say     `gone\n`
        jmp     power_off
.unexpected:
        fail    `the SCRIPTS program stopped early`

test_unit_ready:
        db      0x00, 0, 0, 0, 0, 0
write10:
        db      0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0
synchronize_cache10:
        db      0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0

align 4, db 0
id:
        dd      FIRST_ID
choice:
        dd      0
sector:
        dd      0
count:
        dd      0
registers:
        dd      0

align 16, db 0
image_end:
buffer          equ image_end
memory_end      equ buffer + MAX_COUNT * SECTOR_SIZE + STACK_SIZE
