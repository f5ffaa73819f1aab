"""The laboratory: a server, and other people's clients that the scripts beside this repository drive; and jet.

Owns the processes, their ports, displays and directories. What is tried with them is in the test modules.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from waiting import until

from jetcli.cli.login import keep
from jetcli.state.config import Account
from jetcli.state.paths import Paths

SCRIPTS = Path(os.environ.get("PEERS") or Path(__file__).parents[3] / "shared" / "peers")
PROGRAMS = ("prosodyctl", "libervia-backend", "libervia-cli", "dino-im", "Xvfb", "openbox", "xdotool", "dbus-daemon")
LIBERVIA, DINO = ("romeo", "juliet"), ("mercutio",)
JETS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")
DOMAIN, PASSWORD = "lab.test", "secret"
#: A session bus without services.
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""
#: How long anything may take before a test gives up on it.
LIMIT_S = 60.0
#: How long any transfer may take, the start of jet's command line included.
TRANSFER_S = 15.0


def missing() -> str:
    """Say why the clients cannot be driven here, or return an empty text."""
    if not SCRIPTS.is_dir():
        return f"no scripts that drive other clients at {SCRIPTS}"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (make interop installs them)"
    if os.geteuid() != 0:
        return "only root can give other clients a network view of their own"
    return ""


def places() -> dict[str, str]:
    """Choose ports, a name server's address and displays that no other laboratory on this machine has.

    The ports lie below those that the system gives to connections, so that none is taken between now and its use.
    """
    number = os.getpid()
    ports = [
        port for at in range(40) if _is_free(socket.SOCK_STREAM, "127.0.0.1", port := 20_000 + number % 300 * 40 + at)
    ]
    names = (f"127.0.{53 + at}.{number % 250 + 2}" for at in range(40))
    displays = (200 + (number + at) % 300 * 10 for at in range(40))
    return {
        "PEERS_C2S_PORT": str(ports[0]),
        "PEERS_PROXY_PORT": str(ports[1]),
        "PEERS_DNS_ADDR": next(name for name in names if _is_free(socket.SOCK_DGRAM, name, 53)),
        "DINO_DISPLAY_BASE": str(
            next(each for each in displays if not list(Path("/tmp").glob(f".X{each // 10}?-lock")))
        ),
    }


def _is_free(kind: socket.SocketKind, host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as tried:
        try:
            tried.bind((host, port))
        except OSError:
            return False
    return True


@dataclass
class Peers:
    """The running laboratory: a server, and the clients that were started on it."""

    directory: Path
    port: int
    environment: dict[str, str]

    @classmethod
    def planned(cls, directory: Path) -> "Peers":
        """Plan a laboratory in a directory; nothing runs yet."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = (
            kept
            | places()
            | {
                "TMPDIR": str(directory),
                "PYTHONUNBUFFERED": "1",
                "PEERS_DIR": str(directory),
                "PEERS_DOMAIN": DOMAIN,
                "PEERS_USERS": " ".join((*LIBERVIA, *DINO, *JETS)),
                # After its keys are typed, tests wait for what comes of them and for no longer.
                "DINO_SETTLE": "0",
            }
        )
        return cls(directory, int(environment["PEERS_C2S_PORT"]), environment)

    @property
    def run(self) -> Path:
        return self.directory / "run"

    def script(self, name: str, *args: object, timeout_s: float = 90.0, **env: str) -> str:
        """Run a script of the laboratory and return what it printed."""
        done = subprocess.run(
            ["bash", str(SCRIPTS / name), *map(str, args)],
            env=self.environment | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{name} ended with {done.returncode}: {_said(done.stderr + done.stdout)}")
        return done.stdout

    @contextmanager
    def tampering(self, *words: str) -> Iterator[None]:
        """Let the server change offers on their way."""
        file = self.run / "tamper.txt"
        file.write_text(" ".join(words))
        try:
            yield
        finally:
            file.write_text("")

    def stanzas(self, since: float) -> list[str]:
        """Return the stanzas that clients have sent since a time."""
        return [row["xml"] for row in self._rows(since)]

    def sent_at(self, since: float, *words: str) -> float | None:
        """Return when a client first sent a stanza that holds one of the words, as a time of the clock."""
        return next((row["t"] for row in self._rows(since) if any(word in row["xml"] for word in words)), None)

    def _rows(self, since: float) -> list[dict]:
        rows = map(json.loads, (self.run / "stanzas.jsonl").read_text().splitlines())
        return [row for row in rows if row["t"] >= since and row["dir"] == "in"]

    def start_libervia(self) -> None:
        """Start Libervia and connect its profiles.

        Its bus is ours, and knows no services: it would start a second backend, outside of the laboratory's view of the
        network, for a command line that is quicker than the first.
        """
        run = self.directory / "libervia" / "run"
        run.mkdir(parents=True, mode=0o700)
        (run / "bus.conf").write_text(BUS.format(socket=run / "bus.sock"))
        (run / "bus.addr").write_text(f"unix:path={run / 'bus.sock'}\n")
        start = (
            "setsid dbus-daemon --nofork --nopidfile --config-file=bus.conf </dev/null >bus.log 2>&1 & echo $! >bus.pid"
        )
        subprocess.run(["bash", "-c", start], cwd=run, env=self.environment, check=True)
        until((run / "bus.sock").exists, "no bus for Libervia")
        self.script("start-libervia.sh", timeout_s=180)

    def start_dino(self) -> None:
        """Start Dino and wait until it is online, which is later than its window."""
        began = time.time()
        self.script("start-dino.sh", DINO[0], *(f"{name}@{DOMAIN}" for name in JETS))
        until(lambda: self.sent_at(began, "https://dino.im"), "Dino never came online")

    def restart_dino(self) -> None:
        """Start Dino anew, as after a test that may have killed it."""
        self.script("stop-dino.sh", DINO[0], "--keep-x")
        self.start_dino()

    def dino_sends(self, file: Path, to: str) -> None:
        """Let Dino send a file, by its keys; it has begun when this returns."""
        self.script("dino-send.sh", DINO[0], to, file)

    def dino_received(self, name: str, limit_s: float = 20) -> Path:
        """Wait until Dino has saved a file of that name."""
        printed = self.script("dino-received.sh", DINO[0], name, int(limit_s))
        return Path(printed.rsplit(" encryption=", 1)[0])

    @contextmanager
    def libervia_receives(self, sender: str, into: Path) -> Iterator[None]:
        """Let juliet's Libervia wait for one file of `sender` (bare JID); it has ended when the block has."""
        log = into.parent / "libervia-receive.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", str(SCRIPTS / "libervia-receive.sh"), LIBERVIA[1], sender, str(into)],
                env=self.environment | {"LI_TIMEOUT": "40"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            until(lambda: b"waiting for" in log.read_bytes(), "Libervia never waited for a file")
            yield
            process.wait(30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()

    def libervia_sends(self, file: Path, to: str, *, limit_s: int = 40) -> str:
        """Let romeo's Libervia send a file, to its end; it gives up after a while."""
        return self.script("libervia-send.sh", LIBERVIA[0], to, file, LI_TIMEOUT=str(limit_s))


def _said(text: str) -> str:
    noise = re.compile(r"(?i)progress|^--|missing module|output_template|^$")
    return " / ".join(line for line in text.splitlines() if not noise.search(line))[-400:]


# jet itself.


@dataclass
class Ended:
    """How a `jet` process ended.

    `seconds`: from its start to its end; for one that received, without the time in which nobody offered it anything.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float

    def __post_init__(self) -> None:
        # What a library reports about what was only unusual: wrong caps hashes, late answers.
        noise = re.search(r"Traceback|never retrieved|already done", self.stderr)
        assert noise is None, self.stderr

    def __repr__(self) -> str:
        return f"exit code {self.code} after {self.seconds:.1f} s: {' / '.join(self.stderr.splitlines()[-3:])}"

    @property
    def path(self) -> str:
        """The way that the bytes took, as jet tells it."""
        told = re.findall(r"path (\S+)", self.stderr)
        return told[-1].rstrip(",.;") if told else ""


class Receiver:
    """A `jet receive` that is online."""

    def __init__(self, peers: Peers, process: subprocess.Popen, log: Path) -> None:
        self.peers, self.process, self.log = peers, process, log
        self.began = time.time()
        self.jid = until(self._waiting, "jet receive never came online")
        self.online = time.time()

    def _waiting(self) -> str | None:
        told = re.search(r"Waiting as (\S+)", self.log.read_text())
        return told and told.group(1)

    def ended(self) -> Ended:
        """Wait for its end."""
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"jet receive did not end: {self.log.read_text()[-400:]}") from None
        ended = time.time()
        idle = max(0.0, (self.peers.sent_at(self.online, "session-initiate", "<propose ") or ended) - self.online)
        return Ended(self.process.returncode, "", self.log.read_text(), ended - self.began - idle)


@dataclass
class Home:
    """An account of the laboratory that jet uses."""

    peers: Peers
    path: Path
    jid: str
    files: Path
    running: ExitStack

    @classmethod
    def take(cls, peers: Peers, name: str, files: Path, running: ExitStack) -> "Home":
        """Take an account, with keys that live as long as the laboratory, and a directory for files."""
        path, jid = peers.directory / "jet" / name, f"{name}@{DOMAIN}"
        if not path.exists():
            path.mkdir(parents=True, mode=0o700)
            ca = peers.directory / "ca" / "ca.crt"
            account = Account(name, jid, server=("127.0.0.1", peers.port), ca_file=ca)
            keep(Paths(path / "config.toml", path / "state"), account, PASSWORD)
            config = path / "config.toml"
            config.write_text(f"{config.read_text()}\n[network]\nloopback = true\n")
        files.mkdir(parents=True)
        return cls(peers, path, jid, files, running)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        return {**kept, "HOME": str(self.path), "JET_HOME": str(self.path), "TERM": "dumb"}

    def file(self, name: str, size: int) -> Path:
        path = self.files / name
        path.write_bytes(os.urandom(size))
        return path

    def jet(self, *words: object, limit_s: float = LIMIT_S) -> Ended:
        """Run `jet` to its end."""
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "jetcli", *map(str, words)],
            env=self.environment,
            cwd=self.files,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def receives(self, into: Path, *words: object) -> Receiver:
        """Start `jet receive --accept-all` and wait until it is online."""
        into.mkdir(exist_ok=True)
        log = into.parent / f"{into.name}.log"
        consent = () if "--from" in words else ("--accept-all",)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "jetcli", "receive", *consent, "-d", str(into), *map(str, words)],
                env=self.environment,
                cwd=self.files,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=out,
            )
        self.running.callback(lambda: process.poll() is None and (process.terminate(), process.wait()))
        return Receiver(self.peers, process, log)
