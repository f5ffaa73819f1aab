"""`jet receive` that measures how late its own event loop is, and writes that into its home. Bench only."""

import asyncio
import json
import os
import time
from pathlib import Path

from jetcli.cli import run
from jetcli.transfer import incoming

TICK_S = 0.005
_running = 0
_late: list[float] = []
_receive = incoming.Incoming.run


async def _watch() -> None:
    while _running:
        due = time.monotonic() + TICK_S
        await asyncio.sleep(TICK_S)
        _late.append((time.monotonic() - due) * 1000)
    ordered = sorted(_late)
    found = {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100], "max": ordered[-1]}
    (Path(os.environ["JET_HOME"]) / "lateness").write_text(json.dumps(found))


async def _watched(self: incoming.Incoming, begin: incoming.Begin) -> object:
    global _running  # noqa: PLW0603 (one process, one count)
    _running += 1
    watch = asyncio.create_task(_watch()) if _running == 1 else None
    try:
        return await _receive(self, begin)
    finally:
        _running -= 1
        if watch is not None and not _running:
            await watch


incoming.Incoming.run = _watched

if __name__ == "__main__":
    run()
