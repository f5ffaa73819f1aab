import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from jetcli.protocol.model import Content, FileDescription, Range, Security
from jetcli.protocol.transcript import Transcript

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "chunked-cipher.json").read_text(encoding="utf-8"))[
    "vectors"
]

TRANSCRIPT = Transcript(
    sid="s1",
    content_creator="initiator",
    content_name="ex",
    senders="initiator",
    initiator="romeo@montague.example/jet.q1w2e3",
    responder="juliet@capulet.example/jet.r4t5z6",
    security_type="eu.siacs.conversations.axolotl",
    name="report.pdf",
    size=5000,
    date="2026-11-22T03:00:00Z",
    media_type="application/pdf",
    desc="a report",
    transfer="s0",
    offset=7,
    length=9,
    bundle=3,
)

OFFER = Content(
    creator="initiator",
    name="ex",
    senders="initiator",
    description=FileDescription(
        name="report.pdf",
        size=5000,
        media_type="application/pdf",
        date="2026-11-22T03:00:00Z",
        desc="a report",
        range=Range(1, 2),
    ),
    security=Security(name="ex", cipher="c", type="eu.siacs.conversations.axolotl", envelope=None),
    transfer="s0",
    bundle=3,
)


def of(content, agreed=None):
    return Transcript.of(
        content,
        sid="s1",
        initiator="romeo@montague.example/jet.q1w2e3",
        responder="juliet@capulet.example/jet.r4t5z6",
        agreed=agreed,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_digest_is_that_of_the_vectors(vector):
    transcript = Transcript(**vector["transcript"])
    if "transcript_encoded" in vector:
        assert transcript.encoded().hex() == vector["transcript_encoded"]
    assert transcript.digest().hex() == vector["transcript_sha256"]


@pytest.mark.parametrize("field", Transcript.__struct_fields__)
def test_every_field_changes_the_digest(field):
    value = getattr(TRANSCRIPT, field)
    other = value + 1 if isinstance(value, int) else value + "x"
    assert replace(TRANSCRIPT, **{field: other}).digest() != TRANSCRIPT.digest()


def test_absent_and_empty_are_not_the_same():
    assert replace(TRANSCRIPT, desc=None).digest() != replace(TRANSCRIPT, desc="").digest()


def test_a_text_cannot_move_from_one_field_into_the_next():
    one, other = replace(TRANSCRIPT, media_type="ab", desc="c"), replace(TRANSCRIPT, media_type="a", desc="bc")
    assert one.digest() != other.digest()


def test_texts_are_not_normalised():
    assert replace(TRANSCRIPT, name="e\u0301").digest() != replace(TRANSCRIPT, name="\u00e9").digest()


def test_an_offer_gives_the_fields_as_they_were_parsed_with_the_agreed_range():
    assert of(OFFER, Range(7, 9)) == TRANSCRIPT


def test_without_an_agreed_range_the_stream_is_the_whole_file():
    assert of(OFFER) == replace(TRANSCRIPT, offset=0, length=None)


def test_an_offer_without_security_has_no_transcript():
    with pytest.raises(ValueError, match="security"):
        of(replace(OFFER, security=None))
