; The LSI 53C895A as far as guests drive it (technical manual, chapter 4: operating registers). Offsets are those in memory
; space.

LSI53C895A_ID   equ 0x00121000          ; device 0012, vendor 1000

SCID            equ 0x04
DSTAT           equ 0x0c
DSA             equ 0x10
ISTAT0          equ 0x14
DSP             equ 0x2c                ; a write of its last byte starts SCRIPTS
DSPS            equ 0x30
SCRATCHA        equ 0x34                ; a register without a meaning of its own
DIEN            equ 0x39
SIEN0           equ 0x40
SIEN1           equ 0x41
SIST0           equ 0x42
SIST1           equ 0x43
STIME0          equ 0x48
RESPID0         equ 0x4a

ISTAT_RESET     equ 0x40
ISTAT_SIP       equ 0x02                ; SCSI interrupt pending: SIST0 and SIST1 say which
ISTAT_DIP       equ 0x01                ; DMA interrupt pending: DSTAT says which
SCID_ID7        equ 0x47                ; answers reselection, as initiator 7
