"""Files that are shared and requested, by name or by digest."""

import hashlib
import signal
import sqlite3

import pytest
from waiting import until

pytestmark = pytest.mark.matrix


@pytest.fixture
def sharing(pair, jet):
    """Romeo shares a film with these options; returns both homes and the film."""

    def start(*options, name="film.mkv", size=700_000):
        romeo, juliet = pair
        film = romeo.file(name, size)
        process = jet(romeo, "share", film, *options)
        process.wait_for(r"Sharing as (\S+)")
        return romeo, juliet, film

    return start


def test_a_shared_file_is_had_by_its_name(sharing, jet):
    romeo, juliet, film = sharing()
    asking = jet(juliet, "request", "film.mkv", romeo.jid).finished()
    assert asking.code == 0, asking
    assert juliet.saved == {"film.mkv": film.read_bytes()}
    assert asking.stdout == f"{juliet.files / 'film.mkv'}\n"


def test_a_shared_file_is_had_by_its_digest_and_saved_under_a_name_of_our_own(sharing, jet):
    romeo, juliet, film = sharing()
    digest = hashlib.sha256(film.read_bytes()).hexdigest()
    asking = jet(juliet, "--json", "request", digest, romeo.jid, "-o", "mine").finished()
    assert asking.code == 0, asking
    assert juliet.saved == {"mine": film.read_bytes()}
    assert (asking.event("file")["verified"], asking.event("file")["sha256"]) == ("chunks+checksum", digest)


@pytest.mark.parametrize(
    ("options", "what"),
    [((), "other.mkv"), ((), "0" * 64), (("--to", "nobody@jet.test"), "film.mkv")],
    ids=["another-name", "another-digest", "for-somebody-else"],
)
def test_what_is_unknown_and_what_is_not_allowed_have_the_same_answer(sharing, jet, options, what):
    romeo, juliet, _ = sharing(*options)
    asking = jet(juliet, "request", what, romeo.jid).finished()
    assert (asking.code, asking.error) == (9, f"{romeo.jid} shares no '{what}' with us"), asking
    assert juliet.saved == {}


@pytest.mark.parametrize("by_digest", [False, True], ids=["by-name", "by-digest"])
def test_a_shared_file_goes_to_standard_output(sharing, jet, by_digest):
    text = "".join(f"line {number}\n" for number in range(50_000)).encode()
    romeo, juliet, _ = sharing(name="notes.txt", size=text)
    what = hashlib.sha256(text).hexdigest() if by_digest else "notes.txt"
    asking = jet(juliet, "--json", "request", what, romeo.jid, "-o", "-").finished()
    assert asking.code == 0, asking
    assert asking.stdout.encode() == text
    assert juliet.saved == {}
    assert asking.event("file")["path"] is None


def test_standard_output_is_no_directory(sharing, jet):
    romeo, juliet, _ = sharing()
    asking = jet(juliet, "request", "film.mkv", romeo.jid, "-o", "-", "-d", ".").finished()
    assert (asking.code, asking.error) == (2, "-o names a file and -d a directory: give one of them")


@pytest.mark.parametrize(
    ("on_exist", "code", "error", "hint"),
    [
        ("skip", 9, "'film.mkv' is here already", ""),
        ("fail", 13, "'film.mkv' exists already", "--on-exist rename keeps both, -o NAME chooses another name"),
    ],
)
def test_a_requested_file_whose_name_is_taken_is_skipped_or_fails_as_the_user_says(
    sharing, jet, on_exist, code, error, hint
):
    romeo, juliet, _ = sharing()
    juliet.file("film.mkv", b"mine")
    asking = jet(juliet, "request", "film.mkv", romeo.jid, "--on-exist", on_exist).finished()
    assert (asking.code, asking.error, asking.hint) == (code, error, hint), asking
    assert juliet.saved == {"film.mkv": b"mine"}


def test_a_name_of_our_own_that_is_taken_is_skipped_too(sharing, jet):
    romeo, juliet, _ = sharing()
    mine = juliet.file("mine", b"mine")
    asking = jet(juliet, "request", "film.mkv", romeo.jid, "-o", "mine", "--on-exist", "skip").finished()
    assert (asking.code, asking.error) == (9, "'mine' is here already"), asking
    assert mine.read_bytes() == b"mine"


# A line that breaks.


@pytest.fixture
def promised(new_pair, over, jet):
    """Romeo shares a film over a line with these faults; returns the line, the film and the digest it is known by.

    With `lying` that is the digest of another film.
    """

    def start(*, lying, **faults):
        romeo, juliet = new_pair
        connection = over(romeo, juliet, network='idle = "2s"', **faults)
        film = romeo.file("film.mkv", 32_000_000)
        sharing = jet(romeo, "share", film)
        sharing.wait_for(r"Sharing as (\S+)")
        digest = hashlib.sha256(b"another film" if lying else film.read_bytes()).digest()
        if lying:
            [database] = romeo.path.glob("state/**/state.db")
            with sqlite3.connect(database, isolation_level=None) as state:
                lie = "UPDATE file_hashes SET sha256 = ?"
                until(lambda: state.execute(lie, (digest,)).rowcount, "the film was never hashed")
            sharing.end()
            jet(romeo, "share", film).wait_for(r"Sharing as (\S+)")
        return connection, film, digest.hex()

    return start


def test_a_digest_holds_for_a_file_that_came_in_two_sessions(promised, new_pair, jet):
    romeo, juliet = new_pair
    _, film, digest = promised(lying=False, cut_after=16_000_000)
    asking = jet(juliet, "--json", "request", digest, romeo.jid).finished()
    assert asking.code == 0, asking
    assert asking.event("waiting")
    assert (asking.event("file")["verified"], asking.event("file")["sha256"]) == ("chunks+checksum", digest)
    assert juliet.saved == {"film.mkv": film.read_bytes()}


def test_another_file_under_that_digest_is_found_out_after_a_break_too(promised, new_pair, jet):
    romeo, juliet = new_pair
    _, _, digest = promised(lying=True, cut_after=16_000_000)
    asking = jet(juliet, "--json", "request", digest, romeo.jid).finished()
    assert asking.code == 12, asking
    assert asking.event("waiting")
    assert asking.error == "'film.mkv' is not the file of that sha-256; nothing was saved"
    assert juliet.saved == {}


@pytest.mark.parametrize("lying", [False, True])
def test_a_digest_holds_for_who_was_killed_and_resumes(promised, new_pair, jet, lying):
    romeo, juliet = new_pair
    connection, film, digest = promised(lying=lying, stall_after=16_000_000)
    asking = jet(juliet, "--json", "request", digest, romeo.jid)
    asking.event("progress", lambda event: event["bytes"] > 10_000_000)
    asking.signal(signal.SIGKILL)
    asking.finished()
    connection.move()
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == (12 if lying else 0), resuming
    assert juliet.saved == ({} if lying else {"film.mkv": film.read_bytes()})
