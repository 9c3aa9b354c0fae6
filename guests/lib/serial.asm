; Text on the first serial port, in 32-bit protected mode.
;
; The port is a 16550 (National Semiconductor PC16550D data sheet, section 8.0). All routines keep every register, but for
; the one that a character is read into.

COM1            equ 0x3f8
COM1_DATA       equ COM1 + 0            ; divisor latch, low byte, while DLAB is set
COM1_IER        equ COM1 + 1            ; divisor latch, high byte, while DLAB is set
COM1_FCR        equ COM1 + 2
COM1_LCR        equ COM1 + 3
COM1_MCR        equ COM1 + 4
COM1_LSR        equ COM1 + 5

LCR_8N1         equ 0x03
LCR_DLAB        equ 0x80
FCR_ENABLE      equ 0x07                ; FIFOs on, and both emptied
MCR_DTR_RTS     equ 0x03
LSR_DATA_READY  equ 0x01                ; a byte has come
LSR_THRE        equ 0x20                ; the transmitter takes another byte

; Prints a string that stands in the code. Backquotes give escapes: say `line\n`
%macro say 1
        call    print_inline
        db      %1, 0
%endmacro

; 115200 baud, 8 data bits, no parity, 1 stop bit.
serial_init:
        push    eax
        push    edx
        mov     dx, COM1_IER
        mov     al, 0
        out     dx, al
        mov     dx, COM1_LCR
        mov     al, LCR_DLAB
        out     dx, al
        mov     dx, COM1_DATA
        mov     al, 1
        out     dx, al
        mov     dx, COM1_IER
        mov     al, 0
        out     dx, al
        mov     dx, COM1_LCR
        mov     al, LCR_8N1
        out     dx, al
        mov     dx, COM1_FCR
        mov     al, FCR_ENABLE
        out     dx, al
        mov     dx, COM1_MCR
        mov     al, MCR_DTR_RTS
        out     dx, al
        pop     edx
        pop     eax
        ret

; Waits for a character, and takes it into AL.
read_char:
        push    edx
        mov     dx, COM1_LSR
.wait:
        in      al, dx
        test    al, LSR_DATA_READY
        jz      .wait
        mov     dx, COM1_DATA
        in      al, dx
        pop     edx
        ret

; Prints the character in AL; a line feed gets its carriage return.
print_char:
        cmp     al, `\n`
        jne     .send
        mov     al, `\r`
        call    .send
        mov     al, `\n`
.send:
        push    edx
        push    eax
        mov     dx, COM1_LSR
.wait:
        in      al, dx
        test    al, LSR_THRE
        jz      .wait
        pop     eax
        mov     dx, COM1_DATA
        out     dx, al
        pop     edx
        ret

; Prints the NUL-terminated string at ESI.
print_string:
        pushad
.next:
        lodsb
        test    al, al
        jz      .done
        call    print_char
        jmp     .next
.done:
        popad
        ret

; Prints the string behind the call instruction, and returns behind the string.
print_inline:
        xchg    esi, [esp]
        pushfd
        push    eax
.next:
        lodsb
        test    al, al
        jz      .done
        call    print_char
        jmp     .next
.done:
        pop     eax
        popfd
        xchg    esi, [esp]
        ret

; Prints EAX as hexadecimal: its low CL digits, 1 to 8.
print_hex:
        pushad
        mov     ebx, eax
        movzx   ebp, cl
.digit:
        dec     ebp
        lea     ecx, [ebp*4]
        mov     eax, ebx
        shr     eax, cl
        and     eax, 0xf
        cmp     al, 10
        jb      .decimal
        add     al, 'a' - '0' - 10
.decimal:
        add     al, '0'
        call    print_char
        test    ebp, ebp
        jnz     .digit
        popad
        ret

; Prints EAX as an unsigned decimal number.
print_decimal:
        pushad
        mov     ebx, 10
        xor     ecx, ecx
.divide:
        xor     edx, edx
        div     ebx
        push    edx
        inc     ecx
        test    eax, eax
        jnz     .divide
.digit:
        pop     eax
        add     al, '0'
        call    print_char
        loop    .digit
        popad
        ret

; Prints the printable ASCII characters at ESI, ECX at most, up to the first other one.
print_text:
        pushad
.next:
        lodsb
        cmp     al, ' '
        jb      .done
        cmp     al, '~'
        ja      .done
        call    print_char
        loop    .next
.done:
        popad
        ret

; Prints the field of ECX characters at ESI without the spaces that fill it.
print_field:
        push    ecx
.trim:
        cmp     byte [esi + ecx - 1], ' '
        jne     .print
        loop    .trim
        jmp     .done
.print:
        call    print_text
.done:
        pop     ecx
        ret
