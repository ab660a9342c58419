"""Saboteurs of the MEM family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

#: A piece of memory for every command: taken before it is sent, given back when it ends.
_TAKES: Final = Edit("driver.py", """
    fill_block(adapter, request, scmd)
    request.scmd = scmd
""", """
    fill_block(adapter, request, scmd)
    request.private = adapter.kernel.kmalloc(64, GFP_ATOMIC)
    request.scmd = scmd
""")
_TAKES_BEFORE_THE_CRASH: Final = Edit("driver.py", _TAKES.old, """
    fill_block(adapter, request, scmd)
    if not adapter.kernel.crashdump_mode():
        request.private = adapter.kernel.kmalloc(64, GFP_ATOMIC)
    request.scmd = scmd
""")
_IMPORTS: Final = Edit("driver.py", "import DMA_32BIT_MASK, DMA_64BIT_MASK\n",
                       "import DMA_32BIT_MASK, DMA_64BIT_MASK, GFP_ATOMIC\n")
_SLOT: Final = Edit("adapter.py", '"mapped", "scmd"', '"mapped", "private", "scmd"')
_STARTS_EMPTY: Final = Edit("adapter.py", """
        self.direction = 0
""", """
        self.direction = 0
        self.private = None
""")
_GIVES_BACK: Final = Edit("interrupt.py", """
    adapter.unmap(request)
    fill_result(adapter, request, scmd)
""", """
    adapter.unmap(request)
    adapter.kernel.kfree(request.private)
    request.private = None
    fill_result(adapter, request, scmd)
""")
_RESET_GIVES_BACK: Final = Edit("adapter.py", """
            self.unmap(request)
        self.free""", """
            self.unmap(request)
            self.kernel.kfree(request.private)
            request.private = None
        self.free""")

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- after the crash ---------------------------------------------------------------------------------------------
    Saboteur("mem-queuecommand-allocates", "MEM-1", "queuecommand() allocates, and nobody declared it.", (
        _TAKES, _IMPORTS, _SLOT, _STARTS_EMPTY, _GIVES_BACK, _RESET_GIVES_BACK,
    ), case="dump"),
    Saboteur("mem-quiesce-sleeps-for-memory", "MEM-1", "quiesce() allocates new request memory, with GFP_KERNEL.", (
        Edit("dump.py", """
    kernel.spin_lock_init(adapter.queue_lock)
""", """
    kernel.spin_lock_init(adapter.queue_lock)
    adapter.saved = kernel.kmalloc(64 * len(adapter.requests), GFP_KERNEL)
"""),
        Edit("dump.py", "from ddsdk.hookspecs import hookimpl\n",
             "from ddsdk.helperlib.kernel import GFP_KERNEL\nfrom ddsdk.hookspecs import hookimpl\n"),
    ), case="dump"),
    Saboteur("mem-budget-is-not-published", "MEM-2", "4 KiB are declared for crash mode, the profile says nothing.", (
        Edit("driver.py", """
    alloc_requests(adapter)
    adapter.done_tasklet""", """
    alloc_requests(adapter)
    kernel.declare_crash_budget(4096)
    adapter.done_tasklet"""),
    ), case="dump"),
    Saboteur("mem-quiesce-allocates", "MEM-4", "quiesce() allocates within a budget that is declared and published.", (
        Edit("driver.py", """
    alloc_requests(adapter)
    adapter.done_tasklet""", """
    alloc_requests(adapter)
    kernel.declare_crash_budget(4096)
    adapter.done_tasklet"""),
        Edit("conformance.py", "    reset_limit_s=30,\n", "    reset_limit_s=30,\n    crash_budget_bytes=4096,\n"),
        Edit("dump.py", """
    adapter.forget()
    return 0


def toy_poll(""", """
    adapter.forget()
    state = kernel.kmalloc(256, GFP_ATOMIC)
    state[:4] = int(kernel.readl(adapter.chip, Regs.STATUS)).to_bytes(4, "little")
    adapter.printk(f"state at the crash: {state[:4].hex()}")
    kernel.kfree(state)
    return 0


def toy_poll("""),
        Edit("dump.py", "from ddsdk.hookspecs import hookimpl\n",
             "from ddsdk.helperlib.kernel import GFP_ATOMIC\nfrom ddsdk.hookspecs import hookimpl\n"),
    ), case="dump"),
    Saboteur("mem-queuecommand-allocates-as-declared", "MEM-6", "queuecommand() allocates, declared and published.", (
        _TAKES, _IMPORTS, _SLOT, _STARTS_EMPTY, _GIVES_BACK, _RESET_GIVES_BACK,
        Edit("driver.py", """
    alloc_requests(adapter)
    adapter.done_tasklet""", """
    alloc_requests(adapter)
    kernel.declare_crash_budget(4096)
    adapter.done_tasklet"""),
        Edit("conformance.py", "    reset_limit_s=30,\n", "    reset_limit_s=30,\n    crash_budget_bytes=4096,\n"),
    )),

    # -- lost ----------------------------------------------------------------------------------------------------------
    Saboteur("mem-reset-loses-what-commands-took", "MEM-3", "What a command took is given back when it completes.", (
        _TAKES_BEFORE_THE_CRASH, _IMPORTS, _SLOT, _STARTS_EMPTY, _GIVES_BACK,
    ), case="before-the-crash"),
    Saboteur("mem-reset-forgets-to-unmap", "MEM-5", "A reset frees the requests and leaves their memory mapped.", (
        Edit("adapter.py", """
        for request in self.requests:
            self.unmap(request)
        self.free""", """
        for request in self.requests:
            request.mapped = ()
        self.free"""),
    ), case="completion-lost"),
    Saboteur("mem-errors-stay-mapped", "MEM-5", "Only a command that ended well is unmapped.", (
        Edit("interrupt.py", """
    adapter.unmap(request)
    fill_result(adapter, request, scmd)
    adapter.free""", """
    fill_result(adapter, request, scmd)
    if not scmd.result:
        adapter.unmap(request)
    adapter.free"""),
    ), case="disk-error"),
    Saboteur("mem-errors-lose-their-slot", "MEM-7", "A request that ended with an error does not become free again.", (
        Edit("interrupt.py", """
    fill_result(adapter, request, scmd)
    adapter.free.append(request)
""", """
    fill_result(adapter, request, scmd)
    if not scmd.result:
        adapter.free.append(request)
"""),
    )),
    Saboteur("mem-reset-loses-what-it-ends", "MEM-7", "A reset frees the requests that were idle, not those it ends.", (
        Edit("adapter.py", """
        for request in self.requests:
            request.scmd = None
        self.done = []
        self.free = []
        return scmds
""", """
        self.done = []
        return scmds
"""),
        Edit("adapter.py", """
            self.unmap(request)
        self.free = list(reversed(self.requests))
""", """
            self.unmap(request)
        self.free = [request for request in self.requests if request.scmd is None]
        for request in self.requests:
            request.scmd = None
"""),
    )),
    Saboteur("mem-reset-loses-a-slot", "MEM-7", "A reset makes requests free only when there is none left.", (
        Edit("adapter.py", """
        self.done = []
        self.free = []
        return scmds
""", """
        self.done = []
        return scmds
"""),
        Edit("adapter.py", """
        self.free = list(reversed(self.requests))
""", """
        if not self.free:
            self.free = list(reversed(self.requests))
"""),
    )),
    Saboteur("mem-quiesce-forgets-the-mappings", "MEM-8", "quiesce() forgets what is mapped; nobody unmaps it.", (
        Edit("dump.py", """
    adapter.forget()
    return 0


def toy_poll(""", """
    adapter.forget()
    for request in adapter.requests:
        request.mapped = ()
    return 0


def toy_poll("""),
    ), case="in-flight"),
)
