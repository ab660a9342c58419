"""The reset job: its engine, and how it ends.  Its steps are in reset.py and bringup.py.

hw-ipr.md section 10.  One job, one command block; a step sends a request or arms the block's timer and returns, and
the response, the timer, or TO_OPER brings on the next.  In crash mode the timers run in diskdump_update(), responses
and TO_OPER come by the poll, and a work item or the error handler waits for the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET, end_cmds

from .command import ipr_arm, ipr_do_req
from .frames import ShutdownType
from .ioasc import Ioasc, ioasc_name, sense_key
from .regs import TO_OPER

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import IprCmnd, IprIoaCfg

#: Resets in a row after which the adapter is given up; fewer after a crash: the next dump device waits.
IPR_NUM_RESET_RELOAD_RETRIES: Final = 3
_CRASH_RETRIES: Final = 1

#: A whole job is over by then, however it ends, with all its retries.
_JOB_LIMIT_MS: Final = 2_400_000
#: While the job waits for a response that should come soon, and while it waits for anything else.
_RESPONSE_STEP_MS, _TIMER_STEP_MS = 1, 10
_SOON_MS: Final = 100


# -- engine --------------------------------------------------------------------------------------------------


def ipr_initiate_ioa_reset(ioa_cfg: IprIoaCfg, shutdown_type: ShutdownType, why: str) -> None:
    """Begin the job, or begin it again; any context.  One retry too many, and the adapter is dead."""
    kernel = ioa_cfg.kernel
    ioa_cfg.printk(f"{why}; resetting")
    flags = kernel.spin_lock_irqsave(ioa_cfg.lock)
    finished = ioa_cfg.ioa_is_dead
    ioa_cfg.in_reset_reload, ioa_cfg.allow_cmds, ioa_cfg.waits_for_oper = True, False, False
    retries = _CRASH_RETRIES if kernel.crashdump_mode() else IPR_NUM_RESET_RELOAD_RETRIES
    if not finished and ioa_cfg.reset_retries > retries:
        ioa_cfg.ioa_is_dead = ioa_cfg.in_ioa_bringdown = True
        shutdown_type = ShutdownType.NONE
    ioa_cfg.reset_retries += 1
    kernel.spin_unlock_irqrestore(ioa_cfg.lock, flags)
    if finished:
        ipr_job_end(ioa_cfg)                           # not even the bring-down of a dead adapter worked
        return
    if ioa_cfg.ioa_is_dead:
        ioa_cfg.printk(f"given up after {ioa_cfg.reset_retries - 1} resets that failed")
    ipr_stop_job(ioa_cfg)
    ioa_cfg.pick_reset_cmd()
    ioa_cfg.shutdown_type = shutdown_type
    ioa_cfg.job_step = ioa_cfg.first_step
    if kernel.crashdump_mode() and not ioa_cfg.waiters:
        kernel.schedule_work(ioa_cfg.reset_work)
    ipr_reset_ioa_job(ioa_cfg)


def ipr_stop_job(ioa_cfg: IprIoaCfg) -> None:
    """Nothing that the job waited for brings it on any more: its block's response and timer are stale."""
    ipr_cmd = ioa_cfg.reset_cmd
    ipr_cmd.pending = ipr_cmd.timed = False
    ioa_cfg.kernel.del_timer(ipr_cmd.timer)


def ipr_reset_ioa_job(ioa_cfg: IprIoaCfg) -> None:
    """Run steps until one waits for something."""
    while ioa_cfg.job_step(ioa_cfg):
        pass


def ipr_reset_start_timer(ioa_cfg: IprIoaCfg, ms: int) -> bool:
    """T(x): the next step comes in *ms* milliseconds.  False, which is what the step returns."""
    ipr_arm(ioa_cfg, ioa_cfg.reset_cmd, _timer_done, ms)
    return False


def _timer_done(ipr_cmd: IprCmnd) -> None:
    """void ipr_reset_timer_done(struct ipr_cmnd *)."""
    ipr_cmd.timed = False
    ipr_reset_ioa_job(ipr_cmd.ioa_cfg)


def ipr_timeout(ipr_cmd: IprCmnd) -> None:
    """A request of the driver's own got no answer in time.  Its block stays the adapter's until the reset is through.

    C: void ipr_timeout(struct ipr_cmnd *)
    """
    ioa_cfg = ipr_cmd.ioa_cfg
    ipr_cmd.timed = False
    if not ioa_cfg.in_reset_reload or ipr_cmd is ioa_cfg.reset_cmd:
        ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NONE, "a command of the driver's own timed out")


def ipr_job_request(ioa_cfg: IprIoaCfg, timeout_ms: int) -> bool:
    """Send the job's block, which is filled in: a good end brings on the next step, any other a new reset."""
    ipr_do_req(ioa_cfg, ioa_cfg.reset_cmd, _request_done, ipr_timeout, timeout_ms)
    return False


def _request_done(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    ioasc = ioa_cfg.word(ipr_cmd.ioasa_offset)
    if sense_key(ioasc):
        ipr_reset_failed(ioa_cfg, f"a step of the reset failed: {ioasc_name(ioasc)}")
    else:
        ipr_reset_ioa_job(ioa_cfg)


def ipr_reset_failed(ioa_cfg: IprIoaCfg, why: str) -> bool:
    """int ipr_reset_cmd_failed(struct ipr_cmnd *): once more from the beginning.  False, as a step returns it."""
    ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NONE, why)
    return False


def ipr_wait_for_reset(ioa_cfg: IprIoaCfg) -> bool:
    """Wait for the job's end: whether commands can be sent.  No lock is held; bounded by the job's own limits."""
    kernel = ioa_cfg.kernel
    if not kernel.crashdump_mode():
        kernel.wait_event_timeout(ioa_cfg.reset_wait_q, lambda: not ioa_cfg.in_reset_reload,
                                  kernel.msecs_to_jiffies(_JOB_LIMIT_MS))
        return ioa_cfg.allow_cmds
    ioa_cfg.waiters += 1
    waited_ms, step, since_ms = 0, ioa_cfg.job_step, 0
    while ioa_cfg.in_reset_reload and waited_ms < _JOB_LIMIT_MS:
        ioa_cfg.poll()
        kernel.diskdump_update()
        if not ioa_cfg.in_reset_reload:
            break
        if step is not ioa_cfg.job_step:
            step, since_ms = ioa_cfg.job_step, waited_ms
        soon = ioa_cfg.reset_cmd.pending and waited_ms - since_ms < _SOON_MS
        delay_ms = _RESPONSE_STEP_MS if soon else _TIMER_STEP_MS
        kernel.diskdump_mdelay(delay_ms)
        waited_ms += delay_ms
    ioa_cfg.waiters -= 1
    return ioa_cfg.allow_cmds


def ipr_reset_work(ioa_cfg: IprIoaCfg) -> None:
    """The work item of crash mode: a job that a poll began is seen through before the dump goes on."""
    if ioa_cfg.in_reset_reload and not ioa_cfg.waiters:
        ipr_wait_for_reset(ioa_cfg)


def ipr_oper(ioa_cfg: IprIoaCfg) -> None:
    """TO_OPER came up, and the job waits for it: mask it again, clear it, go on."""
    kernel, window, regs = ioa_cfg.kernel, ioa_cfg.hdw_dma_regs, ioa_cfg.regs
    ioa_cfg.waits_for_oper = False
    ipr_stop_job(ioa_cfg)
    kernel.writel(TO_OPER, window, regs.MASK_SET)
    kernel.writel(TO_OPER, window, regs.INT_CLR)
    kernel.readl(window, regs.INT)
    ipr_reset_ioa_job(ioa_cfg)


# -- its end -------------------------------------------------------------------------------------------------


def ipr_fail_all_ops(ioa_cfg: IprIoaCfg) -> None:
    """End every request that the adapter held, and take back all memory it may have reached."""
    scmds: list[ScsiCmnd] = []
    callers: list[IprCmnd] = []
    eh_blocks = ioa_cfg.eh_blocks
    for block in ioa_cfg.blocks:
        ioa_cfg.unmap(block)
        was_pending, block.pending, block.held = block.pending, False, False
        scmd, block.scmd = block.scmd, None
        res, block.res = block.res, None
        if res is not None:
            res.in_erp = False
        if block.timed:
            block.timed = False
            ioa_cfg.kernel.del_timer(block.timer)
        if scmd is not None:
            scmds.append(scmd)
        elif was_pending and block in eh_blocks:
            callers.append(block)
    ioa_cfg.refill_free_q()
    for block in callers:
        ioa_cfg.put_word(block.ioasa_offset, Ioasc.IOA_WAS_RESET)
        block.done(ioa_cfg, block)
    end_cmds(scmds, DID_NO_CONNECT if ioa_cfg.ioa_is_dead else DID_RESET)


def ipr_ioa_gone(ioa_cfg: IprIoaCfg) -> None:
    """The adapter does not answer any more, and will not: no reset brings it back."""
    ioa_cfg.printk("the adapter is gone")
    ioa_cfg.ioa_is_dead = True
    ioa_cfg.allow_cmds = ioa_cfg.allow_interrupts = False
    ipr_stop_job(ioa_cfg)
    ipr_job_end(ioa_cfg)


def ipr_job_end(ioa_cfg: IprIoaCfg) -> None:
    """The job is over, and the adapter is down: dead, or brought down on purpose."""
    ioa_cfg.hrrq_live = ioa_cfg.waits_for_oper = False
    ipr_fail_all_ops(ioa_cfg)
    ipr_reset_over(ioa_cfg)


def ipr_reset_over(ioa_cfg: IprIoaCfg) -> None:
    """Nobody waits any longer."""
    ioa_cfg.job_step = _over
    ioa_cfg.in_reset_reload = ioa_cfg.in_ioa_bringdown = False
    ioa_cfg.kernel.wake_up(ioa_cfg.reset_wait_q)


def _over(_ioa_cfg: IprIoaCfg) -> bool:
    return False
