"""The bytes find their way: directly, over a relay, in-band, and in-band where nothing else works."""

import socket

import pytest

from jetcli.trial.server import free_ports

WAYS = {"direct": "direct", "relay": "relay", "ibb": "in-band (slow)"}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_arrives_by_the_way_that_was_asked_for(pair, receiver, jet, way):
    romeo, juliet = pair
    film = romeo.file("film.mkv", 700_000)
    receiving = receiver(juliet, "--path", way)
    sending = jet(romeo, "send", "--path", way, film, juliet.jid).finished()
    assert sending.code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == {"film.mkv": film.read_bytes()}
    for process in (sending, receiving):
        assert f"film.mkv: path {WAYS[way]}" in process.stderr, process


def test_without_a_word_about_the_way_it_is_direct(pair, receiver, jet):
    romeo, juliet = pair
    film = romeo.file("film.mkv", 10)
    receiving = receiver(juliet)
    sending = jet(romeo, "send", film, juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0)
    assert "path direct" in sending.stderr


def test_nothing_of_the_file_goes_over_the_wire_as_it_is(pair, receiver, jet, faulty, over):
    romeo, juliet = pair
    connection = over(romeo, juliet)
    connection.keeps = bytearray()
    film = romeo.file("film.mkv", b"O Romeo, Romeo, wherefore art thou Romeo? " * 1000)
    receiving = receiver(juliet)
    assert jet(romeo, "send", film, juliet.jid).finished().code == 0
    assert receiving.finished().code == 0
    assert len(connection.keeps) > film.stat().st_size
    assert b"wherefore" not in connection.keeps


@pytest.mark.parametrize("bytes_ask", [700_000, 0])
def test_addresses_that_policy_refuses_end_in_band(pair, receiver, jet, bytes_ask):
    romeo, juliet = pair
    # Each offers the other nothing that may be dialled, and no relay serves them.
    port = free_ports(1)[0]
    romeo.network(f'listen = {port}\nadvertise = "127.0.0.1:{port}"')
    juliet.network('loopback = false\nadvertise = "127.0.0.1:22"')
    film = romeo.file("film.mkv", bytes_ask)
    receiving = receiver(juliet, "-v")
    sending = jet(romeo, "-v", "send", film, juliet.jid).finished()
    assert sending.code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert "not dialling 127.0.0.1" in receiving.stderr
    assert "path in-band" in sending.stderr
    assert "path in-band" in receiving.stderr
    assert juliet.saved == {"film.mkv": film.read_bytes()}


def test_a_port_that_the_user_chose_serves_all_who_come_at_once(home, receiver, jet):
    """As behind a router that forwards one port; the senders cannot be reached at all."""
    port = free_ports(1)[0]
    romeo = home("romeo", network='advertise = "127.0.0.1:1"')
    mercutio = home("mercutio", network='advertise = "127.0.0.1:1"')
    juliet = home("juliet", contacts=[romeo, mercutio], network=f'listen = {port}\nadvertise = "127.0.0.1:{port}"')
    receiving = receiver(juliet, "--path", "direct", "-n", "2")
    files = [one.file(f"{number}.bin", 3_000_000) for number, one in enumerate((romeo, mercutio))]
    sending = [
        jet(one, "send", "--limit-rate", "2M", file, juliet.jid)
        for one, file in zip((romeo, mercutio), files, strict=True)
    ]
    assert [one.finished().code for one in sending] == [0, 0], sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == {file.name: file.read_bytes() for file in files}


def test_a_port_that_another_jet_has_stops_nothing(pair, receiver, jet):
    romeo, juliet = pair
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=socket.has_dualstack_ipv6()) as taken:
        romeo.network(f"listen = {taken.getsockname()[1]}")
        receiving = receiver(juliet)
        sending = jet(romeo, "send", "-v", romeo.file("a.txt", 10), juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert "offering no address of ours: port" in sending.stderr
    assert "path direct" in sending.stderr


@pytest.mark.parametrize("way", ["direct", "relay"])
def test_an_in_band_offer_is_refused_by_who_wants_another_way(pair, receiver, jet, way):
    romeo, juliet = pair
    receiving = receiver(juliet, "--path", way)
    sending = jet(romeo, "send", "--path", "ibb", romeo.file("a.txt", 10), juliet.jid).finished()
    assert sending.code == 5, sending
    assert receiving.finished().code == 5, receiving
    assert juliet.saved == {}


def test_no_way_that_both_sides_allow_is_exit_5(pair, receiver, jet):
    romeo, juliet = pair
    romeo.network('advertise = "127.0.0.1:1"')
    juliet.network('advertise = "127.0.0.1:1"')
    receiving = receiver(juliet, "--path", "direct")
    sending = jet(romeo, "send", "--path", "direct", romeo.file("a.txt", 10), juliet.jid).finished()
    assert sending.code == 5, sending
    assert "no usable connection to " in sending.error
    assert receiving.finished().code == 5, receiving
    assert juliet.saved == {}
