"""A stream that is cut or falls silent: resumed (XEP-0198), begun anew, or given up."""

import asyncio
import time

import pytest
from connections import Mailbox, disco, message, presences

from jetcli.errors import NetworkError, UnavailableError
from jetcli.xmpp import connection as connection_module
from jetcli.xmpp import server as server_module


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(connection_module, "RECONNECT_S", 0.05)
    monkeypatch.setattr(server_module, "PAUSE_S", 0.05)


class Witness:
    """What happened to a connection, in order."""

    def __init__(self, connection) -> None:
        self.events = []
        for name in ("on_lost", "on_resumed", "on_destroyed", "on_restored"):
            getattr(connection, name).append(lambda name=name: self.events.append(name))
        connection.on_failed.append(self.events.append)


@pytest.mark.parametrize("direct_tls", [False, True], ids=["starttls", "direct-tls"])
async def test_a_cut_stream_is_resumed_and_nothing_is_lost(account, online, faulty, eventually, direct_tls):
    romeo, juliet = account("romeo"), account("juliet")
    port = romeo.server.direct_tls_port if direct_tls else romeo.server.port
    line = faulty((romeo.server.host, port), reset=True)
    box, peers = Mailbox(), Mailbox()
    ours = await online(
        romeo, direct_tls=direct_tls, server=("127.0.0.1", line.port), setup=box.setup, resource="resumes"
    )
    peer = await online(juliet, setup=peers.setup)
    witness, jid = Witness(ours), ours.jid

    line.cut()
    ours.client.enqueue(message(peer.jid, "across the cut"))
    peer.client.enqueue(message(ours.jid, "to you too"))
    assert (await disco(ours.client)).features
    await eventually(lambda: peers.bodies and box.bodies)

    assert (peers.bodies, box.bodies) == (["across the cut"], ["to you too"])
    assert witness.events == ["on_lost", "on_resumed"]
    assert ours.jid == jid


async def test_stanzas_that_were_under_way_in_a_cut_arrive_once_and_in_order(account, online, faulty, eventually):
    romeo, juliet = account("romeo"), account("juliet")
    line = faulty(romeo.address, reset=True)
    box = Mailbox()
    peer = await online(juliet, setup=box.setup)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    numbers = [str(number) for number in range(20)]
    line.stall()
    for number in numbers[:10]:
        ours.client.enqueue(message(peer.jid, number))
    await eventually(lambda: len(ours.client.stream.sm_unacked_list) >= 10)
    line.cut()
    line.move()
    for number in numbers[10:]:
        ours.client.enqueue(message(peer.jid, number))
    await eventually(lambda: len(box.bodies) >= 20)
    assert box.bodies == numbers


async def test_questions_asked_right_after_a_cut_are_answered(account, online, faulty):
    romeo = account("romeo")
    line = faulty(romeo.address, reset=True)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    for _ in range(5):
        line.cut()
        answers = await asyncio.gather(*(disco(ours.client) for _ in range(20)))
        assert all(answer.features for answer in answers)


async def test_a_stream_is_resumed_when_the_server_is_back(account, online, faulty, eventually):
    romeo = account("romeo")
    line = faulty(romeo.address, reset=True)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    witness = Witness(ours)
    line.refuse = True
    before = line.connections
    line.cut()
    await eventually(lambda: line.connections >= before + 2)
    line.refuse = False
    assert (await disco(ours.client)).features
    assert witness.events == ["on_lost", "on_resumed"]


async def test_a_silent_line_is_noticed_and_the_stream_resumed(account, online, faulty, eventually):
    romeo = account("romeo")
    line = faulty(romeo.address)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    witness = Witness(ours)
    ours.client.stream.soft_timeout = ours.client.stream.soft_timeout / 100
    ours.client.stream.round_trip_time = ours.client.stream.round_trip_time / 100
    line.stall()
    await eventually(lambda: witness.events)
    line.cut()
    line.move()
    assert (await disco(ours.client)).features
    assert witness.events == ["on_lost", "on_resumed"]


def test_a_silent_line_is_noticed_within_half_a_minute():
    assert connection_module.SILENCE_S + connection_module.ANSWER_S <= 30


async def test_without_resumption_a_new_stream_greets_again(account, another_server, online, faulty, eventually):
    forgetful = another_server(settings='modules_disabled = { "smacks", "s2s" }')
    juliet = account("juliet", on=forgetful)
    romeo = account("romeo", contacts=[juliet], on=forgetful)
    line = faulty(romeo.address, reset=True)
    seen = []
    await online(juliet, setup=lambda client: seen.append(presences(client)))
    ours = await online(romeo, server=("127.0.0.1", line.port), resource="again")
    witness = Witness(ours)
    await eventually(lambda: len(seen[0]) == 1)
    line.cut()
    await eventually(lambda: "on_restored" in witness.events)
    assert witness.events == ["on_lost", "on_destroyed", "on_restored"]
    await eventually(lambda: len(seen[0]) == 3)
    assert [stanza.type_.value for stanza in seen[0]] == [None, "unavailable", None]


async def test_a_question_is_answered_with_an_error_when_the_stream_is_gone(
    account, another_server, online, faulty, eventually
):
    forgetful = another_server(settings='modules_disabled = { "smacks", "s2s" }')
    line = faulty((forgetful.host, forgetful.port), reset=True)
    romeo = account("romeo", on=forgetful)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    line.stall()
    pending = asyncio.create_task(disco(ours.client))
    await asyncio.sleep(0)
    line.cut()
    with pytest.raises((NetworkError, UnavailableError)):
        await pending


async def test_who_takes_our_place_ends_us(account, online, eventually):
    romeo = account("romeo")
    ours = await online(romeo, resource="same")
    witness = Witness(ours)
    await online(romeo, resource="same")
    await eventually(lambda: ours.failure)
    assert str(ours.failure) == f"another client of {romeo.jid} took this one's place"
    assert witness.events[-1] is ours.failure


async def test_leaving_takes_a_second_at_most_when_the_line_is_silent(account, online, faulty):
    romeo = account("romeo")
    line = faulty(romeo.address)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    line.stall()
    start = time.monotonic()
    await ours.close()
    assert time.monotonic() - start < 2.0
    assert not ours.client.running


async def test_leaving_while_the_server_is_away_takes_no_time(account, online, faulty, eventually):
    romeo = account("romeo")
    line = faulty(romeo.address, reset=True)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    witness = Witness(ours)
    line.refuse = True
    line.cut()
    await eventually(lambda: witness.events)
    await ours.close()
    assert not ours.client.running
