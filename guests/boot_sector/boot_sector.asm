; A boot disk for PC firmware: proves that int 13h reads and writes, and tells what happens on the first serial port.
;
; The firmware loads the first sector to 0x7c00 and enters it in real mode with the drive's number in DL. That sector
; loads the ones behind it, which read a text by LBA, a text by cylinder, head and sector, and a block of many sectors,
; write a sector, read it back, and switch the machine off.
;
; int 13h: Phoenix Enhanced Disk Drive Specification 3.0; functions 02h and 08h as the IBM PC/AT BIOS has them.
;
; LBA_TEXT_SECTOR, CHS_TEXT_SECTOR, BLOCK_SECTOR, BLOCK_SECTORS and WRITE_SECTOR come from the builder, which also fills
; these sectors.

bits 16
org 0x7c00

COM1            equ 0x3f8
COM1_LSR        equ COM1 + 5
LSR_THRE        equ 0x20                ; the transmitter takes another byte

PM1_CNT         equ 0x604               ; where SeaBIOS puts it on a q35 machine
SLP_EN          equ 1 << 13
DEBUG_EXIT      equ 0x501               ; QEMU's isa-debug-exit

BLOCK_SEGMENT   equ 0x1000

; Prints a string that stands in the code.
%macro say 1
        call    print_inline
        db      %1, 0
%endmacro

%macro fail 1
        say     %1
        jmp     failed
%endmacro

start:
        jmp     0:.here                 ; some firmware enters at 0x07c0:0
.here:
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, start
        cld
        sti
        mov     [drive], dl
        call    serial_init
        say     `boot: running the boot sector of drive 0x`
        mov     al, [drive]
        call    print_byte
        say     `\n`
        call    check_extensions
        mov     eax, 1
        mov     cx, STAGE2_SECTORS
        mov     bx, stage2
        call    read_sectors
        jmp     stage2

; Extended functions there? (function 41h)
check_extensions:
        mov     ah, 0x41
        mov     bx, 0x55aa
        mov     dl, [drive]
        int     0x13
        jc      .none
        cmp     bx, 0xaa55
        jne     .none
        test    cl, 1                   ; the packet structure, which is what functions 42h and 43h need
        jz      .none
        ret
.none:
        fail    `no int 13h extensions`

; Reads CX sectors from sector EAX on to ES:BX (function 42h).
read_sectors:
        call    fill_packet
        mov     ah, 0x42
        call    packet_call
        jc      .failed
        ret
.failed:
        fail    `extended read`

; Calls the function AX with the packet.
packet_call:
        mov     dl, [drive]
        mov     si, packet
        int     0x13
        mov     [disk_status], ah
        ret

fill_packet:
        mov     [packet.count], cx
        mov     [packet.offset], bx
        mov     [packet.segment], es
        mov     [packet.sector], eax
        ret

; 115200 baud, 8 data bits, no parity, 1 stop bit; FIFOs on.
serial_init:
        mov     si, .settings
.next:
        lodsb
        movzx   dx, al
        add     dx, COM1
        lodsb
        out     dx, al
        cmp     si, .end
        jb      .next
        ret
.settings:
        db      1, 0x00, 3, 0x80, 0, 1, 1, 0, 3, 0x03, 2, 0x07, 4, 0x03
.end:

; Prints the character in AL; a line feed gets its carriage return. Keeps all registers.
print_char:
        cmp     al, `\n`
        jne     .send
        mov     al, `\r`
        call    .send
        mov     al, `\n`
.send:
        push    dx
        push    ax
        mov     dx, COM1_LSR
.wait:
        in      al, dx
        test    al, LSR_THRE
        jz      .wait
        pop     ax
        mov     dx, COM1
        out     dx, al
        pop     dx
        ret

; Prints the string behind the call instruction, and returns behind it.
print_inline:
        pop     si
        call    print_string
        jmp     si

; Prints the NUL-terminated string at SI, and leaves SI behind it.
print_string:
        lodsb
        test    al, al
        jz      .done
        call    print_char
        jmp     print_string
.done:
        ret

; Prints AL as two hexadecimal digits.
print_byte:
        push    ax
        shr     al, 4
        call    .digit
        pop     ax
.digit:
        and     al, 0xf
        cmp     al, 10
        jb      .decimal
        add     al, 'a' - '0' - 10
.decimal:
        add     al, '0'
        jmp     print_char

; Ends the machine after what failed was printed.
failed:
        say     `: FAILED, int 13h status 0x`
        mov     al, [disk_status]
        call    print_byte
        say     `\n`
        mov     dx, DEBUG_EXIT
        mov     al, 1
        out     dx, al
power_off:
        mov     dx, PM1_CNT
        mov     ax, SLP_EN
        out     dx, ax
        cli
.halt:
        hlt
        jmp     .halt

drive:
        db      0
disk_status:
        db      0

align 4, db 0
packet:
        db      16, 0
.count:
        dw      0
.offset:
        dw      0
.segment:
        dw      0
.sector:
        dq      0

; The partition table stays empty.
        times 510-($-$$) db 0
        dw      0xaa55

stage2:
        say     `boot: loaded the second stage\n`
        call    read_by_lba
        call    read_by_chs
        call    read_block
        call    write_and_verify
        say     `boot: done\n`
        jmp     power_off

read_by_lba:
        mov     eax, LBA_TEXT_SECTOR
        mov     cx, 1
        mov     bx, buffer
        call    read_sectors
        say     `boot: extended read: `
print_buffer:
        mov     si, buffer
        call    print_string
        say     `\n`
        ret

read_by_chs:
        call    read_geometry
        mov     ax, CHS_TEXT_SECTOR
        xor     dx, dx
        div     word [sectors_per_track]
        mov     cl, dl
        inc     cl                      ; sectors count from 1
        xor     dx, dx
        div     word [heads]
        mov     dh, dl                  ; head
        mov     ch, al                  ; cylinder: its two upper bits are above the sector
        shl     ah, 6
        or      cl, ah
        mov     dl, [drive]
        mov     bx, buffer
        mov     ax, 0x0201
        int     0x13
        mov     [disk_status], ah
        jc      .failed
        say     `boot: CHS read: `
        jmp     print_buffer
.failed:
        fail    `CHS read`

; Function 08h; it changes ES.
read_geometry:
        push    es
        mov     ah, 0x08
        mov     dl, [drive]
        int     0x13
        pop     es
        mov     [disk_status], ah
        jc      .failed
        and     cx, 0x3f
        jz      .failed                 ; the field cannot hold the 64 that some disks would have
        mov     [sectors_per_track], cx
        movzx   dx, dh
        inc     dx
        mov     [heads], dx
        ret
.failed:
        fail    `drive parameters`

; Reads many sectors at once, and prints the sum of their dwords: the builder knows it.
read_block:
        mov     ax, BLOCK_SEGMENT
        mov     es, ax
        mov     eax, BLOCK_SECTOR
        mov     cx, BLOCK_SECTORS
        xor     bx, bx
        call    read_sectors
        xor     edx, edx
        xor     si, si
        mov     cx, BLOCK_SECTORS * 128
.add:
        es lodsd
        add     edx, eax
        loop    .add
        xor     ax, ax
        mov     es, ax
        say     `boot: block read: sum 0x`
        mov     cx, 4
.byte:
        rol     edx, 8
        mov     al, dl
        call    print_byte
        loop    .byte
        say     `\n`
        ret

write_and_verify:
        mov     eax, WRITE_SECTOR
        mov     cx, 1
        mov     bx, message
        call    fill_packet
        mov     ax, 0x4300              ; without verification
        call    packet_call
        jc      .failed
        mov     eax, WRITE_SECTOR
        mov     cx, 1
        mov     bx, buffer
        call    read_sectors
        mov     si, message
        mov     di, buffer
        mov     cx, 512
        repe    cmpsb
        jne     .differs
        say     `boot: extended write, read back: `
        jmp     print_buffer
.failed:
        fail    `extended write`
.differs:
        fail    `comparison of what was written`

sectors_per_track:
        dw      0
heads:
        dw      0

message:
        db      "Written by the boot sector's second stage through int 13h"
        times 512-($-message) db 0

        times (512 - ($-$$) % 512) % 512 db 0
STAGE2_SECTORS  equ ($ - stage2) / 512
buffer          equ $
