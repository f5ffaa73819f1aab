"""`jet try`: one real file between two real processes through a real server, and proof that nobody else could read it.

Owns the course of a trial and the five lines that tell it. The server is `jetcli.trial.server`, the processes are
`jetcli.trial.homes`, the look at what others saw is `jetcli.trial.search`.
"""

import hashlib
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from jetcli.cli.wording import rate_text, size_text
from jetcli.errors import IntegrityError, JetError, SetupError, UsageError
from jetcli.trial.homes import Home, Process, running
from jetcli.trial.search import WINDOW, Windows
from jetcli.trial.server import HOST, Prosody, find_prosody, free_ports, throwaway_directory
from jetcli.trial.tap import Tap

SAMPLE_SIZE = 64_000_000
_PIECE = 1_000_000
_PATHS = {"s5b-direct": "a direct connection", "s5b-proxy": "the server's proxy", "ibb": "the server itself"}

Line = Callable[[str], object]


class Stage(Struct, frozen=True):
    """All that a trial takes place on. `wire` is the directory with what passed between the two processes' `taps`."""

    directory: Path
    server: Prosody
    romeo: Home
    juliet: Home
    wire: Path
    taps: tuple[Tap, ...] = ()

    @property
    def inbox(self) -> Path:
        """Return the directory that juliet receives into."""
        return self.juliet.path / "inbox"

    def seen_on_the_wire(self) -> list[Path]:
        """Return the recordings of every connection, each way."""
        return sorted(path for path in self.wire.rglob("*") if path.is_file())


def run_trial(file: Path | None, *, shell: bool, line: Line, cut: int | None = None) -> int:
    """Send `file` (else 64 MB of random bytes) from one throwaway account to another; return the exit code.

    `line` gets the five lines that tell how it went. With `cut` the connection is cut once after so many hundredths of
    the file, and a sixth line tells how it went on. With `shell` the server stays up afterwards, until a signal ends
    the command, and two more lines say how to try by hand. Nothing is left behind.

    Raises SetupError where Prosody is missing, IntegrityError where the file arrived changed or was seen by others,
    and whatever class of JetError one of the two processes failed with.
    """
    find_prosody()
    with _stage() as stage:
        source = file.resolve() if file else _sample(stage.directory / "random.bin")
        line(f"server   Prosody on {stage.server.address}, accounts {stage.romeo.jid} and {stage.juliet.jid}")
        if cut is not None:
            for tap in stage.taps:
                tap.cut_after = source.stat().st_size * cut // 100
        sender = _transfer(stage, source)
        if cut is not None:
            line(f"cut      {_told_cut(sender, cut)}")
        line(f"file     {_told(sender)}")
        line(f"arrived  {_compare(source, stage.inbox)}")
        windows = Windows.of(source, random.Random())
        line(f"server   {_search_server(windows, stage)}")
        line(f"wire     {_search_wire(windows, stage, source.stat().st_size)}")
        if shell:
            _stay(stage, line)
    return 0


@contextmanager
def _stage() -> Iterator[Stage]:
    with ExitStack() as held:
        directory = held.enter_context(throwaway_directory())
        server = Prosody(directory / "prosody")
        romeo = Home(directory / "romeo", f"romeo@{server.domain}")
        juliet = Home(directory / "juliet", f"juliet@{server.domain}")
        held.enter_context(server)
        server.make_contacts(romeo.jid, juliet.jid)
        wire, taps = directory / "wire", []
        for home, listen in zip((romeo, juliet), free_ports(2), strict=True):
            recordings = wire / home.name
            recordings.mkdir(parents=True)
            tap = held.enter_context(Tap((HOST, listen), recordings))
            home.configure(listen=listen, advertise=tap.address)
            taps.append(tap)
        stage = Stage(directory, server, romeo, juliet, wire, tuple(taps))
        stage.inbox.mkdir()
        _register(stage)
        yield stage


def _register(stage: Stage) -> None:
    options = ("--register", "--server", stage.server.address, "--ca-file", str(stage.server.ca_file))
    with ExitStack() as held:
        homes = (stage.romeo, stage.juliet)
        logins = [
            held.enter_context(running(home, "login", home.jid, *options, secret=home.password)) for home in homes
        ]
        for login in logins:
            login.finish()


def _transfer(stage: Stage, source: Path) -> Process:
    """Send `source` from romeo to juliet; return the sender, which has ended."""
    with running(stage.juliet, "receive", "--accept-all", "-d", str(stage.inbox)) as receiver:
        receiver.event("connected")
        with running(stage.romeo, "send", str(source), stage.juliet.jid) as sender:
            sender.finish()
        receiver.finish()
        return sender


def _told(sender: Process) -> str:
    done, path = sender.first("file"), sender.first("path")["transport"]
    speed = f" ({rate_text(done['size'] / done['seconds'])})" if done["seconds"] else ""
    return f"{size_text(done['size'])} from romeo to juliet in {done['seconds']:.2f} s{speed} over {_PATHS[path]}"


def _told_cut(sender: Process, cut: int) -> str:
    """Say how the transfer went on after its line was cut."""
    resumed = next((event for event in sender.events if event["type"] == "progress" and event["offset"]), None)
    if resumed is None:
        raise UsageError(f"the transfer was over before it could be cut at {cut} %", hint="try it with a larger file")
    offset, size = resumed["offset"], resumed["size"]
    tries = sum(event["type"] == "waiting" for event in sender.events)
    again = "1 try" if tries == 1 else f"{tries} tries"
    return (
        f"at {cut} %; went on by itself with a fresh key from {size_text(offset)} of {size_text(size)}, after {again}"
    )


def _compare(source: Path, inbox: Path) -> str:
    arrived = [path for path in inbox.iterdir() if path.is_file()]
    if len(arrived) != 1:
        raise IntegrityError(f"{len(arrived)} files arrived instead of one")
    sent, received = _sha256(source), _sha256(arrived[0])
    if sent != received:
        raise IntegrityError(f"the file arrived changed: sha-256 {received} instead of {sent}")
    return f"sha-256 {sent[:8]}...{sent[-8:]} on both sides"


def _search_server(windows: Windows, stage: Stage) -> str:
    log = stage.server.stanza_log
    if not log.stat().st_size:
        raise SetupError("the server has logged no stanza, so there is nothing to search")
    _refuse(windows.found_in_xml(log), "the server's stanzas")
    with log.open("rb") as stanzas:
        count = sum(1 for _ in stanzas)
    return f"{count} stanzas logged; {_none_of(windows)}"


def _search_wire(windows: Windows, stage: Stage, size: int) -> str:
    recordings = stage.seen_on_the_wire()
    carried = sum(path.stat().st_size for path in recordings)
    if carried < size:
        raise JetError(f"only {size_text(carried)} of the file's {size_text(size)} passed the tap")
    for recording in recordings:
        _refuse(windows.found_in(recording), "the bytes on the wire")
    return f"{size_text(carried)} recorded; {_none_of(windows)}"


def _refuse(found: int, where: str) -> None:
    if found:
        raise IntegrityError(f"{found} pieces of the file are readable in {where}")


def _none_of(windows: Windows) -> str:
    if not windows.pieces:
        return f"the file is shorter than the {WINDOW} bytes that would be looked for"
    return f"none of {len(windows.pieces):,} pieces of {WINDOW} bytes of the file in it, plain or base64"


def _sample(path: Path) -> Path:
    chance = random.SystemRandom()
    with path.open("wb") as file:
        for _ in range(SAMPLE_SIZE // _PIECE):
            file.write(chance.randbytes(_PIECE))
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stay(stage: Stage, line: Line) -> None:
    """Keep the server up until a signal comes."""
    stage.romeo.forget_taps()
    stage.juliet.forget_taps()
    line("The server stays up until Ctrl-C. Try by hand, in two other terminals:")
    line(f"  {stage.juliet.shell_line('receive')}")
    line(f"  {stage.romeo.shell_line('send', 'FILE', stage.juliet.jid)}")
    signal.pause()
