"""Real `python -m jetcli` processes: a home for each account, and the processes that run in it."""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from jets import Home, Jet
from servers import last_words

from jetcli.trial.server import Prosody, free_ports


def pytest_collection_modifyitems(items) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


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
