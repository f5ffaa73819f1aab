"""Measurements of `jet` itself; each takes how many rounds to run and returns a table."""

import re
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import datapath
from report import Table, spread
from world import JET, NULL_JET, SERVERS, Sample, SpareMemory, World, cpu_clock, make_file, world

MIB = 1 << 20
GIB = 1 << 30

#: How long `jet send` takes to the first byte, about: the raw copy begins as long after memory was let go.
_START_S = 0.7


def data(memory: Path, rounds: int) -> Table:
    """1 GiB from tmpfs to tmpfs, by every kind of stream, against a raw copy."""
    size = GIB
    source = make_file(memory / "source", size)
    # Each way has its own rounds, with nothing but the raw copy in them: what lies seconds apart meets another machine.
    ways: dict[str, tuple[int, tuple[str, ...]]] = {
        "jet, direct": (rounds * 2, ("--path", "direct")),
        "jet, direct, --checksum": (rounds, ("--path", "direct", "--checksum")),
    }
    raw: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    ours: dict[str, list[Sample]] = {way: [] for way in ways}
    ciphers: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with world(memory) as here:
        for way, (often, options) in ways.items():
            for _ in range(often):
                with SpareMemory(size) as spare:
                    spare.free()
                    time.sleep(_START_S)  # not for anything to happen: jet, too, writes its first byte so long after
                    raw[way].append(datapath.run("raw", str(source), str(memory / "raw"), size))
                    (memory / "raw").unlink()
                ciphers[way].append(datapath.cipher_alone())
                with SpareMemory(size) as spare:
                    ours[way].append(here.transfer(source, *options, before=spare.free))
    source.unlink()
    gigabytes = size / 1e9
    copies = [copy for taken in raw.values() for copy in taken]
    header = ("1 GiB", "data phase, GB/s", "of raw", "CPU s/GB, data phase", "sender", "receiver", "whole command, s")
    table = Table("data", "Data phase, 1 GiB, tmpfs to tmpfs, loopback", (*header, "peak RSS MiB, sender / receiver"))
    table.rows.append((
        "raw copy: read, send, recv, write",
        spread(gigabytes / r["wall_s"] for r in copies),
        "1",
        spread(_cpu_s(r) / gigabytes for r in copies),
        spread(r["tx_cpu_s"] / gigabytes for r in copies),
        spread(r["rx_cpu_s"] / gigabytes for r in copies),
        "–",
        "–",
    ))  # fmt: skip
    seals, unseals = zip(*(both for taken in ciphers.values() for both in taken), strict=True)
    table.rows.append((
        "AES-256-GCM in chunks alone, both sides at once",
        "–",
        "–",
        spread(seal + unseal for seal, unseal in zip(seals, unseals, strict=True)),
        spread(seals),
        spread(unseals),
        "–",
        "–",
    ))  # fmt: skip
    for way, samples in ours.items():
        table.rows.append((
            way,
            spread(gigabytes / s.data_s for s in samples),
            spread(r["wall_s"] / s.data_s for r, s in zip(raw[way], samples, strict=True)),
            spread(s.data_cpu_s / gigabytes for s in samples),
            spread(s.data_cpu_sides_s[0] / gigabytes for s in samples),
            spread(s.data_cpu_sides_s[1] / gigabytes for s in samples),
            spread(s.wall_s for s in samples),
            _peaks(samples),
        ))  # fmt: skip
    plain = "jet, direct"
    floors = [_cpu_s(copy) / gigabytes + sum(both) for copy, both in zip(raw[plain], ciphers[plain], strict=True)]
    beyond = spread(s.data_cpu_s / gigabytes / floor for s, floor in zip(ours[plain], floors, strict=True))
    table.notes.append(
        f"Raw copy and cipher together, which no program of this design can go below: {spread(floors)} CPU s/GB."
        f" Jet, direct, takes {beyond} times that of the same round."
        f" SHA-256 alone: {_sha256_alone():.2f} CPU s/GB a side."
    )
    return table


def proxy(place: Path, rounds: int) -> Table:
    """Direct against the SOCKS5 proxies of servers."""
    size = 128 * MIB
    source = make_file(place / "source", size)
    ways = {"direct": ("--path", "direct"), "proxy65": ("--path", "relay")}
    header = ("way", "data phase, MB/s", "of direct", "CPU s/GB, both jets", "CPU s/GB, server")
    table = Table("proxy", "Through a proxy, 128 MiB", header)
    for name, (serve, why_not) in SERVERS.items():
        if why_not:
            table.rows.append((f"{name}, proxy65", f"not measured: {why_not}", "", "", ""))
            continue
        samples: dict[str, list[Sample]] = {way: [] for way in ways}
        served: dict[str, list[float]] = {way: [] for way in ways}
        with world(place, serve=serve) as here:
            for _ in range(rounds):
                for way, options in ways.items():
                    before = cpu_clock(here.server.pid)
                    samples[way].append(here.transfer(source, *options))
                    served[way].append((cpu_clock(here.server.pid) - before) / (size / 1e9))
        for way, taken in samples.items():
            table.rows.append((
                f"{name}, {way}",
                spread((size / 1e6 / one.data_s for one in taken), 0),
                spread(direct.data_s / one.data_s for direct, one in zip(samples["direct"], taken, strict=True)),
                spread(one.data_cpu_s / (size / 1e9) for one in taken),
                spread(served[way], 1),
            ))  # fmt: skip
    table.notes.append("Prosody passes the bytes on in one thread of Lua, logins and stanzas of both jets beside it.")
    return table


def _cpu_s(copy: dict[str, float]) -> float:
    return copy["tx_cpu_s"] + copy["rx_cpu_s"]


def _peaks(samples: list[Sample]) -> str:
    return " / ".join(f"{max(s.rss_mib[side] for s in samples):.0f}" for side in (0, 1))


def _sha256_alone() -> float:
    import hashlib

    block, digest = bytes(MIB), hashlib.sha256()
    began = time.process_time()
    for _ in range(128):
        digest.update(block)
    return (time.process_time() - began) / (128 * MIB) * 1e9


def memory(place: Path, rounds: int) -> Table:
    """Peak memory over sizes; the receiver writes to /dev/null."""
    table = Table("memory", "Peak memory", ("size", "sender, MiB", "receiver, MiB", "data phase, GB/s"))
    sizes = {"1 MiB": MIB, "1 GiB": GIB, "16 GiB": 16 * GIB}
    peaks: dict[str, list[Sample]] = {name: [] for name in sizes}
    with world(place) as here:
        for turn in range(rounds):
            for name, size in sizes.items():
                if size > GIB and turn % 2:
                    continue
                hole = make_file(place / "hole", size, sparse=True)
                peaks[name].append(here.transfer(hole, "--path", "direct", program=NULL_JET))
                hole.unlink()
    for name, samples in peaks.items():
        sides = [spread((s.rss_mib[side] for s in samples), 1) for side in (0, 1)]
        table.rows.append((name, *sides, spread(sizes[name] / 1e9 / s.data_s for s in samples)))
    growth = [
        statistics.median(s.rss_mib[side] for s in peaks["16 GiB"])
        - statistics.median(s.rss_mib[side] for s in peaks["1 MiB"])
        for side in (0, 1)
    ]
    rates = [statistics.median(sizes[name] / s.data_s for s in peaks[name]) for name in ("16 GiB", "1 GiB")]
    table.notes.append(
        f"Growth from 1 MiB to 16 GiB (medians): sender {growth[0]:+.1f} MiB, receiver {growth[1]:+.1f} MiB."
        f" Rate at 16 GiB / at 1 GiB: {rates[0] / rates[1]:.2f}. The source is a hole; the receiver is"
        " `tests/bench/null_receive.py`: all of `jet receive`, but what it writes goes to /dev/null."
    )
    return table


def start(place: Path, rounds: int) -> Table:
    """What a command costs before its first byte, and for one small file as a whole."""
    rounds *= 2
    table = Table("start", "Start-up, seconds, warm account", ("what", "seconds", "CPU s, both sides"))
    table.rows.append(("`jet --help`", spread((_help() for _ in range(rounds * 2)), 3), "–"))
    small = make_file(place / "small", 1024)
    with world(place) as here:
        samples = [here.transfer(small) for _ in range(rounds)]
        at_once = [here.transfer(small, waiting=False) for _ in range(rounds)]
        phases = [_phases(here, small) for _ in range(rounds)]
    table.rows += [
        ("`jet send` until the offer is on the wire", spread(s.offer_s for s in samples), "–"),
        ("`jet send` until the first byte", spread(s.first_byte_s for s in samples), "–"),
        _whole("1 KiB, whole `jet send`, the receiver is waiting", samples),
        _whole("1 KiB, `jet receive` and `jet send --wait` started at once", at_once),
    ]
    for name in phases[0]:
        table.rows.append((f"of `jet send -vv`: {name}", spread((one[name] for one in phases), 3), "–"))
    table.notes.append("The phases are those that `jet -vv` tells, which also writes every stanza and so takes longer.")
    return table


_PHASE = re.compile(r"jetcli\.phases: (.+): (\d+\.\d+) s, done at ")


def _phases(here: World, small: Path) -> dict[str, float]:
    """Send a file under -vv; return what its phases took, in seconds."""
    receiver = here.receiver()
    sender = here.sender("-vv", str(small))
    sender.end()
    receiver.end()
    Path(receiver.wait_for("file")["path"]).unlink()
    return {found[1]: float(found[2]) for found in _PHASE.finditer(sender.words())}


def _whole(what: str, samples: list[Sample]) -> tuple[str, str, str]:
    return what, spread(s.wall_s for s in samples), spread(s.cpu_s for s in samples)


def _help() -> float:
    began = time.perf_counter()
    subprocess.run([*JET, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def inband(place: Path, rounds: int) -> Table:
    """In-band through servers without rate limits."""
    size = 16 * MIB
    table = Table("inband", "In-band (16 MiB), servers without rate limits", ("server", "MB/s", "CPU s, both jets"))
    source = make_file(place / "source", size)
    for name, (serve, why_not) in SERVERS.items():
        if why_not:
            table.rows.append((name, f"not measured: {why_not}", ""))
            continue
        with world(place, serve=serve) as here:
            samples = [here.transfer(source, "--path", "ibb") for _ in range(rounds)]
        table.rows.append((
            name,
            spread(size / 1e6 / s.data_s for s in samples),
            spread(s.data_cpu_s for s in samples),
        ))  # fmt: skip
    return table


#: Name -> what measures it.
ALL: dict[str, Callable[[Path, int], Table]] = {
    "data": data,
    "memory": memory,
    "start": start,
    "inband": inband,
    "proxy": proxy,
}
