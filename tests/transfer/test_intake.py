import threading

import pytest

from jetcli.errors import RemoteProtocolError
from jetcli.transfer import intake
from jetcli.transfer.intake import TAIL_SIZE, Intake, TailWatch


class Ended:
    """A channel on which everything has come; draining it finds `surplus` bytes, or fails."""

    def __init__(self, surplus):
        self.surplus = surplus

    def drain(self, deadline_s, enough=None):
        assert 0 < deadline_s < 1
        if isinstance(self.surplus, OSError):
            raise self.surplus
        return self.surplus


@pytest.fixture
def timers(monkeypatch):
    """Every timer that was made, in order; they fire when the test says so."""
    made = []

    class Timer:
        def __init__(self, delay_s, function, args):
            self.delay_s, self.fire, self.running = delay_s, lambda: function(*args), False
            made.append(self)

        def start(self):
            self.running = True

        def cancel(self):
            self.running = False

    monkeypatch.setattr(intake.threading, "Timer", Timer)
    return made


def test_only_the_tail_is_watched(timers):
    watch = TailWatch(lambda missing: None)
    watch.expect(TAIL_SIZE)
    assert timers == []
    watch.expect(TAIL_SIZE - 1)
    assert [timer.running for timer in timers] == [True]


def test_progress_starts_the_silence_anew(timers):
    watch = TailWatch(lambda missing: None)
    watch.expect(5000)
    watch.expect(4000)
    assert [(timer.running, timer.delay_s) for timer in timers] == [(False, 1.5), (True, 1.5)]


def test_a_complete_stream_is_not_watched(timers):
    watch = TailWatch(lambda missing: None)
    watch.expect(5000)
    watch.expect(0)
    assert [timer.running for timer in timers] == [False]


def test_the_silence_is_told_once(timers):
    told = []
    watch = TailWatch(told.append)
    watch.expect(3408)
    timers[0].fire()
    watch.expect(16)
    assert told == [3408]
    assert len(timers) == 1


def test_two_timers_that_fire_at_once_tell_it_once(timers):
    told = []
    watch = TailWatch(told.append)
    watch.expect(3408)
    watch.expect(16)
    for timer in timers:
        timer.fire()
    assert told == [3408]


def test_nothing_is_watched_unasked(timers):
    TailWatch(None).expect(5)
    assert timers == []


def test_a_stream_that_ends_after_its_last_byte_is_complete():
    Intake(Ended(0), threading.Event(), position=5, end=5).finish()


def test_how_a_connection_breaks_after_the_last_byte_does_not_matter():
    Intake(Ended(ConnectionResetError()), threading.Event(), position=5, end=5).finish()


def test_bytes_behind_the_last_one_break_the_protocol():
    with pytest.raises(RemoteProtocolError):
        Intake(Ended(16), threading.Event(), position=5, end=5).finish()
