"""Fingerprints and the addresses that carry them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.protocol.fingerprint import NamedKey, fingerprint, omemo_uri, parse_fingerprint, parse_omemo_uri

KEY = bytes(range(32))
SHOWN = "00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f"


def test_a_fingerprint_is_eight_groups_of_eight_digits():
    assert fingerprint(KEY) == SHOWN


@pytest.mark.parametrize(
    "text", [SHOWN, SHOWN.upper(), SHOWN.replace(" ", ""), SHOWN.replace(" ", ":"), f"05{SHOWN}", f"  {SHOWN}\n"]
)
def test_a_fingerprint_is_read_however_it_is_grouped(text):
    assert parse_fingerprint(text) == KEY


@pytest.mark.parametrize("text", ["", "00", SHOWN[:-1], f"06{SHOWN}", SHOWN.replace("0", "g"), f"{SHOWN} 00"])
def test_what_is_no_fingerprint_is_refused(text):
    with pytest.raises(ValueError, match="64 hex digits"):
        parse_fingerprint(text)


def test_the_address_is_the_one_that_clients_scan():
    uri = omemo_uri("juliet@capulet.example", [(31337, KEY)])
    assert uri == f"xmpp:juliet@capulet.example?omemo-sid-31337={KEY.hex()}"


@given(st.lists(st.tuples(st.integers(1, 2**31 - 1), st.binary(min_size=32, max_size=32)), min_size=1, max_size=3))
def test_an_address_reads_back_what_it_was_made_of(keys):
    jid = "d'artagnan?&#%é@gascon.example"
    assert parse_omemo_uri(omemo_uri(jid, keys)) == [NamedKey(jid, *pair) for pair in keys]


def test_other_parts_of_an_address_are_passed_over():
    uri = f"xmpp:juliet@capulet.example?message;omemo-sid-7={KEY.hex()};body=hi"
    assert parse_omemo_uri(uri) == [NamedKey("juliet@capulet.example", 7, KEY)]


@pytest.mark.parametrize("uri", ["xmpp:a@b.org", "xmpp:a@b.org?omemo-sid-7=00", f"mailto:a@b?omemo-sid-7={KEY.hex()}"])
def test_an_address_without_keys_is_refused(uri):
    with pytest.raises(ValueError, match="not an xmpp: address"):
        parse_omemo_uri(uri)
