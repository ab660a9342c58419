"""What an object graph holds, as plain values by path: taken before and after a call, it shows what the call changed.

    before = snapshot({"hostdata": host.hostdata, "model": model})
    ...
    changes(before, snapshot(...))      ->  ["hostdata.ioc.active was True, is False"]

Plain data, containers, buffers, objects with attributes or slots.  The world around them - clock, trace, machine - is
not followed.  An object met a second time is named by the path where it was met first.
"""

from __future__ import annotations

import functools
import itertools
import random
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from enum import Enum
from mmap import mmap
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ddsdk.helperlib.kernel import Iomem, Kernel, PciDev
from ddsdk.sim.clock import Clock
from ddsdk.sim.cpu import Cpu, Task
from ddsdk.sim.dma import DmaDomain
from ddsdk.sim.faults import FaultPlan
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scheduler import Scheduler
from ddsdk.sim.trace import Trace
from ddsdk.sim.watchdog import NmiWatchdog, StallDetector

if TYPE_CHECKING:
    from .bench import Bench

#: Path -> what is there: a number, a text, bytes, or a word about it.
Snapshot = Mapping[str, object]

#: The world: it is shared by all, and what a call does to it shows in the trace.
WORLD: Final = (Machine, Kernel, PciDev, SimPciFunction, Iomem, Clock, Trace, PhysicalMemory, DmaDomain, Scheduler, Cpu,
                Task, NmiWatchdog, StallDetector, FaultPlan)
#: Attributes that are no state: dispatch tables that fill as they are used.
UNSEEN: Final = frozenset({"_readers", "_writers", "_stores", "__weakref__", "__dict__"})
#: Buffers beyond this are told by length and checksum.
_SHORT_BYTES: Final = 64
#: More objects than any driver and model have: the rest is not looked at.
OBJECTS_MAX: Final = 200_000

_CODE: Final = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, CodeType, FrameType, GeneratorType, type,
                functools.partial, property, staticmethod, classmethod)
_BUFFERS: Final = (bytes, bytearray, memoryview, array, mmap)
_MISSING: Final = "nothing"


@frozen
class _Found:
    path: str
    value: Any


def snapshot(roots: Mapping[str, Any], world: tuple[type, ...] = WORLD) -> Snapshot:
    """Everything reachable from *roots* (name -> object), by path.  Objects of *world*'s types end the walk."""
    seen: dict[int, str] = {}
    kept: list[Any] = []                    # so that no id is used twice
    shown: dict[str, object] = {}
    todo = deque(_Found(name, value) for name, value in roots.items())
    while todo and len(seen) < OBJECTS_MAX:
        found = todo.popleft()
        leaf = _leaf(found.value, world)
        if leaf is not None:
            shown[found.path] = leaf[0]
            continue
        known = seen.get(id(found.value))
        if known is not None:
            shown[found.path] = f"the same as {known}"
            continue
        seen[id(found.value)] = found.path
        kept.append(found.value)
        shown[found.path] = _outline(found.value)
        todo.extend(_Found(found.path + step, value) for step, value in _inside(found.value))
    return shown


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """What differs, a line each: "hostdata.active was True, is False"."""
    return [f"{path} was {_text(before.get(path, _MISSING))}, is {_text(after.get(path, _MISSING))}"
            for path in dict.fromkeys((*before, *after)) if before.get(path, _MISSING) != after.get(path, _MISSING)]


def _text(value: object) -> str:
    return hex(value) if type(value) is int and abs(value) > 9 else str(value)


def _leaf(value: Any, world: tuple[type, ...]) -> tuple[object] | None:
    """What *value* is shown as, in a tuple, if nothing inside it is looked at; None: look inside."""
    if value is None or isinstance(value, bool | float | complex | str):
        return (value,)
    if isinstance(value, int):
        return (int(value),)
    if isinstance(value, Enum):
        return (str(value),)
    if isinstance(value, _BUFFERS):
        return (_buffer(value),)
    if isinstance(value, world):
        return (f"a {type(value).__name__}",)
    if isinstance(value, _CODE):
        return (f"code {getattr(value, '__qualname__', type(value).__name__)}",)
    if isinstance(value, itertools.count):
        return (repr(value),)
    if isinstance(value, random.Random):
        return (f"random state {zlib.crc32(repr(value.getstate()).encode()):#x}",)
    if isinstance(value, tuple | frozenset) and not value:      # there is only one: sharing it means nothing
        return ("empty",)
    return None


def _buffer(value: Any) -> str:
    try:
        data = memoryview(value).cast("B") if not isinstance(value, bytes | bytearray) else value
    except (TypeError, ValueError):         # released, or not contiguous
        return "a buffer that cannot be read"
    if len(data) <= _SHORT_BYTES:
        return f"bytes {bytes(data).hex()}"
    return f"{len(data)} bytes with CRC {zlib.crc32(data):#010x}"


def _outline(value: Any) -> str:
    """What is said of a container or object itself: its type and, for a container, how much it holds."""
    size = f" of {len(value)}" if isinstance(value, Sequence | Mapping | Set | deque) else ""
    return f"a {type(value).__name__}{size}"


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """(step, what is there): "[3]", "['key']", ".name"."""
    if isinstance(value, Mapping):
        for place, (key, item) in enumerate(list(value.items())):
            plain = isinstance(key, int | str | bytes | tuple | Enum)
            yield f"[{key!r}]" if plain else f"[#{place}]", item
    elif isinstance(value, Sequence | deque):
        for place, item in enumerate(list(value)):
            yield f"[{place}]", item
    elif isinstance(value, Set):
        yield ".items", ", ".join(sorted(repr(item) for item in value if isinstance(item, int | str | bytes)))
    yield from _attributes(value)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    kind = type(value)
    names = [name for owner in kind.__mro__ for name in _slots(owner)]
    for name in (*names, *getattr(value, "__dict__", ())):
        if name in UNSEEN or isinstance(getattr(kind, name, None), functools.cached_property):
            continue
        read: Callable[[Any, str], Any] = object.__getattribute__
        try:
            yield f".{name}", read(value, name)
        except AttributeError:              # a slot nobody filled
            yield f".{name}", None


def _slots(owner: type) -> Sequence[str]:
    slots = vars(owner).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(f"_{owner.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
                 for name in names)


#: How often in a row a state must look the same to stand still, and looks at most.
_STILL, _LOOKS_MAX = 4, 200


def still(take: Callable[[], Snapshot], look: Callable[[], object]) -> Snapshot:
    """The state once it stands still: an emulated adapter works in real time, which each *look* at it gives it.

    What never stands still comes back as it was last.
    """
    before, same = take(), 0
    for _ in range(_LOOKS_MAX):
        look()
        after = take()
        same = same + 1 if after == before else 0
        before = after
        if same == _STILL:
            break
    return before


def state_of(bench: Bench) -> Snapshot:
    """The driver's objects, the adapter's configuration space, and of a model its state and what it may reach."""
    roots = {"host": bench.host, "dev": bench.dev, "hooks": bench.plan.driver.hooks, "drvdata": bench.pdev.drvdata}
    function = bench.function
    shown: dict[str, object] = {f"configuration space at {at:#x}": function.config_read(at, 4)
                                for at in range(0, 256, 4)}
    if isinstance(function, SimPciFunction):
        roots["model"] = function.model
        if function.dma is not None:
            shown |= {f"memory {start:#x}-{end:#x}, mapped": way for start, end, way in function.dma.grants}
    return {**snapshot(roots), **shown}
