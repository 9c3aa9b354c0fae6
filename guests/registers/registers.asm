; The benchmark guest: reads and writes a device's register, and its configuration space, many times over, and prints
; how many cycles of the time-stamp counter that took.
;
; DEVICE_ID (device << 16 | vendor), BAR_OFFSET (a dword register in the first memory BAR, of which reads and writes
; have no side effects) and ACCESSES come from the builder.

bits 32
org 0x100000

%include "serial.asm"
%include "pci.asm"
%include "power.asm"

STACK_SIZE      equ 0x1000

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
        mov     eax, DEVICE_ID
        call    find_function
        jnc     .found
        fail    `the device is not on PCI bus 0`
.found:
        mov     ebx, PCI_BAR0
.bar:
        call    place_bar
        jecxz   .next
        test    edx, edx
        jz      .memory
.next:
        add     ebx, 4
        cmp     ebx, PCI_BAR0 + 6 * 4
        jb      .bar
        fail    `the device has no memory BAR`
.memory:
        lea     edi, [eax + BAR_OFFSET]
        mov     eax, PCI_COMMAND
        mov     ecx, COMMAND_MEMORY
        call    config_write
        measure `nothing`, nothing
        measure `bar-read`, bar_read
        measure `bar-write`, bar_write
        measure `bar-write-read`, bar_write_read
        measure `config-read`, read_configuration
        say     `bench: done\n`
        jmp     power_off

; Calls ESI ACCESSES times. EDI is the register's address, EBP the function.
run:
        rdtsc
        push    edx
        push    eax
        mov     ecx, ACCESSES
.again:
        call    esi
        dec     ecx
        jnz     .again
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

nothing:
        ret

bar_read:
        mov     eax, [edi]
        ret

bar_write:
        mov     [edi], ecx
        ret

; A read waits for the writes before it, where those are posted.
bar_write_read:
        mov     [edi], ecx
        mov     eax, [edi]
        ret

read_configuration:
        mov     eax, PCI_ID
        jmp     config_read

align 16, db 0
image_end:
memory_end      equ image_end + STACK_SIZE
