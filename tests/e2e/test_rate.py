"""A limit on bytes a second, on either side and whatever the way; and the deadlines that it must not touch."""

import pytest

pytestmark = pytest.mark.matrix

SIZE = 900_000


@pytest.mark.parametrize("path", ["direct", "relay", "ibb"])
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_no_more_bytes_a_second_move_than_were_allowed(pair, receiver, jet, side, path):
    romeo, juliet = pair
    for home in pair:
        home.network('idle = "2s"')  # and nobody takes a slow line for a dead one
    limit = ("--limit-rate", "300000/s")
    receiving = receiver(juliet, "--json", "--path", path, *(limit if side == "receiver" else ()))
    file = romeo.file("film.mkv", SIZE)
    sending = jet(romeo, "send", "--json", "--path", path, *(limit if side == "sender" else ()), file, juliet.jid)
    assert (sending.finished().code, receiving.finished().code) == (0, 0), (sending, receiving)
    assert juliet.saved == {"film.mkv": file.read_bytes()}
    limited = sending if side == "sender" else receiving
    assert limited.event("file")["seconds"] >= SIZE / 300_000 * 0.8


def test_a_signal_does_not_wait_for_a_slow_line(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "send", "--json", "--limit-rate", "20k", romeo.file("film.mkv", 5_000_000), juliet.jid)
    receiving.event("path")
    sending.event("progress")
    sending.signal(2)
    assert sending.finished(5).code == 130, sending
    assert receiving.finished().code == 10, receiving


def test_nothing_is_no_rate(pair, jet):
    refused = jet(pair[0], "send", "--limit-rate", "0", "x", pair[1].jid).finished()
    assert (refused.code, "'0' is not a rate such as 500k or 2M" in refused.error) == (2, True), refused
