import asyncio
import fcntl
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import run_at_once

from jetcli.errors import SetupError
from jetcli.state.locks import account_lock, online_here, resource_lock, runs_here, transfer_holder, transfer_lock

HOLDER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from jetcli.state.locks import account_lock, resource_lock, transfer_lock

    async def hold():
        async with account_lock(Path(sys.argv[1]), "omemo", command="jet receive"):
            with (
                transfer_lock(Path(sys.argv[1]), "k3v9", command="jet receive"),
                resource_lock(Path(sys.argv[1]), "jet.x9/\N{SNOWMAN}", command="jet receive"),
            ):
                print("held", flush=True)
                sys.stdin.read()

    asyncio.run(hold())
    """
)

COUNTER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from jetcli.state.locks import account_lock

    async def count():
        file = Path(sys.argv[1]) / "count"
        for _ in range(30):
            async with account_lock(Path(sys.argv[1]), "omemo", command="jet send"):
                before = int(file.read_text())
                await asyncio.sleep(0)
                file.write_text(str(before + 1))

    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(count())
    """
)


class FakeTime:
    """A clock that moves only while somebody pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@contextmanager
def other_process(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def test_a_holder_that_does_not_let_go_is_named_after_the_wait(tmp_path: Path) -> None:
    time = FakeTime()
    with other_process(tmp_path) as child, pytest.raises(SetupError) as caught:
        async with account_lock(tmp_path, "omemo", command="jet send", clock=time.clock, pause=time.pause):
            pass
    assert f"process {child.pid}, 'jet receive'" in caught.value.message
    assert "for 20 seconds" in caught.value.message
    assert caught.value.hint == f"stop it with  kill {child.pid}"
    assert 20 <= time.now < 20.1


async def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    with other_process(tmp_path):
        pass
    async with account_lock(tmp_path, "omemo", command="jet send", wait_s=0):
        pass
    with transfer_lock(tmp_path, "k3v9", command="jet resume"):
        pass


async def test_tasks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    inside = 0

    async def work() -> None:
        nonlocal inside
        async with account_lock(tmp_path, "omemo", command="jet"):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))


async def test_the_wait_begins_again_with_every_holder(tmp_path: Path) -> None:
    time = FakeTime()
    entered = 0

    async def work() -> None:
        nonlocal entered
        async with account_lock(tmp_path, "omemo", command="jet", wait_s=5, clock=time.clock, pause=time.pause):
            entered += 1
            leave = time.now + 4
            while time.now < leave:
                await time.pause(0.5)

    await asyncio.gather(*(work() for _ in range(4)))
    assert entered == 4
    assert time.now > 5


def test_processes_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    assert run_at_once(COUNTER, tmp_path, times=3) == [0] * 3
    assert (tmp_path / "count").read_text() == "90"


async def test_a_lock_is_free_again_after_a_failure_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with account_lock(tmp_path, "omemo", command="jet"):
            raise ZeroDivisionError
    async with account_lock(tmp_path, "omemo", command="jet", wait_s=0):
        pass


async def test_lock_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with account_lock(tmp_path, "omemo", command="jet"):
            mode = (tmp_path / "omemo.lock").stat().st_mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(mode) == 0o600


async def test_a_lock_whose_holder_has_not_signed_yet_is_held_all_the_same(tmp_path: Path) -> None:
    time = FakeTime()
    async with account_lock(tmp_path, "omemo", command="jet"):
        (tmp_path / "omemo.lock").write_text('["half')
        with pytest.raises(SetupError, match="another process"):
            async with account_lock(tmp_path, "omemo", command="jet", clock=time.clock, pause=time.pause):
                pass


async def test_a_directory_without_locks_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no such file"):
        async with account_lock(tmp_path / "missing", "omemo", command="jet"):
            pass


def test_a_transfer_has_one_owner_who_is_named_to_others(tmp_path: Path) -> None:
    with other_process(tmp_path) as child:
        with pytest.raises(SetupError) as caught, transfer_lock(tmp_path, "k3v9", command="jet resume"):
            pass
        with transfer_lock(tmp_path, "other", command="jet resume"):
            pass
    assert f"k3v9 is in the hands of another jet (process {child.pid}, 'jet receive')" in caught.value.message


def test_who_owns_a_transfer_is_told_without_owning_it(tmp_path: Path) -> None:
    assert transfer_holder(tmp_path, "k3v9") is None
    assert list(tmp_path.iterdir()) == []
    with transfer_lock(tmp_path, "k3v9", command="jet send"):
        holder = transfer_holder(tmp_path, "k3v9")
        assert holder is not None
        assert (holder.pid, holder.command) == (os.getpid(), "jet send")
    assert transfer_holder(tmp_path, "k3v9") is None


def test_whoever_only_asks_for_the_owner_keeps_nobody_from_owning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed owner has left its file, and another process looks at it in the very moment when we take it."""
    path = tmp_path / "transfer-k3v9.lock"
    path.write_text("[1, 'jet send', 1]")
    asks = os.open(path, os.O_RDWR)
    fcntl.flock(asks, fcntl.LOCK_SH)
    real = fcntl.flock
    refused = []

    def flock(descriptor: int, operation: int) -> None:
        try:
            real(descriptor, operation)
        except BlockingIOError:
            refused.append(descriptor)
            real(asks, fcntl.LOCK_UN)
            raise

    monkeypatch.setattr(fcntl, "flock", flock)
    with transfer_lock(tmp_path, "k3v9", command="jet receive"):
        assert len(refused) == 1
    os.close(asks)


def test_a_released_transfer_leaves_no_file(tmp_path: Path) -> None:
    with transfer_lock(tmp_path, "k3v9", command="jet send"):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_lock_on_a_removed_file_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is removed between being opened and being locked is opened again."""
    import fcntl

    path, taken = tmp_path / "transfer-k3v9.lock", fcntl.flock

    def removed_meanwhile(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", taken)
        path.unlink()
        taken(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with transfer_lock(tmp_path, "k3v9", command="jet"):
        assert path.exists()
        with pytest.raises(SetupError), transfer_lock(tmp_path, "k3v9", command="jet"):
            pass


def test_a_process_that_is_online_is_known_to_the_others_until_it_ends(tmp_path: Path) -> None:
    with other_process(tmp_path):
        assert runs_here(tmp_path, "jet.x9/\N{SNOWMAN}")
        assert not runs_here(tmp_path, "jet.x9")
    assert not runs_here(tmp_path, "jet.x9/\N{SNOWMAN}")


def test_who_is_online_is_told_by_process_and_command(tmp_path: Path) -> None:
    with other_process(tmp_path) as child, resource_lock(tmp_path, "mine", command="jet send"):
        told = {str(holder) for holder in online_here(tmp_path)}
        assert told == {f"process {child.pid}, 'jet receive'", f"process {os.getpid()}, 'jet send'"}
    assert online_here(tmp_path) == []


def test_what_a_killed_process_left_is_taken_away_later(tmp_path: Path) -> None:
    with other_process(tmp_path), resource_lock(tmp_path, "mine", command="jet send"):
        pass
    left = list(tmp_path.glob("online-*"))
    assert len(left) == 1
    with resource_lock(tmp_path, "mine", command="jet send"):
        assert left[0].exists()
        os.utime(left[0], (0, 0))
    with resource_lock(tmp_path, "mine", command="jet send"):
        assert not left[0].exists()


def test_what_is_old_and_held_stays(tmp_path: Path) -> None:
    with other_process(tmp_path):
        for path in tmp_path.glob("online-*"):
            os.utime(path, (0, 0))
        with resource_lock(tmp_path, "mine", command="jet send"):
            assert runs_here(tmp_path, "jet.x9/\N{SNOWMAN}")
            assert runs_here(tmp_path, "mine")
