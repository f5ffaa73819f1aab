import asyncio
import os
from types import SimpleNamespace

import aioxmpp
import pytest
from aioxmpp.callbacks import AdHocSignal

from jetcli.protocol import model
from jetcli.protocol.model import InbandTransport
from jetcli.protocol.session import Session
from jetcli.xmpp.candidates import Candidates, Reach
from jetcli.xmpp.inband import Close, Data, InbandService, Open
from jetcli.xmpp.negotiation import Negotiation

ROMEO, JULIET, MALLORY = "romeo@montague.lit/a", "juliet@capulet.lit/b", "mallory@montague.lit/c"
TRANSPORT = InbandTransport("sid", 8)


class Client:
    """Stands for an aioxmpp client: what it sends is handled by the client of the addressee at once."""

    def __init__(self, jid, network):
        self.local_jid = aioxmpp.JID.fromstr(jid)
        self.established_event = asyncio.Event()
        self.established_event.set()
        self.handlers = {}
        self.stream = SimpleNamespace(
            register_iq_request_handler=lambda kind, payload, handler: self.handlers.update({payload: handler})
        )
        self.on_stream_destroyed, self.on_stopped, self.on_failure = AdHocSignal(), AdHocSignal(), AdHocSignal()
        self.sent = []
        self.network = network
        network[jid] = self
        self.service = InbandService(self)

    async def send(self, iq):
        self.sent.append(iq.payload)
        iq.from_ = self.local_jid
        return await self.network[str(iq.to)].handlers[type(iq.payload)](iq)

    async def ask(self, to, payload, **changes):
        """Send a request whose attributes are changed as given; return the condition of the error, or None."""
        for name, value in changes.items():
            setattr(payload, name, value)
        try:
            async with asyncio.timeout(5):
                await self.send(aioxmpp.IQ(aioxmpp.IQType.SET, to=aioxmpp.JID.fromstr(to), payload=payload))
        except aioxmpp.errors.XMPPError as error:
            return error.condition.value[1], type(error).TYPE.value
        return None


@pytest.fixture
async def clients():
    network = {}
    return [Client(jid, network) for jid in (ROMEO, JULIET, MALLORY)]


@pytest.fixture
def romeo(clients):
    return clients[0]


@pytest.fixture
def juliet(clients):
    return clients[1]


@pytest.fixture
def mallory(clients):
    return clients[2]


def expect(client, peer=ROMEO, **options):
    return asyncio.create_task(client.service.open(peer, TRANSPORT, open_it=False, **options))


async def connected(romeo, juliet):
    """Return the sending and the receiving channel of an open bytestream."""
    expecting = expect(juliet)
    await asyncio.sleep(0)
    return await romeo.service.open(JULIET, TRANSPORT, open_it=True), await expecting


def received(channel):
    buffer, data = memoryview(bytearray(100)), bytearray()
    while count := channel.recv_into(buffer):
        data += buffer[:count]
    return bytes(data)


async def test_what_one_side_sends_the_other_receives_until_the_close(romeo, juliet):
    sender, receiver = await connected(romeo, juliet)
    data = bytes(range(256))

    def send():
        sender.sendall(memoryview(data))
        sender.finish_sending()

    _, got = await asyncio.gather(asyncio.to_thread(send), asyncio.to_thread(received, receiver))
    assert got == data
    assert [type(payload) for payload in (romeo.sent[0], romeo.sent[-1])] == [Open, Close]
    assert {len(payload.text) for payload in romeo.sent[1:-1]} == {12}


async def test_who_was_sent_the_open_may_be_the_one_who_sends(romeo, juliet):
    receiver, sender = await connected(romeo, juliet)

    def send():
        sender.sendall(memoryview(b"the requested file"))
        sender.finish_sending()

    _, got = await asyncio.gather(asyncio.to_thread(send), asyncio.to_thread(received, receiver))
    assert got == b"the requested file"


async def test_an_open_that_no_session_expects_is_refused(romeo, juliet):
    assert await romeo.ask(JULIET, Open("sid", 8)) == ("not-acceptable", "cancel")
    with pytest.raises(ConnectionRefusedError, match="not-acceptable"):
        await romeo.service.open(JULIET, TRANSPORT, open_it=True)
    await asyncio.sleep(0)
    assert [type(payload) for payload in romeo.sent] == [Open, Open]


async def test_an_open_from_another_full_jid_is_refused_and_the_expected_one_still_accepted(romeo, juliet, mallory):
    expecting = expect(juliet)
    await asyncio.sleep(0)
    assert await mallory.ask(JULIET, Open("sid", 8)) == ("not-acceptable", "cancel")
    assert await romeo.ask(JULIET, Open("sid", 8)) is None
    await expecting


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"block_size": "9"}, ("resource-constraint", "modify")),
        ({"block_size": "0"}, ("resource-constraint", "modify")),
        ({"block_size": "65536"}, ("bad-request", "cancel")),
        ({"block_size": "-1"}, ("bad-request", "cancel")),
        ({"block_size": " 8"}, ("bad-request", "cancel")),
        ({"block_size": None}, ("bad-request", "cancel")),
        ({"stanza": "message"}, ("feature-not-implemented", "cancel")),
        ({"stanza": "pigeon"}, ("feature-not-implemented", "cancel")),
        ({"sid": None}, ("not-acceptable", "cancel")),
        ({"sid": "another"}, ("not-acceptable", "cancel")),
    ],
)
async def test_an_open_with_other_terms_is_refused_and_may_be_repeated_with_the_agreed_ones(
    romeo, juliet, changes, error
):
    expecting = expect(juliet)
    await asyncio.sleep(0)
    assert await romeo.ask(JULIET, Open("sid", 8), **changes) == error
    assert await romeo.ask(JULIET, Open("sid", 8), stanza="iq") is None
    await expecting


async def test_a_second_open_is_refused(romeo, juliet):
    await connected(romeo, juliet)
    assert await romeo.ask(JULIET, Open("sid", 8)) == ("not-acceptable", "cancel")


async def test_an_open_that_does_not_come_is_a_timeout_and_expected_no_more(romeo, juliet):
    with pytest.raises(TimeoutError):
        await expect(juliet, timeout_s=0.01)
    await asyncio.sleep(0)
    assert juliet.sent == []
    assert await romeo.ask(JULIET, Open("sid", 8)) == ("not-acceptable", "cancel")


async def test_a_sid_that_is_in_use_cannot_be_opened_again(romeo, juliet):
    await connected(romeo, juliet)
    with pytest.raises(FileExistsError):
        await juliet.service.open(ROMEO, TRANSPORT, open_it=False)


@pytest.mark.parametrize("payload", [Data("sid", 0, "QUJD"), Close("sid")])
async def test_blocks_and_closes_of_a_bytestream_that_is_not_open_are_refused(romeo, juliet, payload):
    assert await romeo.ask(JULIET, payload) == ("item-not-found", "cancel")
    expecting = expect(juliet)
    await asyncio.sleep(0)
    assert await romeo.ask(JULIET, payload) == ("item-not-found", "cancel")
    expecting.cancel()


@pytest.mark.parametrize("payload", [Data("sid", 0, "QUJD"), Close("sid"), Data("other", 0, "QUJD")])
async def test_a_stranger_cannot_reach_a_bytestream(romeo, juliet, mallory, payload):
    await connected(romeo, juliet)
    assert await mallory.ask(JULIET, payload) == ("item-not-found", "cancel")


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"seq": "1"}, "unexpected-request"),
        ({"seq": None}, "bad-request"),
        ({"seq": "-1"}, "bad-request"),
        ({"seq": "0_0"}, "bad-request"),
        ({"seq": "٠"}, "bad-request"),
        ({"seq": "9" * 30}, "bad-request"),
        ({"text": "QUJD!"}, "bad-request"),
        ({"text": "QUJD\n"}, "bad-request"),
        ({"text": "QUJDREVGR0hJ"}, "bad-request"),
    ],
)
async def test_a_wrong_block_is_answered_with_the_error_of_xep_0047(romeo, juliet, changes, condition):
    await connected(romeo, juliet)
    assert await romeo.ask(JULIET, Data("sid", 0, "QUJD"), **changes) == (condition, "cancel")


async def test_a_block_out_of_order_closes_the_bytestream_for_both_sides(romeo, juliet, eventually):
    sender, receiver = await connected(romeo, juliet)
    assert await romeo.ask(JULIET, Data("sid", 7, "QUJD")) == ("unexpected-request", "cancel")
    await eventually(lambda: juliet.sent)
    assert [type(payload) for payload in juliet.sent] == [Close]
    with pytest.raises(ConnectionResetError):
        await asyncio.to_thread(sender.sendall, memoryview(bytes(8)))
    receiver.close()


async def test_a_block_is_acknowledged_only_when_the_worker_has_taken_it(romeo, juliet):
    _, receiver = await connected(romeo, juliet)
    asking = asyncio.create_task(romeo.ask(JULIET, Data("sid", 0, "QUJD")))
    await asyncio.wait([asking], timeout=0.02)
    assert not asking.done()
    await asyncio.to_thread(receiver.recv_into, memoryview(bytearray(8)))
    assert await asking is None


async def test_blocks_that_nobody_takes_are_refused_when_the_channel_closes(romeo, juliet):
    _, receiver = await connected(romeo, juliet)
    asking = asyncio.create_task(romeo.ask(JULIET, Data("sid", 0, "QUJD")))
    await asyncio.sleep(0)
    receiver.close()
    assert await asking == ("item-not-found", "cancel")


async def test_a_bytestream_without_a_close_ends_with_the_channel(romeo, juliet, eventually):
    """Conversations never closes: who has all bytes closes, and the sid is free again."""
    sender, receiver = await connected(romeo, juliet)
    await asyncio.to_thread(sender.sendall, memoryview(b"8 bytes!"))
    await asyncio.to_thread(receiver.recv_into, memoryview(bytearray(8)))
    receiver.close()
    sender.close()
    await eventually(lambda: not romeo.service._bytestreams and not juliet.service._bytestreams)
    await connected(romeo, juliet)


@pytest.mark.parametrize("signal", ["on_stream_destroyed", "on_stopped", "on_failure"])
async def test_the_loss_of_the_server_ends_every_bytestream_and_every_wait(romeo, juliet, signal):
    _, receiver = await connected(romeo, juliet)
    waiting = expect(juliet, MALLORY)
    receiving = asyncio.create_task(asyncio.to_thread(received, receiver))
    await asyncio.sleep(0)
    getattr(juliet, signal)()
    getattr(juliet, signal)()
    for ended in (waiting, receiving):
        with pytest.raises(ConnectionResetError, match="connection to the server was lost"):
            await ended


async def test_a_peer_that_ends_its_session_and_then_opens_its_bytestream_is_refused(romeo, juliet, eventually):
    async def deliver(_action):
        """Whatever is said is acknowledged."""

    async def open_inband(transport, open_it):
        return await juliet.service.open(ROMEO, transport, open_it=open_it)

    reach = Candidates(JULIET, ROMEO, Reach(), activate_proxy=deliver, told=str)
    negotiation = Negotiation(Session("J-1", JULIET, ROMEO, inband=TRANSPORT), reach, deliver, open_inband)
    content = model.Content("initiator", "ft-1", "initiator", model.FileDescription("a.txt", 5), TRANSPORT)
    negotiation.receive(model.Initiate("J-1", content))
    negotiation.accept(content)
    await asyncio.sleep(0)
    assert juliet.service._bytestreams
    negotiation.receive(model.Terminate("J-1", model.Reason("cancel")))
    closing = asyncio.create_task(negotiation.close())
    await asyncio.sleep(0)
    assert await romeo.ask(JULIET, Open("sid", 8)) == ("not-acceptable", "cancel")
    assert await romeo.ask(JULIET, Data("sid", 0, "QUJD")) == ("item-not-found", "cancel")
    await closing
    await eventually(lambda: not juliet.service._bytestreams)


@pytest.fixture
async def two_online(account, online):
    """Two accounts online at a real server: service and full JID of each."""
    services = []
    sides = []
    for name in ("romeo", "juliet"):
        connection = await online(account(name), setup=lambda client: services.append(InbandService(client)))
        sides.append((services[-1], str(connection.jid)))
    return sides


@pytest.mark.parametrize("block_size", [1, 4096, 65535])
async def test_bytes_go_through_a_real_server_intact(two_online, block_size):
    (romeo, romeos_jid), (juliet, juliets_jid) = two_online
    transport = InbandTransport("sid", block_size)
    expecting = asyncio.create_task(juliet.open(romeos_jid, transport, open_it=False))
    await asyncio.sleep(0)
    sender = await romeo.open(juliets_jid, transport, open_it=True)
    receiver = await expecting
    data = os.urandom(50 * block_size if block_size < 65535 else 500_000)

    def send():
        sender.sendall(memoryview(data))
        sender.finish_sending()

    _, got = await asyncio.gather(asyncio.to_thread(send), asyncio.to_thread(received, receiver))
    assert got == data
    sender.close()
    receiver.close()


async def test_a_peer_that_is_gone_is_an_error_in_time(two_online):
    (romeo, _), (_, juliets_jid) = two_online
    nobody = f"{juliets_jid.partition('/')[0]}/gone"
    with pytest.raises(ConnectionRefusedError, match="service-unavailable"):
        await romeo.open(nobody, TRANSPORT, open_it=True)
