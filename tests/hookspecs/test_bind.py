"""bind(): one driver, its observers, and errors that name plugin, hook and signature."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from ddsdk.errors import PluginError
from ddsdk.hookspecs import AtaHookSpecs, HookTracer, ScsiHookSpecs, bind, hookimpl


class Good:
    """A driver with two hooks."""

    def __init__(self) -> None:
        self.polled: list[object] = []

    @hookimpl
    def dump_poll(self, sdev: object) -> None:
        """Note it."""
        self.polled.append(sdev)

    @hookimpl
    def dump_sanity_check(self) -> int:
        """Takes no argument: hooks may leave them out."""
        return -19


class Doubling:
    """An observer that changes an answer."""

    @hookimpl(wrapper=True)
    def dump_sanity_check(self, sdev: object) -> Generator[None, Any, Any]:
        """Twice as much."""
        answer = yield
        return answer * 2


def refusal(hooks: object, *observers: object, spec: type = ScsiHookSpecs) -> str:
    """The one line bind() refuses with."""
    with pytest.raises(PluginError) as error:
        bind(hooks, spec, observers, plugin="demo")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_alone_a_hook_is_the_drivers_own_method() -> None:
    """Without observers there is nothing between caller and driver: the bound method itself is called."""
    driver = Good()
    hooks = bind(driver, ScsiHookSpecs, plugin="demo")
    assert hooks.dump_poll == driver.dump_poll
    hooks.dump_poll("sdev")
    assert driver.polled == ["sdev"]
    assert hooks.dump_sanity_check("sdev") == -19
    assert hooks.plugin == "demo"
    assert hooks.implemented == {"dump_poll", "dump_sanity_check"}


def test_a_missing_optional_hook_answers_none() -> None:
    """quiesce and shutdown may be missing; they have no opinion then."""
    hooks = bind(Good(), ScsiHookSpecs)
    assert hooks.quiesce("sdev") is None
    assert hooks.shutdown("sdev") is None


def test_observers_wrap_the_driver() -> None:
    """An observer sees every call and may change what comes back; the last is the outermost."""
    seen: list[tuple[object, ...]] = []
    driver = Good()
    hooks = bind(driver, ScsiHookSpecs, [HookTracer(lambda *what: seen.append(what)), Doubling()])
    assert hooks.dump_sanity_check("sdev") == -38
    hooks.dump_poll("sdev")
    assert hooks.quiesce("sdev") is None
    assert seen == [("hook", "dump_sanity_check", -19), ("hook", "dump_poll", None),
                    ("hook", "quiesce", None)]
    assert driver.polled == ["sdev"]


def test_two_devices_do_not_share_hooks() -> None:
    """Each bind has a manager of its own: polling one device's driver does not poll the other's."""
    one, two = Good(), Good()
    first, second = bind(one, ScsiHookSpecs), bind(two, ScsiHookSpecs)
    first.dump_poll("a")
    second.dump_poll("b")
    assert (one.polled, two.polled) == (["a"], ["b"])


def test_misspelt_hook() -> None:
    """A hook no spec knows is refused, with the nearest one that exists."""
    class Misspelt(Good):
        @hookimpl
        def dump_quiesce(self, sdev: object) -> int:
            return 0

    assert refusal(Misspelt()) == (
        "demo: unknown hook 'dump_quiesce' of tests.hookspecs.test_bind.test_misspelt_hook.<locals>."
        "Misspelt.dump_quiesce; did you mean quiesce(sdev)?")


def test_wrong_argument() -> None:
    """A hook that wants an argument the spec does not give is refused, both signatures named."""
    class Wrong(Good):
        @hookimpl
        def shutdown(self, sdev: object, host: object) -> int:
            return 0

    assert refusal(Wrong()).endswith(
        "takes host, which the spec shutdown(sdev) does not give")
    assert "demo: hook shutdown(sdev, host) of" in refusal(Wrong())


def test_no_poll() -> None:
    """dump_poll is mandatory."""
    class Silent:
        @hookimpl
        def quiesce(self, sdev: object) -> int:
            return 0

    assert refusal(Silent()) == ("demo: Silent has no hook dump_poll(sdev); a driver that cannot be polled"
                                 " cannot be dumped through")


def test_unmarked_poll() -> None:
    """A dump_poll without @hookimpl is found out, not silently never called."""
    class Unmarked:
        def dump_poll(self, sdev: object) -> None:
            return None

    assert refusal(Unmarked()) == ("demo: dump_poll of Unmarked is not marked; decorate it with @hookimpl"
                                   " (from ddsdk.hookspecs)")


def test_observer_must_wrap() -> None:
    """An observer that answers in the driver's place is a second driver, which a device cannot have."""
    assert "observer 0 of demo: dump_poll of" in refusal(Good(), Good())
    assert "must be @hookimpl(wrapper=True)" in refusal(Good(), Good())


def test_observer_with_a_misspelt_hook() -> None:
    """Observers are checked like drivers."""
    class Watcher:
        @hookimpl(wrapper=True)
        def dump_pol(self, sdev: object) -> Generator[None, Any, Any]:
            return (yield)

    assert "observer 0 of demo: unknown hook 'dump_pol'" in refusal(Good(), Watcher())


def test_ide_specs_name_the_drive() -> None:
    """The same driver does not fit the IDE specs: the argument there is the drive."""
    assert "which the spec dump_poll(drive) does not give" in refusal(Good(), spec=AtaHookSpecs)
