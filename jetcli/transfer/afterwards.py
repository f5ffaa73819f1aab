"""The command of the user that is run for every file that has come (`--exec`), without a shell."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from jetcli.protocol.policy import shown
from jetcli.transfer.events import FileDone, Listener, Warned

#: How long a command that is asked to end may take; less than what is left to us when a signal stops us.
GRACE_S = 0.5


class Afterwards:
    """Runs `command` for files in the order in which they come, one at a time, beside what brings them.

    A context manager: leaving it waits for the last of them, or ends it where we are stopped.
    """

    def __init__(self, command: Sequence[str], sender: str, emit: Listener) -> None:
        self._command = command
        self._sender = sender
        self._emit = emit
        self._files: asyncio.Queue[FileDone | None] = asyncio.Queue()

    def for_file(self, done: FileDone) -> None:
        """Run the command for this file too, when its turn comes."""
        if self._command:
            self._files.put_nowait(done)

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._running.cancel()
        self._files.put_nowait(None)
        try:
            await asyncio.wait({self._running})
        finally:
            if not self._running.done():
                self._running.cancel()
                await asyncio.wait({self._running})

    async def _run(self) -> None:
        while (done := await self._files.get()) is not None:
            await run_for(self._command, done, self._sender, self._emit)


async def run_for(command: Sequence[str], done: FileDone, sender: str, emit: Listener) -> None:
    """Run `command` with what came in its environment, and wait for it; a failure is told and stops nothing.

    Cancelling ends it, by force where it does not go when it is asked to. Its standard output is our standard error,
    since ours is for file names and events.
    """
    told = {
        "JET_PATH": str(done.path.absolute()) if done.path else "",
        "JET_NAME": done.name,
        "JET_FROM": sender,
        "JET_SIZE": str(done.size),
        "JET_ID": done.id,
    }
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr.fileno(), env=os.environ | told
        )
    except OSError as error:
        emit(Warned(f"cannot run '{shown(command[0])}': {(error.strerror or '').lower()}", done.id))
        return
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await _end(process)
        raise
    if code:
        emit(Warned(f"'{shown(command[0])}' failed for '{shown(done.name)}' with exit code {code}", done.id))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command that we do not wait for any more."""
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(GRACE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
