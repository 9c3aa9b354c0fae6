; Lets an LSI 53C895A at slot 1 interrupt it (ABRT in ISTAT; LSI53C895A technical manual, section 4.3) and does not take the cause
; away at first, so that the line stays high.
;
; RESET_FIRST: the machine is reset once while the line is high. Otherwise the guest waits for a character on its console there, in
; which time its test can end the device process.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"
%include "cpu.asm"
%include "lsi53c895a.asm"

ABRT            equ 0x80                ; in ISTAT0
ABRT_INTERRUPT  equ 0x10                ; in DSTAT and DIEN

; Slot 1's INTA# is PIRQF, which arrives at IOAPIC input 21.
IOAPIC_INPUT    equ 21
DEVICE_VECTOR   equ 0x42
LPC_PIRQE_ROUT  equ 0x68
SOME_TIME       equ 20000000            ; ticks of the local APIC's timer, 16 ns each: a device process may wait for its turn on a busy host
BOOTS           equ 0x30000
STACK_SIZE      equ 0x1000

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        call    cpu_init
        call    apic_init
        call    enable_controller
        mov     [registers], edi
        mov     [function], ebp
        mov     ebp, LPC_BRIDGE
        mov     eax, LPC_PIRQE_ROUT
        mov     ecx, 0x80808080
        call    config_write
        mov     eax, device_interrupt
        mov     ebx, DEVICE_VECTOR
        call    set_vector
        mov     eax, IOAPIC_INPUT
        call    route_interrupt

        mov     edi, [registers]
        mov     byte [edi + DIEN], ABRT_INTERRUPT
        mov     byte [edi + ISTAT0], ABRT
        call    count
        say     `line is high: `
        call    print_repeated
        inc     dword [BOOTS]
        mov     eax, RESET_FIRST
        cmp     eax, [BOOTS]
        jne     .stay
        mov     dx, 0xcf9
        mov     al, 0x06
        out     dx, al
        hlt
.stay:
        test    eax, eax
        jnz     .acknowledge
        say     `waiting\n`
        call    read_char
.acknowledge:
        mov     byte [edi + ISTAT0], 0
        mov     al, [edi + DSTAT]
        say     `register `
        mov     cl, 2
        call    print_hex
        say     `, identity `
        mov     ebp, [function]
        mov     eax, PCI_ID
        call    config_read
        mov     cl, 8
        call    print_hex
        say     `\n`
        call    count                   ; what was on its way may come once more
        call    count
        say     `line is low: `
        call    print_repeated
        jmp     power_off

; Counts interrupts for some time.
count:
        mov     dword [interrupts], 0
        mov     esi, never
        mov     eax, SOME_TIME
        jmp     sleep_until

print_repeated:
        cmp     dword [interrupts], 1
        ja      .many
        mov     eax, [interrupts]
        call    print_decimal
        say     ` interrupts\n`
        ret
.many:
        say     `interrupts without end\n`
        ret

device_interrupt:
        inc     dword [interrupts]
        mov     dword [LAPIC_EOI], 0
        interrupt_return

align 4, db 0
function:
        dd      0
registers:
        dd      0
interrupts:
        dd      0
never:
        db      0

image_end:
idt             equ (image_end + 15) & ~15
memory_end      equ idt + 256 * 8 + STACK_SIZE
