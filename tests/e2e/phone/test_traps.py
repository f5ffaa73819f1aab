"""What made transfers with other clients fail, each trap with a test of its own.

T1  A proxy keeps the last bytes until their sender closes: `test_a_tail_that_the_proxy_holds_back...`, beside.
T2  Both sides offer one proxy, and one of them takes the candidates for one: below.
T3  A client seals for no device that it never heard from: tests/interop/test_dino_sends.py, all first contacts.
T4  Keys stay prekey for ever, and empty messages are not answered: below.
T5  A checksum in the spelling that the receiver does not expect costs five seconds: below.
T6  Caps hashes that fit nothing, elements that are left out: below; tests/interop/laboratory.py fails on any noise.
T7  Stanzas come in any order: below.
T8  Who ends a stream too early breaks it, and who is killed leaves the other waiting: below.
"""

import asyncio
import base64
import os
import signal

import pytest
from aioxmpp.entitycaps import caps115
from lxml import etree

from jetcli.xmpp.omemo_pep import OmemoPep
from jetcli.xmpp.socks5 import StreamHost, query_streamhost

pytestmark = pytest.mark.matrix

SIZE = 200_000


def bare(juliet) -> str:
    return juliet.jid.partition("/")[0]


async def ended(process):
    return await asyncio.to_thread(process.finished)


async def proxy_of(juliet) -> StreamHost:
    return await query_streamhost(juliet._client, f"proxy.{bare(juliet).partition('@')[2]}")


# T2: one proxy, offered by both.


async def test_the_address_of_the_proxy_that_the_peer_offered_is_not_offered_again(home, receiver, phone):
    romeo = home("romeo")
    juliet = await phone(romeo)
    receiving = receiver(romeo, "--path", "relay", ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    content, proxy = os.urandom(SIZE), await proxy_of(juliet)
    assert await juliet.send(jid, "photo.jpg", content, way="proxy", proxy=proxy) == "proxy"
    assert (await ended(receiving)).code == 0, receiving
    [accepted] = [jingle for jingle in juliet.heard if jingle.action == "session-accept"]
    offered = {(each.host, each.port) for each in accepted.contents[0].transport.candidates}
    assert offered == set(), "no address of ours either"
    assert romeo.saved["photo.jpg"] == content


# T4: keys that stay prekey.


@pytest.fixture
def mute(monkeypatch):
    """Let a client neither send the empty messages that confirm a session nor read any."""

    def silence(juliet) -> None:
        pep = juliet._client.summon(OmemoPep)

        async def sends_nothing(*_args, **_kwargs) -> None:
            return

        monkeypatch.setattr(pep, "send", sends_nothing)
        monkeypatch.setattr(pep, "_put", lambda _received: None)

    return silence


def is_prekey(offer) -> bool:
    return all(key.prekey for key in offer.contents[0].security.encrypted.envelope().keys)


def exchange(offer) -> bytes:
    """The head of the first key: version, prekey id and base key, which are those of its session."""
    return offer.contents[0].security.encrypted.envelope().keys[0].data[:40]


async def test_a_client_that_never_confirms_a_session_can_be_sent_to_again(home, jet, phone, mute):
    romeo = home("romeo")
    juliet = await phone(romeo)
    mute(juliet)
    for number in range(2):
        file = romeo.file(f"{number}.jpg", 1000)
        sending = jet(romeo, "send", file, bare(juliet))
        assert (await juliet.receive()).content == file.read_bytes()
        assert (await ended(sending)).code == 0, sending
    offers = [jingle for jingle in juliet.heard if jingle.action == "session-initiate"]
    assert [is_prekey(offer) for offer in offers] == [True, True]
    assert exchange(offers[0]) == exchange(offers[1])


@pytest.mark.parametrize(("refusals", "code"), [(1, 0), (2, 0), (3, 8)])
async def test_a_session_that_nobody_knows_is_begun_anew_before_giving_up(home, jet, phone, mute, refusals, code):
    """As with a prekey that was used before: whatever is sealed by that session is never opened."""
    romeo = home("romeo")
    juliet = await phone(romeo)
    mute(juliet)
    file = romeo.file("photo.jpg", 1000)
    sending = jet(romeo, "send", file, bare(juliet))
    for _ in range(refusals):
        sender, offer = await juliet._hears("session-initiate")
        await juliet._ends(sender, offer.sid, "security-error")
    if code == 0:
        assert (await juliet.receive()).content == file.read_bytes()
    assert (await ended(sending)).code == code, sending
    offers = [jingle for jingle in juliet.heard if jingle.action == "session-initiate"]
    assert all(map(is_prekey, offers))
    assert len({exchange(offer) for offer in offers}) == len(offers) == min(refusals + 1, 3)


async def test_a_client_whose_keys_stay_prekey_can_send_again(home, receiver, phone, mute):
    romeo = home("romeo")
    juliet = await phone(romeo)
    mute(juliet)
    for number in range(2):
        receiving = receiver(romeo, ready=False)
        jid = await asyncio.to_thread(receiving.ready)
        content = os.urandom(1000)
        await juliet.send(jid, f"{number}.jpg", content)
        assert (await ended(receiving)).code == 0, receiving
        assert romeo.saved[f"{number}.jpg"] == content


# T5: the spelling of a checksum, and what else one client insists on.


@pytest.mark.parametrize("called", ["Libervia", "Conversations"])
async def test_each_client_is_sent_the_checksum_that_it_can_compare(home, jet, phone, called):
    romeo = home("romeo")
    juliet = await phone(romeo, called=called)
    file = romeo.file("photo.jpg", SIZE)
    sending = jet(romeo, "send", file, bare(juliet))
    saved = await juliet.receive()
    assert (await ended(sending)).code == 0, sending
    assert saved.content == file.read_bytes()
    [offer] = [jingle.contents[0] for jingle in juliet.heard if jingle.action == "session-initiate"]
    [announced] = [jingle.checksum.file.hashes[0].text for jingle in juliet.heard if jingle.checksum is not None]
    assert offer.description.file.desc is not None
    assert offer.description.file.hash_used is not None
    assert not offer.description.file.hashes
    digest = base64.b64decode(announced)
    if called == "Libervia":
        assert offer.security.encrypted.payload == " "
        assert len(bytes.fromhex(digest.decode())) == 32
    else:
        assert offer.security.encrypted.payload is None
        assert len(digest) == 32


# T6: hashes of capabilities that fit nothing.


async def test_a_client_whose_capabilities_do_not_fit_their_hash_is_asked_and_believed(home, jet, phone, monkeypatch):
    monkeypatch.setattr(caps115, "hash_query", lambda _answer, _algorithm: "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    romeo = home("romeo")
    juliet = await phone(romeo)
    for _ in range(2):
        sending = jet(romeo, "-vv", "send", romeo.file("photo.jpg", 1000), bare(juliet))
        assert (await juliet.receive()).tag_right
        assert (await ended(sending)).code == 0, sending
        assert "Traceback" not in sending.stderr
        assert "never retrieved" not in sending.stderr


# T7: the order of stanzas.


async def test_a_client_that_says_it_reached_nothing_before_it_accepts_is_reached_all_the_same(home, jet, phone):
    romeo = home("romeo")
    juliet = await phone(romeo)
    juliet.hasty = True
    file = romeo.file("photo.jpg", SIZE)
    sending = jet(romeo, "send", file, bare(juliet))
    saved = await juliet.receive()
    assert (await ended(sending)).code == 0, sending
    assert (saved.way, saved.content) == ("direct", file.read_bytes())


async def test_a_client_that_forgot_the_session_before_the_checksum_came_has_the_file(home, jet, phone):
    romeo = home("romeo")
    juliet = await phone(romeo)
    juliet.refuses.add("session-info")
    file = romeo.file("photo.jpg", SIZE)
    sending = jet(romeo, "send", file, bare(juliet))
    saved = await juliet.receive()
    assert (await ended(sending)).code == 0, sending
    assert saved.content == file.read_bytes()


async def test_the_confirmation_of_a_file_comes_before_the_end_of_the_session(home, receiver, phone):
    romeo = home("romeo")
    juliet = await phone(romeo)
    receiving = receiver(romeo, ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    await juliet.send(jid, "photo.jpg", os.urandom(SIZE))
    assert (await ended(receiving)).code == 0, receiving
    told = [jingle.action if jingle.received is None else "received" for jingle in juliet.heard]
    assert told.index("received") < told.index("session-terminate")


# T8: the end of a stream.


async def test_bytes_that_are_written_against_the_stream_do_not_break_it(home, jet, phone):
    romeo = home("romeo")
    juliet = await phone(romeo, called="Dino")
    juliet.writes_back = 16
    file = romeo.file("photo.jpg", SIZE)
    sending = jet(romeo, "send", file, bare(juliet))
    saved = await juliet.receive()
    assert (await ended(sending)).code == 0, sending
    assert saved.content == file.read_bytes()
    assert juliet.end == "closed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_whoever_is_stopped_ends_the_session_first(home, jet, phone, number):
    romeo = home("romeo")
    juliet = await phone(romeo)
    sending = jet(romeo, "send", romeo.file("film.mkv", 60_000_000), bare(juliet))
    sender, offer = await juliet._hears("session-initiate")
    channel, _ = await juliet._accepts(sender, offer.sid, offer.contents[0])
    await asyncio.to_thread(sending.wait_for, "path direct")
    sending.signal(number)
    _, end = await juliet._hears("session-terminate")
    assert [etree.QName(said).localname for said in end.reason.rest] == ["cancel"]
    await ended(sending)
    channel.close()
    assert sending.code == 128 + number, sending
