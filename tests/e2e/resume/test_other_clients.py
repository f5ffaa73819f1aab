"""The jet that had the transfer has gone, and only another client of its account is online: that is waited out."""

import asyncio
import json
import signal

import aioxmpp
import pytest

from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.connection import Connection, Presence

pytestmark = pytest.mark.matrix

NOT_RESUMABLE, INTERRUPTED = 11, 10


@pytest.fixture
async def phone():
    """Bring a client that can continue nothing online beside the jets of a home: `await phone(juliet)`."""
    running = []

    async def start(home) -> None:
        host, _, port = home.address.rpartition(":")
        settings = AccountSettings(home.jid, home.password, (host, int(port)), ca_file=home.server.ca_file)

        def setup(client) -> None:
            client.summon(aioxmpp.DiscoServer)

        online = await Connection.open(settings, resource="phone", presence=Presence(show_xa=False), setup=setup)
        running.append(online)

    yield start
    for each in running:
        await each.close()


def unfinished(jet, home) -> list[dict]:
    listing = jet(home, "--json", "resume", "--list").finished()
    return [event for event in map(json.loads, listing.stdout.splitlines()) if event["type"] == "transfer"]


@pytest.fixture
def breaking(new_pair, over, receiver, jet, half):
    """Kill the receiver half-way: `sending, connection = breaking("--retry", "20")`; the sender goes on trying."""

    def bring(*options: str):
        romeo, juliet = new_pair
        connection = over(romeo, juliet, stall_after=half.stall)
        receiving = receiver(juliet, "--json")
        sending = jet(romeo, "send", romeo.file("film.mkv", half.size), juliet.jid, *options)
        receiving.event("progress", lambda event: event["bytes"] > half.arrived)
        receiving.signal(signal.SIGKILL)
        receiving.finished()
        connection.cut()
        return sending, connection

    return bring


async def test_a_receiver_that_was_killed_and_started_again_gets_the_rest_although_her_phone_answered(
    new_pair, breaking, receiver, half, phone
):
    romeo, juliet = new_pair
    await phone(juliet)

    def with_the_phone_online():
        sending, connection = breaking("--retry", "20")
        connection.move()
        sending.wait_for("cannot continue a transfer with .* waiting for")
        receiving = receiver(juliet)
        assert (sending.finished(60).code, receiving.finished().code) == (0, 0), (sending, receiving)
        return connection

    connection = await asyncio.to_thread(with_the_phone_online)
    assert juliet.saved == romeo.saved
    assert connection.carried < half.size + half.twice


@pytest.mark.parametrize("side", ["sender", "receiver"])
async def test_a_resume_that_finds_only_a_phone_fails_and_gives_nothing_up(
    new_pair, broken, receiver, jet, phone, side, whole
):
    romeo, juliet = new_pair
    connection = await asyncio.to_thread(broken, new_pair)
    ours, other = (romeo, juliet) if side == "sender" else (juliet, romeo)
    await phone(other)

    def resumed() -> None:
        resuming = jet(ours, "resume", "--wait", "2s").finished()
        assert resuming.code == NOT_RESUMABLE, resuming
        [record] = unfinished(jet, ours)
        assert record["state"] == "interrupted"
        assert resuming.hint == f"jet resume --wait 1h {record['transfer']}"
        waiting = jet(ours, "resume", "--wait", "forever")
        waiting.wait_for("cannot continue a transfer with .* waiting for a jet that knows the transfer")
        answering = receiver(other, "--forever")
        assert waiting.finished().code == 0, (waiting, answering)

    await asyncio.to_thread(resumed)
    whole(new_pair, connection)


async def test_a_send_that_has_spent_its_tries_is_interrupted_and_says_how_to_go_on(new_pair, breaking, jet, phone):
    romeo, juliet = new_pair
    await phone(juliet)

    def given_up() -> None:
        sending, _ = breaking("--retry", "2")
        assert sending.finished(60).code == INTERRUPTED, sending
        [record] = unfinished(jet, romeo)
        assert sending.hint == f"jet resume {record['transfer']}"

    await asyncio.to_thread(given_up)
