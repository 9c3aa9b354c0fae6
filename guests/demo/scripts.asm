; The SCRIPTS program: the SCSI bus protocol of an initiator, as the controller's own processor runs it from guest RAM.
;
; LSI53C895A PCI to Ultra2 SCSI Controller technical manual, chapter 5 (SCSI SCRIPTS Instruction Set). An instruction is
; two dwords; here its first is spelled with the names that the manual's assembler has. What is moved where stands in a
; table at DSA ("table indirect"), so that the program itself never changes.

; Bus phases, bits 26 to 24 of moves and comparisons
DATA_OUT        equ 0 << 24
DATA_IN         equ 1 << 24
COMMAND         equ 2 << 24
STATUS          equ 3 << 24
MSG_OUT         equ 6 << 24
MSG_IN          equ 7 << 24

SELECT_ATN_FROM equ 0x43000000          ; section 5.4: select with ATN, table indirect
WAIT_DISCONNECT equ 0x48000000
WAIT_RESELECT   equ 0x50000000
CLEAR_ACK       equ 0x60000040
MOVE_FROM       equ 0x18000000          ; section 5.3: move, table indirect
EXPECT_DISCONNECT equ 0x7c027f00        ; section 5.5: MOVE SCNTL2 & 0x7f TO SCNTL2
JUMP            equ 0x80080000          ; section 5.6
JUMP_WHEN       equ 0x800b0000          ; … when the next phase is
JUMP_IF         equ 0x800a0000          ; … if the phase is
JUMP_IF_BYTE    equ 0x800c0000          ; … if the last first byte moved was
INTERRUPT       equ 0x98080000          ; stops, interrupts; the second dword appears in DSPS

; Values of DSPS
DONE            equ 0x600d
BAD_PHASE       equ 0xbad1
BAD_MESSAGE     equ 0xbad2
BAD_RESELECTION equ 0xbad3

; Messages (SPI-3, section 16)
COMMAND_COMPLETE equ 0x00
SAVE_POINTERS   equ 0x02
RESTORE_POINTERS equ 0x03
DISCONNECT      equ 0x04
IDENTIFY        equ 0xc0                ; LUN 0, and the target may disconnect

align 4, db 0
scripts:
        dd      SELECT_ATN_FROM | table.select - table, .reselected
        dd      MOVE_FROM | MSG_OUT, table.message_out - table
        dd      MOVE_FROM | COMMAND, table.command - table
.phase:
        dd      JUMP_WHEN | DATA_IN, .data_in
        dd      JUMP_IF | DATA_OUT, .data_out
        dd      JUMP_IF | STATUS, .status
        dd      JUMP_IF | MSG_IN, .message_in
        dd      INTERRUPT, BAD_PHASE
.data_in:
        dd      MOVE_FROM | DATA_IN, table.data - table
        dd      JUMP, .phase
.data_out:
        dd      MOVE_FROM | DATA_OUT, table.data - table
        dd      JUMP, .phase
.status:
        dd      MOVE_FROM | STATUS, table.status - table
        dd      JUMP, .phase
.message_in:
        dd      MOVE_FROM | MSG_IN, table.message_in - table
        dd      JUMP_IF_BYTE | COMMAND_COMPLETE, .complete
        dd      JUMP_IF_BYTE | DISCONNECT, .disconnect
        dd      JUMP_IF_BYTE | SAVE_POINTERS, .acknowledge
        dd      JUMP_IF_BYTE | RESTORE_POINTERS, .acknowledge
        dd      INTERRUPT, BAD_MESSAGE
.acknowledge:
        dd      CLEAR_ACK, 0
        dd      JUMP, .phase
.disconnect:
        dd      EXPECT_DISCONNECT, 0
        dd      CLEAR_ACK, 0
        dd      WAIT_DISCONNECT, 0
        dd      WAIT_RESELECT, .not_reselected
.reselected:
        dd      MOVE_FROM | MSG_IN, table.message_in - table    ; IDENTIFY
        dd      CLEAR_ACK, 0
        dd      JUMP, .phase
.not_reselected:
        dd      INTERRUPT, BAD_RESELECTION
.complete:
        dd      EXPECT_DISCONNECT, 0
        dd      CLEAR_ACK, 0
        dd      WAIT_DISCONNECT, 0
        dd      INTERRUPT, DONE

; What DSA points at: the target, then pairs of a count and an address.
table:
.select:
        db      0, 0, 0, TARGET_CLOCK   ; reserved, SXFER: asynchronous, target 0, SCNTL3
.message_out:
        dd      1, identify
.command:
        dd      0, 0
.data:
        dd      0, buffer
.status:
        dd      1, status
.message_in:
        dd      1, message_in

TARGET_CLOCK    equ 0x03                ; 40 MHz, asynchronous transfers

identify:
        db      IDENTIFY
status:
        db      0
message_in:
        db      0
