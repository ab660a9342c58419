"""Where faults strike.  Asked only while some are armed; what they mean is in model_faults.py."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import ScsiResult

from .frames import Msg, SgFlag
from .model_faults import BROKEN_LQ, HARDWARE_ERRORS, REJECTED, SEQUENCER_INTERRUPTS, STATUS, TRANSCEIVER
from .model_target import ASYNC, After, Agreement, Heard, SpiTarget, Task
from .regs import HsMailbox, IntStat, LqiStat1, LqoStat1, Mode, PErrDiag, Scratch, SeqIntCode, SStat1
from .sequencer import HOST_MSG, P_BUSFREE, Phase

if TYPE_CHECKING:
    from .model_core import AicCore
    from .model_data import DataPhase
    from .model_nonpack import Connection
    from .model_sequencer import Activity

_STOPPED: Final = -1
_S: Final = 1_000_000_000
_AUTO_ATN: Final = 0x02             # SCSISEQ1.ENAUTOATNP
_LONG_IU: Final = 300
_SGPTR: Final = 0x24

Flag = Generator[int, None, bool]


# -- the idle loop ---------------------------------------------------------------------------------------------


def in_idle(chip: AicCore) -> Activity | None:
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
                chip.error |= 0x08
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


def _odd_causes(chip: AicCore) -> Activity | None:
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
    yield _STOPPED


def _look(chip: AicCore) -> Activity:
    chip.scsi.look()
    yield _STOPPED


def _interrupt(chip: AicCore, code: SeqIntCode) -> Activity:
    chip.set_mode(Mode.CCHAN)
    chip.raise_seqint(code)
    yield _STOPPED


def at_fetch(chip: AicCore, _tag: int) -> bool:
    """An SCB was fetched: whether it is never heard of again."""
    return chip.faults.hit("command-hung") is not None


def at_flush(chip: AicCore, tags: list[int], room: int) -> tuple[list[int], bool]:
    """Completions are about to be posted: those that are, and whether INTSTAT says so."""
    hit, out = chip.faults.hit, []
    for tag in tags:
        struck = hit("completion-late")
        if struck is not None:
            until_ns = chip.clock.now_ns + struck.get("ns", 5 * _S)
            chip.sequencer.held[tag] = until_ns
            chip.sequencer.push(Scratch.COMPLETE_SCB_HEAD, tag)
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


def before_report(chip: AicCore, tag: int) -> None:
    """Code 1A is due for an SCB: perhaps it comes late."""
    struck = chip.faults.hit("completion-late")
    if struck is not None:
        chip.sequencer.held[tag] = until_ns = chip.clock.now_ns + struck.get("ns", 5 * _S)
        chip.clock.at_ns(until_ns, chip.kick)


def at_report(chip: AicCore) -> int:
    """How often code 1A is raised for an SCB."""
    if chip.faults.hit("completion-lost") is not None:
        return 0
    return 2 if chip.faults.hit("completion-duplicate") is not None else 1


# -- the bus ---------------------------------------------------------------------------------------------------


def rst_released(chip: AicCore) -> None:
    """The host let go of RST: perhaps somebody else holds it."""
    struck = chip.faults.hit("rst-stays-low")
    if struck is not None:
        bus = chip.bus
        bus.rst_low = True
        chip.clock.after_ns(struck.get("ns", 4 * _S), bus.rst_rises)


def nobody_there(chip: AicCore, number: int) -> bool:
    """Whether the selection of a target that is there times out."""
    return number in chip.bus.targets and chip.faults.hit("selection-timeout") is not None


def busfree(chip: AicCore, fault: str) -> bool:
    """Whether the bus goes free here."""
    return chip.faults.hit(fault) is not None


def at_target(chip: AicCore, task: Task) -> int:
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


def packet_out(chip: AicCore, target: SpiTarget, _tag: int) -> Activity:
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
        yield _STOPPED
        scsi.sstat0 &= ~0x40


def packet_in(chip: AicCore, task: Task, number: int) -> Generator[int, None, tuple[bool, bool]]:
    """A packet comes in: (whether the target begins anew, whether it wants to move too much)."""
    hit, scsi, tag = chip.faults.hit, chip.scsi, task.tag
    if hit("crc-in-lq") is not None:
        scsi.lqistat1 |= LqiStat1.LQICRCI_LQ.mask
        yield from _parity(chip, number, tag, PErrDiag.CRCERR.mask)
        if not scsi.lqctl2 & 0x80:
            raise HardwareFault("CRC error in an L_Q, and the host did not write LQCTL2.LQIRETRY")
        scsi.lqctl2 = 0
    for fault, bits in BROKEN_LQ.items():
        if hit(fault) is not None:
            scsi.lqistat1 |= bits
            yield from _parity(chip, number, tag, 0)
    if hit("busfree-glitch") is not None:
        scsi.perrdiag = PErrDiag.PARITYERR.mask
        chip.banks[number].owner = tag
        chip.set_mode(number, tag)
        scsi.bus_free(when=2 + number, wanted=False)
        yield _STOPPED
        chip.banks[number].owner = None
        scsi.perrdiag = 0
        scsi.bus_free()
    if hit("busfree-in-data") is not None:
        chip.banks[number].owner = tag
        chip.set_mode(number, tag)
        task.target.over(task)
        scsi.bus_free(when=2 + number, wanted=False)
        yield _STOPPED
        return True, False
    if hit("crc-in-data") is not None:
        yield from _crc_in_data(chip, task, number)
        return True, False
    if hit("short-transfer") is not None:
        _cut_short(chip, task)
    return False, hit("overrun") is not None


def _parity(chip: AicCore, number: int, tag: int, diag: int) -> Activity:
    """SCSIPERR while FIFO *number* works for *tag*; ATN goes up by itself where SCSISEQ1 says so."""
    scsi = chip.scsi
    chip.set_mode(number, tag)
    scsi.perrdiag = diag
    scsi.atn = bool(scsi.seq1 & _AUTO_ATN)
    scsi.sstat1 |= SStat1.SCSIPERR.mask
    scsi.look()
    yield _STOPPED
    scsi.perrdiag = 0


def _crc_in_data(chip: AicCore, task: Task, number: int) -> Activity:
    """The host says INITIATOR DETECTED ERROR in a message phase of the packetized connection; then all begins anew."""
    scsi = chip.scsi
    scsi.phase = Phase.DATAIN
    scsi.lqistat1 |= LqiStat1.LQICRCI_NLQ.mask
    yield from _parity(chip, number, task.tag, PErrDiag.CRCERR.mask)
    if not scsi.atn or chip.get(Scratch.MSG_OUT) != HOST_MSG:
        raise HardwareFault("CRC error in data, and the host did not set MSG_OUT = FF with ATN up")
    scsi.phase = Phase.MESGOUT
    chip.set_mode(Mode.SCSI, task.tag)
    chip.raise_seqint(SeqIntCode.ENTERING_NONPACK)
    yield _STOPPED
    sent = bytearray()
    while scsi.atn:
        chip.put(Scratch.LASTPHASE, Phase.MESGOUT)
        chip.raise_seqint(SeqIntCode.HOST_MSG_LOOP)
        yield _STOPPED
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
    yield _STOPPED
    raise HardwareFault("a packetized connection left its message phases, and the host did not restart the program")


def _cut_short(chip: AicCore, task: Task) -> None:
    """Make the target move half of what it was asked for."""
    carry_out = task.target.scsi.execute(task.lun, task.cdb, _Half(chip, task))
    task.result = carry_out


class _Half:
    """A data phase with room for half."""

    to_device = None

    def __init__(self, chip: AicCore, task: Task) -> None:
        from .model_data import DataPhase

        self._data = DataPhase(chip, chip.slot(task.tag))
        self.length = self._data.length // 2
        self.gather, self.scatter = self._data.gather, self._data.scatter

    def put(self, data: bytes) -> int:
        """See `DataPhase.put`."""
        return self._data.put(data[:self.length])


def status_iu(chip: AicCore, iu: bytes) -> bytes:
    """A status IU is about to be delivered: what is delivered."""
    return iu.ljust(_LONG_IU, b"\0") if chip.faults.hit("status-iu-too-long") is not None else iu


def tmf(chip: AicCore) -> str:
    """What becomes of a task management function: "", "ignored" or "beaten"."""
    if chip.faults.hit("tmf-ignored") is not None:
        return "ignored"
    return "beaten" if chip.faults.hit("tmf-beaten") is not None else ""


# -- non-packetized --------------------------------------------------------------------------------------------


def after_command(chip: AicCore, connection: Connection) -> Flag:
    """The command is out: whether that was its end."""
    if chip.faults.hit("protocol-violation") is None:
        return False
    chip.scsi.phase = Phase.MESGIN
    chip.put(Scratch.LASTPHASE, Phase.MESGIN)
    yield from connection.illegal(SeqIntCode.PROTO_VIOLATION)
    if not chip.scsi.atn or chip.get(Scratch.MSG_OUT) != HOST_MSG:
        raise HardwareFault("a protocol violation, and the host did not set MSG_OUT = FF and assert ATN")
    yield from connection.host_messages()
    return True


def no_match(chip: AicCore) -> bool:
    """Whether a reselection finds no command."""
    return chip.faults.hit("reselect-no-match") is not None


def data_phase(chip: AicCore, connection: Connection, task: Task,
               data: DataPhase) -> Generator[int, None, bool | None]:
    """Before a non-packetized data phase: whether the target wants too much; None when the connection is over."""
    hit, tag = chip.faults.hit, connection.tag
    if hit("busfree-at-data") is not None:
        connection.target.over(task)
        connection.busfree(Phase.DATAIN)
        return None
    if hit("parity-in-data") is not None:
        chip.scsi.phase = Phase.DATAIN
        chip.put(Scratch.LASTPHASE, Phase.DATAIN)
        yield from _parity(chip, 3, tag, PErrDiag.PARITYERR.mask)
        if chip.get(Scratch.MSG_OUT) != HOST_MSG or not chip.scsi.atn:
            raise HardwareFault("a parity error in data, and the host did not set MSG_OUT = FF with ATN up")
        yield from connection.host_messages()
    if data.length > 1 and hit("pdata-reinit") is not None:
        yield from _pdata_reinit(chip, tag, data)
    if data.length > 1 and hit("ignore-wide-residue") is not None:
        yield from _wide_residue(chip, task, tag, data)
    if hit("short-transfer") is not None:
        _cut_short(chip, task)
    return hit("overrun") is not None


def _pdata_reinit(chip: AicCore, tag: int, data: DataPhase) -> Activity:
    """Half of the data moved in an earlier data phase: the host aims the FIFO at the rest."""
    moved, bank = data.length // 2, chip.banks[0]
    data.note(moved)
    bank.owner = tag
    chip.scsi.current_fifo = 0
    chip.set_mode(0, tag)
    chip.raise_seqint(SeqIntCode.PDATA_REINIT)
    yield _STOPPED
    address, left = data.place(moved)
    aimed = bank.values["HADDR"], bank.values["HCNT"]
    if aimed != (address, left) or chip.scsi.current_fifo != 0:
        raise HardwareFault(f"the data phase goes on at {address:#x} with {left} bytes, the host aimed the FIFO at"
                            f" {aimed[0]:#x}, {aimed[1]}")
    bank.owner = None
    chip.scsi.current_fifo = 3
    chip.slot(tag)[_SGPTR] |= SgFlag.FULL_RESID


def _wide_residue(chip: AicCore, task: Task, tag: int, data: DataPhase) -> Activity:
    """All of it moved, and then the target says that the last byte was padding."""
    result = chip.bus.carry_out(task, data)
    if result.status or result.transferred != data.length:
        task.result = result
        return
    data.note(data.length)
    chip.set_mode(Mode.SCSI, tag)
    chip.raise_seqint(SeqIntCode.IGN_WIDE_RES)
    yield _STOPPED
    wanted = data.pointers(data.length - 1)
    slot = chip.slot(tag)
    has = int.from_bytes(slot[0:4], "little"), int.from_bytes(slot[4:8], "little")
    if has != wanted:
        raise HardwareFault(f"one byte less moved: the residual is {wanted[0]:#x} before {wanted[1]:#x}, the host made"
                            f" it {has[0]:#x}, {has[1]:#x}")
    task.result = ScsiResult(0, b"", data.length - 1)


def message_unsent(chip: AicCore) -> bool:
    """Whether a command completes with its message unsent."""
    return chip.faults.hit("mkmsg-failed") is not None


def message_again(chip: AicCore) -> bool:
    """Whether the target wants the host's message once more."""
    return chip.faults.hit("message-again") is not None


def heard(chip: AicCore, target: SpiTarget, before: Agreement, answer: Heard) -> Heard:
    """What the target makes of a message: a rejected one leaves the agreement as it was *before*."""
    for fault, code in REJECTED.items():
        if answer.reply[2:3] == bytes((code,)) and chip.faults.hit(fault) is not None:
            target.agreement = before
            return Heard(After.REPLY, bytes((Msg.MESSAGE_REJECT,)))
    return answer
