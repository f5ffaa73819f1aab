"""The syncing thread: when it syncs, and that nobody waits for it."""

import threading

import pytest

from jetcli.errors import JetError, LocalFileError, SetupError
from jetcli.files import syncer
from jetcli.files.syncer import SYNC_BYTES, Syncer

PATIENCE_S = 20.0


class Disk:
    """A sync that takes as long as the test wants, of a position that the test sets."""

    def __init__(self) -> None:
        self.position = 0
        self.free = threading.Event()
        self.free.set()
        self.started = threading.Semaphore(0)
        self.safe: list[int] = []
        self.told = threading.Semaphore(0)
        self.failures: list[JetError] = []

    def sync(self) -> int:
        position = self.position
        self.started.release()
        assert self.free.wait(PATIENCE_S)
        return position

    def synced(self, position: int) -> None:
        self.safe.append(position)
        self.told.release()

    def write(self, to: Syncer, position: int) -> None:
        self.position = position
        to.written(position)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def running(disk: Disk) -> Syncer:
    return Syncer(disk.sync, disk.synced, disk.failures.append)


def test_sixty_four_mebibytes_are_synced_without_waiting_for_the_clock(disk, monkeypatch):
    monkeypatch.setattr(syncer, "SYNC_S", PATIENCE_S)
    thread = running(disk)
    disk.write(thread, SYNC_BYTES - 1)
    assert disk.safe == []
    disk.write(thread, SYNC_BYTES)
    assert disk.told.acquire(timeout=PATIENCE_S)
    assert disk.safe == [SYNC_BYTES]
    disk.write(thread, 2 * SYNC_BYTES - 1)
    assert not thread._due.is_set()
    thread.stop()


def test_fewer_bytes_are_synced_after_a_while(disk, monkeypatch):
    monkeypatch.setattr(syncer, "SYNC_S", 0.01)
    thread = running(disk)
    disk.write(thread, 5)
    assert disk.told.acquire(timeout=PATIENCE_S)
    assert disk.safe == [5]
    thread.stop()


def test_what_is_safe_is_not_synced_again(disk, monkeypatch):
    monkeypatch.setattr(syncer, "SYNC_S", 0.001)
    thread = running(disk)
    disk.write(thread, 5)
    assert disk.told.acquire(timeout=PATIENCE_S)
    assert not disk.told.acquire(timeout=0.05)
    thread.stop()
    assert disk.safe == [5]


def test_a_slow_disk_does_not_hold_up_the_writer(disk, monkeypatch):
    monkeypatch.setattr(syncer, "SYNC_S", PATIENCE_S)
    thread = running(disk)
    disk.free.clear()
    disk.write(thread, SYNC_BYTES)
    assert disk.started.acquire(timeout=PATIENCE_S)
    for n in range(2, 10):
        disk.write(thread, n * SYNC_BYTES)
    assert disk.safe == []
    disk.free.set()
    assert disk.told.acquire(timeout=PATIENCE_S)
    assert disk.told.acquire(timeout=PATIENCE_S)
    assert disk.safe == [SYNC_BYTES, 9 * SYNC_BYTES]
    thread.stop()


def test_stopping_waits_for_the_sync_that_runs_and_starts_no_other(disk, monkeypatch):
    monkeypatch.setattr(syncer, "SYNC_S", PATIENCE_S)
    thread = running(disk)
    disk.free.clear()
    disk.write(thread, SYNC_BYTES)
    assert disk.started.acquire(timeout=PATIENCE_S)
    disk.write(thread, 2 * SYNC_BYTES)
    stopping = threading.Thread(target=thread.stop)
    stopping.start()
    while not thread._stopped:
        assert stopping.is_alive()
    disk.free.set()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert disk.safe == [SYNC_BYTES]


def test_a_failed_sync_ends_the_thread_quietly_and_says_nothing_is_safe(disk):
    failure = LocalFileError("cannot write 'x': input/output error")

    def fail() -> int:
        disk.started.release()
        raise failure

    thread = Syncer(fail, disk.synced, disk.failures.append)
    disk.write(thread, SYNC_BYTES)
    assert disk.started.acquire(timeout=PATIENCE_S)
    thread.stop()
    assert disk.safe == []
    assert disk.failures == [failure]


def test_what_is_safe_but_cannot_be_told_is_a_failure_too(disk):
    failure = SetupError("the state in 'x' is held by another program")

    def fail(_position: int) -> None:
        raise failure

    thread = Syncer(disk.sync, fail, disk.failures.append)
    disk.write(thread, SYNC_BYTES)
    thread._thread.join(PATIENCE_S)
    thread.stop()
    assert disk.failures == [failure]
