"""Saboteurs of the POLL family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

#: The heart of toy_poll().
_HANDLER: Final = """
        toy_interrupt(0, adapter)
"""
_BOTTOM_HALF: Final = """
        if adapter.done:
            toy_finish(adapter)
"""
#: The last doubts about a tag.
_DOUBTS: Final = " or request.tag != tag or request.scmd is None:\n"
_TAKES_SCMD: Final = "    scmd, request.scmd = request.scmd, None\n"


def _gives_up(seconds: int, how: str, *besides: Edit) -> tuple[Edit, ...]:
    """dump_poll ends what has been with the adapter for so long; *how* says which requests that may befall."""
    return (
        Edit("dump.py", _BOTTOM_HALF, _BOTTOM_HALF + f"""\
        kernel = adapter.kernel
        held = [request for request in adapter.requests if request.scmd is not None]
        for request in {how}:
            if kernel.time_after(kernel.jiffies, request.deadline):
                scmd, request.scmd = request.scmd, None
                end_cmds([scmd], DID_TIME_OUT)
"""),
        Edit("dump.py", "\nfrom .interrupt import", """\
from ddsdk.scsi.cmnd import DID_TIME_OUT

from .adapter import end_cmds
from .interrupt import"""),
        Edit("adapter.py", '    __slots__ = ("block", ', '    __slots__ = ("block", "deadline", '),
        Edit("adapter.py", "        self.tag = number\n", "        self.tag = number\n        self.deadline = 0\n"),
        Edit("driver.py", "    request.scmd = scmd\n", f"""\
    request.scmd = scmd
    request.deadline = adapter.kernel.jiffies + {seconds} * adapter.kernel.HZ
"""),
        *besides,
    )


SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- dump_poll -----------------------------------------------------------------------------------------------------
    Saboteur("poll-is-empty", "POLL-1", "dump_poll leaves everything to the interrupt, which never comes.", (
        Edit("dump.py", _HANDLER + _BOTTOM_HALF[1:], "\n        return\n"),
    )),
    Saboteur("poll-takes-idle-polls-for-a-storm", "POLL-2", "900 idle calls in a second, and the handler gives up.", (
        Edit("interrupt.py", """
    if not pending:
        return IRQ_NONE
""", """
    if not pending:
        if len(adapter.free) == len(adapter.requests):
            storm(adapter)
        return IRQ_NONE
"""),
        Edit("interrupt.py", """
def take_tags(adapter: Adapter) -> None:
""", """
def storm(adapter: Adapter) -> None:
    \"""Called for nothing, no command outstanding: somebody else's line is stuck.\"""
    now = adapter.kernel.jiffies
    if adapter.kernel.time_after(now, adapter.storm_since + adapter.kernel.HZ):
        adapter.storm_since, adapter.storm_calls = now, 0
    adapter.storm_calls += 1
    if adapter.storm_calls == 900:
        adapter.printk("interrupt storm; the line is given up")
        adapter.active = False


def take_tags(adapter: Adapter) -> None:
"""),
        Edit("adapter.py", "        self.reset_tries = 0\n", """\
        self.reset_tries = self.storm_calls = 0
        self.storm_since = kernel.jiffies
"""),
    )),
    Saboteur("poll-forgets-the-tasklet", "POLL-3", "The poll takes the tags and leaves the rest to the tasklet.", (
        Edit("dump.py", _BOTTOM_HALF, "\n"),
    )),
    Saboteur("poll-needs-what-quiesce-sets-up", "POLL-9", "dump_poll counts its calls in what only quiesce makes.", (
        Edit("dump.py", _HANDLER, "\n        adapter.polls += 1" + _HANDLER),
        Edit("dump.py", """
    kernel.spin_lock_init(adapter.queue_lock)
""", """
    kernel.spin_lock_init(adapter.queue_lock)
    adapter.polls = 0
"""),
    ), case="idle"),
    Saboteur("poll-waits", "POLL-10", "dump_poll gives the adapter 150 us before it looks.", (
        Edit("dump.py", _HANDLER, "\n        adapter.kernel.udelay(150)" + _HANDLER),
    ), case="idle"),
    Saboteur("poll-returns-what-the-handler-said", "POLL-10", "dump_poll returns 1 for HANDLED, 0 for NONE.", (
        Edit("dump.py", "def toy_poll(sdev: ScsiDevice) -> None:\n", "def toy_poll(sdev: ScsiDevice) -> int:\n"),
        Edit("dump.py", """
    if adapter is not None:
        toy_interrupt(0, adapter)
        if adapter.done:
            toy_finish(adapter)
""", """
    if adapter is None:
        return 0
    handled = toy_interrupt(0, adapter)
    if adapter.done:
        toy_finish(adapter)
    return handled
"""),
        Edit("dump.py", "        toy_poll(sdev)\n", "        return toy_poll(sdev)\n"),
    ), case="idle"),

    # -- completions ---------------------------------------------------------------------------------------------------
    Saboteur("poll-gives-lost-completions-up", "POLL-4", "What has not ended after 12 s is ended by the poll.",
             _gives_up(12, "held")),
    Saboteur("poll-gives-late-completions-up", "POLL-5", "A lone command is given up when 2 s go by and nothing ends.",
             _gives_up(2, "held if len(held) == 1 else ()", Edit("interrupt.py", """
    scmds = [finish_request(adapter, tag) for tag in tags]
""", """
    scmds = [finish_request(adapter, tag) for tag in tags]
    for request in adapter.requests if tags else ():        # it is alive: the others get more time
        request.deadline += 60 * kernel.HZ
"""))),
    Saboteur("poll-believes-a-second-tag", "POLL-6", "Whether a tag's request still has a command is not asked.", (
        Edit("interrupt.py", _DOUBTS, " or request.tag != tag:\n"),
    )),
    Saboteur("poll-does-not-bound-the-tag", "POLL-7", "The number in a tag is used as an index as it comes.", (
        Edit("interrupt.py", " if number < len(adapter.requests) else None\n", "\n"),
    )),
    Saboteur("poll-takes-eight-tags", "POLL-11", "DONE is thought to hold eight tags at most; the ninth is lost.", (
        Edit("interrupt.py", "    left = 4 * len(adapter.requests)\n", "    left = 8\n"),
    )),
    Saboteur("poll-drops-all-but-the-last", "POLL-11", "Of the tags in DONE only the last is kept.", (
        Edit("interrupt.py", "        adapter.done.append(tag)\n", "        adapter.done = [tag]\n"),
    )),
    Saboteur("poll-believes-an-old-status-block", "POLL-12", "A status block is heard that speaks of the last use.", (
        Edit("interrupt.py", " or request.scmd is None:\n", " or request in adapter.free:\n"),
        Edit("interrupt.py", """
    fill_result(adapter, request, scmd)
    adapter.free""", """
    if scmd is not None:
        fill_result(adapter, request, scmd)
    adapter.free"""),
        Edit("interrupt.py", """
    scmds = [finish_request(adapter, tag) for tag in tags]
""", """
    scmds = [finish_request(adapter, tag) for tag in tags]
    for request in adapter.requests if tags else ():
        scmd = request.scmd
        if scmd is not None and scmd.request_bufflen:
            fill_result(adapter, request, scmd)
            if not scmd.result and not scmd.resid:      # all has moved; the tag will give the request back
                request.scmd = None
                scmds.append(scmd)
"""),
    )),
    Saboteur("poll-tells-of-a-read-for-a-write", "POLL-12", "A write that ends is reported as the read beside it.", (
        Edit("interrupt.py", _TAKES_SCMD, """\
    other = next((other for other in adapter.requests
                  if other.scmd is not None and other.scmd.request_bufflen == request.scmd.request_bufflen
                  and (request.scmd.sc_data_direction, other.scmd.sc_data_direction) == (1, 2)), None)
    if other is not None and adapter.kernel.crashdump_mode():
        request.scmd, other.scmd = other.scmd, request.scmd
""" + _TAKES_SCMD),
    )),
    Saboteur("poll-does-not-count-uses", "POLL-14", "A tag is the request's number, and looks the same at each use.", (
        Edit("interrupt.py", _DOUBTS, " or request.scmd is None:\n"),
    )),

    # -- the handler ---------------------------------------------------------------------------------------------------
    Saboteur("poll-names-a-fault-code-of-all-ones", "POLL-8", "All ones are a fault, whose code has no name.", (
        Edit("interrupt.py", """
    if pending == ALL_ONES:
        toy_gone(adapter)
        return IRQ_NONE
""", "\n"),
        Edit("interrupt.py", "firmware fault {status.CODE:#04x}", "firmware fault: {FaultCode(status.CODE).name}"),
        Edit("interrupt.py", "from .regs import ALL_ONES, DONE_EMPTY, Regs\n",
             "from .regs import DONE_EMPTY, FaultCode, Regs\n"),
    ), case="all-ones"),
    Saboteur("poll-claims-every-interrupt", "POLL-13", "The handler says HANDLED when nothing of its own is pending.", (
        Edit("interrupt.py", """
    if not pending:
        return IRQ_NONE
""", """
    if not pending:
        return IRQ_HANDLED
"""),
    ), case="idle"),
)
