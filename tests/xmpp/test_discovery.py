import asyncio

import aioxmpp
import pytest

from jetcli import __version__
from jetcli.errors import UnavailableError
from jetcli.xmpp.connection import StanzaError
from jetcli.xmpp.discovery import Discovery, StreamHost

FEATURE = "urn:example:feature"


@pytest.fixture
def exploring(online):
    """Bring an account online with its discovery: `connection, discovery = await exploring(romeo)`."""

    async def go(account, *, features=(FEATURE,), also=lambda _client: None, **options):
        made = []

        def setup(client) -> None:
            made.append(Discovery(client, features))
            also(client)

        connection = await online(account, setup=setup, **options)
        return connection, made[0]

    return go


def requests_to(client, log):
    """Note each disco#info request that reaches `client`."""
    server = client.summon(aioxmpp.DiscoServer)
    answer = server.as_info_xso

    def noted(stanza=None):
        if stanza is not None:
            log.append(str(stanza.from_))
        return answer(stanza)

    server.as_info_xso = noted


def note_requests(client, log) -> None:
    """Note who asks `client` to be a contact."""
    client.summon(aioxmpp.RosterClient).on_subscribe.connect(lambda stanza: log.append(str(stanza.from_.bare())))


async def test_a_contact_that_is_online_is_seen_at_once(account, exploring):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    theirs, _ = await exploring(juliet, show_xa=True)
    _, discovery = await exploring(romeo)
    assert await discovery.wait_for_presence(juliet.jid, 10.0)
    (resource,) = discovery.resources(juliet.jid)
    assert (resource.jid, resource.priority, resource.show) == (theirs.jid, -1, "xa")
    assert discovery._version_key(theirs.jid)[1].startswith("urn:jetcli#")


async def test_a_contact_that_comes_online_is_waited_for(account, exploring):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    _, discovery = await exploring(romeo)
    waiting = asyncio.create_task(discovery.wait_for_presence(juliet.jid, 10.0))
    theirs, _ = await exploring(juliet)
    assert await waiting
    assert [resource.jid for resource in discovery.resources(juliet.jid)] == [theirs.jid]
    assert [resource.show for resource in discovery.resources(juliet.jid)] == [None]


async def test_who_stays_offline_is_waited_for_in_vain(account, exploring):
    juliet = account("juliet")
    _, discovery = await exploring(account("romeo", contacts=[juliet]))
    assert not await discovery.wait_for_presence(juliet.jid, 0.05)
    assert discovery.resources(juliet.jid) == []


async def test_who_leaves_is_seen_no_more(account, exploring, eventually):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    theirs, _ = await exploring(juliet)
    _, discovery = await exploring(romeo)
    assert await discovery.wait_for_presence(juliet.jid, 10.0)
    await theirs.close()
    await eventually(lambda: not discovery.resources(juliet.jid))


async def test_the_roster_tells_who_may_send_and_who_is_seen(account, exploring):
    juliet, tybalt = account("juliet"), account("tybalt")
    romeo = account("romeo", contacts=[juliet])
    _, discovery = await exploring(romeo)
    assert (discovery.is_contact(juliet.jid), discovery.shows_presence(juliet.jid)) == (True, True)
    assert (discovery.is_contact(tybalt.jid), discovery.shows_presence(tybalt.jid)) == (False, False)
    assert (discovery.is_contact(romeo.jid), discovery.shows_presence(romeo.jid)) == (False, True)


async def test_who_asks_to_be_a_contact_is_not_made_one(account, exploring, eventually):
    romeo, tybalt = account("romeo"), account("tybalt")
    asked = []
    (ours, discovery) = await exploring(romeo, also=lambda client: note_requests(client, asked))
    theirs, their_discovery = await exploring(tybalt)
    theirs.client.summon(aioxmpp.RosterClient).subscribe(aioxmpp.JID.fromstr(romeo.jid))
    await eventually(lambda: asked == [tybalt.jid])
    # Streams keep their order: an approval would arrive before the answer to this.
    await their_discovery.peer_info(ours.jid)
    assert not their_discovery.shows_presence(romeo.jid)
    assert not discovery.is_contact(tybalt.jid)


async def test_a_client_tells_what_it_is_and_can_do(account, exploring):
    (_, discovery), (theirs, _) = await exploring(account("romeo")), await exploring(account("juliet"))
    info = await discovery.peer_info(theirs.jid)
    assert (info.jid, info.client_name, info.category, info.type) == (theirs.jid, "jet", "client", "console")
    assert {FEATURE, "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/caps"} <= info.features
    assert await discovery.version(theirs.jid) == __version__


async def test_a_client_whose_version_is_known_is_not_asked_again(account, exploring):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    asked = []
    theirs, _ = await exploring(juliet, also=lambda client: requests_to(client, asked))
    ours, discovery = await exploring(romeo)
    assert await discovery.wait_for_presence(juliet.jid, 10.0)
    first = await discovery.peer_info(theirs.jid)
    assert await discovery.peer_info(theirs.jid) == first
    assert asked.count(ours.jid) == 1


async def test_a_client_that_shows_no_version_is_asked_each_time(account, exploring):
    asked = []
    theirs, _ = await exploring(account("juliet"), also=lambda client: requests_to(client, asked))
    ours, discovery = await exploring(account("romeo"))
    assert await discovery.peer_info(theirs.jid) == await discovery.peer_info(theirs.jid)
    assert asked.count(ours.jid) == 2


async def test_features_that_come_later_are_told_to_contacts(account, exploring, eventually):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    theirs, _ = await exploring(juliet)
    _, discovery = await exploring(romeo)
    assert await discovery.wait_for_presence(juliet.jid, 10.0)
    assert "urn:example:later" not in (await discovery.peer_info(theirs.jid)).features
    before = discovery._version_key(theirs.jid)
    theirs.client.summon(aioxmpp.DiscoServer).register_feature("urn:example:later")
    await eventually(lambda: discovery._version_key(theirs.jid) != before)
    assert "urn:example:later" in (await discovery.peer_info(theirs.jid)).features


async def test_a_resource_that_is_gone_is_unavailable(account, exploring):
    juliet = account("juliet")
    _, discovery = await exploring(account("romeo"))
    with pytest.raises(StanzaError) as failure:
        await discovery.peer_info(f"{juliet.jid}/ghost")
    assert failure.value.condition == "service-unavailable"
    assert isinstance(failure.value, UnavailableError)
    assert await discovery.version(f"{juliet.jid}/ghost") is None


async def test_a_ghost_resource_is_given_up_at_the_deadline(account, exploring, faulty):
    juliet = account("juliet")
    line = faulty(juliet.address)
    theirs, _ = await exploring(juliet, server=("127.0.0.1", line.port))
    _, discovery = await exploring(account("romeo"))
    line.stall()
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.1 s"):
        await discovery.peer_info(theirs.jid, 0.1)
    line.move()


async def test_the_servers_proxy_is_found(account, exploring):
    romeo = account("romeo")
    _, discovery = await exploring(romeo)
    proxy = await discovery.proxy()
    assert proxy == StreamHost("proxy.jet.test", "127.0.0.1", romeo.server.proxy_port)
    assert await discovery.proxy() is proxy


async def test_a_server_without_a_proxy_has_none(account, another_server, exploring):
    bare = another_server(settings='disco_hidden = true\nmodules_disabled = { "disco", "s2s" }')
    _, discovery = await exploring(account(on=bare))
    assert await discovery.proxy(2.0) is None
