"""Logging in, being seen, asking and leaving, over a real server."""

import asyncio
import random
import re
from types import SimpleNamespace

import aioxmpp
import dns.resolver
import pytest
from connections import Mailbox, disco, message, presences

from jetcli.errors import NetworkError, UnavailableError, UsageError
from jetcli.xmpp import connection as connection_module
from jetcli.xmpp import server as server_module
from jetcli.xmpp.ask import ask
from jetcli.xmpp.connection import AccountSettings, Connection, Presence, StanzaError, new_resource


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(connection_module, "RECONNECT_S", 0.05)
    monkeypatch.setattr(server_module, "PAUSE_S", 0.05)


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


async def test_a_domain_that_denies_only_direct_tls_is_itself_the_server(account, online, settings_of, monkeypatch):
    romeo = account("romeo")
    Dns(monkeypatch, xmpps_client=[(0, ".", 0)])
    monkeypatch.setattr(server_module, "PORT", romeo.server.port)
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo
    monkeypatch.setattr(loop, "getaddrinfo", lambda _host, port, **kwargs: resolve("127.0.0.1", port, **kwargs))
    ours = await online(settings_of(romeo, server=None))
    assert ours.client.stream._xmlstream.transport.get_extra_info("socket").getpeername()[1] == romeo.server.port


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
