"""Files that are shared and requested, by name or by digest."""

import hashlib

import pytest

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
