"""Module integrity: every kind of change to loaded code is found and named, and nothing else is."""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ddsdk.layout.cstruct
import ddsdk.regs.block
from ddsdk.abi import X86_64
from ddsdk.crc import crc32_kernel
from ddsdk.errors import DeviceError, FormatError
from ddsdk.fingerprint import live_code, prints
from ddsdk.integrity import CodeImage, Damage, Region, elf_module_regions

SOURCE = '''
import functools
from enum import IntEnum
from types import MappingProxyType

from attrs import frozen

from ddsdk.regs import Reg32, RegBlock, bits, ro
from json import dumps

RETRIES = 5
LIMITS = (1, 2.5, "three", b"four", frozenset({1, 2}))
MEANING = MappingProxyType({1: "one", 2: ("two", 3)})


class State(IntEnum):
    READY = 1
    FAULT = 4


class Doorbell(Reg32):
    STATE = bits(31, 28, State, ro)


class Regs(RegBlock, size=0x10):
    DOORBELL = Doorbell.at(0x00)


@frozen
class Chip:
    device: int
    name: str


CHIPS = (Chip(0x54, "1068"), Chip(0x30, "1030"))


def helper(value, shift=4, *, mask=0xFF):
    def nested(x):
        return (x >> shift) & 7
    return nested(value) & mask


def make_counter(step):
    def count(n):
        return n + step
    return count


count_by_two = make_counter(2)


@functools.cache
def cached(n):
    return n * 2


def logged(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args)
    return wrapper


@logged
def decorated(n):
    return n + 1


class Base:
    def common(self):
        return "base"


class Driver(Base):
    limit = 30
    on_state = {State.READY: lambda self: 1, "fault": helper}
    table = [helper, cached]
    short = lambda self: self.limit + 1
    bound = functools.partial(helper, 3, mask=1)
    _seen: dict = {}

    def poll(self, budget=100):
        total = 0
        for step in range(budget):
            if step % 3 == 0:
                total += step
        return total

    @staticmethod
    def fold(a, b):
        return a | b

    @classmethod
    def make(cls):
        return cls()

    @property
    def ready(self):
        return self.limit > 3

    @ready.setter
    def ready(self, value):
        self.limit = value

    @functools.cached_property
    def slow(self):
        return self.limit * 2

    class Nested:
        def deep(self):
            try:
                return sum(n for n in range(3))
            except ValueError:
                return None
'''


def load(source: str = SOURCE, filename: str = "driver.py") -> Any:
    """A module made from *source*; Any, because tests take it apart."""
    module = types.ModuleType("mod")
    exec(compile(source, filename, "exec"), module.__dict__)
    return module


def flip(function: Callable[..., Any], byte: int, mask: int) -> None:
    """Flip bits of a loaded function's instructions in memory, as a stray store would."""
    code = function.__code__
    start = id(code) + types.CodeType.__basicsize__
    instructions = (ctypes.c_ubyte * len(code.co_code)).from_address(start)
    assert bytes(instructions) == code._co_code_adaptive  # type: ignore[attr-defined]
    instructions[byte] ^= mask


def like(function: Any, source: str) -> Any:
    """*function*'s code with a body compiled from *source*, under the same name."""
    scope: dict[str, Any] = {}
    exec(source, scope)
    return scope[function.__name__].__code__.replace(co_qualname=function.__qualname__)


def damage_after(change: Callable[[Any], None]) -> list[str]:
    """What an image of a fresh module says once *change* was made."""
    module = load()
    image = CodeImage.take([module])
    assert image.verify() == []
    change(module)
    return [str(damage) for damage in image.verify()]


def test_untouched_code_is_sound_however_warm_it_is() -> None:
    """Running the code, which specialises it in memory, is no damage; nor are caches that fill."""
    module = load()
    image = CodeImage.take([module])
    driver = module.Driver()
    for n in range(300):
        assert driver.poll(20) == 63
        assert driver.short() + driver.fold(1, n) + module.cached(n) + module.decorated(n) > 0
        driver._seen[n] = object()
        assert driver.Nested().deep() == 3
        assert module.count_by_two(n) == n + 2
    assert driver.poll.__code__._co_code_adaptive != driver.poll.__code__.co_code
    assert image.verify() == []


def test_warm_library_code_normalises_to_its_cold_form() -> None:
    """What hundreds of functions look like in memory after use comes back to what the compiler wrote."""
    for n in range(50):
        assert json.loads(json.dumps({"a": [n, 1.5, None, "x"]}, indent=1))["a"][0] == n
    compared = warm = 0
    modules = [one for name, one in sorted(sys.modules.items()) if name.startswith(("json", "ddsdk", "attr"))]
    for module in modules:
        for function in [one for one in vars(module).values() if isinstance(one, types.FunctionType)]:
            code = function.__code__
            base = code.co_code
            assert live_code(code) == base[::2] + base[1::2], function.__qualname__
            compared += 1
            warm += code._co_code_adaptive != base  # type: ignore[attr-defined]
    assert compared > 150
    assert warm > 30


@pytest.mark.parametrize(("byte", "mask"), [(1, 0x01), (4, 0x80), (5, 0x02)])
def test_one_flipped_bit_of_a_loaded_function_is_found(byte: int, mask: int) -> None:
    """A bit flipped in the bytes that run is named with its place, though co_code never shows it."""
    module = load()
    image = CodeImage.take([module])
    for _ in range(50):
        module.Driver().poll(5)
    before = module.Driver.poll.__code__.co_code
    flip(module.Driver.poll, byte, mask)
    try:
        assert module.Driver.poll.__code__.co_code == before
        (damage,) = image.verify()
    finally:
        flip(module.Driver.poll, byte, mask)
    assert (damage.module, damage.qualname) == ("mod", "Driver.poll")
    assert damage.what == (f"byte code differs at byte {byte}: {before[byte] ^ mask:#04x}, "
                           f"was {before[byte]:#04x}")
    assert image.verify() == []


def _replace(path: str, source: str) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        target = module
        for name in path.split("."):
            target = vars(target)[name]
        function = getattr(target, "__func__", getattr(target, "fget", getattr(target, "func", target)))
        function.__code__ = like(function, source)

    return change


@pytest.mark.parametrize(("change", "expected"), [
    (_replace("Driver.fold", "def fold(a, b): return a & b"), "Driver.fold: byte code differs at byte "),
    (_replace("Driver.make", "def make(cls): return cls"), "Driver.make: byte code differs: "),
    (_replace("Driver.ready", "def ready(self): return self.limit > 4"),
     "Driver.ready: constants[1] is 4, was 3"),
    (_replace("Driver.slow", "def slow(self): return self.limits * 2"),
     "Driver.slow: names[0] is 'limits', was 'limit'"),
    (_replace("Driver.Nested.deep", "def deep(self):\n  try:\n   return sum(n for n in range(3))\n"
                                    "  except TypeError:\n   return None"),
     "Driver.Nested.deep: names[2] is 'TypeError', was 'ValueError'"),
    (_replace("Driver.Nested.deep", "def deep(self):\n  try:\n   return sum(n + 1 for n in range(3))\n"
                                    "  except ValueError:\n   return None"),
     "Driver.Nested.deep.<locals>.<genexpr>: byte code differs: "),
    (_replace("helper", "def helper(value, shift=4, *, mask=255):\n def nested(x): return (x >> shift) & 5\n"
                        " return nested(value) & mask"), "helper.<locals>.nested: constants[1] is 5, was 7"),
])
def test_changed_functions_are_named(change: Callable[[Any], None], expected: str) -> None:
    """Byte code, constants and names of methods, properties and nested functions: what differs, from what."""
    found = damage_after(change)
    assert any(text.startswith(f"mod: {expected}") for text in found), found


def _set(path: str, value: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        *parents, name = path.split(".")
        target = module
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value(module))

    return change


def _poke(path: str, key: Any, value: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        target = module
        for name in path.split("."):
            target = getattr(target, name)
        target[key] = value(module)

    return change


def _corrupt_placed(module: Any) -> None:
    module.Regs.DOORBELL.offset = 4


def _corrupt_frozen(module: Any) -> None:
    object.__setattr__(module.CHIPS[1], "device", 0x31)


def _corrupt_closure(module: Any) -> None:
    module.count_by_two.__closure__[0].cell_contents = 3


def _swap_setter(module: Any) -> None:
    module.Driver.ready = module.Driver.ready.setter(lambda self, value: None)


def _wrapped(module: Any) -> None:
    module.cached.__wrapped__.__code__ = like(module.cached, "def cached(n): return n * 3")


def _decorated(module: Any) -> None:
    module.decorated.__closure__[0].cell_contents.__code__ = (lambda n: n + 2).__code__


@pytest.mark.parametrize(("change", "expected"), [
    (_set("RETRIES", lambda m: 4), "RETRIES: value is 4, was 5"),
    (_set("LIMITS", lambda m: (1, 2.5, "three", b"five", frozenset())),
     "LIMITS: value[4] is b'five', was b'four'"),
    (_set("MEANING", lambda m: types.MappingProxyType({1: "one", 2: ("two", 4)})), "MEANING: value[2] is "),
    (_set("dumps", lambda m: m.helper), "dumps: was a value, is a function"),
    (_set("Driver.limit", lambda m: 31), "Driver.limit: value is 31, was 30"),
    (_set("Driver.poll", lambda m: m.helper), "Driver.poll: byte code differs: "),
    (_set("Driver.short", lambda m: lambda self: self.limit + 2), "Driver.short: constants[1] is 2, was 1"),
    (_set("Driver.common", lambda m: lambda self: "mine"), "Driver.common: was not there at registration"),
    (_set("helper.__defaults__", lambda m: (5,)),
     "helper: defaults[0] is ('builtins.tuple', 5), was ('builtins.tuple', 4)"),
    (_set("helper.__kwdefaults__", lambda m: {"mask": 1}),
     "helper: defaults[1] is ('mask', 1), was ('mask', 255)"),
    (_set("Driver.__bases__", lambda m: (m.Driver.Nested,)), "Driver: base classes[0] is "),
    (_poke("Driver.on_state", "fault", lambda m: m.count_by_two),
     "Driver.on_state['fault']: byte code differs: "),
    (_poke("Driver.on_state", "new", lambda m: m.helper),
     "Driver.on_state['new']: was not there at registration"),
    (_poke("Driver.table", 0, lambda m: m.count_by_two), "Driver.table[0]: byte code differs: "),
    (lambda m: m.Driver.on_state.pop("fault"), "Driver.on_state['fault']: is gone"),
    (lambda m: delattr(m.Driver, "poll"), "Driver.poll: is gone"),
    (_swap_setter, "Driver.ready (setter): "),
    (_wrapped, "cached: constants[1] is 3, was 2"),
    (_decorated, "decorated: closure[0] is "),
    (_corrupt_placed, "Regs.DOORBELL: value["),
    (_corrupt_frozen, "CHIPS: value[2] is ('mod.Chip', ('device', 49), ('name', '1030')), was "),
    (_corrupt_closure, "count_by_two: closure[0] is 3, was 2"),
])
def test_changed_namespaces_are_named(change: Callable[[Any], None], expected: str) -> None:
    """Constants, tables, closures, defaults, bases, register tables, replaced, added, removed functions."""
    found = damage_after(change)
    assert any(text.startswith(f"mod: {expected}") for text in found), found


def test_state_is_nobodys_damage() -> None:
    """New constants, filled caches and objects whose meaning only their owner knows do not count."""
    def change(module: Any) -> None:
        module.NEW = 3
        module.Driver._seen[1] = 2
        module.Driver._seen["layout"] = module.Base()

    assert damage_after(change) == []


def test_fingerprints_do_not_depend_on_where_the_module_lies() -> None:
    """The same source under another file name and other line numbers has the same CRC; other code has not."""
    here, there = load(), load("\n\n# moved\n" + SOURCE, "/elsewhere/driver.py")
    assert CodeImage.take([here]).crc == CodeImage.take([there]).crc
    assert CodeImage.take([load(SOURCE.replace("% 3", "% 4"))]).crc != CodeImage.take([here]).crc


def test_the_crc_is_the_same_in_every_process() -> None:
    """Each process seeds string hashing anew; neither sets nor attrs' salted hashes show in the CRC."""
    program = ("import ddsdk.regs.block, ddsdk.layout.cstruct, ddsdk.abi, ddsdk.errors, ddsdk.crc\n"
               "from ddsdk.integrity import CodeImage\n"
               "print(CodeImage.take([ddsdk.regs.block, ddsdk.layout.cstruct, ddsdk.abi, ddsdk.crc]).crc)")
    said = [subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True,
                           capture_output=True, text=True, timeout=60).stdout for seed in ("1", "2")]
    assert said[0] == said[1]
    assert int(said[0]) > 0


def test_ddsdk_itself_is_covered_and_sound() -> None:
    """Every function of the floors below is in the image, and asking for a new layout damages nothing."""
    modules = [ddsdk.regs.block, ddsdk.layout.cstruct]
    image = CodeImage.take(modules)
    paths = {path for module in modules for path, _ in prints(module)}
    assert {"RegBlock.slices", "CStruct.on", "Layout.pack_into", "c_struct.<locals>.build"} <= paths

    @ddsdk.layout.cstruct.c_struct
    class One(ddsdk.layout.cstruct.CStruct):
        value: int = ddsdk.layout.u32()

    assert One.on(X86_64).size == 4
    assert image.verify() == []


def test_verifying_takes_little_time() -> None:
    """Thirty copies of the test's module, 700 functions, are verified in well under 0.2 s of CPU time."""
    image = CodeImage.take([load() for _ in range(30)])
    started = time.process_time()
    assert image.verify() == []
    assert time.process_time() - started < 0.2


def test_a_module_that_cannot_be_walked_is_damage() -> None:
    """Whatever goes wrong while looking is reported, not raised: the machine has crashed already."""
    class Trap:
        """Raises when touched."""

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(f"no {name}")

    assert damage_after(lambda module: setattr(module, "trap", Trap())) == [
        "mod: cannot be read any more: RuntimeError: no __wrapped__"]


def test_regions_are_compared_piece_by_piece() -> None:
    """A flipped bit in declared memory is placed to within 4096 bytes; a changed length is said."""
    memory = bytearray(range(256)) * 64
    image = CodeImage.take([], [Region("firmware", lambda: memoryview(memory))])
    assert image.verify() == []
    memory[5000] ^= 1
    assert image.verify() == [
        Damage("firmware", "", "differs within bytes 0x1000..0x1fff (1 of 4 pieces of 4096 bytes)")]
    memory[16383] ^= 0x80
    assert str(image.verify()[0]) == ("firmware: differs within bytes 0x1000..0x3fff (2 of 4 pieces of "
                                      "4096 bytes)")
    memory.append(0)
    assert [damage.what for damage in image.verify()] == ["is 16385 bytes long, was 16384"]


def test_zeroed_regions_are_not_the_same_as_none() -> None:
    """Code that was overwritten with zeros is damage, though zeros leave an unset CRC register alone."""
    memory = bytearray(b"\x90" * 100)
    image = CodeImage.take([], [Region("text", lambda: bytes(memory))])
    memory[:] = bytes(100)
    assert len(image.verify()) == 1


def test_unreadable_regions() -> None:
    """A region that cannot be read is an error when the image is taken and damage afterwards."""
    state: dict[str, bytes] = {}

    def read() -> bytes:
        if "data" not in state:
            raise OSError("not mapped")
        return state["data"]

    with pytest.raises(DeviceError, match=r"^text: cannot be read for its CRC: not mapped$"):
        CodeImage.take([], [Region("text", read)])
    state["data"] = b"code"
    image = CodeImage.take([], [Region("text", read)])
    state.clear()
    assert image.verify() == [Damage("text", "", "cannot be read any more: OSError: not mapped")]


def _tiny_ko(sections: dict[str, bytes]) -> bytes:
    """A relocatable x86-64 ELF file with these PROGBITS sections, a .bss and the section names."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".bss", ".shstrtab"])
    body, headers = b"", [bytes(64)]
    for name, data in [*sections.items(), (".bss", b""), (".shstrtab", names)]:
        kind, size = {".bss": (8, 32), ".shstrtab": (3, len(data))}.get(name, (1, len(data)))
        headers.append(struct.pack("<IIQQQQIIQQ", names.index(name.encode() + b"\0"), kind, 2, 0,
                                   64 + len(body), size, 0, 0, 16, 0))
        body += data
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    start = struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(headers),
                        len(headers) - 1)
    return ident + start + body + b"".join(headers)


def test_elf_module_sections_are_regions(tmp_path: Path) -> None:
    """Text, read-only and initialised data of a .ko are covered; a flipped bit names the section."""
    path = tmp_path / "hba.ko"
    path.write_bytes(_tiny_ko({".text": b"\x90" * 40, ".comment": b"gcc", ".rodata": b"const",
                               ".data": b"vars"}))
    regions = elf_module_regions(path)
    assert [(one.name, bytes(one.read())) for one in regions] == [
        ("hba.ko .text", b"\x90" * 40), ("hba.ko .rodata", b"const"), ("hba.ko .data", b"vars")]
    image = CodeImage.take([], regions)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"const")] ^= 0x20
    path.write_bytes(damaged)
    assert [str(damage) for damage in image.verify()] == [
        "hba.ko .rodata: differs within bytes 0x0..0x4 (1 of 1 pieces of 4096 bytes)"]
    path.unlink()
    assert len(image.verify()) == 3


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    """Not an ELF file, a cut one, one without code, none at all: one line each, with the file's name."""
    path = tmp_path / "x.ko"
    for data, message in ((b"#!/bin/sh\n", "not an ELF module"), (b"", "not an ELF module"),
                          (_tiny_ko({".text": b"\x90"})[:80], "not an ELF module"),
                          (_tiny_ko({".comment": b"gcc"}), "has none of the sections .text, .rodata, .data")):
        path.write_bytes(data)
        with pytest.raises(FormatError) as caught:
            elf_module_regions(path)
        assert str(caught.value).startswith(f"{path}: {message}")
        assert "\n" not in str(caught.value)
    with pytest.raises(DeviceError, match="cannot be opened: No such file or directory"):
        elf_module_regions(tmp_path / "none.ko")


def test_the_crc_is_the_kernels() -> None:
    """The image's CRC is crc32_le(0, ..) over its parts, as the original's: no preset, no inversion."""
    image = CodeImage.take([], [Region("r", lambda: b"abc")])
    assert image.crc == crc32_kernel.of(repr((3, (crc32_kernel.of(b"abc", 0xFFFFFFFF),))).encode())
    assert CodeImage.take([]).crc == 0
