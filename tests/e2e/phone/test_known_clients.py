"""Clients that jet knows by name: what it tells about them, and what it says where one refuses or waits."""

import asyncio

import pytest
from aioxmpp.entitycaps import EntityCapsService
from scripted import FEATURES

from jetcli.protocol.model import NS_JET_OMEMO

pytestmark = pytest.mark.matrix

REASON = "its encrypted transfers do not follow XEP-0396"


def bare(juliet) -> str:
    return juliet.jid.partition("/")[0]


async def ended(process):
    return await asyncio.to_thread(process.finished)


# What jet caps tells.


@pytest.mark.parametrize(
    ("called", "version", "paths", "note"),
    [
        ("Dino", None, ["direct", "relay"], "no in-band; accepts up to 5 MB without a click"),
        ("Libervia", "0.9.0", ["direct", "relay", "ibb"], "receives only where its user has switched encryption on"),
        ("Conversations", "2.13.4", ["direct", "relay", "ibb"], ""),
    ],
)
async def test_caps_tells_what_each_client_can_and_what_matters(home, jet, phone, called, version, paths, note):
    romeo = home("romeo")
    juliet = await phone(romeo, called=called, release=version)
    asking = jet(romeo, "caps", bare(juliet), "--json")
    assert (await ended(asking)).code == 0, asking
    [row] = [event for event in asking.events if event["type"] == "device"]
    assert row["client"] == f"{called} {version or ''}".strip()
    assert (row["receives"], row["sends"], row["jet_omemo"], row["resumes"]) == (True, True, True, False)
    assert row["paths"] == paths
    assert row["note"].startswith(note)


async def test_caps_says_why_nothing_goes_to_a_client_whose_encryption_is_another(home, jet, phone):
    romeo = home("romeo")
    juliet = await phone(romeo, called="aTalk", release="4.2.1")
    asking = jet(romeo, "caps", bare(juliet))
    assert (await ended(asking)).code == 7, asking
    assert "aTalk 4.2.1\tno\tno" in asking.stdout
    assert REASON in asking.stderr


# Refusals.


@pytest.mark.parametrize("lacks", [set(), {NS_JET_OMEMO}], ids=["all features", "no jet-omemo"])
async def test_nothing_is_sent_to_a_client_whose_encryption_is_another(home, jet, phone, lacks):
    romeo = home("romeo")
    juliet = await phone(romeo, called="aTalk", features=set(FEATURES) - lacks)
    sending = jet(romeo, "send", romeo.file("a.txt", 10), bare(juliet))
    assert (await ended(sending)).code == 7, sending
    assert sending.error == f"{juliet.jid} cannot receive encrypted transfers ({REASON})"
    assert sending.hint == f"jet caps {bare(juliet)}"
    assert not juliet.heard


async def test_an_offer_of_a_client_whose_encryption_is_another_is_refused_with_the_reason(
    script, home, receiver, phone, monkeypatch
):
    monkeypatch.setattr(EntityCapsService, "NODE", "https://android.atalk.org")
    romeo = home("romeo")
    juliet = await phone(romeo, called="aTalk")
    receiving = receiver(romeo, ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    with pytest.raises(script.GaveUpError, match="security-error"):
        await juliet.send(jid, "photo.jpg", b"photo")
    assert (await ended(receiving)).code == 8, receiving
    assert receiving.error == f"{bare(juliet)} offered a file with aTalk: {REASON}; refused"
    assert romeo.saved == {}


async def test_in_band_is_refused_where_it_would_lose_the_file(home, jet, phone):
    romeo = home("romeo")
    juliet = await phone(romeo, called="Dino")
    sending = jet(romeo, "send", "--path", "ibb", romeo.file("a.txt", 10), bare(juliet))
    assert (await ended(sending)).code == 7, sending
    assert "takes no in-band transfers" in sending.error
    assert not juliet.heard


# Waiting.


async def test_a_client_that_asks_its_user_is_told_of_and_not_waited_for_longer_than_said(home, jet, phone):
    romeo = home("romeo")
    juliet = await phone(romeo, called="Dino")
    sending = jet(romeo, "send", "--timeout", "3s", romeo.file("film.mkv", 5_000_000), bare(juliet))
    assert (await ended(sending)).code == 6, sending
    assert "Dino asks its user about a file of this size; somebody has to click" in sending.stderr
    assert sending.error.endswith("no answer to the offer within 3 s")
    await juliet._hears("session-terminate")
