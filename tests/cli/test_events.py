import json
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from jetcli.cli.events import JsonEvents
from jetcli.errors import DeclinedError, InterruptedTransferError
from jetcli.protocol.device import Trust
from jetcli.transfer import events as happened


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def schema(clock, told, valid_event):
    moment = datetime(2026, 11, 22, 1, 40, 0, 123000, tzinfo=UTC)

    def write(line):
        told.append(valid_event(json.loads(line)))

    return JsonEvents("receive", write, monotonic=clock, now=lambda: moment)


FAILED = happened.FileFailed("k3v9", "receive", "film.mkv", DeclinedError("no room", hint="make room"), True)
EVENTS = [
    (happened.Connected("romeo@a/jet.1", "a"), "connected", {"jid": "romeo@a/jet.1", "server": "a"}),
    (
        happened.PeerFound("juliet@b/x", "Dino", Trust.BLIND, jet=False, resumable=False),
        "peer",
        {"client": "Dino", "caps": {"jet": False, "omemo": True, "range": False, "stream": False}, "trust": "btbv"},
    ),
    (happened.NewDevice("juliet@b", 31337, "aa"), "warning", {"code": "new-device", "fingerprint": "aa"}),
    (
        happened.Offered("k3v9", "receive", "juliet@b/x", "film.mkv", None, None, resumable=False),
        "offer",
        {"name": "film.mkv", "size": None, "media_type": None, "from": "juliet@b/x", "resumable": False},
    ),
    (happened.Accepted("k3v9", "receive"), "accepted", {"by": "me"}),
    (happened.Accepted("k3v9", "send"), "accepted", {"by": "peer"}),
    (happened.Declined("k3v9", "receive", "policy", "stranger"), "declined", {"by": "policy", "reason": "stranger"}),
    (happened.PathChosen("k3v9", "receive", "s5b-proxy", "proxy.b"), "path", {"transport": "s5b-proxy"}),
    (happened.Progress("k3v9", "receive", 5, 10), "progress", {"bytes": 5, "size": 10, "offset": 0, "eta": None}),
    (
        happened.FileDone("k3v9", "receive", "f", Path("/in/f"), 10, 0.51234, "tag+checksum", "ab"),
        "file",
        {"path": "/in/f", "size": 10, "seconds": 0.512, "verified": "tag+checksum", "sha256": "ab"},
    ),
    (FAILED, "error", {"code": "declined", "exit": 9, "hint": "make room", "retryable": False, "resumable": True}),
    (
        happened.Waiting("k3v9", "send", InterruptedTransferError("connection lost"), 2, 0.52),
        "waiting",
        {"for": "network", "attempt": 2, "retry_in": 0.5, "message": "connection lost"},
    ),
    (happened.Warned("odd", hint="look"), "warning", {"message": "odd", "hint": "look"}),
]


@pytest.mark.parametrize(("event", "kind", "fields"), EVENTS)
def test_an_event_has_its_object(schema, told, event, kind, fields):
    schema.emit(event)
    assert told[0] | fields == told[0]
    assert told[0]["type"] == kind
    assert (told[0]["v"], told[0]["t"], told[0]["dir"]) == (1, "2026-11-22T01:40:00.123Z", "receive")
    assert told[0]["id"] == getattr(event, "id", None)


def test_every_event_is_told_or_meant_for_people_only():
    tried = {type(event) for event, _kind, _fields in EVENTS}
    assert set(get_args(happened.Event)) - tried == {happened.Phase, happened.Detail}


def test_phases_and_details_are_for_people(schema, told):
    schema.emit(happened.Phase("connecting"))
    schema.emit(happened.Detail("candidate skipped"))
    assert told == []


def test_a_key_that_was_just_seen_makes_the_peer_new(schema, told):
    schema.emit(happened.NewDevice("juliet@b", 31337, "aa"))
    schema.emit(happened.PeerFound("juliet@b/x", "Dino", Trust.BLIND, jet=False, resumable=False))
    assert told[1]["trust"] == "new"


def test_progress_is_told_four_times_a_second_and_the_last_always(schema, told, clock):
    for count in range(101):
        clock.now = count / 100
        schema.emit(happened.Progress("k3v9", "receive", count, 1000))
    assert [line["bytes"] for line in told] == [0, 25, 50, 75, 100]
    schema.emit(happened.Progress("k3v9", "receive", 1000, 1000))
    schema.emit(happened.FileDone("k3v9", "receive", "f", None, 1000, 1.0, "tag"))
    assert [line["type"] for line in told[-2:]] == ["progress", "file"]
    assert told[-2]["bytes"] == 1000


def test_speed_and_time_left_are_told(schema, told, clock):
    schema.emit(happened.Progress("k3v9", "receive", 0, 1000))
    clock.now = 1.0
    schema.emit(happened.Progress("k3v9", "receive", 100, 1000))
    assert (told[1]["rate"], told[1]["eta"]) == (100, 9.0)


def test_the_result_is_the_last_word(schema, told, clock):
    schema.emit(happened.Progress("k3v9", "receive", 1, 10))
    schema.emit(happened.Progress("k3v9", "receive", 2, 10))
    schema.result(130, files=0, bytes=0, seconds=1.5, resumable=True, resume_id="k3v9")
    schema.result(0, files=1)
    schema.emit(happened.Warned("too late"))
    assert [(line["type"], line.get("bytes")) for line in told] == [("progress", 1), ("progress", 2), ("result", 0)]
    assert (told[-1]["exit"], told[-1]["ok"]) == (130, False)


def test_a_line_holds_nothing_that_a_terminal_obeys():
    lines = []
    schema = JsonEvents("receive", lines.append)
    name = "a\x1b[2J\u202e\x9b\udcff\nb"
    schema.emit(happened.Offered("k3v9", "receive", "x@y/z", name, 1, None, resumable=False))
    assert lines[0].isascii()
    assert lines[0].isprintable()
    assert json.loads(lines[0])["name"] == name
