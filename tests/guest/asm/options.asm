; Tells what the command line has made of the machine: by way of the start info (Xen, hvm/start_info.h), fw_cfg (QEMU,
; docs/specs/fw_cfg), CMOS and CPUID.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"

START_COMMAND_LINE equ 24

FW_CFG_SELECTOR equ 0x510
FW_CFG_DATA     equ 0x511
FW_CFG_UUID     equ 0x02
FW_CFG_CPUS     equ 0x05
FW_CFG_MENU     equ 0x0e
FW_CFG_DIRECTORY equ 0x19
DIRECTORY_ENTRY equ 64                  ; size, selector and reserved bytes (big-endian), then the name

CMOS_BOOT_1     equ 0x3d
CMOS_BOOT_2     equ 0x38
RTC_HOURS       equ 0x04
RTC_DAY         equ 0x07
RTC_MINUTES     equ 0x02

STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `command line: `
        mov     esi, [ebx + START_COMMAND_LINE]
        call    print_string
        say     `\ncpus: `
        mov     ax, FW_CFG_CPUS
        call    select
        call    fw_cfg_byte
        movzx   eax, al
        call    print_decimal
        say     `\nmenu: `
        mov     ax, FW_CFG_MENU
        call    select
        call    fw_cfg_byte
        movzx   eax, al
        call    print_decimal
        say     `\nuuid: `
        mov     ax, FW_CFG_UUID
        call    select
        mov     edi, 16
.uuid:
        call    fw_cfg_byte
        mov     cl, 2
        call    print_hex
        dec     edi
        jnz     .uuid
        say     `\nboot order: `
        mov     al, CMOS_BOOT_1
        call    print_cmos
        mov     al, CMOS_BOOT_2
        call    print_cmos
        say     `\nclock: `
        mov     al, RTC_DAY
        call    print_cmos
        say     ` `
        mov     al, RTC_HOURS
        call    print_cmos
        say     `:`
        mov     al, RTC_MINUTES
        call    print_cmos
        say     `\nfile: `
        call    print_file
        say     `\nhypervisor: `
        mov     eax, 0x40000000
        cpuid
        mov     [signature], ebx
        mov     [signature + 4], ecx
        mov     [signature + 8], edx
        mov     esi, signature
        mov     ecx, 12
        call    print_text
        say     `\n`
        jmp     power_off

print_cmos:
        out     0x70, al
        in      al, 0x71
        mov     cl, 2
        jmp     print_hex

select:
        mov     dx, FW_CFG_SELECTOR
        out     dx, ax
        ret

fw_cfg_byte:
        mov     dx, FW_CFG_DATA
        in      al, dx
        ret

; Prints the file WANTED, or a question mark where there is none.
print_file:
        mov     ax, FW_CFG_DIRECTORY
        call    select
        call    fw_cfg_byte
        call    fw_cfg_byte
        call    fw_cfg_byte
        call    fw_cfg_byte
        movzx   ebp, al                 ; number of files, of which there are fewer than 256
.entry:
        mov     edi, directory_entry
        mov     ecx, DIRECTORY_ENTRY
.byte:
        call    fw_cfg_byte
        stosb
        loop    .byte
        mov     esi, directory_entry + 8
        mov     edi, wanted
        mov     ecx, WANTED_SIZE
        repe cmpsb
        je      .found
        dec     ebp
        jnz     .entry
        say     `?`
        ret
.found:
        mov     ah, [directory_entry + 4]
        mov     al, [directory_entry + 5]
        call    select
        movzx   edi, byte [directory_entry + 3]
.text:
        call    fw_cfg_byte
        call    print_char
        dec     edi
        jnz     .text
        ret

wanted:
        db      "opt/org.example/greeting", 0
WANTED_SIZE     equ $ - wanted
signature:
        times 12 db 0
directory_entry:
        times DIRECTORY_ENTRY db 0

image_end:
memory_end      equ (image_end + STACK_SIZE + 15) & ~15
