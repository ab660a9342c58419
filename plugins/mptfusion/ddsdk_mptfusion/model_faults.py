"""Everything that can be made to go wrong with the IOC: fault id -> what happens.

The rows follow the error tables of MPI 1.x (IOCStatus, SCSIState, fault codes) and what Linux 2.6.9's and
FreeBSD's drivers defend themselves against.  Parameters in brackets, with their defaults; they are what
`inject(id, after=, times=, **params)` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .mpi import IOCStatus
from .regs import FaultCode

#: IOCStatus a command can be made to end with, and whether it is carried out all the same.
COMMAND_STATUS: Final[Mapping[str, tuple[IOCStatus, bool]]] = MappingProxyType({
    "iocstatus-invalid-function": (IOCStatus.INVALID_FUNCTION, False),
    "iocstatus-busy": (IOCStatus.BUSY, False),
    "iocstatus-invalid-sgl": (IOCStatus.INVALID_SGL, False),
    "iocstatus-internal-error": (IOCStatus.INTERNAL_ERROR, False),
    "iocstatus-reserved": (IOCStatus.RESERVED, False),
    "iocstatus-insufficient-resources": (IOCStatus.INSUFFICIENT_RESOURCES, False),
    "iocstatus-invalid-field": (IOCStatus.INVALID_FIELD, False),
    "iocstatus-invalid-state": (IOCStatus.INVALID_STATE, False),
    "iocstatus-recovered-error": (IOCStatus.SCSI_RECOVERED_ERROR, True),
    "iocstatus-invalid-bus": (IOCStatus.SCSI_INVALID_BUS, False),
    "iocstatus-invalid-targetid": (IOCStatus.SCSI_INVALID_TARGETID, False),
    "iocstatus-device-not-there": (IOCStatus.SCSI_DEVICE_NOT_THERE, False),
    "iocstatus-data-overrun": (IOCStatus.SCSI_DATA_OVERRUN, False),
    "iocstatus-data-underrun": (IOCStatus.SCSI_DATA_UNDERRUN, False),
    "iocstatus-io-data-error": (IOCStatus.SCSI_IO_DATA_ERROR, False),
    "iocstatus-protocol-error": (IOCStatus.SCSI_PROTOCOL_ERROR, False),
    "iocstatus-task-terminated": (IOCStatus.SCSI_TASK_TERMINATED, False),
    "iocstatus-residual-mismatch": (IOCStatus.SCSI_RESIDUAL_MISMATCH, True),
    "iocstatus-residual-mismatch-empty": (IOCStatus.SCSI_RESIDUAL_MISMATCH, False),
    "iocstatus-task-mgmt-failed": (IOCStatus.SCSI_TASK_MGMT_FAILED, False),
    "iocstatus-ioc-terminated": (IOCStatus.SCSI_IOC_TERMINATED, False),
    "iocstatus-ext-terminated": (IOCStatus.SCSI_EXT_TERMINATED, False),
})

#: IOC goes to FAULT with this code when the next request is fetched.
FETCH_FAULTS: Final[Mapping[str, FaultCode]] = MappingProxyType({
    "fault-request-parity": FaultCode.REQUEST_MESSAGE_PCI_PARITY_ERROR,
    "fault-request-bus": FaultCode.REQUEST_MESSAGE_PCI_BUS_FAULT,
})

#: The same when a command to the device, or from it, moves its data.
SEND_FAULTS: Final[Mapping[str, FaultCode]] = MappingProxyType({
    "fault-send-parity": FaultCode.DATA_SEND_PCI_PARITY_ERROR,
    "fault-send-bus": FaultCode.DATA_SEND_PCI_BUS_FAULT,
})
RECEIVE_FAULTS: Final[Mapping[str, FaultCode]] = MappingProxyType({
    "fault-receive-parity": FaultCode.DATA_RECEIVE_PCI_PARITY_ERROR,
    "fault-receive-bus": FaultCode.DATA_RECEIVE_PCI_BUS_FAULT,
})

#: The same when a reply frame is written.
REPLY_FAULTS: Final[Mapping[str, FaultCode]] = MappingProxyType({
    "fault-reply-parity": FaultCode.REPLY_MESSAGE_PCI_PARITY_ERROR,
    "fault-reply-bus": FaultCode.REPLY_MESSAGE_PCI_BUS_FAULT,
})

#: A command ends with IOCStatus SUCCESS and this (SCSIStatus, SCSIState) instead of being carried out.
COMMAND_STATES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({
    "scsi-busy": (0x08, 0x00),
    "scsi-task-set-full": (0x28, 0x00),
    "scsi-reservation-conflict": (0x18, 0x00),
    "autosense-failed": (0x02, 0x02),
    "no-scsi-status": (0x00, 0x04),
    "terminated": (0x00, 0x08),
    "response-info": (0x00, 0x10),
    "tag-rejected": (0x00, 0x20),
})

#: Registers, interrupt line, doorbell, resets.
BUS_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "all-ones": "from now on every register reads 0xFFFFFFFF and writes are lost",
    "pci-peer-owner": "Doorbell reads OPERATIONAL with WhoInit 3: another PCI device owns the IOC",
    "irq-stuck": "the interrupt line rises and stays up whatever IntStatus and IntMask say",
    "irq-lost": "the interrupt line does not rise though IntStatus and IntMask say so",
    "his-lingers": "IntStatus bit 3 stays 1 until ReplyFifo has been read empty (QEMU does the same)",
    "doorbell-never-taken": "IntStatus bit 31 stays 1: the IOC does not take the Doorbell write",
    "doorbell-slow": "the IOC takes the Doorbell write late [ns=4 s]",
    "doorbell-interrupt-lost": "IntStatus bit 0 does not rise for one step of a handshake",
    "handshake-silent": "the request is taken, no reply ever comes",
    "handshake-short": "the reply ends after a few words [words=4]",
    "handshake-garbled": "every word of the reply is wrong [xor=0x5A5A]",
    "handshake-status": "the reply carries an error and nothing was done [status=INTERNAL_ERROR]",
    "facts-firmware-missing": "IOCFacts says that the host must download the firmware first",
    "facts-zero": "IOCFacts says 0 credits, 0 reply frames, a request frame of 0 dwords",
    "port-inactive": "PortFacts says PortType 0 and no protocol",
    "init-ignored": "IOCInit answers SUCCESS but the IOC stays READY",
    "diag-locked": "the key sequence does not enable Diagnostic writes",
    "hard-reset-ignored": "the reset bit has no effect",
    "hard-reset-hangs": "the IOC stays in RESET for good",
    "hard-reset-slow": "the reset takes long [ns=30 s]",
    "hard-reset-faults": "the reset ends in FAULT [code=0x0004]",
    "hard-reset-flash-bad": "after the reset Diagnostic shows the bad flash signature",
    "message-reset-ignored": "a message unit reset is taken and has no effect",
    "message-reset-slow": "a message unit reset takes long [ns=14 s]",
    "message-reset-faults": "a message unit reset ends in FAULT [code=0x0004]",
    "peer-reset": "the chip's other function is hard-reset by its owner, and this one with it",
})

#: Requests and their replies.
REQUEST_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "spontaneous-fault": "the IOC goes to FAULT as a request arrives [code=0x0004]",
    "command-hung": "the request is fetched and never heard of again",
    "command-slow": "the command takes long [ns=10 s]",
    "bus-reset-by-other": "somebody resets the SCSI bus: running commands end with 0x004C, event 5 is sent",
    "task-mgmt-hung": "a task management request is never answered",
    "task-mgmt-failed": "task management answers TM_FAILED and does nothing [response=0x05, status=0x004A]",
    "reply-lost": "the command is carried out, its reply never posted",
    "reply-late": "the reply is posted late [ns=10 s]",
    "reply-duplicate": "the same reply descriptor is posted twice",
    "reply-echo": "the context reply that was posted last is posted once more, as another request is fetched",
    "reply-stale": "a context reply of an older life is posted first [context=0x0000FFFE]",
    "reply-bad-address": "an address reply to a frame nobody gave is posted first [address=0xFFFFFF00]",
    "reply-garbled": "the reply frame is of another request [context=0x0000FFFE, function=0x7F]",
    "reply-by-address": "a command that went well is reported by an address reply",
    "reply-log-info": "the same, with IOCStatus bit 15 and IOCLogInfo set [info=0x31080000]",
    "free-list-leak": "a frame written to ReplyFifo never reaches the free list",
    "event-unsolicited": "an event that wants an acknowledgement is posted first, if events are on [event=1]",
})

#: Every fault id with its meaning; `MptIoc.FAULTS`.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({
    **BUS_SIDE,
    **REQUEST_SIDE,
    **{name: f"a command ends with IOCStatus {status:#06x} ({status.name})"
             + (", carried out all the same" if run else ", not carried out")
       for name, (status, run) in COMMAND_STATUS.items()},
    **{name: f"a command ends with SCSIStatus {status:#04x}, SCSIState {state:#04x}, not carried out"
       for name, (status, state) in COMMAND_STATES.items()},
    **{name: f"FAULT {code:#06x} ({code.name}) as {when}"
       for codes, when in ((FETCH_FAULTS, "a request is fetched"), (SEND_FAULTS, "data goes to the device"),
                           (RECEIVE_FAULTS, "data comes from the device"),
                           (REPLY_FAULTS, "a reply frame is written"))
       for name, code in codes.items()},
})
