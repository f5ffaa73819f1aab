import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.protocol.jid import PART_LIMIT, Jid, parse_jid


@pytest.mark.parametrize(
    ("text", "jid"),
    [
        ("romeo@montague.example", Jid("romeo", "montague.example")),
        ("Romeo@Montague.Example./Balcony", Jid("romeo", "montague.example", "Balcony")),
        ("romeo@montague.example/with @ and / inside", Jid("romeo", "montague.example", "with @ and / inside")),
        ("montague.example", Jid(None, "montague.example")),
        ("me@localhost", Jid("me", "localhost")),
        ("me@[2001:DB8::1]", Jid("me", "[2001:db8::1]")),
        ("björn@räksmörgås.example", Jid("björn", "räksmörgås.example")),
    ],
)
def test_an_address_is_taken_apart(text, jid):
    assert parse_jid(text) == jid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@x",
        "x@",
        "a@b@c",
        "not a jid",
        "a b@c.example",
        "a:b@c.example",
        "a@b_c.example",
        "a@-b.example",
        "a@b..example",
        "a@b.example/",
        "a@b.example/\x1b[2J",
        "a\u202eb@c.example",
        "a@b.example/\udcff",
        "a" * (PART_LIMIT + 1) + "@b.example",
        "a@b.example/" + "é" * 512,
        "a@" + "b" * 64 + ".example",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"part|domain|resource"):
        parse_jid(text)


def test_a_part_may_be_exactly_as_long_as_the_limit():
    assert parse_jid("a" * PART_LIMIT + "@b.example").local == "a" * PART_LIMIT


def test_the_bare_address_has_no_resource():
    assert str(parse_jid("romeo@montague.example/balcony").bare) == "romeo@montague.example"


@given(st.text(max_size=60))
def test_whatever_parses_is_written_so_that_it_parses_to_the_same(text):
    try:
        jid = parse_jid(text)
    except ValueError:
        return
    assert parse_jid(str(jid)) == jid
