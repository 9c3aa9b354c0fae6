; The entry point of the executable that `deno task compile` writes (NASM syntax, x86-64).
;
; The executable is the `deno` program with one more segment: this code, the tables that payload.ts appends to it, and
; splitvm's programs as JavaScript modules. ld.so has linked deno and jumps here in place of deno's own entry point.
; The code makes deno believe that it was started as
;
;       deno run <flags> file:///proc/self/fd/<n>?<n>,<m>,... <the user's arguments>
;
; with the main module behind descriptor n and those that it may import behind the others, and goes on to that entry
; point. To that end it
;
;   1. stores each module in a sealed memfd on descriptor FIRST_DESCRIPTOR or, where one is open there, on the next free
;      one. It is closed on exec: a child that is this executable again makes its own;
;   2. builds, below the argument block that the kernel made (argc, argv, envp, auxv: System V ABI, AMD64 supplement,
;      section 3.4.1), a second one with deno's arguments put before the user's, and with the environment cleared of
;      what would configure deno;
;   3. points libc's `environ` at the new environment: ld.so has set it already, and nothing sets it again.
;
; payload.ts defines
;
;   ORIGINAL_ENTRY, ENVIRON_SLOT     distances in bytes from `start` to deno's entry point, and to the word of its global
;                                    offset table that holds the address of `environ`
;   FIRST_DESCRIPTOR                 the descriptor that the main module should have
;   ADDED_POINTERS                   how many words the new block has more than the kernel's, at most
;   ARGUMENTS, VARIABLES, DROPPED    offsets from `tables` to lists of NUL-terminated strings, each ended by an empty one:
;                                    deno's arguments, variables to add (NAME=value), beginnings of those to drop
;   URL                              offset from `tables` to the beginning of the main module's URL, NUL-terminated
;   MODULES                          offset from `tables` to the list of modules, the main one first: two words of 32
;                                    bits for each, offset from `tables` and size in bytes; a size of 0 ends the list
;
; Registers that hold one thing throughout: r12 the kernel's block, r13 what rdx was on entry, r14 the main module's URL.

bits 64

; System calls (asm/unistd_64.h). All but rax, rcx and r11 are preserved; -errno is returned in rax.
SYS_WRITE               equ 1
SYS_CLOSE               equ 3
SYS_FCNTL               equ 72
SYS_EXIT_GROUP          equ 231
SYS_MEMFD_CREATE        equ 319

EINTR                   equ 4
STDERR                  equ 2

; linux/memfd.h
MFD_CLOEXEC             equ 1
MFD_ALLOW_SEALING       equ 2

; linux/fcntl.h
F_DUPFD_CLOEXEC         equ 1030
F_ADD_SEALS             equ 1033
SEAL_ALL                equ 0x0f                ; F_SEAL_SEAL, _SHRINK, _GROW and _WRITE

FIRST_FREE_DESCRIPTOR   equ 3                   ; after standard input, output and error
URL_SPACE               equ 256                 ; its beginning, 21 numbers of 10 digits with separators; 16 divides it
MESSAGE_SPACE           equ 128

start:
        mov     r12, rsp
        mov     r13, rdx                        ; a function that the ABI wants registered with atexit
        sub     rsp, URL_SPACE
        mov     r14, rsp
        mov     rdi, rsp
        lea     rsi, [rel tables + URL]
        call    append_text

        lea     r15, [rel tables + MODULES]
        call    store_module
        mov     ebp, eax
        call    append_number
        mov     byte [rdi], '?'
        mov     eax, ebp
.module:
        inc     rdi
        call    append_number
        cmp     dword [r15 + 4], 0
        je      .stored
        mov     byte [rdi], ','
        call    store_module
        jmp     .module
.stored:
        mov     byte [rdi], 0

        ; The kernel's block ends after the auxiliary vector: pairs of words, AT_NULL (0) first in the last of them.
        mov     rax, [r12]                      ; argc
        lea     rsi, [r12 + rax * 8 + 16]       ; envp
.variable:
        add     rsi, 8
        cmp     qword [rsi - 8], 0
        jne     .variable
.auxiliary:
        add     rsi, 16
        cmp     qword [rsi - 16], 0
        jne     .auxiliary

        sub     rsi, r12
        sub     rsp, rsi
        sub     rsp, ADDED_POINTERS * 8
        and     rsp, -16                        ; the alignment that the ABI promises at an entry point
        call    build_block

        mov     rax, [rel start + ENVIRON_SLOT]
        mov     [rax], r15
        mov     rdx, r13
        lea     rax, [rel start + ORIGINAL_ENTRY]
        jmp     rax

; Builds the new argument block.
; In: the block's address is that of the word above the return address. Out: r15 = envp.
build_block:
        lea     rdi, [rsp + 16]                 ; argv[0]: above the return address and argc
        lea     rsi, [rel tables + ARGUMENTS]
        call    append_strings
        mov     rax, r14
        stosq

        ; deno's arguments stand for argv[0], which a caller may have left out together with all others.
        lea     rsi, [r12 + 16]
        cmp     qword [r12], 0
        jne     .argument
        lea     rsi, [r12 + 8]
.argument:
        lodsq
        stosq
        test    rax, rax
        jnz     .argument

        mov     r15, rdi
        sub     rdi, rsp
        shr     rdi, 3
        sub     rdi, 3                          ; the return address, argc and the null pointer are no arguments
        mov     [rsp + 8], rdi
        mov     rdi, r15

.variable:
        lodsq
        test    rax, rax
        jz      .added
        call    is_dropped
        jc      .variable
        stosq
        jmp     .variable
.added:
        mov     rbx, rsi                        ; the kernel's auxiliary vector follows its environment
        lea     rsi, [rel tables + VARIABLES]
        call    append_strings
        xor     eax, eax
        stosq

        mov     rsi, rbx
.auxiliary:
        lodsq
        stosq
        movsq
        test    rax, rax
        jnz     .auxiliary
        ret

; Stores a module in a memfd. In: r15 = its place in the list.
; Out: eax = its descriptor, r15 = the place of the next. Preserves rdi. Does not return on failure.
store_module:
        push    rdi
        lea     r8, [rel memfd_create_name]
        mov     eax, SYS_MEMFD_CREATE
        lea     rdi, [rel memfd_name]
        mov     esi, MFD_CLOEXEC | MFD_ALLOW_SEALING
        syscall
        test    eax, eax
        js      fail
        mov     ebx, eax

        lea     r8, [rel write_name]
        mov     eax, [r15]
        lea     rsi, [rel tables]
        add     rsi, rax
        mov     edx, [r15 + 4]
        add     r15, 8
.write:
        mov     eax, SYS_WRITE
        mov     edi, ebx
        syscall
        cmp     rax, -EINTR
        je      .write
        test    rax, rax
        js      fail
        add     rsi, rax
        sub     rdx, rax
        jnz     .write

        lea     r8, [rel fcntl_name]
        mov     eax, SYS_FCNTL
        mov     edi, ebx
        mov     esi, F_ADD_SEALS
        mov     edx, SEAL_ALL
        syscall
        test    eax, eax
        js      fail

        ; Low numbers are the caller's: `fd=3` must not name a module by mistake, nor may a module take the place of a closed
        ; standard stream. Where the limit on descriptors forbids the high number, any above those streams does.
        mov     edx, FIRST_DESCRIPTOR
        call    duplicate
        jns     .moved
        mov     edx, FIRST_FREE_DESCRIPTOR
        call    duplicate
        js      fail
.moved:
        push    rax
        mov     eax, SYS_CLOSE
        mov     edi, ebx
        syscall
        pop     rax
        pop     rdi
        ret

; Duplicates descriptor ebx to the first free one from edx on. Out: eax = the duplicate or -errno; flags set by it.
duplicate:
        mov     eax, SYS_FCNTL
        mov     edi, ebx
        mov     esi, F_DUPFD_CLOEXEC
        syscall
        test    eax, eax
        ret

; Stores, from rdi on, the addresses of the strings in the list at rsi. Out: rdi behind the last address.
append_strings:
        cmp     byte [rsi], 0
        je      .done
        mov     rax, rsi
        stosq
.skip:
        lodsb
        test    al, al
        jnz     .skip
        jmp     append_strings
.done:
        ret

; Copies the string at rsi, without its NUL, to rdi. Preserves rax. Out: rdi behind the copy.
append_text:
        cmp     byte [rsi], 0
        je      .done
        movsb
        jmp     append_text
.done:
        ret

; Stores eax in decimal digits at rdi. Out: rdi behind the last digit.
append_number:
        mov     ecx, 10
        push    0                               ; ends the digits, which come out last one first
.digit:
        xor     edx, edx
        div     ecx
        add     edx, '0'
        push    rdx
        test    eax, eax
        jnz     .digit
.copy:
        pop     rax
        test    eax, eax
        jz      .done
        stosb
        jmp     .copy
.done:
        ret

; Whether the variable at rax begins with one of the strings in the list DROPPED. Out: carry set if so.
is_dropped:
        lea     rdx, [rel tables + DROPPED]
.beginning:
        cmp     byte [rdx], 0
        je      .kept
        mov     rcx, rax
.character:
        mov     r8b, [rdx]
        inc     rdx
        test    r8b, r8b
        jz      .dropped
        cmp     r8b, [rcx]
        jne     .skip
        inc     rcx
        jmp     .character
.skip:
        inc     rdx
        cmp     byte [rdx - 1], 0
        jne     .skip
        jmp     .beginning
.kept:
        clc
        ret
.dropped:
        stc
        ret

; Says on standard error which system call failed, and ends the process with status 1.
; In: eax = -errno, r8 = the call's name.
fail:
        sub     rsp, MESSAGE_SPACE
        mov     rdi, rsp
        neg     eax
        lea     rsi, [rel failure]
        call    append_text
        mov     rsi, r8
        call    append_text
        lea     rsi, [rel failure_number]
        call    append_text
        call    append_number
        mov     byte [rdi], 10
        inc     rdi

        mov     eax, SYS_WRITE
        mov     rsi, rsp
        mov     rdx, rdi
        sub     rdx, rsp
        mov     edi, STDERR
        syscall
        mov     eax, SYS_EXIT_GROUP
        mov     edi, 1
        syscall

memfd_name:             db "splitvm", 0
memfd_create_name:      db "memfd_create", 0
write_name:             db "write", 0
fcntl_name:             db "fcntl", 0
failure:                db "splitvm: cannot place the program in memory: ", 0
failure_number:         db " failed with errno ", 0

tables:
