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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from world import Sample, Usage, demand_same, usage_of

from jetcli.trial.server import HOST, free_ports

#: How long another program may take to get ready, or to end.
_READY_S = 30.0

TOOLS = Path(__file__).parents[2] / ".bench"
WORMHOLE = ("magic-wormhole", "magic-wormhole-mailbox-server", "magic-wormhole-transit-relay")
CROC = "github.com/schollz/croc/v10@latest"
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
        ways["croc"] = _croc()
        yield ways


def _spawn(*command: str | Path, cwd: Path | None = None) -> subprocess.Popen:
    return subprocess.Popen([str(word) for word in command], cwd=cwd, **_QUIET)


def _serve(running: ExitStack, port: int, *command: str | Path, cwd: Path) -> subprocess.Popen:
    """Start a server and wait until its port is open; it ends with the run."""
    server = _spawn(*command, cwd=cwd)

    def end() -> None:
        server.terminate()
        server.wait()

    running.callback(end)
    _until(lambda: _is_open(port), f"{command[0]} does not open its port")
    return server


def _is_open(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except OSError:
        return False
    return True


def _until(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait for what only another program knows; raise RuntimeError where it does not come."""
    ends = time.monotonic() + _READY_S
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError(otherwise)
        time.sleep(0.01)  # nothing here could wake us


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
    server = _serve(running, port, sshd, "-D", "-f", place / "sshd", cwd=place)
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
        _until(lambda: not children.read_text().strip(), "sshd does not end its session")
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
    _serve(running, mailbox, twist, "wormhole-mailbox", f"--port=tcp:{mailbox}:interface={HOST}", cwd=work)
    _serve(running, relay, twist, "transitrelay", f"--port=tcp:{relay}:interface={HOST}", cwd=work)
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


def _croc() -> Way | Missing:
    program = TOOLS / "bin" / "croc"
    if not program.exists():
        if shutil.which("go") is None:
            return Missing("no Go toolchain here")
        program.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"GOBIN": str(program.parent), "GOFLAGS": "-mod=mod"}
        done = subprocess.run(["go", "install", CROC], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            return Missing(f"`go install {CROC}` failed: the module proxy here does not serve it")
    return Missing("installed, but this bench has never been run with it")
