"""Sessions that continue a transfer: what was agreed on at its beginning holds in each of them."""

import pytest
from msgspec.structs import replace

from jetcli.protocol import model
from jetcli.protocol.cipher import CHUNK, ChunkedSealer, stream_key
from jetcli.protocol.transcript import Transcript
from jetcli.xmpp.jingle_writer import write

pytestmark = pytest.mark.matrix

LIMIT = 2 * CHUNK


def chunks(offer, count, *, offset=0) -> bytes:
    """Return sealed chunks of zeros, none of which is the last."""
    agreed = model.Range(offset) if offset else None
    transcript = Transcript.of(
        offer.content, sid=offer.sid, initiator=offer.peer.jid, responder=offer.to, agreed=agreed
    )
    sealer, wire = ChunkedSealer(stream_key(offer.secret, transcript.digest())), b""
    for _ in range(count):
        piece = bytearray(CHUNK + model.TAG_SIZE)
        sealer.seal_into(bytes(CHUNK), memoryview(piece), final=False)
        wire += piece
    return wire


async def test_a_stream_without_a_size_keeps_its_limit_after_a_break(receive, jet_peer):
    victim = await receive("--max-size", str(LIMIT), "--retry", "9")
    first = await (await jet_peer.prepare(victim.jid, model.Cipher.CHUNKED, None)).send()
    await first.serve(chunks(first, 1))
    assert (await first.end()).condition == "connectivity-error"
    rest = await jet_peer.prepare(victim.jid, model.Cipher.CHUNKED, None)
    rest.content = replace(rest.content, transfer=first.sid)
    rest.jingle = write(model.Initiate(rest.sid, rest.content, jet_peer.jid))
    await rest.send()
    await rest.serve(chunks(rest, 3, offset=CHUNK))
    await victim.ended(9, "'report.pdf' is larger than --max-size")
    assert (await rest.end()).condition == "decline"
