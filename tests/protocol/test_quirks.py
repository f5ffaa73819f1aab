"""What clients can do, and how each is talked to."""

import ast
from pathlib import Path

import pytest

import jetcli
from jetcli.protocol.model import (
    NS_CHUNKED,
    NS_FILE_TRANSFER,
    NS_INBAND_TRANSPORT,
    NS_JET,
    NS_JET_OMEMO,
    NS_JINGLE,
    NS_OMEMO,
    NS_RESUME,
    NS_SOCKS5_TRANSPORT,
)
from jetcli.protocol.quirks import DEVIATIONS, KNOWN, NEEDED, RECEIVING, SENDING, Quirks, abilities, quirks_of

COMPLETE = frozenset({NS_JINGLE, NS_FILE_TRANSFER, NS_JET, NS_JET_OMEMO, NS_SOCKS5_TRANSPORT, NS_INBAND_TRANSPORT})


@pytest.mark.parametrize("name", ["Dino", "dino", "Dino im", "DINO 0.5"])
def test_a_client_is_recognised_by_the_start_of_its_name(name):
    assert quirks_of(name).client == "Dino"


@pytest.mark.parametrize("name", [None, "", "Gajim", "My Dino"])
def test_whoever_is_not_recognised_is_treated_as_the_specifications_say(name):
    assert quirks_of(name) == Quirks(client=name or "")


def test_libervia_is_given_what_it_insists_on():
    libervia = quirks_of("Libervia")
    assert (libervia.blank_payload, libervia.hex_checksum, libervia.seq_modulo) == (True, True, 65535)


def test_a_complete_client_receives():
    able = abilities(COMPLETE, "Conversations")
    assert able.receives
    assert (able.socks5, able.inband, able.chunked, able.resumes) == (True, True, False, False)


@pytest.mark.parametrize("feature", NEEDED)
def test_a_feature_that_is_missing_is_named(feature):
    able = abilities(COMPLETE - {feature}, "Conversations")
    assert not able.receives
    assert able.why_not == f"missing {NEEDED[feature]}"


def test_all_that_is_missing_is_named_in_order():
    assert abilities({NS_JINGLE}, "Gajim").why_not == ("missing jingle:file-transfer, jingle:jet, jingle:jet-omemo")


def test_without_a_transport_nothing_is_received():
    able = abilities(COMPLETE - {NS_SOCKS5_TRANSPORT, NS_INBAND_TRANSPORT}, "X")
    assert able.why_not == "no transport that jet speaks"


def test_dino_is_not_sent_to_in_band():
    assert not abilities(COMPLETE, "Dino").inband
    assert not abilities(COMPLETE - {NS_SOCKS5_TRANSPORT}, "Dino").receives


@pytest.mark.parametrize("features", [COMPLETE, COMPLETE - {NS_JET_OMEMO}], ids=["all features", "no jet-omemo"])
def test_a_client_whose_encryption_is_another_says_why(features):
    assert abilities(features, "aTalk").why_not == "its encrypted transfers do not follow XEP-0396"


def test_a_receiving_jet_can_be_sent_to_and_a_sending_one_cannot():
    assert abilities(set(RECEIVING), "jet").receives
    assert abilities(set(RECEIVING), "jet").chunked
    assert not abilities(set(SENDING), "jet").receives
    assert NS_CHUNKED not in SENDING


def test_resumption_is_seen_where_it_is_advertised():
    assert abilities({*COMPLETE, NS_RESUME}, "jet").resumes


@pytest.mark.parametrize(
    ("node", "client"),
    [
        ("https://dino.im", "Dino"),
        ("https://salut-a-toi.org", "Libervia"),
        ("http://conversations.im", "Conversations"),
        ("https://android.atalk.org", "aTalk"),
    ],
)
def test_a_client_is_known_by_its_presence_alone(node, client):
    assert quirks_of(None, node).client == client


def test_the_presence_of_others_makes_nobody_a_known_client():
    assert quirks_of("Gajim", "https://gajim.org") == Quirks(client="Gajim")
    assert quirks_of(None, None) == Quirks()


def test_every_deviation_is_of_a_client_that_is_recognised():
    assert {each.client for each in DEVIATIONS} == {"Dino", "Libervia", "Conversations", "aTalk"}
    assert all(quirks_of(each.client).client == each.client for each in DEVIATIONS)


@pytest.fixture(scope="module")
def words() -> dict[str, list[str]]:
    """Every name and every text of each module that names a client but `quirks`, without what only explains it."""
    found = {}
    for path in Path(jetcli.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if not any(known.client.casefold() in text.casefold() for known in KNOWN):
            continue
        nodes = list(ast.walk(ast.parse(text)))
        explains = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in explains]
        names = [getattr(node, "id", "") or getattr(node, "attr", "") for node in nodes]
        found[path.name] = [text for text in texts if isinstance(text, str) and text != NS_OMEMO] + names
    assert found.pop("quirks.py")
    return found


@pytest.mark.parametrize("client", [known.client.casefold() for known in KNOWN])
def test_no_other_module_names_a_client(words, client):
    assert [name for name, said in words.items() if any(client in word.casefold() for word in said)] == []
