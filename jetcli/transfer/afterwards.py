"""The command of the user that is run for every file that has come (`--exec`), without a shell."""

import asyncio
import os
import sys
from collections.abc import Sequence

from jetcli.protocol.policy import shown
from jetcli.transfer.events import FileDone, Listener, Warned


async def run_for(command: Sequence[str], done: FileDone, sender: str, emit: Listener) -> None:
    """Run `command` with what came in its environment, and wait for it; a failure is told and stops nothing.

    Its standard output is our standard error, since ours is for file names and events.
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
        code = await process.wait()
    except OSError as error:
        emit(Warned(f"cannot run '{shown(command[0])}': {(error.strerror or '').lower()}", done.id))
        return
    if code:
        emit(Warned(f"'{shown(command[0])}' failed for '{shown(done.name)}' with exit code {code}", done.id))
