"""What a person reads: golden lines away from a terminal, bars and escape-free text on one."""

import io
from pathlib import Path
from typing import get_args

import pytest

from jetcli.cli.live import LiveBars, figures
from jetcli.cli.rate import Rate
from jetcli.cli.streams import Messages
from jetcli.cli.view import View
from jetcli.errors import DeclinedError, InterruptedTransferError
from jetcli.protocol.device import Trust
from jetcli.transfer import events as happened

JULIET = "juliet@capulet.example/jet.x9lm4q"


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Later:
    """Keeps what is to happen after some seconds; nothing happens by itself."""

    def __init__(self):
        self.waiting = []

    def __call__(self, delay_s, action):
        self.waiting.append(action)
        return self

    def cancel(self):
        self.waiting.clear()


def lines(view):
    return view.messages.stream.getvalue().splitlines()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def view(paper, clock):
    def make(direction="send", **more):
        return View(paper(), direction=direction, monotonic=clock, **more)

    return make


def test_a_send_away_from_a_terminal_is_a_line_a_change(view, clock):
    view = view()
    view.emit(happened.Connected("romeo@montague.example/jet.1", "montague.example"))
    view.emit(happened.PeerFound(JULIET, "jet 1.0", Trust.VERIFIED, jet=True, resumable=True))
    view.emit(happened.Offered("k3v9", "send", JULIET, "film.mkv", 2_200_000_000, None, resumable=True))
    view.emit(happened.Accepted("k3v9", "send"))
    view.emit(happened.PathChosen("k3v9", "send", "s5b-direct"))
    for step in range(101):
        clock.now = step / 2
        view.emit(happened.Progress("k3v9", "send", 22_000_000 * step, 2_200_000_000))
    view.emit(happened.FileDone("k3v9", "send", "film.mkv", None, 2_200_000_000, 54.0, "chunks"))
    assert lines(view) == [
        "To juliet@capulet.example/jet.x9lm4q (verified) · end-to-end encrypted",
        "film.mkv: offered, 2.2 GB",
        "film.mkv: accepted",
        "film.mkv: path direct",
        *(f"film.mkv: {2.2 * tenth / 10:.1f} of 2.2 GB ({tenth}0 %), 44 MB/s" for tenth in range(1, 11)),
        "✓ film.mkv   2.2 GB in 54 s",
    ]


def test_a_slow_transfer_is_mentioned_every_half_minute(view, clock):
    view = view()
    for second in range(0, 91, 5):
        clock.now = float(second)
        view.emit(happened.Progress("k3v9", "send", second, None))
    assert lines(view) == [f"k3v9: {second} B, 1 B/s" for second in (30, 60, 90)]


def test_a_file_of_many_that_has_not_moved_is_not_named_when_all_are_stopped(view):
    view = view("send")
    for place in range(3):
        view.emit(happened.Offered(f"k3v9-{place}", "send", JULIET, f"{place}.txt", 5, None, resumable=False))
    view.emit(happened.Progress("k3v9-1", "send", 2, 5))
    view.stopped()
    assert lines(view)[-2:] == ["Stopped.", "1.txt: 2 of 5 B had been sent."]


def test_what_comes_whole_gets_no_bar(view):
    def bars(_messages):
        pytest.fail("a bar for what is over already")

    view = view("receive", bars=bars)
    view.emit(happened.Offered("k3v9", "receive", JULIET, "a.txt", 5, None, resumable=False))
    view.emit(happened.Progress("k3v9", "receive", 5, 5))
    view.emit(happened.FileDone("k3v9", "receive", "a.txt", Path("a.txt"), 5, 0.1, "chunks"))
    assert lines(view) == [f"{JULIET} offers a.txt, 5 B", "✓ a.txt   5 B in 0.1 s"]


def test_a_receiver_says_where_it_waits_and_what_is_declined(view):
    view = view("receive")
    view.emit(happened.Connected("romeo@montague.example/jet.7qk2ab", "montague.example"))
    view.emit(happened.Offered("k3v9", "receive", "mallory@x/y", "virus.exe", 5, None, resumable=False))
    view.emit(happened.Declined("k3v9", "receive", "policy", "no contact; --from mallory@x takes it"))
    assert lines(view) == [
        "Waiting as romeo@montague.example/jet.7qk2ab · Ctrl-C to stop",
        "mallory@x/y offers virus.exe, 5 B",
        "Declined virus.exe from mallory@x/y: no contact; --from mallory@x takes it",
    ]


def test_a_stranger_is_declined_before_anything_is_known_of_the_offer(view):
    view = view("receive")
    view.emit(happened.Declined("k3v9", "receive", "policy", "mallory@x is no contact; to take it:  --from mallory@x"))
    assert lines(view) == ["Declined an offer: mallory@x is no contact; to take it:  --from mallory@x"]


def test_an_offer_that_is_asked_about_has_no_line_of_its_own(view):
    view = view("receive")
    view.asks = True
    view.emit(happened.Offered("k3v9", "receive", JULIET, "film.mkv", 5, None, resumable=True))
    view.emit(happened.Declined("k3v9", "receive", "me", ""))
    assert lines(view) == []


def test_a_failure_is_an_error_line_and_a_hint(view):
    view = view("receive", quiet=True)
    error = InterruptedTransferError("connection lost after 4,999 of 5,000 bytes", hint="jet resume k3v9")
    view.emit(happened.FileFailed("k3v9", "receive", "film.mkv", error, resumable=True))
    assert lines(view) == [
        "jet: error: connection lost after 4,999 of 5,000 bytes",
        "jet: hint: jet resume k3v9",
    ]


def test_quiet_leaves_only_errors(view):
    view = view(quiet=True)
    view.emit(happened.PeerFound(JULIET, "jet", Trust.BLIND, jet=True, resumable=True))
    view.emit(happened.Warned("odd"))
    view.emit(happened.FileDone("k3v9", "send", "film.mkv", None, 1, 1.0, "chunks"))
    assert lines(view) == []


def test_details_are_for_those_who_ask(view):
    silent, chatty = view(), view(verbose=1)
    for one in (silent, chatty):
        one.emit(happened.Detail("candidate 10.0.0.1 skipped: private address"))
    assert (lines(silent), lines(chatty)) == ([], ["candidate 10.0.0.1 skipped: private address"])


def test_a_wait_is_mentioned_only_when_it_lasts(view):
    later = Later()
    view = view(later=later)
    view.emit(happened.Phase("connecting to montague.example"))
    view.emit(happened.Connected("romeo@montague.example/jet.1", "montague.example"))
    assert later.waiting == []
    view.emit(happened.Phase("waiting for juliet to accept"))
    later.waiting[0]()
    assert lines(view) == ["Waiting for juliet to accept …"]


def test_where_every_transfer_is_can_be_asked(view, clock):
    view = view()
    view.status()
    view.emit(happened.Offered("k3v9", "send", JULIET, "film.mkv", 1000, None, resumable=True))
    view.emit(happened.Progress("k3v9", "send", 10, 1000))
    view.status()
    assert lines(view)[0] == "no transfer is running"
    assert lines(view)[-1] == "film.mkv: 0.0 of 1.0 kB (1 %)"


def test_a_transfer_that_goes_on_is_no_new_offer(view):
    view = view(direction="receive")
    view.emit(happened.Offered("k3v9", "receive", JULIET, "film.mkv", 1000, None, resumable=True, held=250))
    assert lines(view) == ["film.mkv goes on: 0.2 of 1.0 kB here so far"]


def test_a_sender_who_cannot_know_how_much_has_arrived_does_not_say_that_it_is_nothing(view):
    view = view(direction="send")
    view.emit(happened.Offered("k3v9", "send", JULIET, "film.mkv", 1000, None, resumable=True, held=0))
    view.stopped()
    assert lines(view) == [
        "film.mkv goes on",
        "Stopped.",
        "film.mkv: nothing more had been sent.",
        "Continue with:  jet resume k3v9",
    ]


EVIL = "a\x1b[2J\u202e\x9b[31m[bold]b\nc"
EVIL_EVENTS = [
    happened.Connected(EVIL, EVIL),
    happened.Phase(EVIL),
    happened.NewDevice(EVIL, 1, "aa"),
    happened.PeerFound(EVIL, EVIL, Trust.BLIND, jet=False, resumable=False),
    happened.Offered("1", "receive", EVIL, EVIL, 5, EVIL, resumable=False),
    happened.Accepted("1", "receive"),
    happened.PathChosen("1", "receive", "s5b-proxy", EVIL),
    happened.Progress("1", "receive", 1, 5),
    happened.Progress("1", "receive", 5, 5),
    happened.FileDone("1", "receive", EVIL, Path("x"), 5, 1.0, "tag"),
    happened.Offered("2", "receive", EVIL, EVIL, 5, EVIL, resumable=False),
    happened.Declined("2", "receive", "policy", EVIL),
    happened.FileFailed("3", "receive", EVIL, DeclinedError(EVIL, hint=EVIL), resumable=False),
    happened.Warned(EVIL, hint=EVIL),
    happened.Waiting("3", "send", InterruptedTransferError(EVIL), 1, 0.5),
    happened.Waiting("3", "send", InterruptedTransferError(EVIL), 1, None),
    happened.Detail(EVIL),
]


@pytest.mark.parametrize("direction", ["send", "receive"])
def test_no_text_of_a_peer_reaches_the_terminal_as_it_came(view, direction):
    later = Later()
    view = view(direction, verbose=1, later=later)
    for event in EVIL_EVENTS:
        view.emit(event)
        for action in list(later.waiting):
            action()
    said = view.messages.stream.getvalue()
    assert all(line.isprintable() for line in said.split("\n"))
    assert r"a\x1b[2J\u202e" in said


def test_every_kind_of_event_has_been_tried():
    assert {type(event) for event in EVIL_EVENTS} == set(get_args(happened.Event))


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Messages(Screen(), "never", {"TERM": "xterm"})


def test_on_a_terminal_progress_is_a_bar_and_lines_stand_above_it(screen):
    view = View(screen, direction="send", bars=LiveBars)
    view.emit(happened.Offered("k3v9", "send", JULIET, "[bold]film.mkv", 1_000_000, None, resumable=True))
    view.emit(happened.PathChosen("k3v9", "send", "s5b-direct"))
    view.emit(happened.Progress("k3v9", "send", 500_000, 1_000_000))
    view.emit(happened.Warned("odd"))
    view.emit(happened.FileDone("k3v9", "send", "film.mkv", None, 1_000_000, 1.0, "chunks"))
    view.hide()
    said = screen.stream.getvalue()
    assert "[bold]film.mkv" in said
    assert "0.5 of 1.0 MB  50 %" in said
    assert "━" in said
    assert "direct" in said
    assert "jet: warning: odd" in said
    assert said.endswith("\r✓ film.mkv   1.0 MB in 1.0 s\n")
    assert "offered" not in said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h")


def test_the_figures_of_a_bar():
    rate = Rate()
    rate.report(0.0, 1_000_000_000)
    rate.report(2.0, 1_300_000_000)
    assert figures(1_300_000_000, 2_200_000_000, rate, "relay") == "1.3 of 2.2 GB  59 %  150 MB/s  0:06  relay"
    assert figures(1_300_000_000, None, rate, "") == "1.3 GB  150 MB/s  -:--"


@pytest.mark.parametrize(
    ("colour", "terminal", "environment", "coloured"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", False, {"TERM": "xterm"}, False),
        ("always", False, {}, True),
        ("never", True, {"TERM": "xterm"}, False),
    ],
)
def test_colour_is_used_where_it_is_wanted(colour, terminal, environment, coloured):
    stream = Screen() if terminal else io.StringIO()
    messages = Messages(stream, colour, environment)
    assert (messages.painted("x", "red") != "x") is coloured


def test_a_terminal_that_has_gone_is_no_reason_to_fail():
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    Messages(Gone(), "never", {}).line("anybody there?")
