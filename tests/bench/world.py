"""What is measured: a local Prosody, two accounts on it, and real `jet` processes with what they cost."""

import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from jetcli.cli.login import keep
from jetcli.state.config import Account
from jetcli.state.paths import Paths
from jetcli.trial.server import Prosody, throwaway_directory

sys.path.append(str(Path(__file__).parents[1] / "support"))
from ejabberd import Ejabberd, missing
from waiting import until  # noqa: F401  (for whoever imports this module: the path is known only from here on)

HERE = Path(__file__).parent
Server = Prosody | Ejabberd
#: `jet`; one whose receiver writes to /dev/null; one that measures the lateness of its event loop.
JET = (sys.executable, "-m", "jetcli")
NULL_JET = (sys.executable, str(HERE / "null_receive.py"))
PASSWORD = "a password that is no secret"
# The keyring of whoever measures is left alone; to look for one costs those 50 ms a start who have installed the extra.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
LATE_JET = (sys.executable, str(HERE / "late_receive.py"))
WAIT_S = 300.0


@dataclass(frozen=True)
class Usage:
    """What a process took in all: CPU seconds (user and system, children included) and its peak memory."""

    cpu_s: float
    rss_mib: float


def usage_of(process: subprocess.Popen) -> Usage:
    """Wait for a process; fail where it did."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{process.args} ended with {process.returncode}")
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


class SpareMemory:
    """As much memory as a file needs, held until shortly before the file is written: context manager.

    A virtual machine that gives free memory back to its host pays for taking it again, up to 0.5 s per GiB, and whether
    it has to depends on what was freed how long before. This way every contestant finds what he needs.
    """

    # A process of its own: what starts a contestant passes its own peak of memory on to it.
    _HOLDER = (
        "import mmap, sys; held = mmap.mmap(-1, int(sys.argv[1]))\n"
        "for page in range(0, len(held), mmap.PAGESIZE): held[page] = 1\n"
        "print(flush=True); sys.stdin.read()"
    )

    def __init__(self, size: int) -> None:
        self._command = [sys.executable, "-c", self._HOLDER, str(size)]
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def free(self) -> None:
        """Let go of it; a second time does nothing."""
        if self._holder is not None:
            self._holder.communicate()
            self._holder = None


class Jet:
    """A running `jet --json`; its events, each with its time (seconds since the epoch) and the CPU seconds until then.

    The time is the one that jet wrote into the event, so it does not depend on when the bench gets to read it.
    """

    def __init__(self, home: Path, *args: str, program: Sequence[str] = JET) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JET_")}
        self.args = args
        self.started = time.time()
        self.log = (home / "stderr").open("w+")
        self.process = subprocess.Popen(
            [*program, "--json", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=kept | {"JET_HOME": str(home)},
        )
        self.events: list[dict[str, Any]] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, kind: str, nth: int = 1) -> dict[str, Any]:
        """Return the nth event of a type, waiting for it."""
        with self._came:
            self._came.wait_for(lambda: len(self.all(kind)) >= nth or "end" in self._kinds(), WAIT_S)
        if len(found := self.all(kind)) < nth:
            raise RuntimeError(f"jet {' '.join(self.args)} never told {kind}: {self.words()}")
        return found[nth - 1]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a type that have come."""
        return [event for event in self.events if event["type"] == kind]

    def at(self, kind: str) -> float:
        """Return when the first event of a type was told."""
        return self.wait_for(kind)["at"]

    def end(self) -> Usage:
        """Wait for the end; raise RuntimeError where jet failed."""
        self._reader.join()
        try:
            return usage_of(self.process)
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {self.words()}") from None

    def kill(self) -> None:
        """End it where it still runs."""
        if self.process.returncode is None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def words(self) -> str:
        """Return what it has said."""
        self.log.seek(0)
        return self.log.read() + json.dumps(self.events[-3:])

    def _kinds(self) -> set[str]:
        return {event["type"] for event in self.events}

    def _read(self) -> None:
        for line in self.process.stdout:
            cpu_s = cpu_clock(self.process.pid)
            event = json.loads(line)
            self._add(event | {"cpu_s": cpu_s, "at": datetime.fromisoformat(event["t"]).timestamp()})
        self._add({"type": "end", "at": time.time()})

    def _add(self, event: dict[str, Any]) -> None:
        with self._came:
            self.events.append(event)
            self._came.notify_all()


def cpu_clock(pid: int) -> float:
    """Return the CPU seconds that a process has used so far, all its threads counted; NaN when it has ended (Linux)."""
    # clock_getcpuclockid(3) of the process; Python offers it for threads only.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return math.nan


@dataclass(frozen=True)
class Sample:
    """One transfer. `data_s` is from the connected bytestream to the published file, as the receiver told them."""

    wall_s: float
    cpu_s: float
    rss_mib: tuple[float, float]
    data_s: float | None = None
    data_cpu_s: float | None = None
    data_cpu_sides_s: tuple[float, float] | None = None
    offer_s: float | None = None
    first_byte_s: float | None = None


@dataclass
class World:
    """A server, and two accounts that have sent each other a file before; `place` holds homes and files."""

    place: Path
    server: Server
    senders: tuple[str, ...] = ("romeo",)
    homes: dict[str, Path] = field(default_factory=dict)
    started: list[Jet] = field(default_factory=list)

    @property
    def inbox(self) -> Path:
        """Where the receiver saves."""
        return self.place / "in"

    def people(self) -> None:
        """Make the accounts: the receiver, and senders who are her contacts."""
        jids = [self.server.add_account(name, PASSWORD) for name in ("juliet", *self.senders)]
        for jid in jids:
            if jid != self.to:
                self.server.make_contacts(jid, self.to)
            home = self.place / jid
            home.mkdir(mode=0o700)
            name, host, port = jid.partition("@")[0], self.server.host, self.server.port
            account = Account(name, jid, server=(host, port), ca_file=self.server.ca_file)
            keep(Paths(home / "config.toml", home / "state"), account, PASSWORD)
            with (home / "config.toml").open("a") as config:
                config.write("\n[network]\nloopback = true\n")
            self.homes[name] = home
        self.inbox.mkdir()

    @property
    def to(self) -> str:
        """The receiver's address."""
        return f"juliet@{self.server.domain}"

    def receiver(self, *args: str, program: Sequence[str] = JET, online: bool = True) -> Jet:
        """Start a receiver and wait until it is online."""
        receiver = Jet(self.homes["juliet"], "receive", "--accept-all", "-d", str(self.inbox), *args, program=program)
        self.started.append(receiver)
        if online:
            receiver.wait_for("connected")
        return receiver

    def sender(self, *args: str, name: str = "romeo", program: Sequence[str] = JET) -> Jet:
        """Start a sender."""
        sender = Jet(self.homes[name], "send", "--to", self.to, *args, program=program)
        self.started.append(sender)
        return sender

    def end(self) -> None:
        """End every process that still runs."""
        for jet in self.started:
            jet.kill()

    def transfer(
        self,
        source: Path,
        *args: str,
        program: Sequence[str] = JET,
        waiting: bool = True,
        name: str = "romeo",
        before: Callable[[], None] = lambda: None,
    ) -> Sample:
        """Send one file from one new process to another; `waiting`: the receiver is online before the sender starts.

        `before` is called when the sender is about to start.
        """
        receiver = self.receiver(program=program, online=waiting)
        before()
        sender = self.sender(str(source), *args, *(() if waiting else ("--wait", "1m")), name=name)
        began = sender.started if waiting else receiver.started
        sent = sender.end()
        saved = receiver.wait_for("file")
        wall_s = sender.at("end") - began
        received = receiver.end()
        if not waiting:
            wall_s = max(wall_s, receiver.at("end") - began)
        if program is JET:
            demand_same(source, Path(saved["path"]))
            Path(saved["path"]).unlink()
        connected = receiver.wait_for("path")
        tx_s = sender.wait_for("file")["cpu_s"] - sender.wait_for("path")["cpu_s"]
        rx_s = saved["cpu_s"] - connected["cpu_s"]
        return Sample(
            wall_s=wall_s,
            cpu_s=sent.cpu_s + received.cpu_s,
            rss_mib=(sent.rss_mib, received.rss_mib),
            data_s=saved["at"] - connected["at"],
            data_cpu_s=tx_s + rx_s,
            data_cpu_sides_s=(tx_s, rx_s),
            offer_s=sender.at("offer") - sender.started,
            first_byte_s=sender.at("path") - sender.started,
        )


def prosody(directory: Path) -> Prosody:
    """Make a Prosody without rate limits."""
    return Prosody(directory, log_stanzas=False)


#: Name -> what makes a server, and why it cannot be had here.
SERVERS: dict[str, tuple[Callable[[Path], Server], str]] = {"Prosody": (prosody, ""), "ejabberd": (Ejabberd, missing())}


@contextmanager
def world(
    memory: Path, *, senders: tuple[str, ...] = ("romeo",), serve: Callable[[Path], Server] = prosody
) -> Iterator[World]:
    """A fresh world, warmed up by one transfer; `serve` makes its server."""
    place = memory / "world"
    place.mkdir()
    try:
        with throwaway_directory("jet-bench-") as directory, serve(directory / "server") as server:
            here = World(place, server, senders)
            here.people()
            first = place / "first"
            first.write_bytes(b"hello")
            try:
                for name in (*senders, *senders):
                    here.transfer(first, name=name)
                yield here
            finally:
                here.end()
    finally:
        shutil.rmtree(place)


def demand_same(left: Path, right: Path) -> None:
    """Fail where two files differ."""
    with left.open("rb") as one, right.open("rb") as other:
        while block := one.read(1 << 20):
            if block != other.read(1 << 20):
                raise RuntimeError(f"{right} is no copy of {left}")
        if other.read(1):
            raise RuntimeError(f"{right} is longer than {left}")


def make_file(path: Path, size: int, *, sparse: bool = False) -> Path:
    """Make a file of random bytes, or of a hole."""
    with path.open("wb") as file:
        if sparse:
            file.truncate(size)
            return path
        for position in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - position)))
    return path
