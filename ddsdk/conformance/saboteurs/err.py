"""Saboteurs of the ERR family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

#: What several of them change: how a command that ended is judged.
_ENDED: Final = """
    if status.OUTCOME == Outcome.ENDED:
        scmd.result |= status.SCSI_STATUS
"""
_RESID: Final = "    scmd.resid = max(0, scmd.request_bufflen - status.MOVED)\n"
#: The abort as it is, and the resets.
_ABORT: Final = """
    return SUCCESS if request is None else ask(scmd, Regs.ABORT, request.tag, lambda other: other is scmd)
"""
_RESET_TARGET: Final = """
    return ask(scmd, Regs.RESET_TARGET, scmd.device.id, lambda other: other.device.id == scmd.device.id)
"""
_RESET_BUS: Final = """
    return ask(scmd, Regs.RESET_TARGET, WHOLE_BUS, lambda other: True)
"""
#: The beginning of the end of a request, and the same request handed over once more.
_ENDS: Final = """
    scmd, request.scmd = request.scmd, None
    adapter.unmap(request)
"""
_SENT_AGAIN: Final = """\
        bus_addr = adapter.pool.bus_addr + request.block
        adapter.kernel.writel(bus_addr & 0xFFFFFFFF, adapter.chip, Regs.SUBMIT_LOW)
        adapter.kernel.writel(bus_addr >> 32, adapter.chip, Regs.SUBMIT_HIGH)
        return None
"""

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- what the disk said ------------------------------------------------------------------------------------------
    Saboteur("err-status-never-looked-at", "ERR-1", "The target's status is left out of the result: all is GOOD.", (
        Edit("interrupt.py", "        scmd.result |= status.SCSI_STATUS\n", ""),
    ), case="sync-fails"),
    Saboteur("err-only-check-condition-counts", "ERR-1", "Of the target's status only CHECK CONDITION is passed on.", (
        Edit("interrupt.py", "        scmd.result |= status.SCSI_STATUS\n",
             "        scmd.result |= status.SCSI_STATUS & 0x02\n"),
    ), case="sync-reserved"),
    Saboteur("err-busy-is-a-bad-target", "ERR-1", "A target that says BUSY is reported as one that is not there.", (
        Edit("interrupt.py", _ENDED, """
    if status.OUTCOME == Outcome.ENDED and status.SCSI_STATUS == 0x08:
        scmd.result = DID_NO_CONNECT << 16
    elif status.OUTCOME == Outcome.ENDED:
        scmd.result |= status.SCSI_STATUS
"""),
    ), case="busy"),
    Saboteur("err-resid-is-always-zero", "ERR-1", "resid is 0 whatever moved.", (
        Edit("interrupt.py", _RESID, "    scmd.resid = 0\n"),
    ), case="wrong-length"),
    Saboteur("err-sense-key-only", "ERR-1", "Of the sense data the key is copied, the additional code is not.", (
        Edit("interrupt.py", "min(status.SENSE_COUNT, SENSE_BYTES)", "min(status.SENSE_COUNT, 8)"),
    ), case="becoming-ready"),

    # -- what the adapter said ---------------------------------------------------------------------------------------
    Saboteur("err-unknown-outcome-is-fatal", "ERR-2", "An outcome that is not in the table is DID_BAD_TARGET.", (
        Edit("interrupt.py", "(status.OUTCOME, DID_ERROR)", "(status.OUTCOME, DID_BAD_TARGET)"),
        Edit("interrupt.py", "import DID_ABORT, DID_ERROR,", "import DID_ABORT, DID_BAD_TARGET,"),
    ), case="outcome-unknown"),
    Saboteur("err-unknown-outcome-is-a-key-error", "ERR-2", "The table of outcomes has not all of them.", (
        Edit("interrupt.py", "_HOST_BYTES.get(status.OUTCOME, DID_ERROR)", "_HOST_BYTES[status.OUTCOME]"),
    ), case="dma-error"),
    Saboteur("err-parity-is-an-abort", "ERR-2", "A parity error is DID_ABORT, which nobody tries again.", (
        Edit("interrupt.py", "Outcome.PARITY: DID_PARITY", "Outcome.PARITY: DID_ABORT"),
    ), case="bus-parity"),
    Saboteur("err-a-reset-has-one-try", "ERR-3", "A reset that fails is not tried again.", (
        Edit("recovery.py", "RESET_TRIES: Final = 3\n", "RESET_TRIES: Final = 1\n"),
    ), case="reset-ignored"),
    Saboteur("err-self-test-failed-once", "ERR-3", "A reset that ends in FAULT is not tried again.", (
        Edit("recovery.py", "(State.READY, State.GONE)", "(State.READY, State.FAULT, State.GONE)"),
    ), case="reset-faults"),

    # -- sense data --------------------------------------------------------------------------------------------------
    Saboteur("err-one-sense-buffer", "ERR-4", "All requests have the same sense buffer.", (
        Edit("driver.py", "senses + depth * SENSE_BYTES)", "senses + SENSE_BYTES)"),
        Edit("driver.py", "lists + n * list_bytes, senses + n * SENSE_BYTES)", "lists + n * list_bytes, senses)"),
    )),
    Saboteur("err-stale-sense", "ERR-4", "The sense buffer is copied whether the adapter wrote it or not.", (
        Edit("interrupt.py", "        count = min(status.SENSE_COUNT, SENSE_BYTES)\n", "        count = SENSE_BYTES\n"),
    )),
    Saboteur("err-sense-without-information", "ERR-4", "Of the sense data key and codes are copied, nothing else.", (
        Edit("interrupt.py", """
        scmd.sense_buffer[:count] = view[request.sense:request.sense + count]
""", """
        sense = view[request.sense:request.sense + count]
        if count > 13:
            scmd.sense_buffer[:14] = bytes((sense[0], 0, sense[2], 0, 0, 0, 0, 10, 0, 0, 0, 0, sense[12], sense[13]))
"""),
    )),

    # -- nobody there ------------------------------------------------------------------------------------------------
    Saboteur("err-no-lun-in-the-request", "ERR-5", "Every command goes to LUN 0.", (
        Edit("driver.py", "        LUN=sdev.lun,\n", "        LUN=0,\n"),
    )),
    Saboteur("err-absent-target-is-good", "ERR-5", "An outcome other than ENDED leaves the result as it was: good.", (
        Edit("interrupt.py", "Outcome.NO_TARGET: DID_NO_CONNECT", "Outcome.NO_TARGET: DID_OK"),
    )),
    Saboteur("err-absent-target-waited-for", "ERR-5", "A target that does not answer is asked nine times more.", (
        Edit("interrupt.py", _ENDS, """
    status = StatusBlock.on(WIRE_LE).unpack(adapter.pool.view, request.block + STATUS_OFFSET)
    if status.OUTCOME == Outcome.NO_TARGET and request.again < 9:
        request.again += 1
""" + _SENT_AGAIN + "    request.again = 0" + _ENDS),
        Edit("adapter.py", '__slots__ = ("block"', '__slots__ = ("again", "block"'),
        Edit("adapter.py", "        self.tag = number\n", "        self.again = 0\n        self.tag = number\n"),
    )),

    # -- the error handlers ------------------------------------------------------------------------------------------
    Saboteur("err-abort-says-success", "ERR-6", "The abort names the number, not the tag, and says SUCCESS.", (
        Edit("recovery.py", _ABORT, """
    if request is not None:
        adapter.kernel.writel(request.tag & TAG_NUMBER, adapter.chip, Regs.ABORT)
    return SUCCESS
"""),
        Edit("recovery.py", "from .regs import MASK_ALL", "from .frames import TAG_NUMBER\nfrom .regs import MASK_ALL"),
    ), case="answered-late"),
    Saboteur("err-abort-without-the-adapter", "ERR-6", "The abort frees the request and does not tell the adapter.", (
        Edit("recovery.py", _ABORT, """
    if request is not None:
        request.scmd = None
        adapter.unmap(request)
        adapter.free.append(request)
    return SUCCESS
"""),
    ), case="answered-late"),
    Saboteur("err-abort-ends-it-again", "ERR-6", "A command that has ended meanwhile is ended once more, as aborted.", (
        Edit("recovery.py", _ABORT, """
    if request is None:
        end_cmds([scmd], DID_ABORT)
        return SUCCESS
    return ask(scmd, Regs.ABORT, request.tag, lambda other: other is scmd)
"""),
        Edit("recovery.py", "import DID_NO_CONNECT, DID_RESET", "import DID_ABORT, DID_NO_CONNECT, DID_RESET"),
    ), case="never-answered"),
    Saboteur("err-device-reset-is-one-abort", "ERR-7", "The device reset aborts the command it was called for.", (
        Edit("recovery.py", _RESET_TARGET, """
    return toy_abort(scmd)
"""),
    ), case="answered-late"),
    Saboteur("err-device-reset-tells-nobody", "ERR-7", "The device reset takes commands back and tells nobody.", (
        Edit("recovery.py", _RESET_TARGET, """
    adapter: Adapter = scmd.device.host.hostdata
    held = [one for one in adapter.requests if one.scmd is not None and one.scmd.device.id == scmd.device.id]
    result = ask(scmd, Regs.RESET_TARGET, scmd.device.id, lambda other: False)
    for request in held:
        request.scmd = None
        adapter.unmap(request)
        adapter.free.append(request)
    return result
"""),
    ), case="never-answered"),
    Saboteur("err-bus-reset-of-no-target", "ERR-8", "The bus reset names no target, and says SUCCESS.", (
        Edit("recovery.py", _RESET_BUS, """
    return ask(scmd, Regs.RESET_TARGET, 0x0F, lambda other: False)
"""),
    ), case="answered-late"),

    # -- nothing is eaten --------------------------------------------------------------------------------------------
    Saboteur("err-failed-request-is-lost", "ERR-9", "The request of a command that failed is not given back.", (
        Edit("interrupt.py", "    adapter.free.append(request)\n    return scmd\n", """\
    if not scmd.result:
        adapter.free.append(request)
    return scmd
"""),
    )),

    Saboteur("err-log-that-fills-up", "ERR-9", "Sense data goes into a log of 64 entries that nobody empties: busy.", (
        Edit("interrupt.py", """
        count = min(status.SENSE_COUNT, SENSE_BYTES)
""", """
        count = min(status.SENSE_COUNT, SENSE_BYTES)
        if count:
            adapter.log.append(bytes(view[request.sense:request.sense + count]))
"""),
        Edit("driver.py", "    if not adapter.active or not adapter.free:\n",
             "    if not adapter.active or not adapter.free or len(adapter.log) >= 64:\n"),
        Edit("adapter.py", "        self.reset_error = 0\n",
             "        self.reset_error = 0\n        self.log: list[bytes] = []\n"),
    )),

    # -- what moved --------------------------------------------------------------------------------------------------
    Saboteur("err-resid-in-sectors", "ERR-10", "resid counts whole sectors, and is 0 for an INQUIRY cut short.", (
        Edit("interrupt.py", _RESID, "    scmd.resid = max(0, scmd.request_bufflen - status.MOVED) // 512 * 512\n"),
    )),
    Saboteur("err-resid-only-of-good-commands", "ERR-10", "resid of a command that moved nothing is left 0.", (
        Edit("interrupt.py", _RESID, """\
    if status.MOVED:
        scmd.resid = scmd.request_bufflen - status.MOVED
"""),
    )),

    # -- for ever ----------------------------------------------------------------------------------------------------
    Saboteur("err-aborted-command-sent-again", "ERR-11", "What the disk aborted is sent again until it is not.", (
        Edit("interrupt.py", _ENDS, """
    status = StatusBlock.on(WIRE_LE).unpack(adapter.pool.view, request.block + STATUS_OFFSET)
    if status.SENSE_COUNT and adapter.pool.view[request.sense + 2] & 0x0F == ABORTED_COMMAND:
        adapter.again = True
""" + _SENT_AGAIN.rstrip("\n") + _ENDS),
        Edit("interrupt.py", "from .adapter import SENSE_BYTES",
             "from ddsdk.scsi.sense import ABORTED_COMMAND\n\nfrom .adapter import SENSE_BYTES"),
        Edit("adapter.py", "self.resetting = self.dead = False\n", "self.resetting = self.dead = self.again = False\n"),
        Edit("dump.py", """
        if adapter.done:
            toy_finish(adapter)
""", """
        if adapter.done:
            toy_finish(adapter)
        while adapter.again:
            adapter.again = False
            TOY_MDELAY(adapter.kernel, 50)
            toy_interrupt(0, adapter)
            toy_finish(adapter)
"""),
    ), case="disk-aborted-command"),
    Saboteur("err-resets-until-the-disk-answers", "ERR-12", "It resets until TEST UNIT READY is answered.", (
        Edit("recovery.py", """
    error = toy_reset(shost.hostdata, "host reset")
    TOY_HOST_LOCK(shost)
    return FAILED if error else SUCCESS
""", """
    error = toy_reset(shost.hostdata, "host reset")
    while not error and not answers(scmd.device):
        shost.kernel.diskdump_msleep(5000)
        error = toy_reset(shost.hostdata, "no answer after the reset")
    TOY_HOST_LOCK(shost)
    return FAILED if error else SUCCESS


def answers(sdev: ScsiDevice) -> bool:
    \"""Whether a TEST UNIT READY ends, and not by another reset.\"""
    shost, scmd, ended = sdev.host, ScsiCmnd(sdev), []
    scmd.set_cdb(bytes(6))
    TOY_HOST_LOCK(shost)
    shost.hostt.queuecommand(scmd, ended.append)
    TOY_HOST_UNLOCK(shost)
    kernel, wait = shost.kernel, shost.hostdata.wait
    kernel.wait_event_timeout(wait, lambda: bool(ended), kernel.msecs_to_jiffies(ASK_LIMIT_MS))
    return not ended or host_byte(scmd.result) != DID_RESET
"""),
        Edit("recovery.py", "import DID_NO_CONNECT, DID_RESET, FAILED, SUCCESS",
             "import DID_NO_CONNECT, DID_RESET, FAILED, SUCCESS, ScsiCmnd, host_byte"),
    ), case="firmware-fault"),
)
