"""Whole commands beside what people use instead: jet, its neighbours and a raw copy, in turn, in the same run."""

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datapath
from neighbours import CROC_NOTE, Missing, Way, neighbours
from report import Table, spread
from world import Sample, SpareMemory, World, make_file, world

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
JET = "jet send, the receiver is waiting"
JET_AT_ONCE = "jet send and jet receive, started at once"
RAW = "raw copy: read, send, recv, write"


def _compare(place: Path, name: str, size: int, rounds: int, title: str, *, only: str = "") -> Table:
    """Move one file by every way whose name begins with `only`, so often; return what the whole commands took.

    Who does not tell its data phase moves 1 KiB as well, in the same round: what it takes more for the file is its data
    phase. Up to 1 MiB that is less than two starts differ by.
    """
    source, little = make_file(place / "source", size), make_file(place / "little", KIB)
    with world(place) as here, neighbours(place) as ways:
        asked = {way: move for way, move in ways.items() if way.startswith(only)}
        measured = (
            _ours(here) | {RAW: _raw} | {way: move for way, move in asked.items() if not isinstance(move, Missing)}
        )
        samples: dict[str, list[Sample]] = {way: [] for way in measured}
        for _ in range(rounds):
            for way, move in measured.items():
                sample = _moved(move, source, place)
                if sample.data_s is None and size > MIB:
                    sample = replace(sample, data_s=sample.wall_s - _moved(move, little, place).wall_s)
                samples[way].append(sample)
    source.unlink()
    little.unlink()
    gigabytes = size > MIB
    header = (
        "way",
        "whole command, s",
        "its time / jet's (*)",
        "data phase, s (**)",
        "its data phase / jet's",
        "CPU s/GB, both sides" if gigabytes else "CPU s, both sides",
    )
    table = Table(name, title, (*header, "peak RSS MiB, sender / receiver"))
    for way, taken in samples.items():
        jet = samples[JET if way.startswith("scp") else JET_AT_ONCE]
        table.rows.append((
            way,
            spread(one.wall_s for one in taken),
            spread(one.wall_s / ours.wall_s for one, ours in zip(taken, jet, strict=True)),
            spread((one.data_s for one in taken), 3),
            spread(one.data_s and one.data_s / ours.data_s for one, ours in zip(taken, jet, strict=True)),
            spread(one.cpu_s / (size / 1e9 if gigabytes else 1) for one in taken),
            " / ".join(_peak(statistics.median(one.rss_mib[side] for one in taken)) for side in (0, 1)),
        ))  # fmt: skip
    table.rows += [
        (way, f"not measured: {lacks.why}", "", "", "", "", "")
        for way, lacks in asked.items()
        if isinstance(lacks, Missing)
    ]
    table.notes.append(
        "(*) scp finds its server running, so it is compared with a waiting receiver; the others start both sides, so"
        " they are compared with both jets starting. Above 1: jet is faster. Ratios are made within a round. (**) Jet"
        " and the raw copy tell theirs. That of the others is the whole command less what 1 KiB took in the same round,"
        " from 100 MiB on: below, two starts differ by more."
    )
    if "croc" in samples:
        table.notes += ["", CROC_NOTE]
    return table


def _moved(move: Way, source: Path, place: Path) -> Sample:
    with SpareMemory(source.stat().st_size) as spare:
        spare.free()
        sample = move(source, place / "target")
    (place / "target").unlink(missing_ok=True)
    return sample


def _peak(rss_mib: float) -> str:
    """A child's peak is at least that of the bench when it was started: what is smaller cannot be told."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{rss_mib:.0f}" if rss_mib > own + 1 else f"under {own:.0f}"


def _ours(here: World) -> dict[str, Way]:
    return {
        JET: lambda source, _target: here.transfer(source),
        JET_AT_ONCE: lambda source, _target: here.transfer(source, waiting=False),
    }


def _raw(source: Path, target: Path) -> Sample:
    began = time.monotonic()
    copied = datapath.run("raw", str(source), str(target), source.stat().st_size)
    wall_s, cpu_s = time.monotonic() - began, copied["tx_cpu_s"] + copied["rx_cpu_s"]
    return Sample(wall_s, cpu_s, (copied["rss_mib"], copied["rss_mib"]), data_s=copied["wall_s"])


def small(place: Path, rounds: int) -> Table:
    """1 KiB: what starting costs."""
    return _compare(place, "small", KIB, rounds * 2, "Whole commands, 1 KiB, warm account")


def modest(place: Path, rounds: int) -> Table:
    """1 MiB."""
    return _compare(place, "modest", MIB, rounds, "Whole commands, 1 MiB, tmpfs to tmpfs")


def medium(place: Path, rounds: int) -> Table:
    """100 MiB."""
    return _compare(place, "medium", 100 * MIB, rounds, "Whole commands, 100 MiB, tmpfs to tmpfs")


def large(place: Path, rounds: int) -> Table:
    """1 GiB."""
    return _compare(place, "large", GIB, rounds, "Whole commands, 1 GiB, tmpfs to tmpfs")


def huge(place: Path, rounds: int) -> Table:
    """4 GiB, beside scp only."""
    rounds = (rounds + 1) // 2
    return _compare(place, "huge", 4 * GIB, rounds, "Whole commands, 4 GiB, tmpfs to tmpfs", only="scp")


#: Name -> what measures it.
ALL: dict[str, Callable[[Path, int], Table]] = {
    "small": small,
    "modest": modest,
    "medium": medium,
    "large": large,
    "huge": huge,
}
