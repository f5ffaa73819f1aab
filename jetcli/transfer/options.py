"""What a command was asked to do, as values that the command line fills in."""

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

PathPolicy = Literal["auto", "direct", "relay", "ibb"]
OnExist = Literal["ask", "rename", "overwrite", "skip", "fail"]


class Network(Struct, frozen=True):
    """How to reach peers. `loopback` lets 127.0.0.0/8 and ::1 be offered and dialled (tests and `jet try`).

    `listen` and `advertise` are for a port that is forwarded by hand: bind that port, and tell peers HOST:PORT.
    Deadlines are seconds. `retries` is how often a transfer that broke is tried again without progress. `rate` is how
    many bytes a second may move, all transfers of the process together.
    """

    path: PathPolicy = "auto"
    loopback: bool = False
    listen: int | None = None
    advertise: tuple[str, int] | None = None
    acceptance_s: float = 600.0
    idle_s: float = 60.0
    candidates_s: float = 30.0
    retries: int = 10
    rate: int | None = None


class SendOptions(Struct, frozen=True):
    """Options of `jet send`. `name` renames a single file on the wire; `wait_s` waits for a peer that is offline.

    `size` is what the user says of standard input; `no_spool` forbids to store it first for who wants a size.
    """

    network: Network = field(default_factory=Network)
    name: str | None = None
    wait_s: float = 0.0
    checksum: bool = False
    size: int | None = None
    no_spool: bool = False


class ReceiveOptions(Struct, frozen=True):
    """Options of `jet receive`.

    `output` names one file and is the only way to take an unsafe or hidden name; `senders` are bare JIDs, "contacts"
    or "anyone". `count` is how many finished commands of senders end ours; None for ever. `stdout` takes one file,
    whose bytes go to standard output. `command` is run for each file. After `idle_s` without anything it ends.
    """

    directory: Path
    network: Network = field(default_factory=Network)
    output: Path | None = None
    accept_all: bool = False
    senders: tuple[str, ...] = ()
    count: int | None = 1
    on_exist: OnExist = "rename"
    max_size: int | None = None
    allow_hidden: bool = False
    keep_partial: bool = False
    stdout: bool = False
    unverified_stdout: bool = False
    extract: bool = False
    command: tuple[str, ...] = ()
    idle_s: float | None = None


class Placing(Struct, frozen=True):
    """Where a resumed file goes, in place of what its record says.

    `adopt` takes whatever regular file is in the place of the part, as after a copy to another disk.
    """

    output: Path | None = None
    on_exist: OnExist | None = None
    adopt: bool = False
