"""Everything that can be made to go wrong with the adapter: fault id -> what happens.

The rows of hw-ipr.md section 14, the status codes of section 8.2, and what sections 5, 6, 9 and 10 wait for.
Parameters in brackets, with their defaults; they are what `inject(id, after=, times=, **params)` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .ioasc import Ioasc
from .regs import Interrupt

#: INT bit that comes up as a request arrives, which is lost.
INT_BITS: Final[Mapping[str, int]] = MappingProxyType({
    "xfer-fail": Interrupt.XFER_FAIL.mask,
    "no-hrrq": Interrupt.NO_HRRQ.mask,
    "ioarrin-lost": Interrupt.IOARRIN_LOST.mask,
    "mmio-err": Interrupt.MMIO_ERR.mask,
})

#: IOASC a SCSI command can be made to end with, not carried out.
COMMAND_IOASC: Final[Mapping[str, int]] = MappingProxyType({
    "ioasc-start-unit-needed": Ioasc.NR_INIT_CMD_REQUIRED,
    "ioasc-reset-required": Ioasc.NR_IOA_RESET_REQUIRED,
    "ioasc-sync-required": Ioasc.SYNC_REQUIRED,
    "ioasc-shutting-down": Ioasc.NR_SHUTTING_DOWN,
    "ioasc-shut-down": Ioasc.NR_SHUT_DOWN,
    "ioasc-reassign-advised": Ioasc.MED_REALLOC_ADVISED,
    "ioasc-medium-error": Ioasc.MED_DO_NOT_REALLOC,
    "ioasc-selection-timeout": Ioasc.HW_SEL_TIMEOUT,
    "ioasc-adapter-timeout": Ioasc.HW_CMD_TIMEOUT,
    "ioasc-permanent-failure": Ioasc.HW_DEV_PERMANENT,
    "ioasc-firmware-error": Ioasc.HW_FIRMWARE,
    "ioasc-reset-needed": Ioasc.HW_RESET_NEEDED,
    "ioasc-invalid-request": Ioasc.IR_INVALID_REQ,
    "ioasc-invalid-handle": Ioasc.IR_RESOURCE_HANDLE,
    "ioasc-secondary-adapter": Ioasc.IR_NO_CMDS_TO_2ND_IOA,
    "ioasc-bus-was-reset": Ioasc.BUS_WAS_RESET,
    "ioasc-descriptor-invalid": Ioasc.DESCRIPTOR_INVALID,
    "ioasc-cancelled": Ioasc.ABORTED_CMD_TERM_BY_HOST,
})

#: The same, with the command carried out all the same.
CARRIED_OUT_IOASC: Final[Mapping[str, int]] = MappingProxyType({
    "ioasc-recovered": Ioasc.RECOVERED,
    "ioasc-good-with-information": 0x00808000,
})

#: Registers, interrupt line, resets, PCI.
BUS_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "all-ones": "from now on every register reads 0xFFFFFFFF and writes are lost",
    "bus-master-cleared": "PCI COMMAND bit 2 drops as a request arrives; it cannot be fetched",
    "irq-stuck": "the interrupt line stays up whatever INT and MASK say",
    "irq-lost": "the interrupt line does not rise though INT and MASK say so",
    "crit-op": "INT shows that flash is being written when RESET_ALERT comes [ns=1 s]",
    "bist-hangs": "BIST never ends",
    "bist-fails": "BIST ends with a completion code, and the firmware does not start after it [code=1]",
    "never-operational": "the firmware is told to start and TO_OPER never comes",
    "operational-slow": "TO_OPER comes late [ns=30 s]",
    "mailbox-silent": "DBG_ACK does not come: memory cannot be read through MAILBOX",
    "unit-check-buffer-garbled": "the table of the unit check's buffer does not say that it is ready",
})

#: What the adapter itself is asked for.
ADAPTER_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "start-step-fails": "a command to the adapter ends badly [ioasc=0x04448400]",
    "start-step-hung": "a command to the adapter is never answered",
    "page28-refused": "MODE SENSE of page 28 is an invalid request (05240000)",
    "cancel-hung": "CANCEL ALL REQUESTS is never answered",
    "cancel-fails": "CANCEL ALL REQUESTS cancels nothing [ioasc=0x04448600]",
    "device-reset-hung": "RESET DEVICE is never answered",
    "device-reset-fails": "RESET DEVICE resets nothing [ioasc=0x04448600]",
    "shutdown-hung": "IOA SHUTDOWN is never answered",
    "shutdown-fails": "IOA SHUTDOWN is refused [ioasc=0x05240000]",
    "hcam-error-log": "an error log entry is sent as a request arrives, if one was asked for",
    "hcam-config-changed": "the disk's entry is sent as changed, if that was asked for",
    "stale-handle": "the disk goes and comes back under another handle; the old one is refused from now on",
})

#: Requests and their responses.
REQUEST_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "unit-check": "the firmware fails as a request arrives: INT UNIT_CHECK, then silence [prc=0x12345678]",
    "firmware-hang": "the firmware hangs as a request arrives, without a word in INT",
    "command-hung": "a SCSI command is fetched and never heard of again, not even by CANCEL ALL REQUESTS",
    "command-slow": "a SCSI command takes long [ns=10 s]",
    "bus-reset-by-other": "another host resets the SCSI bus: running commands end with 06298000",
    "autosense-missing": "CHECK CONDITION comes without autosense though the IOASA has room for it",
    "sense-hung": "the host's REQUEST SENSE is never answered",
    "sense-fails": "the host's REQUEST SENSE ends badly [ioasc=0x04080100]",
    "completion-lost": "the command is carried out, its response never posted",
    "completion-late": "the response is posted late [ns=10 s]",
    "completion-duplicate": "the same response is posted twice",
    "completion-stale": "the response that was posted last is posted once more, as another request is fetched",
    "completion-foreign": "the response of a request nobody made is posted first [handle=0x01A0]",
    "completion-out-of-order": "the response is posted after the next one",
    "bad-index": "a response with an index beyond every command block is posted first [index=115]",
    "toggle-stuck": "a response is posted with the toggle bit of the lap before",
})

#: Every fault id with its meaning; `IprIoa.FAULTS`.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({
    **BUS_SIDE,
    **ADAPTER_SIDE,
    **REQUEST_SIDE,
    **{name: f"INT {bit:08x} comes up as a request arrives, which is lost" for name, bit in INT_BITS.items()},
    **{name: f"a SCSI command ends with IOASC {int(code):08x}, not carried out"
       for name, code in COMMAND_IOASC.items()},
    **{name: f"a SCSI command is carried out and ends with IOASC {int(code):08x}"
       for name, code in CARRIED_OUT_IOASC.items()},
})
