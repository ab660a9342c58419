"""Saboteurs of the RESET family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

#: The heart of toy_host_reset(), and of toy_reset().
_HANDLER: Final = """
    error = toy_reset(shost.hostdata, "host reset")
    TOY_HOST_LOCK(shost)
"""
_ANSWER: Final = "    return FAILED if error else SUCCESS\n"
_WAIT: Final = """
    if not kernel.wait_event_timeout(adapter.wait, lambda: not adapter.resetting, limit):
        return -errno.ETIMEDOUT
"""
_END_CMDS: Final = "    end_cmds(scmds, DID_NO_CONNECT if error else DID_RESET)\n"
#: Where Adapter's members are made.
_MEMBERS: Final = "        self.reset_tries = 0\n"

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- what becomes of adapter and commands --------------------------------------------------------------------------
    Saboteur("reset-gives-up-an-asserted-firmware", "RESET-1", "Firmware that stopped with a code is not even reset.", (
        Edit("recovery.py", _HANDLER, """
    adapter: Adapter = shost.hostdata
    status = adapter.kernel.readl(adapter.chip, Regs.STATUS)
    if adapter.active and status.STATE == State.FAULT and status.CODE:
        error = -errno.EIO
    else:
        error = toy_reset(adapter, "host reset")
    TOY_HOST_LOCK(shost)
"""),
    ), case="firmware-fault"),
    Saboteur("reset-forgets-commands", "RESET-2", "A reset that worked ends none of the commands it took back.", (
        Edit("recovery.py", _END_CMDS, "    if error:\n        end_cmds(scmds, DID_NO_CONNECT)\n"),
    )),
    Saboteur("reset-ends-commands-twice", "RESET-2", "Commands are ended when a reset begins and when it is over.", (
        Edit("recovery.py", "        adapter.reset_tries = 0\n", """\
        adapter.reset_tries = 0
        end_cmds([one.scmd for one in adapter.requests if one.scmd is not None], DID_RESET)
"""),
    )),
    Saboteur("reset-spares-a-full-queue", "RESET-3", "A full queue gets 5 s; what is left is forgotten.", (
        Edit("recovery.py", _HANDLER, """
    adapter: Adapter = shost.hostdata
    kernel = adapter.kernel
    if kernel.crashdump_mode() and adapter.active and not adapter.free:
        kernel.wait_event_timeout(adapter.wait, lambda: len(adapter.free) == len(adapter.requests), 5 * kernel.HZ)
        end_cmds(adapter.forget(), DID_RESET)
        adapter.reclaim()
        error = 0
    else:
        error = toy_reset(adapter, "host reset")
    TOY_HOST_LOCK(shost)
"""),
    ), case="slow-disk"),
    Saboteur("reset-returns-before-the-adapter-is-ready", "RESET-4", "In crash mode it is busy for 50 ms more.", (
        Edit("driver.py", "    if not adapter.active or not adapter.free:\n", """\
    kernel = adapter.kernel
    if not adapter.active or not adapter.free or kernel.time_before(kernel.jiffies, adapter.settled):
"""),
        Edit("adapter.py", _MEMBERS, _MEMBERS + "        self.settled = kernel.jiffies\n"),
        Edit("recovery.py", "    return -errno.EIO if adapter.dead else 0\n", """\
    if kernel.crashdump_mode():
        adapter.settled = kernel.jiffies + kernel.msecs_to_jiffies(50)
    return -errno.EIO if adapter.dead else 0
"""),
    )),
    Saboteur("reset-refuses-another-within-a-second", "RESET-5", "Another reset within a second is refused.", (
        Edit("recovery.py", _HANDLER, """
    adapter: Adapter = shost.hostdata
    kernel = adapter.kernel
    if kernel.crashdump_mode() and kernel.time_before(kernel.jiffies, adapter.reset_over + kernel.HZ):
        TOY_HOST_LOCK(shost)
        return FAILED
    error = toy_reset(adapter, "host reset")
    if kernel.crashdump_mode():
        adapter.reset_over = kernel.jiffies
    TOY_HOST_LOCK(shost)
"""),
        Edit("adapter.py", _MEMBERS, _MEMBERS + "        self.reset_over = kernel.jiffies - kernel.HZ\n"),
    )),
    Saboteur("reset-loses-the-slots-in-use", "RESET-5", "What a reset ends is unmapped, its requests are never free.", (
        Edit("adapter.py", "        self.free = list(reversed(self.requests))\n",
             "        self.free = [request for request in reversed(self.requests) if request.scmd is None]\n"),
        Edit("adapter.py", "        self.done = []\n        self.free = []\n", "        self.done = []\n"),
        Edit("recovery.py", """
    scmds = adapter.forget()
    if not error:
        adapter.reclaim()
""", """
    if not error:
        adapter.reclaim()
    scmds = adapter.forget()
"""),
    )),

    # -- after half a reset --------------------------------------------------------------------------------------------
    Saboteur("reset-quiesce-keeps-resetting", "RESET-6", "A reset is joined whose timer will never fire.", (
        Edit("dump.py", """
    adapter.active = adapter.resetting = False
    adapter.forget()
    return 0
""", """
    adapter.active = False
    adapter.forget()
    return 0
"""),
    ), case="reset-7-16ths"),
    Saboteur("reset-keeps-the-tries-of-another", "RESET-6", "Tries are set back where a reset ends.", (
        Edit("recovery.py", "        adapter.reset_tries = 0\n", ""),
        Edit("recovery.py", """
    kernel, error = adapter.kernel, adapter.reset_error
""", """
    kernel, error = adapter.kernel, adapter.reset_error
    adapter.reset_tries = 0
"""),
        Edit("recovery.py", """
    toy_start_reset(adapter, why)
    limit""", """
    if adapter.reset_tries >= RESET_TRIES:
        return -errno.EIO
    toy_start_reset(adapter, why)
    limit"""),
    ), case="hanging-reset-15-16ths"),

    # -- adapters that do not play along -------------------------------------------------------------------------------
    Saboteur("reset-says-success-whatever-happened", "RESET-7", "What became of the reset is not looked at.", (
        Edit("recovery.py", _HANDLER + _ANSWER, _HANDLER.replace("error = ", "") + "    return SUCCESS\n"),
    )),
    Saboteur("reset-waits-for-ever", "RESET-7", "The wait for READY has no bound.", (
        Edit("recovery.py", " and kernel.time_before(kernel.jiffies, adapter.reset_deadline):\n", ":\n"),
        Edit("recovery.py", _WAIT, """
    while not kernel.wait_event_timeout(adapter.wait, lambda: not adapter.resetting, limit):
        adapter.printk("still resetting")
"""),
    )),
    Saboteur("reset-leaves-a-slow-one-to-its-timer", "RESET-8", "After a second of waiting the handler says SUCCESS.", (
        Edit("recovery.py", "    limit = kernel.msecs_to_jiffies((RESET_TRIES + 1) * RESET_LIMIT_MS)\n", ""),
        Edit("recovery.py", _WAIT, """
    if not kernel.wait_event_timeout(adapter.wait, lambda: not adapter.resetting, kernel.HZ):
        adapter.printk("still resetting")
"""),
    )),
    Saboteur("reset-gives-up-early", "RESET-8", "One try of one second; the data sheet says five.", (
        Edit("recovery.py", "RESET_LIMIT_MS: Final = 5000\n", "RESET_LIMIT_MS: Final = 1000\n"),
        Edit("recovery.py", "RESET_TRIES: Final = 3\n", "RESET_TRIES: Final = 1\n"),
    )),
    Saboteur("reset-takes-all-ones-for-ready", "RESET-10", "Neither RESETTING nor in FAULT, it is taken for READY.", (
        Edit("recovery.py", "0 if status.STATE == State.READY else -errno.EIO\n",
             "-errno.EIO if status.STATE in (State.RESETTING, State.FAULT) else 0\n"),
    )),

    # -- host_lock -----------------------------------------------------------------------------------------------------
    Saboteur("reset-failed-returns-with-interrupts-on", "RESET-9", "Where it failed, spin_lock() is all it does.", (
        Edit("recovery.py", _HANDLER + _ANSWER, """
    error = toy_reset(shost.hostdata, "host reset")
    if error:
        shost.kernel.spin_lock(shost.host_lock)
        return FAILED
    TOY_HOST_LOCK(shost)
    return SUCCESS
"""),
    ), case="normal-mode-hangs"),
    Saboteur("reset-sits-on-the-lock", "RESET-11", "Disks get 2 s to wake up, in normal mode under host_lock.", (
        Edit("recovery.py", _HANDLER, _HANDLER + """\
    if not shost.kernel.crashdump_mode():
        shost.kernel.mdelay(2000)
"""),
    )),
)
