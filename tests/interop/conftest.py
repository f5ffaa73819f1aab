"""Other people's clients, driven by the scripts of the peers laboratory beside this repository.

`PEERS` names the directory of the scripts; without it, or without the clients, the tests are skipped with the reason.
What each cell of the matrix came to is gathered here, and written as a page where `JET_INTEROP_REPORT` names a file.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from jetcli.cli.login import keep
from jetcli.state.config import Account
from jetcli.state.paths import Paths
from jetcli.trial.server import free_ports, throwaway_directory

SCRIPTS = Path(os.environ.get("PEERS") or Path(__file__).parents[3] / "shared" / "peers")
PROGRAMS = ("prosodyctl", "libervia-backend", "libervia-cli", "dino-im", "Xvfb", "openbox", "xdotool", "dbus-daemon")
LIBERVIA, DINO = ("romeo", "juliet"), ("mercutio",)
JETS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")
DOMAIN, PASSWORD = "lab.test", "secret"
LIMIT_S = 60.0


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


def pytest_collection_modifyitems(items) -> None:
    here, reason = Path(__file__).parent, missing()
    for item in items:
        if here in item.path.parents and "peers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.interop)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


# What each cell came to.

RESULTS: dict[str, dict] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    properties = dict(report.user_properties)
    if "cell" not in properties or (report.when != "call" and report.passed):
        return
    cell = dict(properties["cell"])
    cell["seconds"] = properties.get("seconds")
    cell["note"] = properties.get("note", "")
    cell["result"] = "works" if report.passed else "skipped" if report.skipped else "fails"
    if report.failed:
        cell["note"] = str(call.excinfo.value).strip().splitlines()[0][:160] if call.excinfo else ""
    if item.nodeid in REPEATED:
        cell["note"] = f"{cell['note']} (at the second try)".strip()
    RESULTS[item.nodeid] = cell


#: The cases that failed once and were run again: other people's clients drop one now and then.
REPEATED: set[str] = set()


def pytest_runtest_protocol(item, nextitem):
    """Run a case of the matrix a second time where it fails, and say so; `JET_INTEROP_ONCE` forbids it."""
    if item.get_closest_marker("interop") is None or os.environ.get("JET_INTEROP_ONCE"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        print(f"\nrepeated: {item.nodeid}", file=sys.stderr)
        REPEATED.add(item.nodeid)
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session) -> None:
    path = os.environ.get("JET_INTEROP_REPORT")
    if path and RESULTS:
        Path(path).write_text(
            json.dumps({"date": time.strftime("%Y-%m-%d"), "cells": list(RESULTS.values())}, indent=1) + "\n"
        )


@pytest.fixture
def cell(record_property) -> Callable[..., None]:
    """Name the cell of the matrix that a test stands for: `cell("jet", "Dino", "200 kB, direct")`."""

    def name(sender: str, receiver: str, case: str, note: str = "") -> None:
        record_property("cell", {"from": sender, "to": receiver, "case": case})
        if note:
            record_property("note", note)

    return name


# The laboratory.


@dataclass
class Peers:
    """The running laboratory: a server, Libervia with two profiles, Dino with one account."""

    directory: Path
    port: int
    environment: dict[str, str]
    started: set[str] = field(default_factory=set)

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

    def sent_at(self, since: float, word: str) -> float:
        """Return when a client first sent a stanza that holds `word`, as a time of the clock."""
        return next(row["t"] for row in self._rows(since) if word in row["xml"])

    def _rows(self, since: float) -> list[dict]:
        rows = map(json.loads, (self.run / "stanzas.jsonl").read_text().splitlines())
        return [row for row in rows if row["t"] >= since and row["dir"] == "in"]

    def dino_received(self, name: str, limit_s: float = 20) -> Path:
        """Wait until Dino has saved a file of that name."""
        printed = self.script("dino-received.sh", DINO[0], name, int(limit_s))
        return Path(printed.rsplit(" encryption=", 1)[0])

    def restart_dino(self) -> None:
        """Start Dino anew, as after a test that may have killed it."""
        self.script("stop-dino.sh", DINO[0], "--keep-x")
        self.start_dino()

    def start_dino(self) -> None:
        self.script("start-dino.sh", DINO[0], *(f"{name}@{DOMAIN}" for name in JETS))

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

    def libervia_sends(self, file: Path, to: str, *, profile: str = LIBERVIA[0]) -> str:
        """Let Libervia send a file."""
        return self.script("libervia-send.sh", profile, to, file, LI_TIMEOUT="40")


def _said(text: str) -> str:
    noise = re.compile(r"(?i)progress|^--|missing module|output_template|^$")
    return " / ".join(line for line in text.splitlines() if not noise.search(line))[-400:]


def until(condition: Callable[[], object], otherwise: str, limit_s: float = LIMIT_S) -> object:
    """Wait for something outside of this process; fail with `otherwise` where it does not come."""
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(otherwise)


@pytest.fixture(scope="session")
def peers() -> Iterator[Peers]:
    """The laboratory, started once; it stops when the tests have ended."""
    with throwaway_directory("jet-peers-") as directory:
        port, proxy = free_ports(2)
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | {
            "TMPDIR": str(directory),
            "PYTHONUNBUFFERED": "1",
            "PEERS_DIR": str(directory),
            "PEERS_DOMAIN": DOMAIN,
            "PEERS_C2S_PORT": str(port),
            "PEERS_PROXY_PORT": str(proxy),
            "PEERS_DNS_ADDR": f"127.0.53.{os.getpid() % 250 + 2}",
            "PEERS_USERS": " ".join((*LIBERVIA, *DINO, *JETS)),
            "DINO_DISPLAY_BASE": str(200 + os.getpid() % 500),
        }
        lab = Peers(directory, port, environment)
        try:
            lab.script("start-prosody.sh")
            lab.script("start-libervia.sh", timeout_s=180)
            lab.start_dino()
            yield lab
        finally:
            for stop in (("stop-dino.sh", DINO[0]), ("stop-libervia.sh",), ("stop-prosody.sh",)):
                lab.script(*stop)


@pytest.fixture(autouse=True)
def _artefact(request) -> Iterator[None]:
    """Keep the server's stanza log of a test that failed."""
    if "peers" not in request.fixturenames:
        yield
        return
    lab: Peers = request.getfixturevalue("peers")
    began = time.time()
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        keep_in = Path("build/interop")
        keep_in.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "_", request.node.name)
        (keep_in / f"{name}.xml").write_text("\n".join(lab.stanzas(began)))


# jet itself.


@dataclass
class Ended:
    """How a `jet` process ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    def __repr__(self) -> str:
        return f"exit code {self.code} after {self.seconds:.1f} s: {' / '.join(self.stderr.splitlines()[-3:])}"


@dataclass
class Receiver:
    """A `jet receive` that is running."""

    process: subprocess.Popen
    log: Path

    @property
    def jid(self) -> str:
        waiting = until(lambda: re.search(r"Waiting as (\S+)", self.log.read_text()), "jet receive never came online")
        return waiting.group(1)

    def ended(self, limit_s: float = LIMIT_S) -> Ended:
        began = time.monotonic()
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"jet receive did not end: {self.log.read_text()[-400:]}") from None
        return Ended(self.process.returncode, "", self.log.read_text(), time.monotonic() - began)


@dataclass
class Home:
    """An account of the laboratory that jet uses."""

    path: Path
    jid: str
    files: Path
    running: ExitStack

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
        receiver = Receiver(process, log)
        self.running.callback(lambda: process.poll() is None and (process.terminate(), process.wait()))
        assert receiver.jid
        return receiver


@pytest.fixture
def user(peers, tmp_path, tmp_path_factory) -> Iterator[Callable[[str], Home]]:
    """Take an account of the laboratory for jet: `user("alice")`; its keys live as long as the laboratory."""
    with ExitStack() as running:

        def take(name: str) -> Home:
            path, jid = peers.directory / "jet" / name, f"{name}@{DOMAIN}"
            if not path.exists():
                path.mkdir(parents=True, mode=0o700)
                ca = peers.directory / "ca" / "ca.crt"
                account = Account(name, jid, server=("127.0.0.1", peers.port), ca_file=ca)
                keep(Paths(path / "config.toml", path / "state"), account, PASSWORD)
                config = path / "config.toml"
                config.write_text(f"{config.read_text()}\n[network]\nloopback = true\n")
            files = tmp_path / name
            files.mkdir()
            return Home(path, jid, files, running)

        yield take
