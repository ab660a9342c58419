"""What differs from chip to chip: PCI face, answers to IOCFacts and PortFacts, timing.

53C1030: MPI 1.2 firmware, whose IOCFacts reply ends after FWVersion.  Ids and product number: mpi_cnfg.h and
mpi_ioc.h (MPI_FW_HEADER_PID_*).  Queue depths and frame size are those boards of the time reported
("MaxQ=222"); not measured by us.
SAS1068: every value as QEMU 7.2 mptsas1068 answers, observed; 64-bit windows as real boards have them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen
from attrs.validators import gt

from ddsdk.hookspecs.discovery import Chip
from ddsdk.sim.pci import BarSpec

from .frames import IOCStatus, PortType, ProtocolFlags, ScsiState
from .regs import PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId

US = 1_000
MS = 1_000_000
S = 1_000_000_000


def _positive(default: int) -> int:
    return field(default=default, validator=gt(0))


@frozen
class Timing:
    """How long the IOC takes, in virtual nanoseconds: orders of magnitude of 2004, not measurements."""

    doorbell_take_ns: int = _positive(2 * US)     # HIS bit 31 stays 1 for so long
    handshake_word_ns: int = _positive(3 * US)    # from acknowledging a word to the next one
    message_ns: int = 50 * US                     # facts, events, acknowledgements
    ioc_init_ns: int = 20 * MS
    port_enable_ns: int = 400 * MS                # discovery, or the SPI bus reset and its settle time
    fetch_ns: int = _positive(US)                 # from the FIFO write to the frame's fetch
    command_ns: int = 8 * US                      # firmware's share of a SCSI command
    task_mgmt_ns: int = 2 * MS
    selection_ns: int = 1 * MS                    # until "device not there" is known
    hard_reset_ns: int = 400 * MS
    message_unit_reset_ns: int = 30 * MS
    io_unit_reset_ns: int = 100 * MS
    blackout_ns: int = 1 * MS                     # after a hard reset nothing answers


@frozen
class ChipProfile:
    """One chip.  Field names of the messages where the value goes there verbatim."""

    chip: Chip
    class_code: int
    functions: int                            # PCI functions that share one reset
    bars: Mapping[int, BarSpec]
    timing: Timing
    # IOCFacts reply
    facts_bytes: int                          # 60 before MPI 1.5, 80 since
    MsgVersion: int
    HeaderVersion: int
    MaxChainDepth: int
    BlockSize: int
    ReplyQueueDepth: int
    RequestFrameSize: int
    ProductID: int
    GlobalCredits: int
    NumberOfPorts: int
    MaxDevices: int
    MaxBuses: int
    FWVersion: int
    # PortFacts reply
    PortType: PortType
    PortMaxDevices: int
    PortSCSIID: int
    ProtocolFlags: ProtocolFlags
    # completion habits
    target_out_of_range: IOCStatus            # TargetID beyond PortMaxDevices
    check_is_underrun: bool                   # CHECK CONDITION always reports DATA_UNDERRUN
    terminated_state: ScsiState               # SCSIState of a request killed by task management
    IOCCapabilities: int = 0
    HighPriorityQueueDepth: int = 0


LSI53C1030 = ChipProfile(
    chip=Chip("53c1030", PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId.LSI_53C1030,
              "LSI 53C1030 Ultra320 SCSI (Fusion-MPT SPI), one port a function"),
    class_code=0x010000,
    functions=2,
    bars={0: BarSpec("io", 0x100), 1: BarSpec("mem", 0x10000, is_64=True),
          3: BarSpec("mem", 0x10000, "diag", is_64=True)},
    timing=Timing(port_enable_ns=2 * S, selection_ns=250 * MS),
    facts_bytes=60,
    MsgVersion=0x0102,
    HeaderVersion=0x0600,
    MaxChainDepth=255,
    BlockSize=8,
    ReplyQueueDepth=128,
    RequestFrameSize=32,
    ProductID=0x0104,
    GlobalCredits=222,
    NumberOfPorts=1,
    MaxDevices=16,
    MaxBuses=1,
    FWVersion=0x01032300,
    PortType=PortType.SCSI,
    PortMaxDevices=16,
    PortSCSIID=7,
    ProtocolFlags=ProtocolFlags.INITIATOR,
    target_out_of_range=IOCStatus.SCSI_INVALID_TARGETID,
    check_is_underrun=False,
    terminated_state=ScsiState.NO_SCSI_STATUS | ScsiState.TERMINATED,
)

SAS1068 = ChipProfile(
    chip=Chip("sas1068", PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId.LSI_SAS1068,
              "LSI SAS1068 3 Gb/s SAS (Fusion-MPT SAS), eight phys"),
    class_code=0x010000,
    functions=1,
    bars={0: BarSpec("io", 0x100), 1: BarSpec("mem", 0x4000, is_64=True),
          3: BarSpec("mem", 0x10000, "diag", is_64=True)},
    timing=Timing(),
    facts_bytes=80,
    MsgVersion=0x0105,
    HeaderVersion=0,
    MaxChainDepth=0x22,
    BlockSize=0x0D,
    ReplyQueueDepth=128,
    RequestFrameSize=128,
    ProductID=0x2102,
    GlobalCredits=128,
    NumberOfPorts=8,
    MaxDevices=8,
    MaxBuses=1,
    FWVersion=0x01329200,
    PortType=PortType.SAS,
    PortMaxDevices=8,
    PortSCSIID=8,
    ProtocolFlags=ProtocolFlags.INITIATOR | ProtocolFlags.LOGBUSADDR,
    target_out_of_range=IOCStatus.SCSI_DEVICE_NOT_THERE,
    check_is_underrun=True,
    terminated_state=ScsiState.NO_SCSI_STATUS,
)

CHIPS = (LSI53C1030, SAS1068)
