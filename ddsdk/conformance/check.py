"""What a check is: a plain function with a permanent id, a rule it stands for, and where that rule comes from.

    @check("POLL-1", hook="dump_poll", source="white paper 4.4 (3)", fix="...")
    def completes_by_polling_alone(bench: Bench) -> None:
        \"\"\"A command completes through dump_poll() with the interrupt line never serviced.\"\"\"

The function gets a fresh machine and returns when the rule holds; `bench.expect()` says otherwise.  Ids are never
reused and never change their meaning.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from attrs import field, frozen

from ddsdk.errors import DdsdkError
from ddsdk.hookspecs.profile import Role

if TYPE_CHECKING:
    from .plan import Plan

#: Families in the order a port is written: what fails first is what to write first.
FAMILIES: Final[Mapping[str, str]] = {
    "REG": "registration: the plugin is found, its hooks bind, the template tells the truth",
    "SANE": "dump_sanity_check: says no when it must, looks and leaves no trace",
    "QUIESCE": "quiesce: from every state the crash can find the adapter in",
    "RESET": "the host reset: from every state, with its timers and tasklets",
    "POLL": "dump_poll: the interrupt handler by hand, and what it would have deferred",
    "IRQ": "interrupts stay off, on the CPU and on the chip",
    "LOCK": "no lock taken twice, none left held",
    "TIME": "bounded waits that feed the watchdog, nothing that sleeps",
    "MEM": "memory: none that sleeps, none over the budget, none lost",
    "IO": "every byte where it belongs",
    "ERR": "every error ends in success after retry or in an honest error",
    "E2E": "a whole dump and savecore, page by page",
}


class Level(Enum):
    """How much a check counts: REQUIRED and IF_OFFERED decide the verdict, ADVISORY only says so."""

    REQUIRED = "required"
    IF_OFFERED = "if-offered"
    ADVISORY = "advisory"


class Need(Enum):
    """What a check wants of driver, model or backend; where it is missing the check does not apply.

    `value` is how profiles spell it, `words` says what meets it.
    """

    _value_: str
    words: str

    def __new__(cls, value: str, words: str) -> Need:
        """NAME = value, words."""
        need = object.__new__(cls)
        need._value_, need.words = value, words
        return need

    MODEL = "model", "the plugin's own model: its faults, surprise removal, a disk that loses power"
    SCSI = "scsi", "a driver of bus scsi"
    ATA = "ata", "a driver of bus ata"
    INTERRUPT = "interrupt-line", "an adapter with an interrupt line"
    QUEUEING = "queueing", "can_queue above 1"
    SCATTER = "scatter-lists", "sg_tablesize above 1"
    HIGH_MEMORY = "high-memory", "a DMA mask beyond 4 GiB"
    BIG_SECTORS = "4096-byte-sectors", "an adapter that takes disks with sectors of 4096 bytes"
    ODD_SEGMENTS = "odd-segments", "dma_alignment below 511: segments that are no whole sectors"
    QUIESCE = "quiesce-hook", "the hook quiesce"
    SHUTDOWN = "shutdown-hook", "the hook shutdown"
    SANITY = "sanity-hook", "the hook dump_sanity_check"
    RESET = "reset-handler", "eh_host_reset_handler, or eh_bus_reset_handler"
    ABORT = "abort-handler", "eh_abort_handler"
    DEVICE_RESET = "device-reset-handler", "eh_device_reset_handler"
    BUS_RESET = "bus-reset-handler", "eh_bus_reset_handler"
    OWN_LOCK = "queue-lock", "a lock of the driver's own around its queue"


@frozen
class Setup:
    """The machine a check starts with.  `probe` False: the driver has not been called yet."""

    ncpus: int = 1
    sector_size: int = 512
    disk_bytes: int = 4 << 20
    ram_bytes: int = 8 << 20            # and as much above 4 GiB with high_memory
    high_memory: bool = False
    edge_memory: bool = False           # a megabyte on either side of 4 GiB, as machines without a hole there have
    volatile_cache: bool = False
    queue_depth: int = 1
    record: bool = False                # keep the driver's kernel calls in bench.calls
    probe: bool = True
    whole_scan: bool = False            # ask every address for disks, not the disk's and one where nobody is


#: The check itself: called with the bench, and the case if there are any.
Function = Callable[..., None]
#: Names the cases of a parametrised check.
Cases = Callable[["Plan"], Sequence[str]]


@frozen(eq=False)
class Check:
    """One check.  `faults`: the error classes - DriverFault's, TakeOverFailed's, or PluginError, which bind() raises -
    whose rule this check is, wherever they are raised.
    """

    id: str
    function: Function
    judges: str
    source: str
    level: Level
    since: str
    needs: tuple[Need | Role, ...]
    setup: Setup
    faults: tuple[type[DdsdkError], ...]
    cases: Cases | None
    fix: str = field(repr=False)

    @property
    def family(self) -> str:
        """POLL of POLL-1."""
        return self.id.partition("-")[0]

    @property
    def rule(self) -> str:
        """The docstring: what must hold."""
        return inspect.getdoc(self.function) or ""

    @property
    def title(self) -> str:
        """Its first sentence, in one line."""
        return " ".join(self.rule.partition("\n\n")[0].split())


class CheckFailed(DdsdkError):
    """The rule does not hold; the text says what was seen and what should have been."""


class TakeOverFailed(CheckFailed):
    """The idle adapter could not be made ready for a check.  Each step has a subclass, and a check whose rule it is."""


class SanityRefused(TakeOverFailed):
    """dump_sanity_check refuses an idle, healthy adapter."""


class QuiesceFailed(TakeOverFailed):
    """quiesce does not return 0 there."""


class ResetFailed(TakeOverFailed):
    """The reset handler does not say SUCCESS there."""


class NothingCompletes(TakeOverFailed):
    """The first commands after the reset do not end well."""


class NotApplicable(DdsdkError):
    """The check found out, half way, that what it needs is not there; the text says what."""


def not_applicable(why: str) -> NoReturn:
    """End a check without a verdict."""
    raise NotApplicable(why)


def check(id: str, *, hook: str, source: str, fix: str, since: str = "0.1", level: Level = Level.REQUIRED,
          needs: Sequence[Need | Role] = (), setup: Setup | None = None,
          faults: Sequence[type[DdsdkError]] = (), cases: Cases | None = None) -> Callable[[Function], Function]:
    """Make the decorated function the check *id*.  It takes the bench, and the case when there are *cases*.

    *hook*: what it judges, as users call it.  *source*: the sentence of the design document or the row of the field
    survey it stands for.  *fix*: an example of how it is mended, shown by `ddsdk explain`.
    """
    family, _, number = id.partition("-")
    if family not in FAMILIES or not number.isdigit():
        raise TypeError(f"check id {id!r}: it must be FAMILY-number, FAMILY one of {', '.join(FAMILIES)}")

    def mark(function: Function) -> Function:
        if not inspect.getdoc(function):
            raise TypeError(f"check {id}: its docstring is the rule, and there is none")
        made = Check(id, function, hook, source, level, since, tuple(needs), setup or Setup(), tuple(faults), cases,
                     inspect.cleandoc(fix))
        function.__dict__["ddsdk_check"] = made
        return function
    return mark


def checks_of(modules: Sequence[ModuleType]) -> tuple[Check, ...]:
    """Every check defined in *modules*, in their order; TypeError for an id that is there twice."""
    found: dict[str, Check] = {}
    for module in modules:
        for value in vars(module).values():
            made: Any = getattr(value, "ddsdk_check", None)
            if not isinstance(made, Check) or made.function.__module__ != module.__name__:
                continue
            if made.id in found:
                raise TypeError(f"check {made.id} is defined twice: {found[made.id].function.__qualname__} and"
                                f" {made.function.__qualname__}")
            found[made.id] = made
    order = list(FAMILIES)
    return tuple(sorted(found.values(), key=lambda c: (order.index(c.family), int(c.id.partition("-")[2]))))
