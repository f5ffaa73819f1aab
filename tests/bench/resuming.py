"""Measurements of resuming: when the first new byte is sent, and what a proof by content costs."""

import hashlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from report import Table, spread
from world import Jet, World, make_file, world

GIB = 1 << 30
SIZE = 16 * GIB
#: A whole number of chunks, as much as 99 % of the file.
HELD = SIZE * 99 // 100 // 262_144 * 262_144


def resume(memory: Path, rounds: int) -> Table:
    """16 GiB at 99 %: from the start of `jet resume` to the first new byte, with and without a proof by content."""
    source = make_file(memory / "source", SIZE, sparse=True)
    small = make_file(memory / "small", 1)
    fresh: list[float | None] = []
    vouched: list[tuple[float, float, float]] = []
    proven: list[tuple[float, float, float]] = []
    alone: list[float] = []
    with world(memory) as here:
        for _ in range(rounds):
            fresh.append(here.transfer(small).first_byte_s)
            vouched.append(_resumed(here, source))
            alone.append(_sha256_pass(source))
            proven.append(_resumed(here, source, change=lambda: os.chmod(source, os.stat(source).st_mode ^ 0o040)))
    source.unlink()
    header = ("16 GiB, 99 % held", "first byte after the start, s", "of which comparing, s", "peak RSS MiB, sender")
    table = Table("resume", "Resuming 16 GiB at 99 %, by the sender, loopback", header)
    table.rows.append(("a new transfer of 1 byte", spread(fresh), "–", "–"))
    for name, samples in (("source vouched for", vouched), ("proof by content", proven)):
        first, comparing, rss = zip(*samples, strict=True)
        table.rows.append((name, spread(first), spread(comparing), spread(rss, 0)))
    ratios = [comparing / sha_s for (_, comparing, _), sha_s in zip(proven, alone, strict=True)]
    table.notes.append(
        f"One SHA-256 pass over the prefix, alone, in the same rounds: {spread(alone)} s. The comparison, in which both"
        f" sides hash at the same time, takes {spread(ratios)} times that. The file is a hole, so no disk is read."
    )
    return table


def _resumed(here: World, source: Path, change: Callable[[], None] = lambda: None) -> tuple[float, float, float]:
    """Interrupt a transfer and resume it; return when its first byte went, what comparing took, and the peak."""
    _interrupt(here, source)
    change()
    receiver = here.receiver()
    resuming = Jet(here.homes["romeo"], "resume", "-vv", str(source))
    here.started.append(resuming)
    usage = resuming.end()
    receiver.end()
    first = next(event for event in resuming.all("progress") if event["bytes"] > HELD)["at"]
    path = resuming.at("path")
    accepted = resuming.at("accepted") if resuming.all("accepted") else resuming.at("offer")
    for file in here.inbox.iterdir():
        if file.stat().st_size != SIZE:
            raise RuntimeError(f"{file} is not whole")
        file.unlink()
    return min(first, path) - resuming.started, path - accepted, usage.rss_mib


def _interrupt(here: World, source: Path) -> None:
    """Kill both sides soon after the start, and let the receiver hold 99 %: the file is a hole, and so is the part."""
    receiver, sender = here.receiver(), here.sender(str(source))
    receiver.wait_for("progress", 2)
    for jet in (sender, receiver):
        jet.process.send_signal(signal.SIGKILL)
        jet.process.wait()
    [part] = here.inbox.glob(".jet-*.part")
    os.truncate(part, 0)
    os.truncate(part, HELD)
    with sqlite3.connect(next(here.homes["juliet"].glob("state/*/state.db"))) as state:
        state.execute("UPDATE transfers SET verified = ?, synced = ? WHERE state != 'done'", (HELD, HELD))


def _sha256_pass(source: Path) -> float:
    """Return the seconds that hashing the prefix takes, alone."""
    began, digest, buffer, left = time.monotonic(), hashlib.sha256(), memoryview(bytearray(1 << 20)), HELD
    with source.open("rb", buffering=0) as file:
        while left:
            count = file.readinto(buffer[: min(len(buffer), left)])
            digest.update(buffer[:count])
            left -= count
    return time.monotonic() - began


ALL = {"resume": resume}
