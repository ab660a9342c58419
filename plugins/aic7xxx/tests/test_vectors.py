"""The golden exchanges of hw-aic7xxx.md 18: what the host writes, what the chip writes back, byte by byte.

Layout: SCB array 01000000, S/G pool 01100000, queues 01200000, sense buffers 01300000; four SCBs and the one for
recovery; target 3, LUN 0, our id 7.  The model stands in for the chip.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import pytest
from attrs import define, evolve

from ddsdk.helperlib.kernel import DmaBuffer, Kernel, PciDev
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_NONE, ScsiCmnd
from ddsdk.scsi.host import ScsiDevice, ScsiHost
from ddsdk.sim import disk_faults
from ddsdk.sim.disk import Disk
from ddsdk.sim.disk_faults import DiskFault
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk_aic7xxx.adapter import Ahc, AhcScb, Memory
from ddsdk_aic7xxx.agreement import ASYNC_NARROW, ULTRA160
from ddsdk_aic7xxx.driver import _configure, aic7xxx_driver_template
from ddsdk_aic7xxx.isr import ahc_linux_poll, ahc_runq_tasklet
from ddsdk_aic7xxx.model import Aic7xxx, build
from ddsdk_aic7xxx.queue import put_list
from ddsdk_aic7xxx.recovery import ahc_bring_up, ahc_go
from ddsdk_aic7xxx.sense import ahc_queue_sense

HSCBS, SG, SHARED, SENSE = 0x01000000, 0x01100000, 0x01200000, 0x01300000
SEGMENTS = ((0x02000E00, 0x200), (0x02345000, 0x1000), (0x02347000, 0x2E00))
LBA, SECTORS = 0x12345, 32
READ = cdb.read_write(False, LBA, SECTORS, False)

V0 = "00 0e 00 02 00 02 00 00 00 50 34 02 00 10 00 00 00 70 34 02 00 2e 00 80"
V1 = "28 00 00 01 23 45 00 00 20 00 00 00 00 0e 00 02 00 02 00 00 0a 08 10 01 60 37 00 03 0a c2 7f 02"
V2 = "28 00 00 01 23 45 00 00 20 00 00 00 00 0e 00 02 00 02 00 00 0a 08 10 01 70 37 00 03 0a 00 00 02"
V2_MESSAGE = "c0 20 03 01 06 04 09 00 7f 01 02"
V3 = "28 00 00 01 23 45 00 00 20 00 00 00 00 0e 00 02 00 02 00 00 0a 08 10 01 00 37 00 03 0a 00 00 02"
V4_ELEMENT = "00 70 56 34 00 40 00 92"
V4 = "28 00 00 01 23 45 00 00 20 00 00 00 00 70 56 34 00 40 00 92 0a 08 10 01 60 37 00 03 0a c2 7f 02"
V5 = "00 2c 00 80 18 08 10 01 00 00 00 00 00 0e 00 02 00 02 00 00 0c 08 10 01 e0 37 00 03 0a c2 7f ff"
V6 = "28 00 00 01 23 45 00 00 02 00 00 00 00 0e 00 02 00 02 00 00 0e 08 10 01 e0 37 00 03 0a c2 7f ff"
V7 = "03 00 00 00 20 00 00 00 02 00 00 00 40 00 30 01 20 00 00 80 0a 08 10 01 00 37 00 03 06 c2 7f 02"
V8 = ("e0 00 00 01 00 00 00 00 00 00 00 00 00 0e 00 02 00 02 00 00 0a 08 10 01 60 37 00 03 10 c2 7f 02"
      " 88 00 00 00 00 00 00 01 23 45 00 00 00 20 00 00")
V9 = "35 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 60 37 00 03 0a c2 7f 02"
V10 = "00 02 00 00 0a 04 10 01 60 37 00 02 0a c2 7f 01"


@define(eq=False)
class Golden:
    """A channel whose memory lies where the vectors have it."""

    machine: Machine
    kernel: Kernel
    model: Aic7xxx
    ahc: Ahc
    sdev: ScsiDevice
    drive: Disk

    def element(self, tag: int, nbytes: int = 32) -> str:
        """What an element of the SCB array holds."""
        return self.machine.memory.read(HSCBS + 64 * tag, nbytes).hex(" ")

    def queue(self, command: bytes, sg: tuple[tuple[int, int], ...] = SEGMENTS) -> ScsiCmnd:
        """Hand a command to the driver."""
        scmd = ScsiCmnd(self.sdev)
        scmd.set_cdb(command)
        scmd.sc_data_direction = DMA_FROM_DEVICE if sg else DMA_NONE
        scmd.sg = sg
        scmd.request_bufflen = sum(length for _, length in sg)
        scmd.done = False
        lock = self.sdev.host.host_lock
        flags = self.kernel.spin_lock_irqsave(lock)
        assert self.sdev.host.hostt.queuecommand(scmd, lambda ended: setattr(ended, "done", True)) == 0
        self.kernel.spin_unlock_irqrestore(lock, flags)
        return scmd

    def let_pass(self, us: int) -> None:
        """Time in which nobody polls."""
        self.machine.clock.advance(us * 1000)

    def until_interrupt(self, code: int) -> None:
        """Until INTSTAT is *code*."""
        for _ in range(10_000):
            if self.model.intstat == code:
                return
            self.let_pass(10)
        raise AssertionError(f"INTSTAT is {self.model.intstat:02x}, not {code:02x}")

    def agree(self) -> None:
        """Both sides have agreed on Ultra160."""
        target, port = self.ahc.targets[3], self.model.bus.ports[3]
        target.curr, target.negotiate = ULTRA160, False
        port.agreement = (9, 0x7F, True, True)
        port.deaf_until_ns = 0
        for unit in port.target.units.values():
            unit._attention.clear()


@pytest.fixture
def golden() -> Iterator[Golden]:
    """Brought up, nothing queued yet, no agreement."""
    machine = Machine(PhysicalMemory.anonymous(40 << 20))
    drive = Disk(memoryview(mmap.mmap(-1, 40 << 20)))
    function = build(machine, {(0, 3): ScsiTarget(drive)})
    kernel = Kernel(machine)
    pdev = PciDev(kernel, function)
    kernel.pci_enable_device(pdev)
    ahc = Ahc(pdev, kernel.pci_iomap(pdev, 1), "golden", count=5)
    _configure(ahc)

    def buffer(at: int, nbytes: int) -> DmaBuffer:
        function.dma_grant(at, nbytes)
        return DmaBuffer(at, at, machine.memory.view(at, nbytes))

    ahc.attach_memory(Memory(buffer(HSCBS, 5 * 64), buffer(SG, 5 * 1024), buffer(SHARED, 512), buffer(SENSE, 5 * 32)))
    ahc.runq_tasklet = kernel.tasklet_init(ahc_runq_tasklet, ahc)
    ahc_bring_up(ahc)
    ahc_go(ahc)
    ahc.inten = 0
    model = function.model
    assert isinstance(model, Aic7xxx)
    model.w_HCNTRL(model.regs.HCNTRL.from_bus(0))
    host = ScsiHost(aic7xxx_driver_template, kernel, pdev)
    host.hostdata = ahc
    sdev = ScsiDevice(host, 0, 3, 0, scsi_level=6, tagged_supported=True)
    yield Golden(machine, kernel, model, ahc, sdev, drive)
    machine.close()


def test_v0_v1_a_read_in_three_segments(golden: Golden) -> None:
    """List, element, queue positions, NEXT_QUEUED_SCB; the good completion leaves the element as it is."""
    golden.agree()
    assert golden.model.values["NEXT_QUEUED_SCB"] == 3
    scmd = golden.queue(READ)
    memory = golden.machine.memory
    assert memory.read(SG + 0x800, 24).hex(" ") == V0
    assert golden.element(3) == V1
    assert golden.element(3, 64)[96:] == bytes(32).hex(" ")
    assert memory.read(SHARED + 256, 2) == b"\x03\xff"
    assert golden.model.values["HNSCB_QOFF"] == 1
    golden.let_pass(3)
    assert (golden.model.values["NEXT_QUEUED_SCB"], golden.model.values["SNSCB_QOFF"]) == (2, 1)
    golden.until_interrupt(0x02)
    assert memory.read(SHARED, 2) == b"\x03\xff"
    assert golden.model.values["SDSCB_QOFF"] == 1
    assert golden.element(3) == V1
    ahc_linux_poll(golden.ahc)
    assert (scmd.done, scmd.result, scmd.resid) == (True, 0, 0)
    assert golden.model.intstat == 0


def test_v2_the_first_command_after_a_reset_negotiates(golden: Golden) -> None:
    """MK_MESSAGE, asynchronous and narrow; the host says IDENTIFY, the tag and PPR; then the rate is agreed on."""
    golden.queue(READ)
    assert golden.element(3) == V2
    said = bytearray()
    hear = golden.model.messages._hear

    def listen(conn: object, byte: int) -> None:
        said.append(byte)
        hear(conn, byte)  # type: ignore[arg-type]

    golden.model.messages._hear = listen  # type: ignore[method-assign, assignment]
    golden.until_interrupt(0x61)
    for _ in range(40):
        if golden.ahc.targets[3].curr == ULTRA160:
            break
        ahc_linux_poll(golden.ahc)
        golden.let_pass(100)
    assert said.hex(" ") == V2_MESSAGE
    assert golden.ahc.targets[3].curr == ULTRA160
    assert golden.model.bus.ports[3].agreement == (9, 0x7F, True, True)
    assert golden.element(3)[3 * 24:3 * 25 - 1] == "60"
    assert golden.element(3)[3 * 29:3 * 31 - 1] == "c2 7f"


def test_v3_untagged_without_disconnecting(golden: Golden) -> None:
    """Control 00 where neither tags nor disconnecting are allowed."""
    golden.agree()
    target = golden.ahc.targets[3]
    target.curr, target.goal, target.disconnect = ASYNC_NARROW, ASYNC_NARROW, False
    golden.sdev.tagged_supported = False
    golden.queue(READ)
    assert golden.element(3) == V3


def test_v4_a_segment_above_4_gib(golden: Golden) -> None:
    """Address bits 38:32 in bits 30:24 of the length."""
    golden.agree()
    put_list(golden.ahc.sg_view, 0x800, [(0x12_3456_7000, 0x4000)])
    assert golden.machine.memory.read(SG + 0x800, 8).hex(" ") == V4_ELEMENT
    golden.kernel.dma_map_sg = (  # type: ignore[method-assign]
        lambda pdev, sg, direction: [(0x12_3456_7000, 0x4000)])
    golden.model.later = lambda *_: None  # type: ignore[method-assign, assignment]     # nobody fetches it
    golden.queue(READ)
    assert golden.element(3) == V4


def test_v5_a_short_transfer(golden: Golden) -> None:
    """2C00h bytes are missing, 200h into the third segment; the uploaded element says so, the host understands."""
    golden.agree()
    golden.drive.inject(disk_faults.wrong_length(0x2C00 // 512))
    scmd = golden.queue(READ)
    golden.until_interrupt(0x02)
    assert golden.element(3) == V5
    ahc_linux_poll(golden.ahc)
    assert (scmd.result, scmd.resid) == (0, 0x2C00)


def _checked(golden: Golden) -> ScsiCmnd:
    golden.agree()
    golden.drive.inject(_HARDWARE_ERROR)
    scmd = golden.queue(READ)
    golden.until_interrupt(0x71)
    return scmd


_HARDWARE_ERROR: DiskFault = disk_faults.hardware_error()


def test_v6_check_condition_without_a_data_phase(golden: Golden) -> None:
    """The command bytes are still there; the whole length is missing."""
    from ddsdk_aic7xxx.done import ahc_residual

    _checked(golden)
    assert golden.element(3) == V6
    scb = golden.ahc.scb_of(3)
    assert scb is not None
    assert ahc_residual(golden.ahc, scb) == 16384


@pytest.mark.parametrize("renegotiate", [False, True], ids=["agreed", "usual"])
def test_v7_autosense_in_the_same_element(golden: Golden, renegotiate: bool) -> None:
    """REQUEST SENSE on top of V6, same tag; nothing moved, so that control is 10 unless nothing can be agreed on."""
    scmd = _checked(golden)
    target = golden.ahc.targets[3]
    if not renegotiate:
        target.goal = ASYNC_NARROW
    ahc_linux_poll(golden.ahc)
    want = V7 if not renegotiate else V7[:3 * 24] + "10" + V7[3 * 24 + 2:]
    assert golden.element(3) == want
    assert golden.machine.memory.read(SG + 0x800, 8).hex(" ") == "40 00 30 01 20 00 00 80"
    values = golden.model.values
    assert (values["NEXT_QUEUED_SCB"], values["HNSCB_QOFF"], values["RETURN_1"]) == (3, 2, 0x40)
    assert golden.machine.memory.read(SHARED + 256, 2) == b"\x03\x03"
    for _ in range(60):
        golden.let_pass(100)
        ahc_linux_poll(golden.ahc)
    assert (scmd.done, scmd.result) == (True, 0x08000002)
    assert scmd.sense_buffer[:3] == b"\x70\x00\x04"


def test_v7_the_lun_is_in_the_command_of_old_devices(golden: Golden) -> None:
    """SCSI-2 and older, LUN 5: REQUEST SENSE has it in byte 1."""
    scb, dev = golden.ahc.scbs[2], golden.ahc.targets[3].devices[5]
    old = evolve(golden.sdev, lun=5, scsi_level=3)
    scb.scmd, scb.dev = ScsiCmnd(old), dev
    _on_chip(golden.ahc, scb)
    ahc_queue_sense(golden.ahc, scb, nothing_moved=False)
    assert golden.element(scb.hscb, 6) == "03 a0 00 00 20 00"


def _on_chip(ahc: Ahc, scb: AhcScb) -> None:
    ahc.by_tag[scb.hscb] = scb
    ahc.outb(0x87, 0x04)
    ahc.inb(0xEE)


def test_v8_a_sixteen_byte_command_lies_behind_the_element(golden: Golden) -> None:
    """READ(16): a pointer instead of the command block, which is 32 bytes further."""
    golden.agree()
    golden.queue(cdb.read_write(False, LBA, SECTORS, True))
    assert golden.element(3, 48) == V8
    golden.until_interrupt(0x02)


def test_v9_a_command_without_data(golden: Golden) -> None:
    """SYNCHRONIZE CACHE(10): no data pointers, LIST_NULL."""
    golden.agree()
    golden.queue(cdb.synchronize_cache(), ())
    assert golden.element(3) == V9


def test_v10_a_second_read_takes_the_element_the_first_one_named(golden: Golden) -> None:
    """Object 1, element 2; after both completions the queue holds 03 02, after four its group is FF again."""
    golden.agree()
    golden.queue(READ)
    golden.queue(READ)
    assert golden.element(2)[3 * 16:] == V10
    golden.let_pass(5000)
    memory = golden.machine.memory
    assert memory.read(SHARED, 4) == b"\x03\x02\xff\xff"
    ahc_linux_poll(golden.ahc)
    assert memory.read(SHARED, 4) == b"\x03\x02\xff\xff"
    golden.queue(READ)
    golden.let_pass(2000)
    ahc_linux_poll(golden.ahc)
    assert memory.read(SHARED, 4) == b"\x03\x02\x01\xff"
    golden.queue(READ)
    golden.let_pass(2000)
    assert memory.read(SHARED, 4) == b"\x03\x02\x01\x00"         # the first object again, in the last element
    ahc_linux_poll(golden.ahc)
    assert memory.read(SHARED, 5) == b"\xff\xff\xff\xff\xff"
