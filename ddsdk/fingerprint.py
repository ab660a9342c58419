"""Fingerprints of loaded Python modules: what the interpreter would run right now, as comparable bytes.

A module is walked through its namespace: functions with their nested functions, classes with their methods,
properties and nested classes, dispatch tables, and constants down to the entries of register tables.  File
names and line numbers do not count, so a fingerprint is the same wherever the module is installed.

CPython specific, and on purpose: `co_code` is a copy which the interpreter keeps once it was asked for, and
never shows what happens to a loaded function afterwards.  The bytes that run are `_co_code_adaptive`; brought
back to their unspecialised form they are compared instead.  What may change there as code gets warm - inline
caches, and specialised forms of one instruction - is no part of the fingerprint.
"""

from __future__ import annotations

import dis
import functools
import marshal
from collections.abc import Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final

import attrs

#: marshal format 2: no references and no interning flags, both of which depend on history
_MARSHAL: Final = 2
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis)})
_NAMED: Final = (type, Enum, MethodType, BuiltinFunctionType)
#: what a descriptor wraps: (attribute, how the path goes on)
_DESCRIPTORS: Final[Mapping[type, tuple[tuple[str, str], ...]]] = MappingProxyType({
    staticmethod: (("__func__", ""),),
    classmethod: (("__func__", ""),),
    property: (("fget", ""), ("fset", " (setter)"), ("fdel", " (deleter)")),
    functools.cached_property: (("func", ""),),
    functools.partialmethod: (("func", ""),),
    functools.singledispatchmethod: (("func", ""),),
})


def _tables() -> tuple[bytes, bytes]:
    """Opcode -> its unspecialised form, and the opcodes put in by tracers; empty where dis does not tell."""
    numbers: Mapping[str, int] = getattr(dis, "_all_opmap", {})
    base: Mapping[str, str] = getattr(dis, "deoptmap", {})
    forms = {numbers[special]: numbers[plain] for special, plain in base.items() if special in numbers}
    traced = [code for name, code in numbers.items() if name.startswith(("INSTRUMENTED_", "ENTER_EXECUTOR"))]
    return bytes(forms.get(code, code) for code in range(256)), bytes(code for code in traced if code < 256)


_DEOPT, _TRACED = _tables()
#: 0xFF for an instruction, 0 for an inline cache entry, whose opcode is 0
_KEEP: Final = bytes([0]) + b"\xff" * 255


@attrs.frozen
class Print:
    """The fingerprint of one thing: `static` is a marshalled tuple named by `parts`, `code` what would run.

    `code` is the opcodes, then the arguments, of a function's instructions; empty for what is no function.
    """

    parts: tuple[str, ...]
    static: bytes
    code: bytes = b""


FUNCTION_PARTS: Final = ("constants", "names", "variables", "exception table", "flags", "defaults", "closure")


def live_code(code: CodeType) -> bytes:
    """Opcodes, then arguments, as they are in memory now, unspecialised, inline caches zero."""
    base = code.co_code
    raw: bytes = getattr(code, "_co_code_adaptive", base)
    if len(raw) != len(base) or (_TRACED and len(raw[::2].translate(None, _TRACED)) != len(raw) // 2):
        raw = base  # a debugger or a coverage tool patched it; only the interpreter can tell what was there
    count = len(base) // 2
    keep = int.from_bytes(base[::2].translate(_KEEP), "little")
    opcodes = int.from_bytes(raw[::2].translate(_DEOPT), "little") & keep
    arguments = int.from_bytes(raw[1::2], "little") & keep
    return opcodes.to_bytes(count, "little") + arguments.to_bytes(count, "little")


def prints(module: ModuleType) -> Iterator[tuple[str, Print]]:
    """(path in the module, fingerprint) of everything there is to compare, in definition order."""
    walk = _Walk(module)
    walk.namespace("", vars(module))
    return iter(walk.found)


class _Walk:
    """One pass over one module.  `found` is (path, fingerprint) of what it came by, in order."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module.__name__
        self.found: list[tuple[str, Print]] = []
        self.classes: set[int] = set()
        # by identity, and keeping the object: a freed one's identity would come back for another
        self.known: dict[int, tuple[object, Any]] = {}

    def namespace(self, prefix: str, names: Mapping[str, Any]) -> None:
        """The members of a module or a class."""
        for name, value in list(names.items()):
            hidden = name.startswith("__")
            if isinstance(value, FunctionType):
                if name == "__hash__" and value.__code__.co_filename.startswith("<attrs"):
                    continue  # attrs salts it with a number of this process
                if prefix or value.__module__ == self.module:
                    self.function(prefix + name, value)
                else:
                    self.constant(prefix + name, value)
            elif isinstance(value, type):
                if not hidden:
                    self.a_class(prefix + name, value)
            elif type(value) in _DESCRIPTORS:
                for attribute, suffix in _DESCRIPTORS[type(value)]:
                    function = getattr(value, attribute)
                    if isinstance(function, FunctionType):
                        self.function(prefix + name + suffix, function)
            elif isinstance(getattr(value, "__wrapped__", None), FunctionType):
                self.function(prefix + name, value.__wrapped__)  # functools.cache and its kin
            elif isinstance(value, dict | list) and not hidden:
                table = value if isinstance(value, dict) else dict(enumerate(value))
                self.table(prefix + name, table)
            elif not hidden:
                self.constant(prefix + name, value)

    def a_class(self, path: str, value: type) -> None:
        """A class of this module with its members; of another module's class, which one it is."""
        own = value.__module__ == self.module and id(value) not in self.classes
        if not own:
            self.constant(path, value)
            return
        self.classes.add(id(value))
        bases = tuple(self.value(base) for base in value.__mro__[1:])
        self.found.append((path, Print(("base classes",), _bytes((bases,)))))
        self.namespace(f"{path}.", vars(value))

    def table(self, path: str, table: Mapping[Any, Any]) -> None:
        """A dispatch table: its functions and constants.  Other values may be a cache's and come and go."""
        for key, value in list(table.items()):
            if isinstance(key, str | bytes | int | tuple | Enum):
                at = f"{path}[{key!r}]"
                if isinstance(value, FunctionType):
                    self.function(at, value)
                elif type(value) in _PLAIN or isinstance(value, _NAMED):
                    self.constant(at, value)

    def constant(self, path: str, value: Any) -> None:
        """A value that is compared as such."""
        self.found.append((path, Print(("value",), _bytes((self.value(value),)))))

    def function(self, path: str, function: FunctionType) -> None:
        """A function with its defaults and closure, then the functions nested in it."""
        keywords = function.__kwdefaults__ or {}
        named = [(key, self.value(keywords[key])) for key in keywords]
        defaults = (self.value(function.__defaults__), *named)
        closure = tuple(self.cell(cell) for cell in function.__closure__ or ())
        self.code(path, function.__code__, (defaults, closure))

    def code(self, path: str, code: CodeType, extra: tuple[Any, ...] = ()) -> None:
        """A code object, then those among its constants."""
        nested = [const for const in code.co_consts if isinstance(const, CodeType)]
        parts = FUNCTION_PARTS[:5 + len(extra)]
        self.found.append((path, Print(parts, _bytes((*_static(code), *extra)), live_code(code))))
        for index, inner in enumerate(nested):
            twin = [other.co_name for other in nested[:index]].count(inner.co_name)
            suffix = f"#{twin + 1}" if twin else ""
            self.code(f"{path}.<locals>.{inner.co_name}{suffix}", inner)

    def cell(self, cell: Any) -> Any:
        """What a closure's cell holds."""
        try:
            return self.value(cell.cell_contents)
        except ValueError:
            return ("empty cell",)

    def value(self, value: Any) -> Any:
        """*value* as plain marshallable data; of mutable state, of which only its owner knows, the type."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if id(value) in self.known:
            return self.known[id(value)][1]
        self.known[id(value)] = (value, ("seen above", kind.__qualname__))
        out = self.encode(kind, value)
        self.known[id(value)] = (value, out)
        return out

    def encode(self, kind: type, value: Any) -> Any:
        """`value` for what is neither plain nor known."""
        name = f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(value, FunctionType):
            return ("function", value.__module__, value.__qualname__, _deep(value.__code__))
        if isinstance(value, type | BuiltinFunctionType):
            return ("named", value.__module__, value.__qualname__)
        if isinstance(value, ModuleType):
            return ("module", value.__name__)
        if isinstance(value, MethodType):
            return ("method", self.value(value.__self__), self.value(value.__func__))
        if isinstance(value, functools.partial):
            keywords = [(key, self.value(item)) for key, item in value.keywords.items()]
            return (name, self.value(value.func), self.value(value.args), *keywords)
        if isinstance(value, Enum):
            return (name, value.name, self.value(value.value))
        if kind is tuple:
            return (name, *[self.value(item) for item in value])
        if kind is frozenset:
            return (name, *sorted((self.value(item) for item in value), key=_bytes))
        if kind is MappingProxyType:
            return (name, *[(self.value(key), self.value(item)) for key, item in value.items()])
        if isinstance(value, int):
            return (name, int(value))  # a register value
        if isinstance(value, slice):
            return (name, self.value(value.start), self.value(value.stop), self.value(value.step))
        return self.record(kind, name, value)

    def record(self, kind: type, name: str, value: Any) -> Any:
        """An object whose attributes are known by its class: attrs, or slots all the way up."""
        if attrs.has(kind):
            names = [field.name for field in attrs.fields(kind)]
        elif all("__slots__" in vars(base) for base in kind.__mro__[:-1]):
            names = [slot for base in kind.__mro__[:-1] for slot in _slots(base)]
        else:
            return ("object", name)
        return (name, *[(slot, self.value(getattr(value, slot, None))) for slot in names])


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind)["__slots__"]
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _static(code: CodeType) -> tuple[Any, ...]:
    """What a code object says beside its instructions, in the order of FUNCTION_PARTS."""
    flags = (code.co_flags, code.co_stacksize, code.co_argcount, code.co_posonlyargcount,
             code.co_kwonlyargcount)
    variables = (code.co_varnames, code.co_freevars, code.co_cellvars)
    constants = tuple([_constant(const) for const in code.co_consts])
    return (constants, code.co_names, variables, code.co_exceptiontable, flags)


def _constant(const: Any) -> Any:
    """What marshal takes for a constant: nested code has its own fingerprint, slices came with format 5."""
    if isinstance(const, CodeType):
        return (const.co_name,)
    return ("slice", const.start, const.stop, const.step) if isinstance(const, slice) else const


def _deep(code: CodeType) -> bytes:
    """A code object with all that is nested in it, in one piece."""
    inner = b"".join(_deep(const) for const in code.co_consts if isinstance(const, CodeType))
    return live_code(code) + _bytes(_static(code)) + inner


def _bytes(value: Any) -> bytes:
    return marshal.dumps(value, _MARSHAL)
