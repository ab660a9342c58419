"""Where faults strike a non-packetized connection; the rest is in model_faulty.py."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import ScsiResult

from .frames import Msg, SgFlag
from .model_activity import STOPPED, Activity
from .model_faults import REJECTED
from .model_faulty import cut_short, parity_error
from .model_target import After, Agreement, Heard, SpiTarget, Task
from .regs import Mode, PErrDiag, Scratch, SeqIntCode
from .sequencer import HOST_MSG, Phase

if TYPE_CHECKING:
    from .model_control import ChipControl
    from .model_data import DataPhase
    from .model_nonpack import Connection

_SGPTR: Final = 0x24

Flag = Generator[int, None, bool]


def after_command(chip: ChipControl, connection: Connection) -> Flag:
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


def no_match(chip: ChipControl) -> bool:
    """Whether a reselection finds no command."""
    return chip.faults.hit("reselect-no-match") is not None


def data_phase(chip: ChipControl, connection: Connection, task: Task,
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
        yield from parity_error(chip, 3, tag, PErrDiag.PARITYERR.mask)
        if chip.get(Scratch.MSG_OUT) != HOST_MSG or not chip.scsi.atn:
            raise HardwareFault("a parity error in data, and the host did not set MSG_OUT = FF with ATN up")
        yield from connection.host_messages()
    if data.length > 1 and hit("pdata-reinit") is not None:
        yield from _pdata_reinit(chip, tag, data)
    if data.length > 1 and hit("ignore-wide-residue") is not None:
        yield from _wide_residue(chip, task, tag, data)
    if hit("short-transfer") is not None:
        cut_short(chip, task)
    return hit("overrun") is not None


def _pdata_reinit(chip: ChipControl, tag: int, data: DataPhase) -> Activity:
    """Half of the data moved in an earlier data phase: the host aims the FIFO at the rest."""
    moved, bank = data.length // 2, chip.banks[0]
    data.note(moved)
    bank.owner = tag
    chip.scsi.current_fifo = 0
    chip.set_mode(0, tag)
    chip.raise_seqint(SeqIntCode.PDATA_REINIT)
    yield STOPPED
    address, left = data.place(moved)
    aimed = bank.values["HADDR"], bank.values["HCNT"]
    if aimed != (address, left) or chip.scsi.current_fifo != 0:
        raise HardwareFault(f"the data phase goes on at {address:#x} with {left} bytes, the host aimed the FIFO at"
                            f" {aimed[0]:#x}, {aimed[1]}")
    bank.owner = None
    chip.scsi.current_fifo = 3
    chip.slot(tag)[_SGPTR] |= SgFlag.FULL_RESID


def _wide_residue(chip: ChipControl, task: Task, tag: int, data: DataPhase) -> Activity:
    """All of it moved, and then the target says that the last byte was padding."""
    result = chip.bus.carry_out(task, data)
    if result.status or result.transferred != data.length:
        task.result = result
        return
    data.note(data.length)
    chip.set_mode(Mode.SCSI, tag)
    chip.raise_seqint(SeqIntCode.IGN_WIDE_RES)
    yield STOPPED
    wanted = data.pointers(data.length - 1)
    slot = chip.slot(tag)
    has = int.from_bytes(slot[0:4], "little"), int.from_bytes(slot[4:8], "little")
    if has != wanted:
        raise HardwareFault(f"one byte less moved: the residual is {wanted[0]:#x} before {wanted[1]:#x}, the host made"
                            f" it {has[0]:#x}, {has[1]:#x}")
    task.result = ScsiResult(0, b"", data.length - 1)


def message_unsent(chip: ChipControl) -> bool:
    """Whether a command completes with its message unsent."""
    return chip.faults.hit("mkmsg-failed") is not None


def message_again(chip: ChipControl) -> bool:
    """Whether the target wants the host's message once more."""
    return chip.faults.hit("message-again") is not None


def heard(chip: ChipControl, target: SpiTarget, before: Agreement, answer: Heard) -> Heard:
    """What the target makes of a message: a rejected one leaves the agreement as it was *before*."""
    for fault, code in REJECTED.items():
        if answer.reply[2:3] == bytes((code,)) and chip.faults.hit(fault) is not None:
            target.agreement = before
            return Heard(After.REPLY, bytes((Msg.MESSAGE_REJECT,)))
    return answer
