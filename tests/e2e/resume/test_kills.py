"""kill -9 of either side or both, or a power cut, at any byte: the next resume completes, and little is sent twice."""

import filecmp
import os
import random
import signal
import sqlite3
from pathlib import Path

import pytest

MIB = 2**20
#: What a busy machine carries in a second at least, on top of what every step may take.
SLOWEST, WAIT_S = 4 * MIB, 40.0
#: The bound that is promised: what may be sent twice after a kill.
TWICE = 16 * MIB
#: What may be sent twice after a power cut: what is not synced yet, and what was on its way.
TWICE_AFTER_POWER_CUT = 128 * MIB

KILLED = ("sender", "receiver", "both")


def killed_and_resumed(pair, over, receiver, jet, *, size, at, killed, by, power_cut=False) -> None:
    """Kill when about `at` bytes have passed; let `by` ask for the rest, and check all that is promised."""
    romeo, juliet = pair
    connection = over(romeo, juliet, network='idle = "2s"', stall_after=at)
    film = large_file(romeo.files / "film.mkv", size)
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "send", film, juliet.jid)
    connection.wait_until_stalled()
    receiving.event("progress", lambda event: event["bytes"] > at - MIB)
    for process, name in ((sending, "sender"), (receiving, "receiver")):
        if killed in {name, "both"}:
            process.signal(signal.SIGKILL)
    patience_s = WAIT_S + size / SLOWEST
    sending.finished(patience_s)
    receiving.finished(patience_s)
    arrived = juliet.files / "film.mkv"
    assert not arrived.exists(), "nothing has the final name before it was verified"
    connection.move()
    if power_cut:
        cut_the_power(juliet)
    serving = receiver(juliet) if by == "sender" else receiver(romeo, "--forever")
    resuming = jet(romeo if by == "sender" else juliet, "resume").finished(patience_s)
    assert resuming.code == 0, (resuming, serving)
    serving.end()
    assert list(juliet.files.iterdir()) == [arrived]
    assert filecmp.cmp(film, arrived, shallow=False)
    twice = connection.carried - size
    what = "power cut" if power_cut else f"killed {killed}"
    print(f"{what} at {at:,} of {size:,} bytes, resumed by the {by}: {twice:,} bytes sent twice")
    assert twice < (TWICE_AFTER_POWER_CUT if power_cut else TWICE)
    film.unlink()
    arrived.unlink()


def cut_the_power(receiver) -> None:
    """Leave of the receiver's part what had been synced; the rest is noise, and this is another boot."""
    [database], [part] = receiver.path.glob("state/**/state.db"), receiver.parts
    with sqlite3.connect(database) as state:
        state.execute("UPDATE transfers SET boot_id = 'another'")
        [[synced]] = state.execute("SELECT synced FROM transfers").fetchall()
    with part.open("r+b") as file:
        file.seek(synced)
        for left in range(part.stat().st_size - synced, 0, -MIB):
            file.write(os.urandom(min(left, MIB)))


def large_file(path: Path, size: int) -> Path:
    """Make a file of which no two mebibytes are alike."""
    piece = os.urandom(MIB - 8)
    with path.open("wb") as file:
        for number in range(-(-size // MIB)):
            file.write(number.to_bytes(8) + piece)
        file.truncate(size)
    return path


@pytest.mark.parametrize(("killed", "by"), [("sender", "receiver"), ("receiver", "sender"), ("both", "receiver")])
def test_a_kill_somewhere_in_64_mib(new_pair, over, receiver, jet, killed, by):
    at = random.Random(killed).randrange(8 * MIB, 56 * MIB)
    killed_and_resumed(new_pair, over, receiver, jet, size=64 * MIB, at=at, killed=killed, by=by)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(int(os.environ.get("JET_SOAK_KILLS", "50"))))
def test_a_kill_somewhere_in_a_large_file(new_pair, over, receiver, jet, seed):
    size = int(os.environ.get("JET_SOAK_SIZE", 1024 * MIB))
    chance = random.Random(seed)
    at, killed, by = chance.randrange(1, size), chance.choice(KILLED), chance.choice(("sender", "receiver"))
    killed_and_resumed(new_pair, over, receiver, jet, size=size, at=at, killed=killed, by=by)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(int(os.environ.get("JET_SOAK_POWER_CUTS", "10"))))
def test_a_power_cut_somewhere_in_a_large_file(new_pair, over, receiver, jet, seed):
    size = int(os.environ.get("JET_SOAK_SIZE", 1024 * MIB))
    chance = random.Random(1000 + seed)
    at, by = chance.randrange(1, size), chance.choice(("sender", "receiver"))
    killed_and_resumed(new_pair, over, receiver, jet, size=size, at=at, killed="both", by=by, power_cut=True)
