"""Shared by the tests of the command line: jet as a process, jet inside this process, and a terminal of our own."""

import io
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from jetcli.cli import perform
from jetcli.cli.signals import Interruption
from jetcli.cli.streams import Messages


@pytest.fixture
def environment(tmp_path):
    """An environment in which nothing of the person who runs the tests is visible to jet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JET_", "_JET", "XDG_"))}
    return kept | {"JET_HOME": str(tmp_path / "home"), "TERM": "xterm", "COLUMNS": "100"}


@pytest.fixture
def jet_process(environment, tmp_path):
    """Run `python -m jetcli` to its end, away from any terminal."""

    def run(*arguments, stdin=subprocess.DEVNULL, **more):
        return subprocess.run(
            [sys.executable, "-m", "jetcli", *arguments],
            env=environment | more,
            cwd=tmp_path,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@dataclass
class Transfers:
    """Stands in for `jetcli.transfer`: tells `events` in order, asks about `offers`, and ends with `results`."""

    events: list = field(default_factory=list)
    offers: list = field(default_factory=list)
    results: list = field(default_factory=list)
    error: BaseException | None = None
    calls: list = field(default_factory=list)
    consents: list = field(default_factory=list)
    closed: bool = False
    keys: object = None

    async def play(self, emit):
        for event in self.events:
            emit(event)
        if self.error is not None:
            raise self.error
        return self.results

    async def send_files(self, online, paths, to, options, emit):
        self.calls.append((paths, to, options))
        return await self.play(emit)

    async def receive_files(self, online, options, emit, consent, stop):
        self.calls.append(options)
        self.consents = [await consent(offer) for offer in self.offers]
        return await self.play(emit)

    async def capabilities(self, online, jid):
        self.calls.append(jid)
        return await self.play(lambda event: None)

    async def login(self, credentials, *, register, command, emit, invite=None):
        self.calls.append((credentials, register))
        await self.play(emit)
        return self.keys

    async def open(self, credentials, network, *, receiving, command, emit):
        self.calls.append((credentials, network, receiving, command))
        return self

    async def unless_lost(self, work):
        return await work

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_error):
        self.closed = True


@pytest.fixture
def transfers(monkeypatch):
    fake = Transfers()
    credentials = make_dataclass(
        "Credentials", ["account", "directory", "secret", "trust", ("fingerprints", tuple, ())]
    )
    for name, members in {
        "account": {"Online": fake, "login": fake.login, "Credentials": credentials},
        "send": {"send_files": fake.send_files},
        "receive": {"receive_files": fake.receive_files},
        "peer": {"capabilities": fake.capabilities},
    }.items():
        monkeypatch.setitem(sys.modules, f"jetcli.transfer.{name}", SimpleNamespace(**members))
    return fake


@dataclass
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def jet_here(environment, monkeypatch, capsys, tmp_path):
    """Run jet inside this process, where its transfers can be replaced."""
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = perform([str(argument) for argument in arguments], Interruption(leave=lambda code: None))
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def account(tmp_path):
    """A configuration with one account and two aliases, and its password file."""
    home = tmp_path / "home"
    state = home / "state" / "romeo@montague.example"
    state.mkdir(parents=True, mode=0o700)
    (state / "password").write_text("ro5e\n")
    (state / "password").chmod(0o600)
    (home / "config.toml").write_text(
        '[accounts.home]\njid = "romeo@montague.example"\n'
        '[aliases]\njuliet = "juliet@capulet.example"\nnurse = "nurse@capulet.example"\n'
    )
    return home


class Paper(io.StringIO):
    """A stream that is, or is not, a terminal."""

    def __init__(self, terminal=False):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture
def paper():
    """Messages that can be read afterwards: `messages.stream.getvalue()`."""

    def make(terminal=False, colour="never", term="xterm"):
        return Messages(Paper(terminal), colour, {"TERM": term})

    return make


@dataclass
class Terminal:
    """A pseudo-terminal: tests hold `keyboard`, jet gets `descriptor`."""

    keyboard: int
    descriptor: int
    seen: bytes = field(default=b"")

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())


@pytest.fixture
def terminal():
    keyboard, descriptor = pty.openpty()
    yield Terminal(keyboard, descriptor)
    os.close(keyboard)
    os.close(descriptor)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "film.mkv"
    path.write_bytes(b"reel" * 100)
    return path


@pytest.fixture
def python_files():
    return sorted(Path(__file__).parents[2].joinpath("jetcli", "cli").glob("*.py"))
