"""A real Prosody as a child process, for as long as a `with` block lasts.

Owns its directory, its ports on loopback and its end. The server runs as the user who started it, under root as
`nobody`; no file of the system's own Prosody is read or written. What runs inside it is `lua/mod_jet_trial.lua`, the
text of its files is `prosody_files`. Refuses to know what is transferred: see `jetcli.trial.run`.
"""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from types import TracebackType
from typing import Self

from jetcli.errors import SetupError
from jetcli.trial.certificates import Authority, Leaf
from jetcli.trial.prosody_files import Layout, Ports, account, configuration, roster

HOST = "127.0.0.1"
#: Between finding a free port and Prosody binding it, another process may take it.
TRIES = 5
START_S = 20.0
STOP_S = 5.0
#: Whoever leaves by an exception, or a signal, has promised to be gone in two seconds, directory and all.
HURRIED_STOP_S = 0.5
#: Where systems put servers; an ordinary user's PATH often leaves the sbin directories out.
_SERVER_PATHS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin")


def find_prosody() -> str:
    """Return the path of the installed Prosody; raise SetupError with how to install it."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *_SERVER_PATHS])
    found = shutil.which("prosody", path=places)
    if found is None:
        command = "brew tap prosody/prosody && brew install prosody" if sys.platform == "darwin" else _APT
        raise SetupError("prosody, the XMPP server for trials, is not installed", hint=command)
    return found


_APT = "sudo apt-get install prosody lua-unbound"


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports that are free on loopback at this moment."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


@contextmanager
def throwaway_directory(prefix: str = "jet-try-") -> Iterator[Path]:
    """Make a directory that the server's user can reach, and delete it with all that is in it.

    Under root it lies in /tmp: TMPDIR may point below a directory that `nobody` cannot enter.
    """
    with TemporaryDirectory(prefix=prefix, dir="/tmp" if _as_root() else None) as name:
        Path(name).chmod(0o711)
        yield Path(name)


class Prosody:
    """A Prosody that serves `domains` on loopback while it is entered as a context manager.

    `directory` is made where it is missing and stays when the server stops: it belongs to the caller, and every
    directory above it must be open to the server's user. `authority` issues the certificate for all domains unless
    `leaf` is given. Each domain has a SOCKS5 proxy `proxy.DOMAIN`. With `dns_port`, the port of a name server on
    loopback, the server also talks to other servers. `settings` are lines of Prosody's configuration.

    Raises SetupError on entry where Prosody is missing or does not start.
    """

    def __init__(
        self,
        directory: Path,
        domains: Sequence[str] = ("jet.test",),
        *,
        authority: Authority | None = None,
        leaf: Leaf | None = None,
        dns_port: int | None = None,
        password_hash: str = "SHA-256",
        log_stanzas: bool = True,
        settings: str = "",
    ) -> None:
        self.domains = tuple(domains)
        self.authority = authority or Authority.fresh()
        self.host = HOST
        self._layout = Layout(directory)
        self._leaf = leaf or self.authority.issue(*domains)
        self._dns_port = dns_port
        self._password_hash = password_hash
        self._log_stanzas = log_stanzas
        self._settings = settings
        self._contacts: defaultdict[str, set[str]] = defaultdict(set)
        self._ports: Ports | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def domain(self) -> str:
        """Return the first domain."""
        return self.domains[0]

    @property
    def address(self) -> str:
        """Return host and port as `jet login --server` takes them."""
        return f"{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """Return the certificate that a client has to trust."""
        return self._layout.ca_file

    @property
    def stanza_log(self) -> Path:
        """Return the log of all stanzas: a line each of time, "in" or "out", JID and XML, tab between them."""
        return self._layout.stanzas

    @property
    def ports(self) -> Ports:
        """Return the ports of the running server."""
        assert self._ports is not None, "the server is not running"
        return self._ports

    @property
    def port(self) -> int:
        """Return the port for clients (STARTTLS)."""
        return self.ports.client

    @property
    def direct_tls_port(self) -> int:
        """Return the port for clients that begin with TLS (XEP-0368)."""
        return self.ports.direct_tls

    @property
    def proxy_port(self) -> int:
        """Return the port of the SOCKS5 proxy (XEP-0065)."""
        return self.ports.proxy

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(STOP_S if kind is None else HURRIED_STOP_S)

    def start(self) -> None:
        """Start the server and return when its ports are open; raise SetupError where that cannot be."""
        program = find_prosody()
        self._lay_out()
        for _ in range(TRIES):
            ports = Ports(*free_ports(4 if self._dns_port else 3))
            self._configure(ports)
            self._process = self._spawn(program)
            if ports.opened() <= self._opened():
                self._ports = ports
                return
            self.stop()
        raise SetupError(f"prosody did not start: {self._last_words()}", hint=f"{program} is the program")

    def stop(self, patience_s: float = STOP_S) -> None:
        """End the server: politely, after `patience_s` by force with all its children. Does nothing when none runs."""
        process, self._process, self._ports = self._process, None, None
        if process is None:
            return
        with process:
            process.terminate()
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def add_account(self, local: str, password: str, domain: str | None = None) -> str:
        """Make the account `local` of `domain` (the first one when None) and return its bare JID."""
        domain = domain or self.domain
        self._store(self._layout.stored(domain, "accounts", local), account(password, self._password_hash))
        return f"{local}@{domain}"

    def make_contacts(self, one: str, other: str) -> None:
        """Make two bare JIDs each other's contacts (subscription both), as far as they live on this server.

        Has to happen before either logs in for the first time: from then on Prosody keeps the roster in memory.
        """
        for mine, theirs in ((one, other), (other, one)):
            local, _, domain = mine.partition("@")
            if domain in self.domains:
                self._contacts[mine].add(theirs)
                self._store(self._layout.stored(domain, "roster", local), roster(sorted(self._contacts[mine])))

    def _lay_out(self) -> None:
        layout = self._layout
        self._make(layout.directory)
        self._make(layout.plugins)
        module = resources.files("jetcli.trial") / "lua" / "mod_jet_trial.lua"
        self._store(layout.plugins / "mod_jet_trial.lua", module.read_text())
        self._store(layout.ca_file, self.authority.pem.decode())
        self._store(layout.certificate, self._leaf.certificate.decode())
        self._store(layout.key, self._leaf.key.decode())

    def _configure(self, ports: Ports) -> None:
        text = configuration(
            self._layout,
            self.domains,
            ports,
            host=self.host,
            password_hash=self._password_hash,
            dns_port=self._dns_port,
            log_stanzas=self._log_stanzas,
            settings=self._settings,
        )
        self._store(self._layout.configuration, text)

    def _spawn(self, program: str) -> subprocess.Popen[bytes]:
        """Start the process in a session of its own, so that Ctrl-C reaches us alone and we end it in order."""
        user = _server_user()
        return subprocess.Popen(
            [program, "-F", "--config", str(self._layout.configuration)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._layout.directory,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )

    def _opened(self) -> set[int]:
        """Wait until the server says which ports it has opened; none where it ends instead."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = monotonic() + START_S
        said = b""
        while (left_s := deadline - monotonic()) > 0 and select.select([self._process.stdout], [], [], left_s)[0]:
            some = os.read(self._process.stdout.fileno(), 4096)
            said += some
            for line in said.splitlines():
                if line.startswith(b"ready ") and said.endswith(b"\n"):
                    return {int(port) for port in line.split()[1:]}
            if not some:
                break
        return set()

    def _last_words(self) -> str:
        try:
            lines = self._layout.log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it wrote no log"

    def _store(self, path: Path, text: str) -> None:
        """Write a file that only the server's user and we can read."""
        for missing in reversed([parent for parent in path.parents if not parent.exists()]):
            self._make(missing)
        path.touch(mode=0o600)
        path.write_text(text)
        _give_to_server(path)

    def _make(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        _give_to_server(directory)


def _as_root() -> bool:
    return os.geteuid() == 0


def _server_user() -> pwd.struct_passwd | None:
    """Return the user that the server runs as, or None for the one that we are."""
    return pwd.getpwnam("nobody") if _as_root() else None


def _give_to_server(path: Path) -> None:
    if user := _server_user():
        os.chown(path, user.pw_uid, user.pw_gid)
