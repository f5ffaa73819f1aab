"""What is answered to the transport of an offer."""

from types import SimpleNamespace

import pytest

from jetcli.errors import NetworkError
from jetcli.protocol.model import InbandTransport
from jetcli.transfer.options import Network
from jetcli.transfer.ways import accepted_transport
from jetcli.xmpp.jingle import BLOCK_SIZE

NEGOTIATION = SimpleNamespace(session=SimpleNamespace(peer="juliet@capulet.lit/b"))


def online(path):
    return SimpleNamespace(network=Network(path=path))


@pytest.mark.parametrize(("theirs", "agreed"), [(4096, 4096), (BLOCK_SIZE + 1, BLOCK_SIZE)])
@pytest.mark.parametrize("path", ["auto", "ibb"])
async def test_an_in_band_offer_is_taken_with_the_smaller_block(path, theirs, agreed):
    taken = await accepted_transport(online(path), NEGOTIATION, InbandTransport("ibb-1", theirs))
    assert taken == InbandTransport("ibb-1", agreed)


@pytest.mark.parametrize("path", ["direct", "relay"])
async def test_an_in_band_offer_is_no_way_where_the_user_wants_another(path):
    with pytest.raises(NetworkError, match="in-band, which is not allowed here"):
        await accepted_transport(online(path), NEGOTIATION, InbandTransport("ibb-1", 4096))
