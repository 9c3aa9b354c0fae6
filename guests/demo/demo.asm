; The demo guest: finds an LSI 53C895A on PCI, makes it read and write sectors of the disk behind it, and tells what
; happens.
;
; There is no operating system and no firmware under this program. It is entered by PVH (32-bit protected mode, flat
; segments, paging off), so everything that a BIOS does for PCI devices, it does itself:
;
;   1. find the controller by its vendor and device number;
;   2. size its base address registers, give them addresses, switch decoding and bus mastering on;
;   3. lead its interrupt pin through the chipset's router and the IOAPIC to a vector;
;   4. hand SCSI commands to the controller's SCRIPTS processor, which runs the bus protocol from a program in RAM
;      (scripts.asm), and sleep in HLT until its interrupt.
;
; READ_SECTOR and WRITE_SECTOR come from the builder, which also makes the disk.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"
%include "cpu.asm"
%include "scripts.asm"
%include "lsi.asm"

STACK_SIZE      equ 0x2000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        say     `guest: running in 32-bit protected mode, entered by PVH\n`
        call    cpu_init
        call    apic_init
        call    find_controller
        call    place_bars
        call    route_pin
        call    lsi_init
        call    identify_disk
        call    read_greeting
        call    write_message
        say     `guest: done after `
        mov     eax, [interrupts]
        call    print_decimal
        say     ` interrupts, powering off\n`
        jmp     power_off

; Leaves the controller's configuration address in [controller].
find_controller:
        mov     eax, LSI53C895A_ID
        call    find_function
        jnc     .found
        fail    `no lsi53c895a (1000:0012) on PCI bus 0`
.found:
        mov     [controller], ebp
        say     `guest: found lsi53c895a at 00:`
        call    slot_number
        mov     cl, 2
        call    print_hex
        say     `.0, irq pin `
        call    interrupt_pin
        add     al, 'A'
        call    print_char
        say     `\n`
        ret

; The slot of the function EBP, in EAX.
slot_number:
        mov     eax, ebp
        shr     eax, 11
        and     eax, 31
        ret

; The interrupt pin of the function EBP, in EAX: 0 for INTA#.
interrupt_pin:
        mov     eax, PCI_INTERRUPT
        call    config_read
        movzx   eax, ah
        dec     eax
        cmp     eax, 3
        ja      .none
        ret
.none:
        fail    `the controller has no interrupt pin`

; Gives each base address register an address of its own, and enables decoding and bus mastering. The first one in
; memory space holds the operating registers.
place_bars:
        mov     ebp, [controller]
        mov     ebx, PCI_BAR0
.bar:
        call    place_bar
        jecxz   .next
        call    print_bar
        test    edx, edx
        jnz     .next
        cmp     dword [registers], 0
        jne     .next
        mov     [registers], eax
.next:
        add     ebx, 4
        cmp     ebx, PCI_BAR0 + 6 * 4
        jb      .bar
        cmp     dword [registers], 0
        je      .no_registers
        mov     eax, PCI_COMMAND
        mov     ecx, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER
        jmp     config_write
.no_registers:
        fail    `the controller has no memory BAR`

; Prints what place_bar found out.
print_bar:
        pushad
        mov     esi, eax
        say     `guest:   BAR`
        lea     eax, [ebx - PCI_BAR0]
        shr     eax, 2
        call    print_decimal
        say     `: `
        mov     eax, ecx
        call    print_decimal
        test    edx, edx
        jz      .memory
        say     ` bytes of I/O`
        jmp     .address
.memory:
        say     ` bytes of memory`
.address:
        say     ` at 0x`
        mov     eax, esi
        mov     cl, 8
        call    print_hex
        say     `\n`
        popad
        ret

; Leads the controller's interrupt pin to DISK_VECTOR.
;
; q35's wiring: pin p of slot s (below 25) arrives at PIRQ E + (s + p) mod 4, and PIRQ A to H at IOAPIC inputs 16 to 23.
; PIRQx_ROUT could lead a PIRQ to the legacy PICs instead; bit 7 keeps it away from them (ICH9 data sheet, 13.1.7 and
; 13.1.9).
route_pin:
        mov     ebp, LPC_BRIDGE
        mov     ecx, 0x80808080
        mov     eax, LPC_PIRQA_ROUT
        call    config_write
        mov     eax, LPC_PIRQE_ROUT
        call    config_write
        mov     ebp, [controller]
        call    slot_number
        cmp     eax, 25
        jae     .chipset_slot
        mov     ecx, eax
        call    interrupt_pin
        add     eax, ecx
        and     eax, 3
        lea     edx, [eax + 'E']
        add     eax, 16 + 4
        mov     ebx, DISK_VECTOR
        call    route_interrupt
        say     `guest: its interrupt is PIRQ`
        xchg    eax, edx
        call    print_char
        say     `, IOAPIC input `
        xchg    eax, edx
        call    print_decimal
        say     `\n`
        mov     eax, disk_interrupt
        jmp     set_vector
.chipset_slot:
        fail    `slots from 25 on belong to the chipset`

LPC_PIRQA_ROUT  equ 0x60                ; A to D
LPC_PIRQE_ROUT  equ 0x68                ; E to H

; INQUIRY: who is there?
identify_disk:
        mov     esi, inquiry
        call    scsi_command
        say     `guest: INQUIRY, target 0 answers "`
        mov     esi, buffer + 8         ; vendor, product and revision (SPC-4, section 6.4.2)
        mov     ecx, 8
        call    print_field
        mov     al, ' '
        call    print_char
        mov     esi, buffer + 16
        mov     ecx, 16
        call    print_field
        mov     al, ' '
        call    print_char
        mov     esi, buffer + 32
        mov     ecx, 4
        call    print_field
        say     `"\n`
        ret

; READ(10) of a sector with a text.
read_greeting:
        mov     esi, read_sector
        call    scsi_command
        say     `guest: READ(10), sector `
        mov     eax, READ_SECTOR
        call    print_decimal
        say     ` says "`
        mov     esi, buffer
        mov     ecx, 80
        call    print_text
        say     `"\n`
        ret

; WRITE(10) of another one, through to the medium.
write_message:
        mov     esi, message
        mov     edi, buffer
        mov     ecx, MESSAGE_SIZE
        rep     movsb
        mov     ecx, 512 - MESSAGE_SIZE
        xor     eax, eax
        rep     stosb
        mov     esi, write_sector
        call    scsi_command
        say     `guest: WRITE(10), sector `
        mov     eax, WRITE_SECTOR
        call    print_decimal
        say     ` now says "`
        mov     esi, message
        mov     ecx, MESSAGE_SIZE
        call    print_text
        say     `"\n`
        ret

; Commands: how many bytes of data, how many of command, and the command descriptor block (SPC-4 and SBC-3; big-endian).
inquiry:
        dd      36, 6
        db      0x12, 0, 0, 0, 36, 0
read_sector:
        dd      512, 10
        db      0x28, 0, 0, 0, READ_SECTOR >> 8, READ_SECTOR & 0xff, 0, 0, 1, 0
write_sector:
        dd      512, 10
        db      0x2a, FORCE_UNIT_ACCESS, 0, 0, WRITE_SECTOR >> 8, WRITE_SECTOR & 0xff, 0, 0, 1, 0

FORCE_UNIT_ACCESS equ 0x08

message:
        db      "Written by the guest, through SCRIPTS and DMA"
MESSAGE_SIZE    equ $ - message

align 4, db 0
controller:
        dd      0
registers:
        dd      0                       ; address of the controller's operating registers

align 16, db 0
image_end:
idt             equ image_end
buffer          equ idt + 256 * 8
memory_end      equ buffer + 512 + STACK_SIZE
