"""Waiting for what only another program knows, and whether a process is still there."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def until(condition: Callable[[], _T], otherwise: str, *, limit_s: float = 60.0, every_s: float = 0.05) -> _T:
    """Look again and again until `condition` returns something true, and return that; else fail with `otherwise`."""
    ends_at = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > ends_at:
            raise AssertionError(otherwise)
        time.sleep(every_s)  # between two looks: nothing of ours becomes ready when another program does
    return value


def process_exists(pid: int) -> bool:
    """Say whether a process with that id is running, or waits to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
