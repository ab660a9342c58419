"""One dump device's hooks: one PluginManager, one driver, any observers, and a typed facade over them.

The only file where `pm.hook` appears.  pluggy calls every plugin of a manager, and only one driver may be
polled; so a manager serves one device.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pluggy
from attrs import frozen

from ddsdk.errors import PluginError

from .discovery import signature_of
from .markers import PROJECT, hookimpl

#: A hook bound for one device: called with the device, positionally.
IntHook = Callable[[Any], int | None]
VoidHook = Callable[[Any], None]

#: A hook's name and one implementation of it.
Impl = tuple[str, pluggy.HookImpl]

MANDATORY = "dump_poll"


@frozen
class BoundHooks:
    """The hooks of one dump device as plain callables: `hooks.dump_poll(sdev)`.

    A hook that the driver lacks answers None.  Without observers a call costs what the driver's method costs.
    """

    plugin: str
    dump_sanity_check: IntHook
    quiesce: IntHook
    dump_poll: VoidHook
    shutdown: IntHook
    implemented: frozenset[str]


@frozen
class HookTracer:
    """An observer that reports each hook call to *record*: ("hook", name, result)."""

    record: Callable[[str, str, object], None]

    def _around(self, name: str) -> Generator[None, Any, Any]:
        result = yield
        self.record("hook", name, None if isinstance(result, list) else result)
        return result

    @hookimpl(wrapper=True)
    def dump_sanity_check(self) -> Generator[None, Any, Any]:
        """Report dump_sanity_check."""
        return (yield from self._around("dump_sanity_check"))

    @hookimpl(wrapper=True)
    def quiesce(self) -> Generator[None, Any, Any]:
        """Report quiesce."""
        return (yield from self._around("quiesce"))

    @hookimpl(wrapper=True)
    def dump_poll(self) -> Generator[None, Any, Any]:
        """Report dump_poll."""
        return (yield from self._around("dump_poll"))

    @hookimpl(wrapper=True)
    def shutdown(self) -> Generator[None, Any, Any]:
        """Report shutdown."""
        return (yield from self._around("shutdown"))


def bind(driver_hooks: object, spec: type, observers: Sequence[object] = (), *,
         plugin: str = "driver") -> BoundHooks:
    """Bind one driver's hook implementations, watched by *observers*, to one dump device.

    *spec* is ScsiHookSpecs or AtaHookSpecs.  PluginError, one line naming plugin, hook and signature: a hook
    with the wrong arguments or a name that no spec knows, a driver without dump_poll, an observer that is no
    wrapper.
    """
    pm = pluggy.PluginManager(PROJECT)
    pm.add_hookspecs(spec)
    impls = _register(pm, spec, driver_hooks, plugin)
    _require_poll(spec, impls, driver_hooks, plugin)
    for number, observer in enumerate(observers):
        watcher = f"observer {number} of {plugin}"
        for hook, impl in _register(pm, spec, observer, watcher):
            if not (impl.wrapper or impl.hookwrapper):
                raise PluginError(f"{watcher}: {hook} of {_where(impl)} must be @hookimpl(wrapper=True): an"
                                  " observer watches the driver's hook, it does not answer in its place")
    return BoundHooks(
        plugin=plugin,
        dump_sanity_check=_callable(pm, "dump_sanity_check"),
        quiesce=_callable(pm, "quiesce"),
        dump_poll=_callable(pm, "dump_poll"),
        shutdown=_callable(pm, "shutdown"),
        implemented=frozenset(hook for hook, _ in impls),
    )


def _register(pm: pluggy.PluginManager, spec: type, plugin: object, name: str) -> list[Impl]:
    """Register *plugin* once every implementation fits its spec; returns what it implements."""
    impls = implementations(plugin)
    for hook, impl in impls:
        complaint = misfit(spec, hook, impl)
        if complaint:
            raise PluginError(f"{name}: {complaint}")
    try:
        pm.register(plugin, name=name)
        pm.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(f"{name}: {' '.join(str(error).split())}") from error
    return impls


def implementations(plugin: object) -> list[Impl]:
    """(hook name, implementation) of everything in *plugin* that carries @hookimpl, whatever specs there
    are.
    """
    scratch = pluggy.PluginManager(PROJECT)
    scratch.register(plugin)
    return [(caller.name, impl) for caller in scratch.get_hookcallers(plugin) or []
            for impl in caller.get_hookimpls()]


def misfit(spec: type, hook: str, impl: pluggy.HookImpl) -> str:
    """What is wrong with *impl* as an implementation of *hook*, in one line; empty when it fits."""
    specs = spec_signatures(spec)
    if hook not in specs:
        close = difflib.get_close_matches(hook, specs, 1, 0.5)
        hint = f"did you mean {specs[close[0]]}?" if close else f"the hooks are {', '.join(specs.values())}"
        return f"unknown hook {hook!r} of {_where(impl)}; {hint}"
    known = specs[hook].partition("(")[2].rstrip(")").split(", ")
    extra = [name for name in impl.argnames if name not in known]
    if extra:
        return (f"hook {hook}({', '.join(impl.argnames)}) of {_where(impl)} takes {', '.join(extra)}, which"
                f" the spec {specs[hook]} does not give")
    return ""


def _where(impl: pluggy.HookImpl) -> str:
    function = impl.function
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


def spec_signatures(spec: type) -> dict[str, str]:
    """Hook name -> signature, of a class of hook specs."""
    return {name: signature_of(function) for name, function in vars(spec).items()
            if getattr(function, f"{PROJECT}_spec", None) is not None}


def _require_poll(spec: type, impls: list[Impl], driver_hooks: object, plugin: str) -> None:
    if any(hook == MANDATORY for hook, _ in impls):
        return
    owner, signature = type(driver_hooks).__name__, spec_signatures(spec)[MANDATORY]
    if callable(getattr(driver_hooks, MANDATORY, None)):
        raise PluginError(f"{plugin}: {MANDATORY} of {owner} is not marked; decorate it with @hookimpl"
                          " (from ddsdk.hookspecs)")
    raise PluginError(f"{plugin}: {owner} has no hook {signature}; a driver that cannot be polled cannot be"
                      " dumped through")


def _callable(pm: pluggy.PluginManager, name: str) -> Callable[[Any], Any]:
    """The shortest way to one hook: the driver's own method when it is alone, else through pluggy."""
    caller: pluggy.HookCaller = getattr(pm.hook, name)
    impls = caller.get_hookimpls()
    if not impls:
        return _absent
    if len(impls) == 1 and not (impls[0].wrapper or impls[0].hookwrapper):
        function: Callable[..., Any] = impls[0].function
        return function if impls[0].argnames else lambda _device: function()
    assert caller.spec is not None
    (argument,) = caller.spec.argnames

    def through_pluggy(device: Any) -> Any:
        result = caller(**{argument: device})
        return None if isinstance(result, list) else result     # a void hook comes back as a list of results
    return through_pluggy


def _absent(_device: Any) -> None:
    return None
