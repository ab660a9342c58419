"""Where faults strike.  Asked only while some are armed; what they mean is in model_faults.py."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import ScsiResult

from .frames import Msg
from .model_activity import STOPPED, Activity
from .model_faults import BROKEN_LQ, HARDWARE_ERRORS, SEQUENCER_INTERRUPTS, STATUS, TRANSCEIVER
from .model_target import ASYNC, SpiTarget, Task
from .regs import ErrorBits, HsMailbox, IntStat, LqiStat1, LqoStat1, Mode, PErrDiag, Scratch, SeqIntCode, SStat1
from .sequencer import AHD_SCB_MAX, HOST_MSG, P_BUSFREE, QOFF_MASK, Phase

if TYPE_CHECKING:
    from .model_control import ChipControl

_S: Final = 1_000_000_000
_AUTO_ATN: Final = 0x02             # SCSISEQ1.ENAUTOATNP
_LONG_IU: Final = 300


# -- the idle loop ---------------------------------------------------------------------------------------------


def in_idle(chip: ChipControl) -> Activity | None:
    """As a new SCB waits to be fetched: what happens instead, None when nothing does."""
    if chip.hnscb == chip.snscb or chip.sequencer.frozen:
        return None
    hit, scsi = chip.faults.hit, chip.scsi
    for fault, bits in HARDWARE_ERRORS.items():
        if hit(fault) is not None:
            chip.hardware_error(bits)
            return _stand_still()
    for fault, code in SEQUENCER_INTERRUPTS.items():
        if hit(fault) is not None:
            if code is SeqIntCode.SAW_HWERR:
                chip.error |= ErrorBits.SQPARERR.mask
            return _interrupt(chip, code)
    for fault, bits in TRANSCEIVER.items():
        if hit(fault) is not None:
            scsi.sstat0 |= bits
            return _look(chip)
    if hit("sequencer-hung") is not None:
        chip.sequencer.hung = True
        return _stand_still()
    if hit("foreign-bus-reset") is not None:
        chip.bus.foreign_reset()
        return _stand_still()
    if hit("pci-error") is not None:
        chip.banks[4].values["PCISTAT[0]"] |= 0x01
        chip.raise_int(IntStat.PCIINT.mask)
        return _stand_still()
    if hit("split-error") is not None:
        chip.banks[0].values["SPLTSTAT0"] |= 0x01
        chip.raise_int(IntStat.SPLTINT.mask)
    return _odd_causes(chip)


def _odd_causes(chip: ChipControl) -> Activity | None:
    hit, scsi = chip.faults.hit, chip.scsi
    if hit("scsi-ram-parity") is not None:
        scsi.sstat3 |= 0x02
        return _look(chip)
    if hit("lqo-error") is not None:
        scsi.lqostat0 |= 0x01
        return _look(chip)
    if hit("lqi-phase-change") is not None:
        scsi.lqistat1 |= LqiStat1.LQIPHASE_NLQ.mask
        return _look(chip)
    if hit("lqi-crc-alone") is not None:
        scsi.lqistat1 |= LqiStat1.LQICRCI_NLQ.mask
        return _look(chip)
    if hit("spurious-scsiint") is not None:
        chip.raise_int(IntStat.SCSIINT.mask)
        return _stand_still()
    if hit("coalescing-left-on") is not None:
        chip.put(Scratch.LOCAL_HS_MAILBOX, chip.get(Scratch.LOCAL_HS_MAILBOX) | HsMailbox.ENINT_COALESCE.mask)
        chip.put(Scratch.INT_COALESCING_MINCMDS, 0)
    struck = hit("critical-section")
    if struck is not None:
        chip.curaddr = struck.get("address", 17)
    if chip.sequencer.last_posted is not None and hit("completion-stale") is not None:
        chip.sequencer.post([chip.sequencer.last_posted])
    return None


def _stand_still() -> Activity:
    yield STOPPED


def _look(chip: ChipControl) -> Activity:
    chip.scsi.look()
    yield STOPPED


def _interrupt(chip: ChipControl, code: SeqIntCode) -> Activity:
    chip.set_mode(Mode.CCHAN)
    chip.raise_seqint(code)
    yield STOPPED


def announced(chip: ChipControl, hnscb: int) -> None:
    """The host moves HNSCB_QOFF: some of the SCBs that are new will never be heard of; those it takes back are not."""
    doomed, now = chip.sequencer.doomed, chip.hnscb
    for _ in range(hnscb - now & QOFF_MASK if hnscb - now & QOFF_MASK < AHD_SCB_MAX else 0):
        if chip.faults.hit("command-hung") is not None:
            doomed.add(now)
        now = now + 1 & QOFF_MASK
    doomed.difference_update([place for place in doomed if hnscb - place - 1 & QOFF_MASK >= AHD_SCB_MAX])


def at_flush(chip: ChipControl, tags: list[int], room: int) -> tuple[list[int], bool]:
    """Completions are about to be posted: those that are, and whether INTSTAT says so."""
    hit, out = chip.faults.hit, []
    for tag in tags:
        struck = hit("completion-late")
        if struck is not None:
            until_ns = chip.clock.now_ns + struck.get("ns", 5 * _S)
            chip.sequencer.held[tag] = until_ns
            chip.sequencer.completed(tag, upload=False)
            chip.clock.at_ns(until_ns, chip.kick)
            continue
        if hit("completion-lost") is not None:
            continue
        struck = hit("completion-foreign")
        if struck is not None:
            out.append(struck.get("tag", 0x1FF))
        out.append(tag)
        if hit("completion-duplicate") is not None:
            out.append(tag)
    return out[:room], hit("cmdcmplt-lost") is None


def before_report(chip: ChipControl, tag: int) -> None:
    """Code 1A is due for an SCB: perhaps it comes late."""
    struck = chip.faults.hit("completion-late")
    if struck is not None:
        chip.sequencer.held[tag] = until_ns = chip.clock.now_ns + struck.get("ns", 5 * _S)
        chip.clock.at_ns(until_ns, chip.kick)


def at_report(chip: ChipControl) -> int:
    """How often code 1A is raised for an SCB."""
    if chip.faults.hit("completion-lost") is not None:
        return 0
    return 2 if chip.faults.hit("completion-duplicate") is not None else 1


# -- the bus ---------------------------------------------------------------------------------------------------


def rst_released(chip: ChipControl) -> None:
    """The host let go of RST: perhaps somebody else holds it."""
    struck = chip.faults.hit("rst-stays-low")
    if struck is not None:
        bus = chip.bus
        bus.rst_low = True
        chip.clock.after_ns(struck.get("ns", 4 * _S), bus.rst_rises)


def nobody_there(chip: ChipControl, number: int) -> bool:
    """Whether the selection of a target that is there times out."""
    return number in chip.bus.targets and chip.faults.hit("selection-timeout") is not None


def busfree(chip: ChipControl, fault: str) -> bool:
    """Whether the bus goes free here."""
    return chip.faults.hit(fault) is not None


def at_target(chip: ChipControl, task: Task) -> int:
    """The target has a command: how much longer it takes.  A status fault decides its end already."""
    for fault, status in STATUS.items():
        if chip.faults.hit(fault) is not None:
            task.result = ScsiResult(status)
    struck = chip.faults.hit("command-slow")
    if struck is None:
        return 0
    delay_ns = int(struck.get("ns", 10 * _S))
    task.target.hold_up(delay_ns)
    return delay_ns


def packet_out(chip: ChipControl, target: SpiTarget, _tag: int) -> Activity:
    """A packet goes out; afterwards CURRSCB is another one when it did not arrive."""
    scsi = chip.scsi
    if chip.faults.hit("agreement-lost") is not None:
        target.agreement = ASYNC
    if chip.faults.hit("lqo-busfree") is not None:
        chip.put(Scratch.LASTPHASE, P_BUSFREE)
        scsi.lqostat1 |= LqoStat1.LQOBUSFREE.mask
        scsi.sstat0 |= 0x40                         # SELDO is still there
        chip.bus.currscb = -1
        scsi.bus_free(when=1, wanted=False)
        yield STOPPED
        scsi.sstat0 &= ~0x40


def packet_in(chip: ChipControl, task: Task, number: int) -> Generator[int, None, tuple[bool, bool]]:
    """A packet comes in: (whether the target begins anew, whether it wants to move too much)."""
    hit, scsi, tag = chip.faults.hit, chip.scsi, task.tag
    if hit("crc-in-lq") is not None:
        scsi.lqistat1 |= LqiStat1.LQICRCI_LQ.mask
        yield from parity_error(chip, number, tag, PErrDiag.CRCERR.mask)
        if not scsi.lqctl2 & 0x80:
            raise HardwareFault("CRC error in an L_Q, and the host did not write LQCTL2.LQIRETRY")
        scsi.lqctl2 = 0
    for fault, bits in BROKEN_LQ.items():
        if hit(fault) is not None:
            scsi.lqistat1 |= bits
            yield from parity_error(chip, number, tag, 0)
    if hit("busfree-glitch") is not None:
        scsi.perrdiag = PErrDiag.PARITYERR.mask
        chip.fifos[number].owner = tag
        chip.set_mode(number, tag)
        scsi.bus_free(when=2 + number, wanted=False)
        yield STOPPED
        chip.fifos[number].owner = None
        scsi.perrdiag = 0
        scsi.bus_free()
    if hit("busfree-in-data") is not None:
        chip.fifos[number].owner = tag
        chip.set_mode(number, tag)
        task.target.over(task)
        scsi.bus_free(when=2 + number, wanted=False)
        yield STOPPED
        return True, False
    if hit("crc-in-data") is not None:
        yield from _crc_in_data(chip, task, number)
        return True, False
    if hit("short-transfer") is not None:
        cut_short(chip, task)
    return False, hit("overrun") is not None


def parity_error(chip: ChipControl, number: int, tag: int, diag: int) -> Activity:
    """SCSIPERR while FIFO *number* works for *tag*; ATN goes up by itself where SCSISEQ1 says so."""
    scsi = chip.scsi
    chip.set_mode(number, tag)
    scsi.perrdiag = diag
    scsi.atn = bool(scsi.seq1 & _AUTO_ATN)
    scsi.sstat1 |= SStat1.SCSIPERR.mask
    scsi.look()
    yield STOPPED
    scsi.perrdiag = 0


def _crc_in_data(chip: ChipControl, task: Task, number: int) -> Activity:
    """The host says INITIATOR DETECTED ERROR in a message phase of the packetized connection; then all begins anew."""
    scsi = chip.scsi
    scsi.phase = Phase.DATAIN
    scsi.lqistat1 |= LqiStat1.LQICRCI_NLQ.mask
    yield from parity_error(chip, number, task.tag, PErrDiag.CRCERR.mask)
    if not scsi.atn or chip.get(Scratch.MSG_OUT) != HOST_MSG:
        raise HardwareFault("CRC error in data, and the host did not set MSG_OUT = FF with ATN up")
    scsi.phase = Phase.MESGOUT
    chip.set_mode(Mode.SCSI, task.tag)
    chip.raise_seqint(SeqIntCode.ENTERING_NONPACK)
    yield STOPPED
    sent = bytearray()
    while scsi.atn:
        chip.put(Scratch.LASTPHASE, Phase.MESGOUT)
        chip.raise_seqint(SeqIntCode.HOST_MSG_LOOP)
        yield STOPPED
        if not scsi.lqctl2 & 0x80:
            raise HardwareFault("a message phase in a packetized connection, and the host did not write LQCTL2 = 80")
        sent.append(chip.get(Scratch.RETURN_2))
        yield chip.timing.message_ns
    if bytes(sent) != bytes((Msg.INITIATOR_DETECTED_ERROR,)):
        raise HardwareFault(f"after a CRC error the host says {bytes(sent).hex(' ')}; it has to be 05")
    scsi.lqctl2 = 0
    chip.bus.ready.append(task)
    scsi.phase = Phase.DATAIN
    chip.put(Scratch.LASTPHASE, Phase.DATAIN)
    chip.raise_seqint(SeqIntCode.HOST_MSG_LOOP)
    yield STOPPED
    raise HardwareFault("a packetized connection left its message phases, and the host did not restart the program")


def cut_short(chip: ChipControl, task: Task) -> None:
    """Make the target move half of what it was asked for."""
    carry_out = task.target.scsi.execute(task.lun, task.cdb, _Half(chip, task))
    task.result = carry_out


class _Half:
    """A data phase with room for half."""

    to_device: bool | None = None

    def __init__(self, chip: ChipControl, task: Task) -> None:
        from .model_data import DataPhase

        self._data = DataPhase(chip, chip.slot(task.tag))
        self.length = self._data.length // 2
        self.gather, self.scatter = self._data.gather, self._data.scatter

    def put(self, data: bytes) -> int:
        """See `DataPhase.put`."""
        return self._data.put(data[:self.length])


def status_iu(chip: ChipControl, iu: bytes) -> bytes:
    """A status IU is about to be delivered: what is delivered."""
    return iu.ljust(_LONG_IU, b"\0") if chip.faults.hit("status-iu-too-long") is not None else iu


def tmf(chip: ChipControl) -> str:
    """What becomes of a task management function: "", "ignored" or "beaten"."""
    if chip.faults.hit("tmf-ignored") is not None:
        return "ignored"
    return "beaten" if chip.faults.hit("tmf-beaten") is not None else ""
