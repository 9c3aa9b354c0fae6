; Segments, exceptions and interrupts of a 32-bit guest: flat GDT, IDT, local APIC and IOAPIC. Needs serial.asm and
; power.asm.
;
; Intel SDM volume 3: chapter 3 (descriptors), 6 (interrupts), 10 (local APIC); Intel 82093AA data sheet (IOAPIC).

CODE_SELECTOR   equ 0x08
DATA_SELECTOR   equ 0x10

LAPIC           equ 0xfee00000
LAPIC_ID        equ LAPIC + 0x020
LAPIC_EOI       equ LAPIC + 0x0b0
LAPIC_SVR       equ LAPIC + 0x0f0       ; spurious interrupt vector register
LAPIC_ENABLE    equ 0x100
LAPIC_TIMER     equ LAPIC + 0x320       ; its entry of the local vector table: one-shot
LAPIC_COUNT     equ LAPIC + 0x380       ; initial count; 0 stops the timer
LAPIC_DIVIDE    equ LAPIC + 0x3e0
DIVIDE_BY_16    equ 0x3

IOAPIC_INDEX    equ 0xfec00000
IOAPIC_WINDOW   equ 0xfec00010
IOREDTBL        equ 0x10                ; two registers an input
LEVEL_TRIGGERED equ 1 << 15             ; active high, fixed delivery, physical destination

PIC_MASTER_DATA equ 0x21
PIC_SLAVE_DATA  equ 0xa1

TIMER_VECTOR    equ 0x41
SPURIOUS_VECTOR equ 0xff

; IRET for an interrupt at the same privilege level. KVM's instruction emulator, which runs kernel code where the
; processor cannot virtualize it, knows IRET in real mode only, but RETF in all modes.
%macro interrupt_return 0
        push    dword [esp+8]           ; EFLAGS; below are EIP and CS
        popfd
        retf    4
%endmacro

; Loads GDT and IDT. Every vector leads to `unexpected` until set_vector gives it a handler.
cpu_init:
        lgdt    [gdt_pointer]
        jmp     CODE_SELECTOR:.reload
.reload:
        mov     ax, DATA_SELECTOR
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        mov     ecx, 256
.vector:
        lea     ebx, [ecx-1]
        mov     eax, unexpected
        call    set_vector
        loop    .vector
        lidt    [idt_pointer]
        ret

; Sends vector EBX to the handler EAX: a 32-bit interrupt gate (SDM volume 3, section 6.11).
set_vector:
        pushad
        lea     edi, [idt + ebx*8]
        mov     [edi], ax
        mov     word [edi+2], CODE_SELECTOR
        mov     word [edi+4], 0x8e00
        shr     eax, 16
        mov     [edi+6], ax
        popad
        ret

; An exception, or an interrupt that nobody asked for.
unexpected:
        mov     ebx, esp
        say     `guest: FAILED: unexpected exception or interrupt; stack:`
        mov     edi, 4
.word:
        mov     al, ' '
        call    print_char
        mov     eax, [ebx]
        mov     cl, 8
        call    print_hex
        add     ebx, 4
        dec     edi
        jnz     .word
        say     `\n`
        jmp     power_off_failed

; Switches the local APIC on, and the legacy PICs off.
apic_init:
        push    eax
        push    ebx
        mov     al, 0xff
        out     PIC_MASTER_DATA, al
        out     PIC_SLAVE_DATA, al
        mov     ebx, SPURIOUS_VECTOR
        mov     eax, ignore_interrupt   ; a spurious interrupt takes no EOI (section 10.9)
        call    set_vector
        mov     ebx, TIMER_VECTOR
        mov     eax, timer_expired
        call    set_vector
        mov     dword [LAPIC_SVR], LAPIC_ENABLE | SPURIOUS_VECTOR
        mov     dword [LAPIC_DIVIDE], DIVIDE_BY_16
        mov     dword [LAPIC_TIMER], TIMER_VECTOR
        pop     ebx
        pop     eax
        ret

ignore_interrupt:
        interrupt_return

timer_expired:
        mov     byte [timed_out], 1
        mov     dword [LAPIC_EOI], 0
        interrupt_return

; Sends input EAX of the IOAPIC to vector EBX of this processor: level-triggered, as PCI's INTx is.
route_interrupt:
        pushad
        lea     ecx, [eax*2 + IOREDTBL]
        mov     eax, [LAPIC_ID]
        and     eax, 0xff000000         ; the ID stands in the same bits as the destination
        lea     edx, [ecx+1]
        mov     [IOAPIC_INDEX], edx
        mov     [IOAPIC_WINDOW], eax
        mov     [IOAPIC_INDEX], ecx
        or      ebx, LEVEL_TRIGGERED
        mov     [IOAPIC_WINDOW], ebx
        popad
        ret

; Sleeps until the byte at ESI is not zero, for EAX ticks of the local APIC's timer at most; CF is set when that was too
; short. Interrupts are off before and after.
sleep_until:
        mov     byte [timed_out], 0
        mov     [LAPIC_COUNT], eax
.check:
        cmp     byte [esi], 0
        jne     .woken
        cmp     byte [timed_out], 0
        jne     .too_long
        sti                             ; takes effect behind the next instruction: no interrupt is lost
        hlt
        cli
        jmp     .check
.woken:
        mov     dword [LAPIC_COUNT], 0
        clc
        ret
.too_long:
        stc
        ret

timed_out:
        db      0

align 8, db 0
gdt:
        dq      0
        dq      0x00cf9b000000ffff      ; CODE_SELECTOR: execute/read, 32-bit, 4 GiB
        dq      0x00cf93000000ffff      ; DATA_SELECTOR: read/write, 4 GiB
gdt_pointer:
        dw      gdt_pointer - gdt - 1
        dd      gdt
idt_pointer:
        dw      256 * 8 - 1
        dd      idt
