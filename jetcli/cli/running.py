"""Runs one command on an event loop of its own, and ends it in good order when a signal says so."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from jetcli.cli.invocation import Invocation
from jetcli.cli.logs import set_up_logs
from jetcli.cli.report import Report
from jetcli.cli.signals import Stopped

T = TypeVar("T")

#: What still runs when a command has ended had its chance; this is for the last close of a socket.
REST_S = 0.1


def carry_out(invocation: Invocation, report: Report, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do `work` to its end; raise Stopped where a signal has cancelled it."""
    set_up_logs(invocation)
    # `run` has put it off; what was imported until now is not looked through again.
    gc.freeze()
    gc.enable()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, context: _stray(report, invocation, context))
    report.view.later = loop.call_later
    loop.add_signal_handler(signal.SIGUSR1, report.view.status)
    task = loop.create_task(work())
    invocation.interruption.cancels(lambda: loop.call_soon_threadsafe(task.cancel))
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        raise Stopped from None
    finally:
        report.view.later = None
        _end(loop)
        invocation.interruption.cancels(None)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, wait a moment for it, and do not wait for threads."""
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    if rest:
        loop.run_until_complete(asyncio.wait(rest, timeout=REST_S))
    loop.close()
    # The loop has put the system's way back, which is to end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _stray(report: Report, invocation: Invocation, context: dict[str, Any]) -> None:
    """Tell of a failure in a callback that nobody waits for, to whoever looks for a bug and to nobody else."""
    if invocation.verbose > 1:
        cause = context.get("exception") or context.get("message")
        report.view.line(f"jet: stray: {cause!r}")
