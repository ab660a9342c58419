"""Saboteurs of the SANE family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

_LAST_WORD: Final = "    return 1 if adapter.resetting or adapter.dead else 0\n"
_LOOKS_AT_THE_LOCK: Final = """\
    if kernel.spin_is_locked(adapter.queue_lock):
        return -errno.EBUSY                         # somebody stopped in the middle of the queue
"""
_LOOKS_AT_STATUS: Final = """\
    if kernel.readl(adapter.chip, Regs.STATUS).STATE == State.GONE:
        return -errno.ENODEV
    return 1"""

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- says no when it must, and only then ---------------------------------------------------------------------------
    Saboteur("sane-any-reset-makes-it-doubtful", "SANE-1", "Whoever was ever reset makes it say 'cannot tell'.", (
        Edit("dump.py", _LAST_WORD, "    return 1 if adapter.reset_tries or adapter.dead else 0\n"),
    ), case="just-probed"),
    Saboteur("sane-trusts-hostdata", "SANE-2", "Host data that is missing is not looked for.", (
        Edit("dump.py", """
    adapter: Adapter | None = sdev.host.hostdata
    if adapter is None:
        return -errno.ENXIO
    kernel = adapter.kernel
    if kernel.spin_is_locked""", """
    adapter: Adapter = sdev.host.hostdata
    kernel = adapter.kernel
    if kernel.spin_is_locked"""),
    )),
    Saboteur("sane-trusts-the-slot", "SANE-3", "An adapter whose configuration space is all ones is taken for one.", (
        Edit("dump.py", "    if command == 0xFFFF:\n        return -errno.ENODEV\n", ""),
        Edit("dump.py", _LOOKS_AT_STATUS, "    return 1"),
    ), case="removed"),
    Saboteur("sane-trusts-the-registers", "SANE-4", "The state is not looked at, all ones least of all.", (
        Edit("dump.py", _LOOKS_AT_STATUS, "    return 1"),
    )),
    Saboteur("sane-trusts-its-lock", "SANE-5", "A queue lock that somebody took with him is not looked at.", (
        Edit("dump.py", _LOOKS_AT_THE_LOCK, ""),
    )),
    Saboteur("sane-does-not-see-a-reset", "SANE-6", "A reset under way at the crash is not noticed.", (
        Edit("dump.py", _LAST_WORD, "    return 1 if adapter.dead else 0\n"),
    ), case="reset-half-way"),
    Saboteur("sane-without-bus-mastering", "SANE-7", "Whether the adapter may master the bus is not looked at.", (
        Edit("dump.py", "    if not command & _PCI_COMMAND_MASTER:\n        return -errno.ENXIO\n", ""),
    )),
    Saboteur("sane-refuses-a-fault", "SANE-11", "Firmware that has stopped is a reason to refuse, not to reset.", (
        Edit("dump.py", _LOOKS_AT_STATUS, """\
    state = kernel.readl(adapter.chip, Regs.STATUS).STATE
    if state == State.GONE:
        return -errno.ENODEV
    if state == State.FAULT:
        return -errno.EIO
    return 1"""),
    ), case="firmware-fault"),
    Saboteur("sane-refuses-what-is-in-flight", "SANE-11", "Commands in flight are a reason to refuse: it is busy.", (
        Edit("dump.py", _LAST_WORD, """\
    if any(request.scmd is not None for request in adapter.requests):
        return -errno.EBUSY
    return 1 if adapter.resetting or adapter.dead else 0
"""),
    ), case="in-flight"),
    Saboteur("sane-refuses-a-reset", "SANE-12", "A reset under way is a reason to refuse for good.", (
        Edit("dump.py", _LAST_WORD, "    return -errno.EBUSY if adapter.resetting or adapter.dead else 0\n"),
    ), case="reset-half-way"),
    Saboteur("sane-is-not-there", "SANE-13", "There is no dump_sanity_check.", (
        Edit("dump.py", """
    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> int:
        \"\"\"See toy_sanity_check.\"\"\"
        return toy_sanity_check(sdev)
""", ""),
    )),

    # -- its manners ---------------------------------------------------------------------------------------------------
    Saboteur("sane-tries-the-lock", "SANE-8", "It takes the queue lock, to see whether that can be had.", (
        Edit("dump.py", _LOOKS_AT_THE_LOCK, """\
    if not kernel.spin_trylock(adapter.queue_lock):
        return -errno.EBUSY
    kernel.spin_unlock(adapter.queue_lock)
"""),
    ), case="idle"),
    Saboteur("sane-masks-the-adapter", "SANE-8", "It masks the adapter's interrupts: the take-over begins.", (
        Edit("dump.py", """
    return 1 if adapter.resetting""", """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    return 1 if adapter.resetting"""),
    ), case="idle"),
    Saboteur("sane-doubts-once", "SANE-9", "It takes back the doubt it had: asked again, all is well.", (
        Edit("dump.py", _LAST_WORD, """\
    doubt, adapter.resetting = adapter.resetting, False
    return 1 if doubt or adapter.dead else 0
"""),
    ), case="reset-half-way"),
    Saboteur("sane-waits-for-the-reset", "SANE-10", "It waits, 100 ms at most, for a reset under way to end.", (
        Edit("dump.py", "    kernel = adapter.kernel\n    if kernel.spin_is_locked", """\
    kernel = adapter.kernel
    for _ in range(100):
        if kernel.readl(adapter.chip, Regs.STATUS).STATE != State.RESETTING:
            break
        TOY_MDELAY(kernel, 1)
    if kernel.spin_is_locked"""),
    ), case="reset-half-way"),
)
