"""The {{cookiecutter.chip}} as the PCI host sees it: the registers, the states, the resets, the interrupt line.

    power on -> READY --RUN--> RUNNING        any state --RESET--> RESETTING -> READY        any trouble --> FAULT

Written from the data sheet in README.md; stricter than silicon: what it forbids is a HardwareFault here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ddsdk.errors import HardwareFault
from ddsdk.hookspecs import HardwareModelInfo
from ddsdk.sim.machine import Machine
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .chips import CHIP
from .frames import BLOCK_BYTES
from .model_chip import OWN_ID, QUEUE, REVISION, SEGMENTS, TARGETS, Timing
from .model_faults import FAULTS
from .model_requests import Requests
from .regs import (
    ALL_ONES,
    DONE_EMPTY,
    MASK_ALL,
    SIGNATURE,
    WHOLE_BUS,
    Caps,
    Control,
    FaultCode,
    Id,
    Interrupt,
    Regs,
    State,
    Status,
)


class {{cookiecutter.__Name}}Model(HwModel):
    """One adapter with *targets*, keyed by (bus, id), behind it.  `epoch` counts resets and faults."""

    regs = Regs
    FAULTS = FAULTS

    def __init__(self, targets: Mapping[tuple[int, int], ScsiTarget], timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self.epoch = 0
        self.done: deque[int] = deque()
        self.requests = Requests(self, {number: target for (bus, number), target in targets.items() if bus == 0})
        super().__init__()

    def reset(self) -> None:
        """Power on, long ago."""
        super().reset()
        self.state = State.READY
        self.code = 0
        self._shown = True
        self._runaway = False
        self.last: int | None = None        # the tag that appeared last

    def unplugged(self) -> None:
        """Pulled out: it does nothing any more."""
        self.enter(State.GONE)

    # -- states ----------------------------------------------------------------------------------------------

    def enter(self, state: State, code: int = 0) -> None:
        """The adapter changes its state and forgets its requests; what was scheduled before does not happen."""
        self.epoch += 1
        self.state, self.code = state, code
        self._shown, self._runaway = True, False
        self.last = None
        self.requests.forget()
        self.done.clear()
        self.drive_line()

    def stop(self, code: int, *, shown: bool = True) -> None:
        """The firmware stops: nothing completes until a reset.  *shown* False: INTERRUPT_STATUS keeps quiet."""
        self.enter(State.FAULT, code)
        self._shown = shown
        self.drive_line()

    def later(self, delay_ns: int, call: Callable[..., object], *arguments: Any) -> None:
        """Do something in *delay_ns*, unless the state changes before."""
        def fire(epoch: int) -> None:
            if epoch == self.epoch:
                call(*arguments)
        self.clock.after_ns(delay_ns, fire, self.epoch)

    def strikes(self, fault: str) -> dict[str, Any] | None:
        """The parameters when *fault* strikes now, else None."""
        return self.faults.hit(fault) if self.faults.armed else None

    # -- the bus ---------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """See `HwModel.read`; all ones once the adapter is gone."""
        if self.state is State.GONE or (self.faults.armed and self._vanishes()):
            return ALL_ONES
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `HwModel.write`; lost once the adapter is gone."""
        if self.state is not State.GONE and not (self.faults.armed and self._vanishes()):
            super().write(offset, size, value)

    def _vanishes(self) -> bool:
        if self.strikes("adapter-gone") is not None:
            self.enter(State.GONE)
        return self.state is State.GONE

    # -- registers -------------------------------------------------------------------------------------------

    def r_ID(self) -> int:
        """Constant."""
        return Id.of(SIGNATURE=SIGNATURE, REVISION=REVISION)

    def r_CAPS(self) -> int:
        """Constant."""
        return Caps.of(QUEUE=QUEUE, SEGMENTS=SEGMENTS, TARGETS=TARGETS, OWN_ID=OWN_ID)

    def r_STATUS(self) -> int:
        """The state, and in FAULT why."""
        return Status.of(STATE=self.state, CODE=self.code)

    def w_CONTROL(self, value: Control) -> None:
        """RESET wins over everything else."""
        if value.RESET:
            self._reset_begins()
            return
        if value.RUN and self.state is State.RESETTING:
            raise HardwareFault(f"CONTROL <- {int(value):#x} while STATUS.STATE is RESETTING: wait for READY")
        self.store("CONTROL", value)
        if value.RUN and self.state is State.READY:
            self.enter(State.RUNNING)
        elif not value.RUN and self.state is State.RUNNING:
            self.enter(State.READY)
        self.drive_line()

    def _reset_begins(self) -> None:
        if self.strikes("reset-ignored") is not None:
            return
        self.values["CONTROL"], self.values["INTERRUPT_MASK"] = 0, MASK_ALL
        self.enter(State.RESETTING)
        if self.strikes("reset-hangs") is not None:
            return
        struck = self.strikes("reset-slow")
        took_ns = self.timing.reset_ns if struck is None else struck.get("ns", self.timing.reset_slow_ns)
        self.later(took_ns, self._reset_ends)

    def _reset_ends(self) -> None:
        self.requests.reset_targets()
        if self.strikes("reset-faults") is not None:
            self.stop(FaultCode.SELF_TEST)
        else:
            self.enter(State.READY)

    def w_SUBMIT_HIGH(self, high: int) -> None:
        """A request block is handed over; it is fetched a little later."""
        address = high << 32 | self.values["SUBMIT_LOW"]
        if self.state is State.FAULT:
            return                              # nobody takes it
        if self.state is not State.RUNNING:
            raise HardwareFault(f"SUBMIT of {address:#x} while STATUS.STATE is {self.state.name}: only RUNNING takes"
                                " requests")
        if address % BLOCK_BYTES:
            raise HardwareFault(f"SUBMIT of {address:#x}: a request block is aligned to {BLOCK_BYTES} bytes")
        self.requests.submit(address)
        if self.last is not None and self.strikes("completion-stale") is not None:
            self._append(self.last)

    def w_ABORT(self, tag: int) -> None:
        """The request with this tag, if the adapter holds it, ends."""
        if self.state is State.RUNNING and self.strikes("abort-ignored") is None:
            self.later(self.timing.abort_ns, self.requests.abort, int(tag))

    def w_RESET_TARGET(self, target_id: int) -> None:
        """A target is reset, or all of them; their requests end."""
        if self.state is State.RUNNING and self.strikes("target-reset-ignored") is None:
            self.requests.reset_targets(None if target_id == WHOLE_BUS else int(target_id))

    # -- completions -----------------------------------------------------------------------------------------

    def post(self, tag: int) -> None:
        """The request is over: its tag appears in DONE."""
        struck = self.strikes("completion-late")
        if struck is not None:
            self.later(struck.get("ns", self.timing.late_ns), self._append, tag)
        elif self.strikes("completion-lost") is None:
            self._append(tag)

    def _append(self, tag: int) -> None:
        struck = self.strikes("completion-foreign")
        if struck is not None:
            self.done.append(struck.get("tag", 0x00FFFF))
        self.done.append(tag)
        self.last = tag
        if self.strikes("completion-duplicate") is not None:
            self.done.append(tag)
        self._runaway |= self.strikes("done-runaway") is not None
        if self.strikes("irq-lost") is None:
            self.drive_line()

    def r_DONE(self) -> int:
        """Pop the next tag."""
        if not self.done:
            return DONE_EMPTY
        tag = self.done[0] if self._runaway else self.done.popleft()
        self.drive_line()
        return tag

    # -- the interrupt ---------------------------------------------------------------------------------------

    def r_INTERRUPT_STATUS(self) -> int:
        """What there is to report, masked or not."""
        fault = self.state is State.FAULT and self._shown
        return (Interrupt.DONE.mask if self.done else 0) | (Interrupt.FAULT.mask if fault else 0)

    def w_INTERRUPT_MASK(self, value: Interrupt) -> None:
        """1 keeps it off the line."""
        self.store("INTERRUPT_MASK", value)
        self.drive_line()

    def drive_line(self) -> None:
        """The line is up while something unmasked is to be reported and CONTROL lets it."""
        wanted = self.r_INTERRUPT_STATUS() & ~self.values["INTERRUPT_MASK"]
        if wanted and Control(self.values["CONTROL"]).INTERRUPT and self.state is not State.GONE:
            self.irq.raise_()
        else:
            self.irq.lower()


def build(_machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget]) -> SimPciFunction:
    """One adapter with *targets*, ready for a PCI slot."""
    model = {{cookiecutter.__Name}}Model(targets)
    return SimPciFunction(model, vendor=CHIP.vendor, device=CHIP.device, bars={0: BarSpec("mem", Regs.size)})


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every chip of this plugin as ddsdk's registry wants it."""
    return (HardwareModelInfo(driver="{{cookiecutter.name}}", chip=CHIP, build=build, documents=("README.md: data sheet",)),)
