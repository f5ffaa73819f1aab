"""Many small files of one command between jets: one stream, and each file as if it had come alone."""

import json
import os
import shlex
import signal
import sys
import textwrap

import pytest

from jetcli.protocol.bundle import MAX_MEMBER_SIZE

INTERRUPTED, PARTIAL = 10, 14


def small(home, count: int, size: int = 1024) -> list:
    return [home.file(f"{number:03}.bin", size) for number in range(count)]


def kinds(process, kind: str) -> list[dict]:
    return [event for event in process.events if event["type"] == kind]


def names(process, kind: str = "file") -> list[str]:
    return [event["name"] for event in kinds(process, kind)]


def test_two_hundred_small_files_go_as_one_stream_and_each_is_told(pair, jet, receiver):
    romeo, juliet = pair
    files = small(romeo, 200)
    os.utime(files[7], (1_600_000_000, 1_600_000_000))
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "--json", "send", "--to", juliet.jid, *files).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == romeo.saved
    assert (juliet.files / files[7].name).stat().st_mtime == 1_600_000_000
    for process in (sending, receiving):
        assert names(process) == names(process, "offer") == [file.name for file in files]
        told = kinds(process, "file")
        assert len({event["id"] for event in told}) == 200
        assert {event["verified"] for event in told} == {"chunks"}
        assert [event["id"] for event in kinds(process, "accepted")] == [event["id"] for event in told]
        assert process.events[-1]["files"] == 200
        assert {event["size"] for event in kinds(process, "offer")} == {1024}
        whole = [(event["id"], event["bytes"], event["size"]) for event in kinds(process, "progress")]
        assert whole == [(event["id"], 1024, 1024) for event in told]
    assert len(kinds(sending, "peer")) == 1  # one offer


def test_large_and_small_files_come_in_their_order_with_checksums(pair, jet, receiver):
    romeo, juliet = pair
    sizes = [1, 0, MAX_MEMBER_SIZE, MAX_MEMBER_SIZE + 1, 5, 6, 1_000_000, 7]
    files = [romeo.file(f"{number}.bin", size) for number, size in enumerate(sizes)]
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "--json", "send", "--checksum", "--to", juliet.jid, *files).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == romeo.saved
    for process in (sending, receiving):
        assert names(process) == [file.name for file in files]
        assert all(event["sha256"] for event in kinds(process, "file"))
    assert len(kinds(sending, "peer")) == 5  # three alone, two bundles


@pytest.mark.matrix
def test_a_receiver_prints_each_path_and_runs_its_command_for_each(pair, jet, receiver):
    romeo, juliet = pair
    log = juliet.files / "log"
    script = romeo.files.parent / "note.py"
    script.write_text("import os, sys; open(sys.argv[1], 'a').write(os.environ['JET_NAME'] + '\\n')")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {shlex.quote(str(log))}"
    receiving = receiver(juliet, "-0", "-n", "2", "--exec", command)
    for batch in ("ab", "cd"):
        files = [romeo.file(name, name.encode()) for name in batch]
        assert jet(romeo, "send", "--to", juliet.jid, *files).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert receiving.stdout.split("\0") == [*(str(juliet.files / name) for name in "abcd"), ""]
    assert log.read_text().split() == list("abcd")


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("on_exist", "code", "left"),
    [
        pytest.param("rename", 0, {"b": b"mine", "b (2)": b"b"}, marks=pytest.mark.matrix),
        pytest.param("skip", 14, {"b": b"mine"}, marks=pytest.mark.matrix),
        ("fail", 14, {"b": b"mine"}),
    ],
)
def test_one_name_that_is_taken_concerns_no_other_file(pair, jet, receiver, on_exist, code, left):
    romeo, juliet = pair
    files = [romeo.file(name, name.encode()) for name in "abc"]
    juliet.file("b", b"mine")
    receiving = receiver(juliet, "--on-exist", on_exist)
    sending = jet(romeo, "--json", "send", "--to", juliet.jid, *files).finished()
    assert sending.code == code, sending
    assert receiving.finished().code == (PARTIAL if on_exist == "fail" else 0), receiving
    assert juliet.saved == {"a": b"a", "c": b"c", **left}
    assert names(sending) == ([*"abc"] if code == 0 else [*"ac"])
    refused = kinds(sending, "error")
    assert [event["name"] for event in refused] == ([] if code == 0 else ["b"])
    why = {"skip": "'b' is here already", "fail": "a file of that name is there already"}
    assert all(event["message"].endswith(f" 'b': {why[on_exist]}") for event in refused)


@pytest.mark.parametrize("place", [pytest.param(0, marks=pytest.mark.matrix), 1], ids=["the first", "another"])
def test_a_file_that_the_rules_refuse_is_never_told_as_accepted(pair, jet, receiver, place):
    romeo, juliet = pair
    contents = {"a": b"a", "b": b"b", "c": b"c"} | {"abc"[place]: b"too large"}
    files = [romeo.file(name, content) for name, content in contents.items()]
    receiving = receiver(juliet, "--json", "--max-size", "1")
    sending = jet(romeo, "--json", "send", "--to", juliet.jid, *files).finished()
    assert (sending.code, receiving.finished().code) == (PARTIAL, 0), sending
    refused = kinds(receiving, "offer")[place]
    assert (refused["name"], refused["size"]) == (files[place].name, 9)
    assert [event["type"] for event in receiving.events if event["id"] == refused["id"]] == ["offer", "declined"]
    assert names(receiving) == names(sending) == [file.name for file in files if file != files[place]]


@pytest.mark.matrix
def test_a_receiver_of_one_file_takes_the_first_and_declines_the_rest(pair, jet, receiver):
    romeo, juliet = pair
    files = [romeo.file(name, name.encode()) for name in "abc"]
    receiving = receiver(juliet, "-o", "chosen")
    sending = jet(romeo, "--json", "send", "--to", juliet.jid, *files).finished()
    assert (sending.code, receiving.finished().code) == (PARTIAL, 0), sending
    assert juliet.saved == {"chosen": b"a"}
    assert names(sending) == ["a"]


@pytest.mark.matrix
def test_a_jet_without_bundles_gets_every_file_by_itself(pair, jet, receiver, tmp_path):
    romeo, juliet = pair
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "sitecustomize.py").write_text(
        textwrap.dedent("""
            from jetcli.protocol import quirks
            quirks.RECEIVING = tuple(f for f in quirks.RECEIVING if "bundle" not in f)
        """)
    )
    files = small(romeo, 3)
    receiving = receiver(juliet, env={"PYTHONPATH": str(tmp_path / "older")})
    sending = jet(romeo, "--json", "send", "--to", juliet.jid, *files).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == romeo.saved
    assert len(kinds(sending, "peer")) == 3


@pytest.fixture
def halfway(over, receiver, jet):
    """Bring 120 small files half-way, past the first chunk of the stream, and let it stall there."""

    def bring(pair, *, retry=(), **faults):
        romeo, juliet = pair
        connection = over(romeo, juliet, **{"stall_after": 400_000} | faults)
        files = small(romeo, 120, 4096)
        receiving = receiver(juliet, "--json", *retry)
        sending = jet(romeo, "--json", "send", *retry, "--to", juliet.jid, *files)
        for process in (sending, receiving):
            process.event("file", name="050.bin")
        return sending, receiving, connection

    return bring


@pytest.mark.parametrize("stopped", [0, pytest.param(1, marks=pytest.mark.matrix)], ids=["the sender", "the receiver"])
def test_ctrl_c_keeps_the_files_that_are_saved_and_says_which(pair, halfway, stopped):
    romeo, juliet = pair
    *processes, _ = halfway(pair)
    processes[stopped].signal(signal.SIGINT)
    other = processes[1 - stopped].finished()
    assert processes[stopped].finished().code == 130, processes[stopped]
    assert other.code in {INTERRUPTED, PARTIAL}, other
    saved = juliet.saved
    assert 50 < len(saved) < 120
    assert saved == {name: romeo.saved[name] for name in saved}
    assert names(processes[1]) == sorted(saved)
    assert set(names(processes[0])) <= set(saved)
    assert not juliet.parts
    if not stopped:
        unsent = 120 - len(names(processes[0]))
        assert processes[0].stderr.splitlines()[-1] == f"{unsent} of 120 files were not sent."
    if stopped:  # the sender tells of every file how it ended
        assert sorted(names(other) + names(other, "error")) == sorted(romeo.saved)


@pytest.mark.matrix
def test_after_a_cut_the_rest_is_sent_and_nothing_twice(pair, halfway):
    romeo, juliet = pair
    sending, receiving, _ = halfway(pair, retry=("--retry", "9"), stall_after=None, cut_after=400_000)
    assert (sending.finished().code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == romeo.saved
    assert names(sending) == names(receiving) == sorted(romeo.saved)
    assert len(kinds(sending, "waiting")) == 1


@pytest.mark.matrix
def test_a_person_is_asked_once_although_the_line_is_cut_in_the_middle(pair, over, receiver, jet):
    romeo, juliet = pair
    over(romeo, juliet, cut_after=400_000)
    files = small(romeo, 120, 4096)
    receiving = receiver(juliet, "--retry", "9", terminal=True)
    sending = jet(romeo, "--json", "send", "--retry", "9", "--to", juliet.jid, *files)
    receiving.wait_for("Accept?")
    receiving.type("y\n")
    assert (sending.finished().code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == romeo.saved
    assert len(kinds(sending, "waiting")) == 1
    assert receiving.stderr.count("Accept?") == 1


@pytest.mark.matrix
def test_a_cut_without_a_retry_tells_of_every_file_that_did_not_come(pair, halfway):
    romeo, juliet = pair
    sending, receiving, _ = halfway(pair, stall_after=None, cut_after=400_000)
    assert (sending.finished().code, receiving.finished().code) == (PARTIAL, PARTIAL), sending
    assert sorted(names(sending) + names(sending, "error")) == sorted(romeo.saved)
    assert set(names(sending)) <= set(juliet.saved) == set(names(receiving))
    [failure] = kinds(receiving, "error")
    assert f"{len(juliet.saved)} of 120 files of this command have come" in failure["message"]


@pytest.mark.matrix
def test_small_files_in_band(pair, jet, receiver):
    romeo, juliet = pair
    files = small(romeo, 30)
    receiving = receiver(juliet)
    sending = jet(romeo, "send", "--path", "ibb", "--to", juliet.jid, *files).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == romeo.saved


def history(jet, home) -> list[dict]:
    rows = [json.loads(line) for line in jet(home, "--json", "status", "--all").finished().stdout.splitlines()]
    return [row for row in rows if row["type"] == "transfer"]


def test_the_history_has_a_row_for_each_file_on_each_side(new_pair, jet, receiver):
    romeo, juliet = new_pair
    folder = romeo.files / "folder"
    folder.mkdir()
    files = small(romeo, 70)
    juliet.file("001.bin", b"mine")
    receiving = receiver(juliet, "--on-exist", "skip")
    sending = jet(romeo, "send", "--to", juliet.jid, *files, folder).finished()
    assert (sending.code, receiving.finished().code) == (PARTIAL, 0), sending
    ended = sorted([*(file.name for file in files if file.name != "001.bin"), "folder.tar"])
    for home, direction, peer in ((romeo, "send", juliet.jid), (juliet, "receive", romeo.jid)):
        rows = history(jet, home)
        assert sorted(row["name"] for row in rows) == ended
        assert {(row["direction"], row["state"], row["peer"]) for row in rows} == {(direction, "done", peer)}
        assert [row["size"] for row in rows if row["name"] == "002.bin"] == [1024]
    assert [row["path"] for row in history(jet, romeo) if row["name"] == "folder.tar"] == [str(folder)]
    assert [row["path"] for row in history(jet, juliet) if row["name"] == "000.bin"] == [str(juliet.files)]
    assert jet(romeo, "status").finished().stderr.splitlines()[-1] == "No unfinished transfers."


@pytest.mark.matrix
def test_what_broke_on_the_way_is_in_the_history_of_the_sender_as_failed(new_pair, jet, halfway):
    romeo, juliet = new_pair
    sending, receiving, _ = halfway(new_pair, stall_after=None, cut_after=400_000)
    assert (sending.finished().code, receiving.finished().code) == (PARTIAL, PARTIAL), sending
    states = {row["name"]: row["state"] for row in history(jet, romeo)}
    assert sorted(states) == sorted(romeo.saved)
    assert {name for name, state in states.items() if state == "done"} == set(names(sending))
    assert {row["state"] for row in history(jet, juliet)} == {"done"}
    assert sorted(row["name"] for row in history(jet, juliet)) == sorted(juliet.saved)
