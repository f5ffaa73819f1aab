"""Many transfers: in one command, at once, one after the other in one process; and the event loop meanwhile."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from report import Table, spread
from world import LATE_JET, Jet, SpareMemory, Usage, World, demand_same, make_file, world

KIB, MIB = 1 << 10, 1 << 20
#: Of one account, a receiver takes twenty offers at once.
_PEOPLE = ("romeo", "tybalt", "mercutio", "benvolio")


def _receive(here: World, count: int, program: tuple[str, ...] | None = None) -> Jet:
    return here.receiver("-n", str(count), **({"program": program} if program else {}))


def _emptied(here: World, sources: list[Path]) -> None:
    """Fail where the inbox does not hold copies of the files; empty it."""
    for source in sources:
        demand_same(source, here.inbox / source.name)
    for saved in here.inbox.iterdir():
        saved.unlink()


def files(place: Path, rounds: int) -> Table:
    """Many small files in one command."""
    table = Table(
        "files", "Many files of 1 KiB in one command", ("files", "files/s", "whole command, s", "CPU s, both sides")
    )
    with world(place) as here:
        for count in (100, 1000):
            folder = place / f"files{count}"
            folder.mkdir()
            sources = [make_file(folder / f"{number:04}", KIB) for number in range(count)]
            taken: list[tuple[float, float]] = []
            for _ in range(rounds):
                receiver = _receive(here, 1)
                sender = here.sender(*map(str, sources))
                sent, received = sender.end(), receiver.end()
                _emptied(here, sources)
                taken.append((sender.at("end") - sender.started, sent.cpu_s + received.cpu_s))
            table.rows.append((
                str(count),
                spread((count / wall_s for wall_s, _ in taken), 1),
                spread(wall_s for wall_s, _ in taken),
                spread((cpu_s for _, cpu_s in taken), 1),
            ))  # fmt: skip
    table.notes.append("The files share one stream, and each is written, synced and published by itself.")
    return table


def at_once(place: Path, rounds: int) -> Table:
    """Several senders into one receiver."""
    each = 16 * MIB
    header = ("senders at once", "total, MB/s", "of one", "receiver's peak RSS, MiB", "receiver's CPU s/GB")
    table = Table("at_once", "Transfers at once into one receiver, 16 MiB each", header)
    taken: dict[int, list[float]] = {count: [] for count in (1, 4, 16, 64)}
    used: dict[int, list[Usage]] = {count: [] for count in taken}
    with world(place, senders=_PEOPLE) as here:
        sources = [make_file(place / f"source{number:02}", each) for number in range(64)]
        for _ in range(rounds):
            for count, times in taken.items():
                data_s, usage = _all_at_once(here, sources[:count], each)
                times.append(data_s)
                used[count].append(usage)
    for count, times in taken.items():
        pairs = zip(taken[1], times, strict=True)
        table.rows.append((
            str(count),
            spread((count * each / 1e6 / data_s for data_s in times), 0),
            spread(count * alone / data_s for alone, data_s in pairs),
            spread((one.rss_mib for one in used[count]), 0),
            spread(one.cpu_s / (count * each / 1e9) for one in used[count]),
        ))  # fmt: skip
    table.notes.append(
        "From the first connected bytestream to the last published file. Each sender is a process of its own, online"
        " and waiting before the receiver comes: all offer at once. The receiver writes four files at a time."
    )
    return table


def _all_at_once(here: World, sources: list[Path], each: int) -> tuple[float, Usage]:
    """Send every file by a process of its own; return the seconds of all data, and what the receiver took."""
    with SpareMemory(len(sources) * each) as spare:
        senders = [
            here.sender(str(source), "--wait", "10m", name=_PEOPLE[number % len(_PEOPLE)])
            for number, source in enumerate(sources)
        ]
        for sender in senders:
            sender.wait_for("connected")
        spare.free()
        receiver = _receive(here, len(sources))
        for sender in senders:
            sender.end()
    usage = receiver.end()
    first = min(event["at"] for event in receiver.all("path"))
    data_s = max(event["at"] for event in receiver.all("file")) - first
    _emptied(here, sources)
    return data_s, usage


def late(place: Path, rounds: int) -> Table:
    """How late the receiver's event loop is while four streams run."""
    each = 512 * MIB
    header = ("streams", "median, ms", "p99, ms", "max, ms")
    table = Table("late", "Lateness of the receiver's event loop (a tick every 5 ms)", header)
    with world(place) as here:
        sources = [make_file(place / f"source{number}", each, sparse=True) for number in range(4)]
        for count in (1, 4):
            told: list[dict[str, float]] = []
            for _ in range(rounds):
                receiver = _receive(here, count, LATE_JET)
                senders = [here.sender(str(source)) for source in sources[:count]]
                for sender in senders:
                    sender.end()
                receiver.end()
                told.append(json.loads((here.homes["juliet"] / "lateness").read_text()))
                for saved in here.inbox.iterdir():
                    saved.unlink()
            table.rows.append((str(count), *(spread((one[key] for one in told), 1) for key in ("p50", "p99", "max"))))
    table.notes.append("Counted from the first file's start until the last one's end; 512 MiB a stream.")
    return table


def in_one_process(place: Path, rounds: int) -> Table:
    """200 transfers, one after the other, into and out of the same processes: does any of them grow?"""
    del rounds
    count = 200
    header = ("transfers", "s a transfer", "CPU s a transfer, receiver", "receiver's RSS, MiB")
    table = Table("in_one_process", "200 transfers of 257 KiB in one process a side", header)
    folder = place / "files"
    folder.mkdir()
    # Smaller ones would share a stream.
    sources = [make_file(folder / f"{number:04}", 257 * KIB) for number in range(count)]
    with world(place) as here:
        receiver = _receive(here, 1)
        sender = here.sender(*map(str, sources))
        rss: list[float] = []
        for number in range(1, count + 1):
            receiver.wait_for("file", number)
            if number % 50 == 0 and number < count:
                rss.append(_rss_mib(receiver.process))
        sender.end()
        used = receiver.end()
        rss.append(used.rss_mib)
    done = receiver.all("file")
    for index, first in enumerate(range(0, count, 50)):
        begin, last = done[max(first - 1, 0)], done[first + 49]
        steps = 50 if first else 49
        table.rows.append((
            f"{first + 1}–{first + 50}",
            f"{(last['at'] - begin['at']) / steps:.3f}",
            f"{(last['cpu_s'] - begin['cpu_s']) / steps:.3f}",
            f"{rss[index]:.1f}",
        ))  # fmt: skip
    return table


def _rss_mib(process: subprocess.Popen) -> float:
    with Path(f"/proc/{process.pid}/status").open() as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


#: Name -> what measures it.
ALL: dict[str, Callable[[Path, int], Table]] = {
    "files": files,
    "at_once": at_once,
    "late": late,
    "in_one_process": in_one_process,
}
