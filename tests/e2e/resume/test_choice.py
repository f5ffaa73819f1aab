"""Which transfer `jet resume` means, and what it asks where a transfer cannot go on."""

import os
import re
import sqlite3

import pytest

pytestmark = pytest.mark.matrix

NOT_RESUMABLE = 11


@pytest.fixture
def two_broken(broken):
    """Break two transfers of a pair; the connection would carry bytes again."""

    def bring(pair):
        broken(pair, name="film.mkv")
        return broken(pair, name="song.ogg")

    return bring


def test_several_without_an_id_are_listed_and_nothing_is_done(new_pair, two_broken, jet):
    _, juliet = new_pair
    two_broken(new_pair)
    resuming = jet(juliet, "resume").finished()
    assert (resuming.code, resuming.error) == (2, "several transfers are unfinished"), resuming
    assert resuming.hint == "jet resume ID, or jet resume --all"
    assert {row.split("\t")[2] for row in resuming.stdout.splitlines()} == {"film.mkv", "song.ogg"}


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_all_of_them_go_on(new_pair, two_broken, jet, receiver, side):
    romeo, juliet = new_pair
    two_broken(new_pair)
    resuming, serving = (romeo, juliet) if side == "sender" else (juliet, romeo)
    other = receiver(serving, "--forever")
    done = jet(resuming, "--json", "resume", "--all").finished(80)
    assert done.code == 0, (done, other)
    assert done.events[-1]["files"] == 2
    assert juliet.saved == romeo.saved
    assert "Nothing is unfinished" in jet(resuming, "resume").finished().stderr


def test_both_sides_go_on_with_all_of_them_in_the_same_moment(new_pair, two_broken, jet):
    romeo, juliet = new_pair
    two_broken(new_pair)
    with sqlite3.connect(next(romeo.path.glob("state/**/state.db"))) as state:
        state.execute("UPDATE transfers SET updated = -updated")
    for home in new_pair:
        home.network()  # two at once need two ports
    both = [jet(home, "resume", "--all") for home in (romeo, juliet)]
    assert [each.finished(80).code for each in both] == [0, 0], both
    assert juliet.saved == romeo.saved


def test_one_of_several_is_meant_by_its_name_and_is_the_only_one_afterwards(new_pair, two_broken, jet, receiver):
    romeo, juliet = new_pair
    two_broken(new_pair)
    receiver(romeo, "--forever")
    named = jet(juliet, "resume", "song.ogg").finished()
    assert named.code == 0, named
    assert {name for name in juliet.saved if not name.startswith(".")} == {"song.ogg"}
    only = jet(juliet, "resume").finished()
    assert only.code == 0, only
    assert juliet.saved == romeo.saved


def test_a_peer_that_is_away_holds_up_no_other(home, new_pair, broken, jet, receiver):
    """What cannot go on yet is waited for; what can go on does, and the end tells of both."""
    romeo, juliet = new_pair
    broken(new_pair)
    with sqlite3.connect(next(romeo.path.glob("state/**/state.db"))) as state:
        state.execute(
            "CREATE TEMP TABLE other AS SELECT * FROM transfers",
        )
        state.execute("UPDATE other SET id = 'away', peer = ?, updated = updated + 100", (juliet.jid + "x",))
        state.execute("INSERT INTO transfers SELECT * FROM other")
    other = receiver(juliet)
    resuming = jet(romeo, "--json", "resume", "--all", "--wait", "3s").finished()
    assert resuming.code == 14, (resuming, other)
    assert resuming.event("error", id="away")["exit"] == 6
    assert juliet.saved == romeo.saved


@pytest.fixture
def changed(new_pair, broken, receiver):
    """A transfer whose source has changed since; the receiver waits. Returns both homes."""
    romeo, juliet = new_pair
    broken(new_pair)
    (romeo.files / "film.mkv").write_bytes(os.urandom(100_000))
    receiver(juliet)
    return new_pair


def test_whoever_says_so_starts_again_from_the_beginning(changed, jet):
    romeo, juliet = changed
    resuming = jet(romeo, "resume", terminal=True)
    resuming.wait_for(re.escape(f"Send film.mkv to {juliet.jid} again from the beginning? [y/N]"))
    resuming.type("y\n")
    assert resuming.finished().code == 0, resuming
    assert juliet.saved["film.mkv"] == romeo.saved["film.mkv"]


def test_no_is_the_answer_of_silence(changed, jet):
    romeo, juliet = changed
    resuming = jet(romeo, "resume", terminal=True)
    resuming.wait_for("from the beginning")
    resuming.type("\n")
    assert resuming.finished().code == NOT_RESUMABLE, resuming
    assert "film.mkv" not in juliet.saved


@pytest.mark.parametrize("terminal", [True, False])
def test_nobody_is_asked_who_does_not_want_to_be(changed, jet, terminal):
    romeo, juliet = changed
    resuming = jet(romeo, "resume", *(["--no-input"] if terminal else []), terminal=terminal).finished()
    assert resuming.code == NOT_RESUMABLE, resuming
    assert "from the beginning" not in resuming.stderr
    assert "has changed since its transfer began; it has to start again" in resuming.stderr
    assert "film.mkv" not in juliet.saved


def test_with_a_client_that_cannot_resume_it_is_said_before_anything_moves(new_pair, broken, jet, receiver):
    romeo, juliet = new_pair
    connection = broken(new_pair)
    with sqlite3.connect(next(romeo.path.glob("state/**/state.db"))) as state:
        state.execute("UPDATE transfers SET chunked = 0")
    receiver(juliet)
    refused = jet(romeo, "resume", "--no-input").finished()
    assert refused.code == NOT_RESUMABLE, refused
    assert refused.error == f"the client of {juliet.jid} cannot continue 'film.mkv'; it has to start again"
    assert connection.carried == 0
    asked = jet(romeo, "resume", terminal=True)
    asked.wait_for("from the beginning")
    asked.type("y\n")
    assert asked.finished().code == 0, asked
    assert juliet.saved["film.mkv"] == romeo.saved["film.mkv"]
