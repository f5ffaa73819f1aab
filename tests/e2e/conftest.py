"""Real `python -m jetcli` processes: a home for each account, and the processes that run in it."""

import codecs
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from jetcli.trial.server import Prosody

WAIT_S = 60.0
T = TypeVar("T")


def pytest_collection_modifyitems(items) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@dataclass
class Home:
    """A JET_HOME with one account. `files` is an empty directory beside it, where its processes run."""

    path: Path
    files: Path
    jid: str
    password: str
    server: Prosody
    address: str
    logged_in: bool = False

    def configure(self, text: str) -> None:
        """Append lines to config.toml."""
        config = self.path / "config.toml"
        old = config.read_text() if config.exists() else ""
        config.write_text(f"{old}\n{text}\n")
        config.chmod(0o600)


class Jet:
    """A running `jet`; standard output and standard error are collected as they come.

    Use `finished()` to wait for its end, `wait_for(pattern)` for a line on standard error (or output), `event(type)`
    for a line of `--json`.
    """

    def __init__(self, home: Home, args: tuple[str, ...], *, stdin: bytes | None = None, env=(), cwd=None) -> None:
        self.args = args
        self.stdout = ""
        self.stderr = ""
        self._changed = threading.Condition()
        self._streams_open = 2
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jetcli", *args],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd or home.files,
            env=_environment(home) | dict(env),
        )
        self._readers = [
            threading.Thread(target=self._collect, args=("stdout", self.process.stdout), daemon=True),
            threading.Thread(target=self._collect, args=("stderr", self.process.stderr), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        if stdin is not None:
            self._readers.append(threading.Thread(target=self._feed, args=(stdin,), daemon=True))
            self._readers[-1].start()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs; negative where a signal ended it."""
        return self.process.poll()

    @property
    def events(self) -> list[dict]:
        """The events of `--json` so far."""
        return [json.loads(line) for line in self._lines("stdout") if line.startswith("{")]

    def finished(self, timeout_s: float = WAIT_S) -> "Jet":
        """Wait for the end and return self; fail with what it said where it does not come."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"jet did not end in {timeout_s:.0f} s\n{self}")
        for reader in self._readers:
            reader.join()
        return self

    def wait_for(self, pattern: str, stream: str = "stderr", timeout_s: float = WAIT_S) -> re.Match[str]:
        """Wait until a line of `stream` matches."""
        found = self._until(lambda: re.search(pattern, getattr(self, stream)), timeout_s)
        return found or pytest.fail(f"jet never said {pattern!r}\n{self}")

    def event(self, kind: str, timeout_s: float = WAIT_S, **fields) -> dict:
        """Wait until `--json` prints an event of this type and with these fields."""

        def first() -> dict | None:
            wanted = {"type": kind} | fields
            return next((event for event in self.events if wanted.items() <= event.items()), None)

        return self._until(first, timeout_s) or pytest.fail(f"jet never printed {kind} {fields}\n{self}")

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def end(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for reader in self._readers:
            reader.join()

    def __repr__(self) -> str:
        return (
            f"jet {' '.join(self.args)}\nexit code {self.code}\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"
        )

    def _until(self, condition: Callable[[], T], timeout_s: float) -> T:
        with self._changed:
            self._changed.wait_for(lambda: condition() or not self._streams_open, timeout_s)
            return condition()

    def _lines(self, stream: str) -> list[str]:
        """Whole lines only: the last one may still be on its way."""
        return getattr(self, stream).rpartition("\n")[0].splitlines()

    def _collect(self, name: str, pipe) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with pipe:
            while data := os.read(pipe.fileno(), 65_536):
                with self._changed:
                    setattr(self, name, getattr(self, name) + decoder.decode(data))
                    self._changed.notify_all()
        with self._changed:
            self._streams_open -= 1
            self._changed.notify_all()

    def _feed(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            with self.process.stdin as pipe:
                pipe.write(data)
        except BrokenPipeError:
            pass


def _environment(home: Home) -> dict[str, str]:
    """Nothing of the caller's own configuration, and no terminal."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home.path), "JET_HOME": str(home.path), "TERM": "dumb"}


@pytest.fixture
def home(tmp_path, account, server) -> Callable[..., Home]:
    """Make a home: `home("juliet", contacts=[romeo], on=server, settings="...")`.

    Contacts are each other's, and only before the first process of either runs. `settings` are lines of config.toml
    that follow `[network]`; `address` is where the account's server is reached, if not at its own.
    """

    def make(name: str = "romeo", *, contacts=(), on=server, domain=None, settings: str = "", address=None) -> Home:
        made = account(name, contacts=contacts, on=on, domain=domain)
        path, files = tmp_path / name / "home", tmp_path / name / "files"
        path.mkdir(parents=True, mode=0o700)
        files.mkdir()
        new = Home(path, files, made.jid, made.password, on, address or on.address)
        new.configure(f"[network]\nloopback = true\n{settings}")
        return new

    return make


@pytest.fixture
def jet() -> Iterator[Callable[..., Jet]]:
    """Start `jet` in a home: `jet(romeo, "send", "a.txt", juliet.jid)`; logs in first where nobody did.

    Takes `stdin` (bytes), `env`, `cwd`, and `login=False`. Whatever still runs at the end of the test is ended.
    """
    with ExitStack() as running:

        def start(home: Home, *args: str | Path, login: bool = True, **kwargs) -> Jet:
            if login and not home.logged_in:
                _log_in(home)
            process = Jet(home, tuple(map(str, args)), **kwargs)
            running.callback(process.end)
            return process

        yield start


@pytest.fixture
def pair(home) -> tuple[Home, Home]:
    """Two homes, romeo and juliet, who are each other's contacts and logged in."""
    romeo = home("romeo")
    juliet = home("juliet", contacts=[romeo])
    _log_in(romeo, juliet)
    return romeo, juliet


def _log_in(*homes: Home) -> None:
    """Log in side by side: a fresh device costs a second of starting and making keys."""
    logins = [
        Jet(
            home,
            ("login", home.jid, "--server", home.address, "--ca-file", str(home.server.ca_file)),
            env={"JET_PASSWORD": home.password},
        )
        for home in homes
    ]
    for home, login in zip(homes, logins, strict=True):
        try:
            assert login.finished().code == 0, login
        finally:
            login.end()
        home.logged_in = True
