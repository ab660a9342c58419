"""Transfer agreements: what each target has agreed to, what we would like, the chip's table of it.

Goals and fallbacks: aic79xx_core.c (Linux 2.6.9); the messages themselves are in message.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from .chips import Bug, Feature
from .frames import PprOption
from .regs import Mode, NegConOpts, ScsiRegs

if TYPE_CHECKING:
    from .ahd import AhdSoftc

#: Ultra320 wants paced transfers; a period of 9 is the fastest without.
PERIOD_U320: Final = 0x08
PERIOD_DT: Final = 0x09
PERIOD_ST: Final = 0x0A
MAX_OFFSET: Final = 0xFE
MAX_OFFSET_A: Final = 0x7F
#: NEGPPROPTS.
_PPROPT_PACE, _PPROPT_QAS, _PPROPT_DT, _PPROPT_IUT = 0x08, 0x04, 0x02, 0x01
#: What a target before SCSI-3 is offered.
_ST_OPTIONS: Final = PprOption(0)


@frozen
class TransInfo:
    """struct ahd_transinfo: offset 0 is asynchronous."""

    period: int = 0
    offset: int = 0
    ppr_options: int = 0
    width: int = 0

    packetized: bool = field(init=False, eq=False, repr=False)      # information units

    @packetized.default
    def _packetized(self) -> bool:
        return bool(self.ppr_options & PprOption.IU_REQ)


ASYNC: Final = TransInfo()


class AhdTarget:
    """One id on the bus: `curr` is agreed, `goal` is what we want.

    `ppr`: it understands PPR, as far as we know.  `forced`: it may have forgotten what was agreed, so that the next
    command says it again; what it still has under way goes by `curr`.
    """

    __slots__ = ("curr", "forced", "goal", "number", "ppr", "user")

    def __init__(self, number: int) -> None:
        self.number = number
        self.curr = self.goal = self.user = ASYNC
        self.ppr = True
        self.forced = False

    @property
    def must_negotiate(self) -> bool:
        """The next command carries a message."""
        return self.forced or self.curr != self.goal

    def force(self) -> None:
        """void ahd_force_renegotiation(...)."""
        self.forced, self.goal, self.ppr = True, self.user, True

    def start_over(self) -> None:
        """After a bus reset: nothing is agreed, everything is wanted again."""
        self.curr, self.goal, self.ppr, self.forced = ASYNC, self.user, True, False

    def without_ppr(self) -> None:
        """It does not know PPR: width and synchronous transfers one by one."""
        self.ppr = False
        goal = self.goal
        self.goal = evolve(goal, period=max(goal.period, PERIOD_ST), offset=min(goal.offset, MAX_OFFSET_A),
                           ppr_options=_ST_OPTIONS)

    def without_wide(self) -> None:
        """It does not know WDTR."""
        self.goal = evolve(self.goal, width=0)

    def without_sync(self) -> None:
        """It does not know SDTR."""
        self.goal = evolve(self.goal, period=0, offset=0)


def ahd_default_goals(ahd: AhdSoftc) -> None:
    """The best this revision can do, for every target."""
    options = PprOption(0xFF)
    if not ahd.features & Feature.RTI:
        options &= ~PprOption.RTI
    offset = MAX_OFFSET_A if ahd.has(Bug.LONG_SETIMO) else MAX_OFFSET
    best = TransInfo(PERIOD_U320, offset, int(options), 1 if ahd.wide else 0)
    for target in ahd.targets:
        target.user = best
        target.start_over()


def ahd_update_neg_table(ahd: AhdSoftc, target: AhdTarget) -> None:
    """void ahd_update_neg_table(...): tell the chip what is agreed with *target*.  The chip is paused."""
    info = target.curr
    mode = ahd.set_modes(Mode.SCSI)
    options = 0
    if info.offset:
        wanted = PprOption(info.ppr_options)
        options = ((_PPROPT_IUT if wanted & PprOption.IU_REQ else 0) | (_PPROPT_DT if wanted & PprOption.DT_REQ else 0)
                   | (_PPROPT_QAS if wanted & PprOption.QAS_REQ else 0)
                   | (_PPROPT_PACE if info.period <= PERIOD_U320 else 0))
    connection = NegConOpts.ENAUTOATNO.mask | (NegConOpts.WIDEXFER.mask if info.width else 0)
    ahd.outb(ScsiRegs.NEGOADDR, target.number)
    if ahd.has(Bug.NEGO_SETTLE):
        ahd.inb(ScsiRegs.NEGOADDR)              # Rev A: the index takes a moment
    ahd.outb(ScsiRegs.NEGPERIOD, info.period)
    ahd.outb(ScsiRegs.NEGOFFSET, info.offset)
    ahd.outb(ScsiRegs.NEGPPROPTS, options)
    ahd.outb(ScsiRegs.NEGCONOPTS, connection)
    ahd.set_modes(mode)


def ahd_set_agreement(ahd: AhdSoftc, target: AhdTarget, info: TransInfo) -> bool:
    """*target* agreed to *info*; whether that changes the use of information units.  The chip is paused."""
    changed = target.curr.packetized != info.packetized
    target.curr, target.forced = info, False
    ahd_update_neg_table(ahd, target)
    return changed


def ahd_all_async(ahd: AhdSoftc) -> None:
    """Nothing is agreed with anybody: after a bus reset, in the chip's table too.  The chip is paused."""
    for target in ahd.targets:
        target.start_over()
        ahd_update_neg_table(ahd, target)
