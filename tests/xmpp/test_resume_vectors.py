"""Missing, doubled or forged `<transfer/>`, `<prove/>`, `<prefix/>` and ranges, from tests/vectors/resuming.json."""

import io
import json
from pathlib import Path

import aioxmpp.xml
import pytest

from jetcli.errors import RemoteProtocolError
from jetcli.protocol import model
from jetcli.xmpp import payloads
from jetcli.xmpp.jingle_reader import read

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "resuming.json").read_text(encoding="utf-8"))


def action(xml: str) -> model.Action:
    return read(aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), payloads.Jingle))


def refused(xml: str, error: str) -> None:
    """The stanza is refused: by aioxmpp, which answers `bad-request`, or by our own reading."""
    with pytest.raises(ValueError if error == "unparsable" else RemoteProtocolError) as raised:
        action(xml)
    if error != "unparsable":
        assert raised.value.condition == error


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_a_request_is_read_as_the_vector_says(vector):
    assert vector["replace"] in VECTORS["request"]
    xml = VECTORS["request"].replace(vector["replace"], vector["by"], 1)
    if "error" in vector:
        refused(xml, vector["error"])
        return
    content = action(xml).content
    if "refused" in vector:
        assert content.description.bad_number is not None, "judging the offer refuses it"
        return
    offset = content.description.range and content.description.range.offset
    assert (content.transfer, offset, content.prove) == (
        vector["transfer"],
        vector["offset"],
        vector.get("prove", False),
    )


@pytest.mark.parametrize("vector", VECTORS["prefixes"], ids=lambda vector: vector["name"])
def test_a_proof_is_read_as_the_vector_says(vector):
    xml = f"<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='s'>{vector['info']}</jingle>"
    if "error" in vector:
        refused(xml, vector["error"])
        return
    assert action(xml).note == model.Prefix(vector["length"], bytes.fromhex(vector["proof"]))
