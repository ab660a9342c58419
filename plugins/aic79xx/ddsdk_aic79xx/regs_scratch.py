"""Scratch RAM (100-17F) and the SCB window (180-1BF): common to modes 0 to 3, by agreement with the firmware.

In CFG mode the same addresses are PCI configuration space.  The layout belongs to the firmware of the 2.6.9
generation (aic79xx.seq rev 99); a later one keeps a second freeze counter and its fields elsewhere.

Sources: aic79xx.reg rev 70 (Linux 2.6.9, RHEL 4), "Scratch RAM Offsets", "Hardware SCB Definition".
"""

from __future__ import annotations

from ddsdk.regs import Reg8, Reg16, Reg32, Reg64, RegBlock, bit


class SeqFlags(Reg8):
    """133: where the connection on the bus is."""

    NOT_IDENTIFIED = bit(7)
    NO_CDB_SENT = bit(6)
    DPHASE = bit(5)
    NO_DISCONNECT = bit(0)


class SeqFlags2(Reg8):
    """147."""

    SELECTOUT_QFROZEN = bit(2)


class Scratch(RegBlock, size=0x200, byte_access=True):
    """The scratch page and the SCB window."""

    WAITING_SCB_TAILS = Reg16.at(0x100, count=16)       # by target: last SCB that waits for it
    WAITING_TID_HEAD = Reg16.at(0x120)                  # first SCB of the first target; the one being selected
    WAITING_TID_TAIL = Reg16.at(0x122)
    NEXT_QUEUED_SCB_ADDR = Reg32.at(0x124)              # bus address of the element that is fetched next
    COMPLETE_SCB_HEAD = Reg16.at(0x128)                 # good, not in the output queue yet
    COMPLETE_SCB_DMAINPROG_HEAD = Reg16.at(0x12A)
    COMPLETE_DMA_SCB_HEAD = Reg16.at(0x12C)             # to be uploaded
    QFREEZE_COUNT = Reg16.at(0x12E)                     # nothing is sent while it is not 0
    SAVED_MODE = Reg8.at(0x130)
    MSG_OUT = Reg8.at(0x131)
    DMAPARAMS = Reg8.at(0x132)
    SEQ_FLAGS = SeqFlags.at(0x133)
    SAVED_SCSIID = Reg8.at(0x134)
    SAVED_LUN = Reg8.at(0x135)
    LASTPHASE = Reg8.at(0x136)
    QOUTFIFO_ENTRY_VALID_TAG = Reg8.at(0x137)           # 80 or 00; the firmware toggles it at the wrap
    SHARED_DATA_ADDR = Reg32.at(0x138)
    QOUTFIFO_NEXT_ADDR = Reg32.at(0x13C)
    KERNEL_TQINPOS = Reg8.at(0x140)
    TQINPOS = Reg8.at(0x141)
    RETURN_1 = Reg8.at(0x142)                           # ARG_1: the host's order in the message loop
    RETURN_2 = Reg8.at(0x143)                           # ARG_2: the byte that goes with it
    LAST_MSG = Reg8.at(0x144)
    SCSISEQ_TEMPLATE = Reg8.at(0x145)
    INITIATOR_TAG = Reg8.at(0x146)
    SEQ_FLAGS2 = SeqFlags2.at(0x147)
    ALLOCFIFO_SCBPTR = Reg16.at(0x148)
    INT_COALESCING_TIMER = Reg16.at(0x14A)              # ticks of 25 us
    INT_COALESCING_MAXCMDS = Reg8.at(0x14C)             # negated
    INT_COALESCING_MINCMDS = Reg8.at(0x14D)             # negated
    CMDS_PENDING = Reg16.at(0x14E)                      # fetched and not finished
    INT_COALESCING_CMDCOUNT = Reg8.at(0x150)
    LOCAL_HS_MAILBOX = Reg8.at(0x151)
    CMDSIZE_TABLE = Reg8.at(0x152, count=8)             # bytes of a CDB less one, by opcode group

    SCB_RESIDUAL_DATACNT = Reg32.at(0x180)              # CDB bytes 0 to 3 until the CDB is out
    SCB_RESIDUAL_SGPTR = Reg32.at(0x184)
    SCB_SCSI_STATUS = Reg8.at(0x188)
    SCB_SENSE_BUSADDR = Reg32.at(0x18C)                 # low half: link of the completion list
    SCB_TAG = Reg16.at(0x190)                           # on the chip a use count of FIFOs
    SCB_CONTROL = Reg8.at(0x192)
    SCB_SCSIID = Reg8.at(0x193)
    SCB_LUN = Reg8.at(0x194)
    SCB_TASK_ATTRIBUTE = Reg8.at(0x195)
    SCB_CDB_LEN = Reg8.at(0x196)
    SCB_TASK_MANAGEMENT = Reg8.at(0x197)
    SCB_DATAPTR = Reg64.at(0x198)
    SCB_DATACNT = Reg32.at(0x1A0)
    SCB_SGPTR = Reg32.at(0x1A4)
    SCB_BUSADDR = Reg32.at(0x1A8)
    SCB_NEXT = Reg16.at(0x1AC)                          # next SCB that waits for the same target
    SCB_NEXT2 = Reg16.at(0x1AE)                         # first SCB of the next target
    SCB_PKT_LUN = Reg64.at(0x1B0)
    SCB_DISCONNECTED_LISTS = Reg16.at(0x1B8, count=4)   # busy targets, see frames.busy_slot
