; The benchmark guest: makes accesses of several kinds to an LSI 53C895A, many times over, and prints how many cycles of
; the time-stamp counter that took.
;
; WARM_UP (accesses of each kind that are not timed), ACCESSES (how many are timed together) and ROUNDS (how often all
; kinds get their turn) come from the builder, and are not 0.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"
%include "lsi53c895a.asm"

PATTERN         equ 0x12345678
LEAD_IN         equ 20                  ; accesses that wake up who sleeps
STACK_SIZE      equ 0x1000

; Runs what stands at the label %1 in a loop, without a word.
%macro warm_up 1
        mov     esi, %1
        mov     ecx, WARM_UP
        call    repeat
%endmacro

; Runs what stands at the label %2 in a loop, and prints a line with the name %1.
%macro measure 2
        say     `bench: `
        say     %1
        mov     esi, %2
        call    run
%endmacro

entry:
        mov     esp, memory_end
        cld
        call    serial_init
        call    enable_controller
        mov     [scripts_ram], esi
        call    check
        warm_up load
        warm_up load_effect
        warm_up store
        warm_up store_ram
        warm_up store_load
        warm_up read_configuration
.round:
        measure `nothing`, nothing
        measure `load`, load
        measure `load-effect`, load_effect
        measure `store`, store
        measure `store-ram`, store_ram
        measure `store-load`, store_load
        measure `config-read`, read_configuration
        dec     dword [rounds]
        jnz     .round
        say     `bench: done\n`
        jmp     power_off

; Ends the machine unless registers and SCRIPTS RAM are where they were put, and keep what is stored.
check:
        mov     dword [edi + SCRATCHA], PATTERN
        mov     ebx, [scripts_ram]
        mov     dword [ebx], ~PATTERN
        cmp     dword [edi + SCRATCHA], PATTERN
        jne     .lost
        cmp     dword [ebx], ~PATTERN
        jne     .lost
        ret
.lost:
        fail    `what was stored in the device was not there afterwards`

; Calls ESI some times, then ACCESSES times, and prints the rest of the line.
run:
        mov     ecx, LEAD_IN
        call    repeat
        rdtsc
        push    edx
        push    eax
        mov     ecx, ACCESSES
        call    repeat
        rdtsc
        pop     ecx
        pop     ebx
        sub     eax, ecx
        sbb     edx, ebx
        push    eax
        say     ` `
        mov     eax, ACCESSES
        call    print_decimal
        say     ` accesses, cycles 0x`
        mov     cl, 8
        mov     eax, edx
        call    print_hex
        pop     eax
        call    print_hex
        say     `\n`
        ret

; Calls ESI ECX times. EDI is where the registers are, EBX SCRIPTS RAM, EBP the function.
repeat:
        mov     ebx, [scripts_ram]
.again:
        call    esi
        dec     ecx
        jnz     .again
        ret

; The loop alone.
nothing:
        ret

load:
        mov     eax, [edi + DSP]
        ret

; DSTAT's bits go away when they are read.
load_effect:
        mov     al, [edi + DSTAT]
        ret

store:
        mov     [edi + SCRATCHA], ecx
        ret

store_ram:
        mov     [ebx], ecx
        ret

; The load waits for the store, where that is posted.
store_load:
        mov     [edi + SCRATCHA], ecx
        mov     eax, [edi + SCRATCHA]
        ret

; Both of the two ports are accessed, as PCI has it.
read_configuration:
        mov     eax, ebp
        mov     dx, CONFIG_ADDRESS
        out     dx, eax
        mov     dx, CONFIG_DATA
        in      eax, dx
        ret

align 4, db 0
rounds:
        dd      ROUNDS
scripts_ram:
        dd      0

align 16, db 0
image_end:
memory_end      equ image_end + STACK_SIZE
