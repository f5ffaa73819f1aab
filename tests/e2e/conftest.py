"""Real `python -m jetcli` processes: a home for each account, and the processes that run in it."""

import codecs
import json
import os
import pty
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from servers import last_words

from jetcli.cli.login import keep
from jetcli.state.config import Account
from jetcli.state.paths import Paths
from jetcli.trial.server import Prosody, free_ports

WAIT_S = 40.0
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

    def enrol(self) -> None:
        """Write down what `jet login` would, so that a test which is not about logging in need not wait for it."""
        host, _, port = self.address.rpartition(":")
        name = self.jid.partition("@")[0]
        account = Account(name, self.jid, server=(host, int(port)), ca_file=self.server.ca_file)
        keep(Paths(self.path / "config.toml", self.path / "state"), account, self.password)

    @property
    def login(self) -> tuple[str, ...]:
        """The words that log in for the first time."""
        return "login", self.jid, "--server", self.address, "--ca-file", str(self.server.ca_file)

    def network(self, text: str = "") -> None:
        """Set what stands under `[network]`, beside `loopback = true` unless that is said otherwise."""
        config = self.path / "config.toml"
        if not config.exists():
            config.touch(mode=0o600)
        rest = re.sub(r"(?m)^\[network\]\n([^\[\n].*\n)*", "", config.read_text())
        text = text if "loopback" in text else f"loopback = true\n{text}"
        config.write_text(f"{rest.rstrip()}\n\n[network]\n{text.rstrip()}\n".lstrip())

    def file(self, name: str, content: bytes | int) -> Path:
        """Make a file among `files`, of this content or of so many random bytes."""
        path = self.files / name
        path.write_bytes(random.randbytes(content) if isinstance(content, int) else content)
        return path

    @property
    def saved(self) -> dict[str, bytes]:
        """Everything that lies in `files`: names and contents."""
        return {path.name: path.read_bytes() for path in self.files.iterdir()}

    @property
    def parts(self) -> list[Path]:
        """The part files in `files`."""
        return sorted(self.files.glob(".jet-*.part"))


class Jet:
    """A running `jet`; standard output and standard error are collected as they come.

    Use `finished()` to wait for its end, `wait_for(pattern)` for a line on standard error (or output), `event(type)`
    for a line of `--json`.
    """

    def __init__(
        self,
        home: Home,
        args: tuple[str, ...],
        *,
        stdin: bytes | None = None,
        env=(),
        cwd=None,
        terminal: bool = False,
        prefix: tuple[str, ...] = (),
        umask: int = -1,
    ) -> None:
        self.args = args
        self.terminal: int | None = None
        self.stdout = ""
        self.stderr = ""
        self._changed = threading.Condition()
        self._streams_open = 2
        streams = {"stdin": subprocess.DEVNULL if stdin is None else subprocess.PIPE, "stderr": subprocess.PIPE}
        if terminal:
            self.terminal, other_end = pty.openpty()
            streams = {"stdin": other_end, "stderr": other_end}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "jetcli", *args],
            stdout=subprocess.PIPE,
            cwd=cwd or home.files,
            env=_environment(home) | dict(env),
            umask=umask,
            **streams,
        )
        stderr = self.process.stderr
        if self.terminal is not None:
            os.close(other_end)
            stderr = os.fdopen(self.terminal, "rb", buffering=0)
        self._readers = [
            threading.Thread(target=self._collect, args=("stdout", self.process.stdout), daemon=True),
            threading.Thread(target=self._collect, args=("stderr", stderr), daemon=True),
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
        """The events of `--json` so far; they give way where standard output is for a file's bytes."""
        receives = {"receive", "request"} & set(self.args)
        to_stdout = receives and {"--stdout", "--unverified-stdout", "-"} & set(self.args)
        return [json.loads(line) for line in self._lines("stderr" if to_stdout else "stdout") if line.startswith("{")]

    def ready(self) -> str:
        """Wait until a receiver can be seen; return its full JID."""
        if "--json" in self.args:
            return str(self.event("connected")["jid"])
        return self.wait_for(r"Waiting as (\S+)").group(1)

    @property
    def error(self) -> str:
        """The line of the error, without its prefix."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("jet: error: ")]
        assert len(lines) == 1, self
        return lines[0].removeprefix("jet: error: ")

    @property
    def hint(self) -> str:
        """The line of the hint, without its prefix."""
        return "\n".join(line.removeprefix("jet: hint: ") for line in self.stderr.splitlines() if "jet: hint: " in line)

    def type(self, text: str) -> None:
        """Type on the terminal that the process was started with."""
        assert self.terminal is not None
        os.write(self.terminal, text.encode())

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

    def event(
        self, kind: str, which: Callable[[dict], bool] = lambda _event: True, timeout_s: float = WAIT_S, **fields
    ) -> dict:
        """Wait until `--json` prints an event of this type with these fields, of which `which` is true."""

        def first() -> dict | None:
            wanted = {"type": kind} | fields
            return next((event for event in self.events if wanted.items() <= event.items() and which(event)), None)

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
        # A terminal ends with EIO when its last process has gone.
        with pipe, suppress(OSError):
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


#: A break ends what runs, unless a test is about going on: such a test says --retry.
_NO_RETRY = {f"JET_{command}_RETRY": "0" for command in ("SEND", "RECEIVE", "RESUME")}


def _environment(home: Home) -> dict[str, str]:
    """Nothing of the caller's own configuration, and no terminal."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home.path), "JET_HOME": str(home.path), "TERM": "dumb", **_NO_RETRY}


@pytest.fixture
def home(tmp_path, account, server) -> Callable[..., Home]:
    """Make a home: `home("juliet", contacts=[romeo], on=server, network="idle = '1s'")`; it can be used at once.

    Contacts are each other's, and only before the first process of either runs. `address` is where the account's
    server is reached, if not at its own; `enrolled=False` leaves logging in to the test.
    """

    def make(
        name: str = "romeo", *, contacts=(), on=server, domain=None, network="", address=None, enrolled=True
    ) -> Home:
        made = account(name, contacts=contacts, on=on, domain=domain)
        new = _made(tmp_path, made, on, address or on.address)
        if enrolled:
            new.enrol()
        new.network(network)
        return new

    return make


def _made(place: Path, made, on: Prosody, address: str) -> Home:
    place = place / made.jid
    (place / "home").mkdir(parents=True, mode=0o700)
    (place / "files").mkdir()
    return Home(place / "home", place / "files", made.jid, made.password, on, address)


def _check_events(process: Jet, valid_event: Callable[[dict], dict]) -> None:
    """Every event is as the schema says, and one result is the last, unless the process was killed."""
    if "--json" not in process.args:
        return
    kinds = [valid_event(event)["type"] for event in process.events]
    if kinds and process.code is not None and process.code >= 0:
        assert kinds.count("result") == 1, process
        assert kinds[-1] == "result", process


@pytest.fixture
def jet(valid_event) -> Iterator[Callable[..., Jet]]:
    """Start `jet` in a home: `jet(romeo, "send", "a.txt", juliet.jid)`.

    Takes `stdin` (bytes), `env`, `cwd`, `umask`, `terminal=True` (a pty) and `prefix` (words before the command).
    Whatever still runs at the end of the test is ended.
    """
    with ExitStack() as running:

        def start(home: Home, *args: str | Path, **kwargs) -> Jet:
            process = Jet(home, tuple(map(str, args)), **kwargs)
            running.callback(_check_events, process, valid_event)
            running.callback(process.end)
            return process

        yield start


@pytest.fixture
def receiver(jet) -> Callable[..., Jet]:
    """Start `jet receive --accept-all` and wait until it can be seen; more words follow `receive`."""

    def start(home: Home, *args: str | Path, ready: bool = True, **kwargs) -> Jet:
        words = args if {"--from", "--accept-all"} & set(args) or kwargs.get("terminal") else ("--accept-all", *args)
        process = jet(home, "receive", *words, **kwargs)
        if ready:
            process.ready()
        return process

    return start


@pytest.fixture(scope="session")
def _old_friends(server, tmp_path_factory) -> tuple[Home, Home]:
    """Two homes that have been in use for a while."""
    homes = []
    for name in ("romeo", "juliet"):
        jid = server.add_account(f"old-{name}", f"{name}'s password")
        path = tmp_path_factory.mktemp(name)
        (path / "home").mkdir(mode=0o700)
        homes.append(Home(path / "home", path, jid, f"{name}'s password", server, server.address))
    server.make_contacts(homes[0].jid, homes[1].jid)
    logins = [Jet(home, home.login, env={"JET_PASSWORD": home.password}) for home in homes]
    assert [login.finished().code for login in logins] == [0, 0], logins
    return homes[0], homes[1]


@pytest.fixture
def pair(_old_friends, tmp_path) -> tuple[Home, Home]:
    """Romeo and Juliet, who are each other's contacts; their homes live as long as the server, their files do not.

    Not for tests that leave a resource behind at the server, as by SIGKILL: use `new_pair`.
    """
    for home in _old_friends:
        home.files = tmp_path / home.jid
        home.files.mkdir()
        home.network()
    return _old_friends


@pytest.fixture
def new_pair(home) -> tuple[Home, Home]:
    """Romeo and Juliet as `pair`, but nobody has seen them before."""
    romeo = home("romeo")
    return romeo, home("juliet", contacts=[romeo])


@pytest.fixture
def small_disk(new_pair):
    """Put a disk of 40 MB under Juliet's files, in a name space of its own; give what leads there, and its files."""
    _, juliet = new_pair
    mount = f"mount -t tmpfs -o size=40000000 none {shlex.quote(str(juliet.files))} && echo mounted && exec sleep 600"
    # Who is not root may mount only where he is taken for it; root would lose what lets him read the server's files.
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *own, "--mount", "sh", "-c", mount]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as holder:
        try:
            said = holder.stdout.readline()
            if said != "mounted\n":
                pytest.skip(f"this machine lets nobody mount a disk of his own: {said}")
            enter = ["nsenter", f"--target={holder.pid}", *own[:1], "--preserve-credentials", "--mount"]
            inside = *enter, "sh", "-c", 'cd "$0" && exec "$@"', str(juliet.files)
            yield inside, Path(f"/proc/{holder.pid}/root{juliet.files}")
        finally:
            holder.kill()


@pytest.fixture
def over(faulty) -> Callable[..., object]:
    """Let the bytes between two homes take one connection that can go wrong: `over(romeo, juliet, stall_after=10)`.

    The sender's address is the only one that works: it is that of the faulty connection.
    """

    def lead(sender: Home, receiver: Home, *, network: str = "", **faults) -> object:
        port = free_ports(1)[0]
        connection = faulty(("127.0.0.1", port), **faults)
        sender.network(f'listen = {port}\nadvertise = "{connection.address}"\n{network}')
        receiver.network(f'listen = {free_ports(1)[0]}\nadvertise = "127.0.0.1:1"\n{network}')
        return connection

    return lead


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell beside a failure what the server that all tests of a worker share was doing."""
    report = yield
    if report.failed and (server := getattr(item, "funcargs", {}).get("server")) is not None:
        report.sections.append(("its server", last_words(server)))
    return report


@pytest.fixture
def fresh(home) -> Home:
    """Return a home of an account that nobody has logged in to."""
    return home("romeo", enrolled=False)
