import asyncio
import random
import re
import time
from types import SimpleNamespace

import aioxmpp
import dns.resolver
import pytest

from jetcli.errors import NetworkError, UnavailableError, UsageError
from jetcli.xmpp import connection as connection_module
from jetcli.xmpp import server as server_module
from jetcli.xmpp.ask import ask
from jetcli.xmpp.connection import AccountSettings, Connection, Presence, StanzaError, new_resource


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


class Mailbox:
    """The bodies of the messages that a client received."""

    def __init__(self) -> None:
        self.bodies = []

    def setup(self, client) -> None:
        dispatcher = client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(None, None, self._received)

    def _received(self, message) -> None:
        if message.body:
            self.bodies.append(message.body.any())
        elif message.xep0280_sent:
            self.bodies.append(f"copy of {message.xep0280_sent.stanza.body.any()}")


def message(to, text):
    stanza = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=aioxmpp.JID.fromstr(to))
    stanza.body[None] = text
    return stanza


def presences(client):
    """Collect what others show the client; its own presence comes back too and is left out."""
    seen = []

    def show(jid, stanza) -> None:
        if jid.bare() != client.local_jid.bare():
            seen.append(stanza)

    client.summon(aioxmpp.PresenceClient).on_available.connect(show)
    client.summon(aioxmpp.PresenceClient).on_unavailable.connect(show)
    return seen


def disco(client, to="jet.test"):
    return ask(client, aioxmpp.disco.xso.InfoQuery(), to, 10.0)


def test_a_new_resource_is_jet_and_six_characters():
    assert re.fullmatch(r"jet\.[a-z0-9]{6}", new_resource(random.Random(1)))
    assert new_resource(random.Random(1)) != new_resource(random.Random(2))


def test_settings_do_not_show_the_password():
    assert "secret" not in repr(AccountSettings("a@b.example", "secret"))


@pytest.mark.parametrize("text", ["a@b@c", "b.example", "@b", "not a jid", ""])
def test_an_address_that_is_none_is_a_usage_error(text):
    with pytest.raises(UsageError, match=f"^'{text}' is not a valid address$"):
        _ = AccountSettings(text, "").address


@pytest.mark.parametrize(("show_xa", "show"), [(True, "xa"), (False, None)])
async def test_contacts_see_us_below_every_chat_client(account, online, eventually, show_xa, show):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    seen = []
    await online(juliet, setup=lambda client: seen.append(presences(client)))
    ours = await online(romeo, show_xa=show_xa)
    await eventually(lambda: [str(stanza.from_) for stanza in seen[0]] == [ours.jid])
    assert (seen[0][0].priority, seen[0][0].show.value) == (-1, show)


async def test_others_are_told_at_once_when_we_leave(account, online, eventually):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    seen = []
    await online(juliet, setup=lambda client: seen.append(presences(client)))
    ours = await online(romeo)
    await eventually(lambda: seen[0])
    await ours.close()
    await eventually(lambda: seen[0][-1].type_ is aioxmpp.PresenceType.UNAVAILABLE)
    assert not ours.client.running


async def test_a_second_close_does_nothing(account, online):
    ours = await online(account())
    await ours.close()
    await ours.close()
    assert ours.failure is None


async def test_copies_of_messages_to_other_clients_of_the_account_arrive(account, online, eventually):
    romeo, juliet = account("romeo"), account("juliet")
    box = Mailbox()
    await online(romeo, setup=box.setup)
    chat = await online(romeo)
    await online(juliet)
    await eventually(lambda: "urn:xmpp:carbons:2" in romeo.server.stanza_log.read_text())
    await disco(chat.client)
    await chat.client.send(message(juliet.jid, "good night"))
    await eventually(lambda: box.bodies == ["copy of good night"])


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


async def test_a_refused_port_is_a_network_error(account, online, settings_of):
    settings = settings_of(account(), server=("127.0.0.1", 1))
    with pytest.raises(NetworkError, match=r"^cannot reach jet\.test: connection refused$") as failure:
        await online(settings)
    assert failure.value.hint == "tried 127.0.0.1:1, and nothing else"


async def test_an_unknown_host_is_a_network_error(account, online, settings_of):
    settings = settings_of(account(), server=("no-such-host.invalid", 5222))
    with pytest.raises(NetworkError, match=r"^cannot reach jet\.test: name not found$"):
        await online(settings)


async def test_a_server_that_does_not_know_the_domain_is_a_network_error(account, online, settings_of):
    settings = settings_of(account(), jid="romeo@elsewhere.test")
    with pytest.raises(NetworkError, match=r"^elsewhere\.test ended the connection: host-unknown$"):
        await online(settings)


async def test_a_server_that_says_nothing_is_given_up_at_the_deadline(
    account, online, scripted, settings_of, monkeypatch
):
    monkeypatch.setattr(server_module, "CONNECT_S", 0.2)
    silent = await scripted("")
    silent.script.clear()
    with pytest.raises(NetworkError, match=r"^cannot reach jet\.test: no answer within"):
        await online(settings_of(account(), server=("127.0.0.1", silent.port)))


async def test_a_login_that_does_not_end_is_given_up_at_the_deadline(
    account, online, scripted, settings_of, monkeypatch, authority
):
    monkeypatch.setattr(connection_module, "CONNECT_S", 0.3)
    monkeypatch.setattr(connection_module, "LOGIN_S", 0.2)
    offered = "<mechanism>SCRAM-SHA-256</mechanism>"
    features = f"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{offered}</mechanisms>"
    slow = await scripted(features, leaf=authority.issue("jet.test"))
    settings = settings_of(account(), server=("127.0.0.1", slow.port), direct_tls=True)
    with pytest.raises(NetworkError, match=r"^jet\.test did not finish the login in time$"):
        await online(settings)


class Dns:
    """A name service that knows `records` by service, and the questions it was asked."""

    def __init__(self, monkeypatch, **records) -> None:
        self.records = {name.replace("_", "-"): answer for name, answer in records.items()}
        self.asked = []
        monkeypatch.setattr(server_module.dns.asyncresolver, "resolve", self._resolve)

    async def _resolve(self, name, *_args, **_kwargs):
        self.asked.append(name)
        service = name.split(".")[0].removeprefix("_")
        if service not in self.records:
            raise dns.resolver.NXDOMAIN
        return [
            SimpleNamespace(priority=priority, weight=1, target=target, port=port)
            for priority, target, port in self.records[service]
        ]


async def test_a_named_server_is_the_only_one_that_is_tried(account, online, faulty, settings_of, monkeypatch):
    names = Dns(monkeypatch)
    romeo = account("romeo")
    line = faulty(romeo.address, reset=True)
    ours = await online(romeo, server=("127.0.0.1", line.port))
    line.cut()
    assert (await disco(ours.client)).features
    with pytest.raises(NetworkError):
        await online(settings_of(romeo, server=("127.0.0.1", 1)))
    assert names.asked == []


async def test_the_server_is_found_by_its_srv_records_in_order(account, online, settings_of, monkeypatch):
    romeo = account("romeo")
    server = romeo.server
    names = Dns(
        monkeypatch,
        xmpp_client=[(1, "127.0.0.1.", 1), (3, "127.0.0.1.", server.port)],
        xmpps_client=[(2, "127.0.0.1.", server.direct_tls_port)],
    )
    ours = await online(settings_of(romeo, server=None))
    assert sorted(names.asked) == ["_xmpp-client._tcp.jet.test.", "_xmpps-client._tcp.jet.test."]
    peer = ours.client.stream._xmlstream.transport.get_extra_info("socket").getpeername()
    assert peer == ("127.0.0.1", server.direct_tls_port)


async def test_a_domain_without_records_is_itself_the_server(account, online, settings_of, monkeypatch):
    Dns(monkeypatch)
    romeo = account("romeo")
    monkeypatch.setattr(server_module, "PORT", romeo.server.port)
    resolve = asyncio.get_running_loop().getaddrinfo
    asked = []

    async def getaddrinfo(host, port, **kwargs):
        asked.append((host, port))
        return await resolve("127.0.0.1", port, **kwargs)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    await online(settings_of(romeo, server=None))
    assert asked == [("jet.test", romeo.server.port)]


async def test_a_domain_that_denies_xmpp_is_a_network_error(account, online, settings_of, monkeypatch):
    Dns(monkeypatch, xmpp_client=[(0, ".", 0)], xmpps_client=[(0, ".", 0)])
    with pytest.raises(NetworkError, match=r"^cannot reach jet\.test: its DNS says that there is no XMPP$"):
        await online(settings_of(account(), server=None))


async def test_an_error_answer_carries_its_condition(account, online):
    ours = await online(account())
    with pytest.raises(StanzaError) as failure:
        await disco(ours.client, "nobody@jet.test/nowhere")
    assert (failure.value.condition, failure.value.application) == ("service-unavailable", None)
    assert str(failure.value).startswith("nobody@jet.test/nowhere answered service-unavailable")


async def test_no_answer_in_time_is_unavailable(account, online):
    romeo, juliet = account("romeo"), account("juliet")

    def never_answer(client) -> None:
        async def wait(_iq):
            await asyncio.Event().wait()

        client.stream.register_iq_request_handler(aioxmpp.IQType.GET, aioxmpp.version.xso.Query, wait)

    ours, theirs = await online(romeo), await online(juliet, setup=never_answer)
    with pytest.raises(UnavailableError, match=rf"^{theirs.jid} did not answer within 0\.2 s$"):
        await ask(ours.client, aioxmpp.version.xso.Query(), theirs.jid, 0.2)


async def test_leaving_the_block_leaves_the_server(account, noise, settings_of):
    opened = await Connection.open(settings_of(account()), resource="x", presence=Presence())
    async with opened as ours:
        assert ours.jid.endswith("/x")
        assert ours.mechanism == "SCRAM-SHA-256"
    assert not ours.client.running
