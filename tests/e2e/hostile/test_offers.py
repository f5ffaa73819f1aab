"""Offers that a receiver must refuse: the line, the exit code, what the peer is told, and that nothing was written."""

import pytest

from jetcli.protocol import model


async def test_a_sound_offer_is_received(victim, peer):
    offer = await (await peer.prepare(victim.jid)).send()
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"


async def test_an_offer_without_encryption_is_refused(victim, peer):
    offer = await peer.prepare(victim.jid)
    offer.jingle.contents[0].security = None
    await offer.send()
    await victim.ended(8, f"{peer.jid} offered 'report.pdf' without encryption; refused")
    assert (await offer.end()).condition == "security-error"
