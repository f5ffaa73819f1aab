"""What people use instead of jet, each with servers of its own on loopback; what is missing here is named.

Nothing of the system is used or changed: keys, servers and their files live in the directory of the run, programs that
Debian does not have are put into `.bench/` by their own installers.
"""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world import Sample, Usage, demand_same, until, usage_of

from jetcli.trial.server import HOST, free_ports

TOOLS = Path(__file__).parents[2] / ".bench"
WORMHOLE = ("magic-wormhole", "magic-wormhole-mailbox-server", "magic-wormhole-transit-relay")
# This version: the names of its variables and the words of its log are read below.
CROC = "github.com/schollz/croc/v10@v10.7.0"
CROC_NOTE = (
    "croc 10.7.0 sends through a relay of its own on loopback, whose CPU is not counted. To keep all on loopback, its"
    " search of the local network is switched off (`--no-local`, `--ip`), on which its receiver spends 0.2 s more, and"
    " it is built without its public relay, whose address it otherwise looks up at every start. Its receiver is started"
    " as soon as the relay knows the sender: one that comes first fails now and then. It compresses by default, which"
    " costs time with random bytes, as these files are; so it runs both ways."
)
#: A croc relay that shall listen on 127.0.0.1 listens on all interfaces; every other address it takes as it is.
_CROC_HOST = "127.0.0.2"
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}

#: Moves a file to a place that does not exist yet.
Way = Callable[[Path, Path], Sample]


@dataclass(frozen=True)
class Missing:
    """A way that cannot be measured here, and why."""

    why: str


@contextmanager
def neighbours(place: Path) -> Iterator[dict[str, Way | Missing]]:
    """Start what the ways need; return them by name."""
    with ExitStack() as running:
        ways: dict[str, Way | Missing] = {}
        ways |= _scp(place, running)
        ways["magic-wormhole"] = _wormhole(place, running)
        ways["age, socat, age"] = _age(place)
        ways |= _croc(place, running)
        yield ways


def _spawn(*command: str | Path, cwd: Path | None = None, **how: Any) -> subprocess.Popen:
    return subprocess.Popen([str(word) for word in command], cwd=cwd, **_QUIET | how)


def _serve(
    running: ExitStack, ports: Sequence[int], *command: str | Path, cwd: Path, host: str = HOST, **how: Any
) -> subprocess.Popen:
    """Start a server and wait until its ports are open; it ends with the run."""
    server = _spawn(*command, cwd=cwd, **how)
    running.callback(_end, server)
    until(lambda: all(_is_open(host, port) for port in ports), f"{command[0]} does not open its port")
    return server


def _end(process: subprocess.Popen) -> None:
    """End a process where it still runs."""
    process.terminate()
    process.wait()


def _is_open(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True


def _sample(began: float, *used: Usage) -> Sample:
    peaks = [one.rss_mib for one in used]
    return Sample(time.monotonic() - began, sum(one.cpu_s for one in used), (peaks[0], peaks[-1]))


# scp


def _scp(place: Path, running: ExitStack) -> dict[str, Way | Missing]:
    names = {"scp, aes128-gcm": ("-oCiphers=aes128-gcm@openssh.com",), "scp, its default cipher": ()}
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("scp") is None:
        return {name: Missing("no sshd here: apt-get install openssh-server") for name in names}
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd does not start without it
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / key], check=True)
    shutil.copy(place / "user.pub", place / "authorized")
    (port,) = free_ports(1)
    lines = (
        f"Port {port}", f"ListenAddress {HOST}", f"HostKey {place / 'host'}", "PasswordAuthentication no",
        f"AuthorizedKeysFile {place / 'authorized'}", "StrictModes no", "UsePAM no", "PidFile none",
        "Subsystem sftp internal-sftp",
    )  # fmt: skip
    (place / "sshd").write_text("\n".join([*lines, ""]))
    server = _serve(running, [port], sshd, "-D", "-f", place / "sshd", cwd=place)
    return {name: _scp_way(place, port, server.pid, options) for name, options in names.items()}


def _scp_way(place: Path, port: int, server: int, options: tuple[str, ...]) -> Way:
    known = ("-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oIdentitiesOnly=yes")

    def way(source: Path, target: Path) -> Sample:
        before, began = _children_s(server), time.monotonic()
        client = usage_of(
            _spawn("scp", "-q", "-P", str(port), "-i", place / "user", *known, *options, source, f"{HOST}:{target}")
        )
        wall_s = time.monotonic() - began
        children = Path(f"/proc/{server}/task/{server}/children")
        until(lambda: not children.read_text().strip(), "sshd does not end its session")
        demand_same(source, target)
        return Sample(wall_s, client.cpu_s + _children_s(server) - before, (client.rss_mib, client.rss_mib))

    return way


def _children_s(pid: int) -> float:
    """Return the CPU seconds of all children of a process that have ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[13]) + int(words[14])) / os.sysconf("SC_CLK_TCK")


# magic-wormhole


def _wormhole(place: Path, running: ExitStack) -> Way | Missing:
    home = TOOLS / "wormhole"
    if not (home / "bin" / "wormhole").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        if subprocess.run([home / "bin" / "pip", "install", "-q", *WORMHOLE], check=False).returncode:
            return Missing("pip could not install it")
    work = place / "wormhole"
    work.mkdir()
    mailbox, relay = free_ports(2)
    twist = home / "bin" / "twist"
    _serve(running, [mailbox], twist, "wormhole-mailbox", f"--port=tcp:{mailbox}:interface={HOST}", cwd=work)
    _serve(running, [relay], twist, "transitrelay", f"--port=tcp:{relay}:interface={HOST}", cwd=work)
    servers = ("--relay-url", f"ws://{HOST}:{mailbox}/v1", "--transit-helper", f"tcp:{HOST}:{relay}")
    wormhole = (home / "bin" / "wormhole", *servers)
    serial = iter(range(1, 10**6))

    def way(source: Path, target: Path) -> Sample:
        code, began = f"{next(serial)}-bench-code", time.monotonic()
        receiver = _spawn(*wormhole, "receive", "--hide-progress", "--accept-file", "-o", target, code, cwd=work)
        sender = _spawn(*wormhole, "send", "--hide-progress", "--code", code, source, cwd=work)
        sample = _sample(began, usage_of(sender), usage_of(receiver))
        demand_same(source, target)
        return sample

    return way


# age


def _age(place: Path) -> Way | Missing:
    if lacking := [tool for tool in ("age", "age-keygen", "socat") if shutil.which(tool) is None]:
        return Missing(f"no {' and no '.join(lacking)} here: apt-get install age socat")
    subprocess.run(["age-keygen", "-o", place / "age.key"], check=True, **_QUIET)
    public = subprocess.run(["age-keygen", "-y", place / "age.key"], check=True, capture_output=True, text=True).stdout
    key = shlex.quote(str(place / "age.key"))

    def way(source: Path, target: Path) -> Sample:
        (port,) = free_ports(1)
        took, given = shlex.quote(str(source)), shlex.quote(str(target))
        began = time.monotonic()
        receiver = _bash(f"socat -u -b 65536 TCP-LISTEN:{port},bind={HOST} - | age -d -i {key} > {given}")
        address = f"TCP:{HOST}:{port},retry=100,interval=0.05"
        sender = _bash(f"age -r {public.strip()} < {took} | socat -u -b 65536 - {address}")
        sample = _sample(began, usage_of(sender), usage_of(receiver))
        demand_same(source, target)
        return sample

    return way


def _bash(line: str) -> subprocess.Popen:
    return _spawn("bash", "-c", f"set -o pipefail; {line}")


# croc


def _croc(place: Path, running: ExitStack) -> dict[str, Way | Missing]:
    program = TOOLS / "croc" / "croc"
    if not program.exists():
        if shutil.which("go") is None:
            return {"croc": Missing("no Go toolchain here")}
        if not _install_croc(program):
            return {"croc": Missing(f"`go install {CROC}` failed: the module proxy here does not serve it")}
    work, log = place / "croc", place / "croc" / "log"
    (work / "in").mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CROC_")}
    environment = kept | {"CROC_CONFIG_DIR": str(work)}
    ports = free_ports(5)  # as many as a relay opens by default: one to meet, the others for the data
    relay = (program, "--debug", "relay", "--host", _CROC_HOST, "--ports", ",".join(map(str, ports)))
    with log.open("wb") as written:
        _serve(running, ports, *relay, cwd=work, host=_CROC_HOST, env=environment, stderr=written)
    codes = (f"{number:04}-bench-code" for number in range(1, 10**4))
    return {
        name: _croc_way((program, "--quiet", *options), f"{_CROC_HOST}:{ports[0]}", log, environment, codes)
        for name, options in {"croc": (), "croc, --no-compress": ("--no-compress",)}.items()
    }


def _install_croc(program: Path) -> bool:
    """Build croc; what it looks up at every start, before it reads its options, becomes an address."""
    program.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"GOBIN": str(program.parent), "GOFLAGS": "-mod=mod"}
    models = f"{CROC.partition('@')[0]}/src/models"
    flags = f"-X {models}.DEFAULT_RELAY={HOST} -X {models}.DEFAULT_RELAY6=::1"
    command = ["go", "install", "-ldflags", flags, CROC]
    return not subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def _croc_way(
    croc: tuple[str | Path, ...], relay: str, log: Path, environment: dict[str, str], codes: Iterator[str]
) -> Way:
    """Give the way through a relay that writes to `log` who comes; `environment` is that of both sides."""
    inbox = log.parent / "in"
    send = (*croc, "--disable-clipboard", "--relay", relay, "send", "--no-local")
    receive = (*croc, "--yes", "--ip", relay, "--out", inbox)

    def way(source: Path, target: Path) -> Sample:
        # The first four characters of a code are what the relay knows of it.
        how = {"cwd": log.parent, "env": environment | {"CROC_SECRET": next(codes)}}
        known, began = log.stat().st_size, time.monotonic()
        with ExitStack() as started:
            sender = _spawn(*send, source, **how)
            started.callback(_end, sender)
            until(lambda: _says(log, known, b" has 1\n"), "croc does not reach its relay", every_s=0.001)
            receiver = _spawn(*receive, **how)
            started.callback(_end, receiver)
            received = usage_of(receiver)  # first: where the receiver fails, the sender goes on waiting for one
            sample = _sample(began, usage_of(sender), received)
        (inbox / source.name).rename(target)
        demand_same(source, target)
        return sample

    return way


def _says(log: Path, known: int, words: bytes) -> bool:
    """Tell whether words stand in a log behind what was known of it."""
    with log.open("rb") as file:
        file.seek(known)
        return words in file.read()
