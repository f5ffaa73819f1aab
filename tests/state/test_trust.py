from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.errors import SetupError
from jetcli.protocol.device import Trust
from jetcli.state.store import Store
from jetcli.state.trust import Judgement, KnownKey, TrustBook, first_trust

JULIET = "juliet@capulet.example"
KEY, OTHER, THIRD = bytes(32), bytes(31) + b"1", bytes(31) + b"2"

levels = st.lists(st.sampled_from(Trust))


@given(levels)
def test_a_new_key_is_trusted_blindly_unless_the_contact_has_a_verified_one(known: list[Trust]) -> None:
    expected = Trust.UNDECIDED if Trust.VERIFIED in known else Trust.BLIND
    assert first_trust(known, own_account=False) is expected


@given(levels)
def test_a_key_of_our_own_account_is_never_trusted_blindly(known: list[Trust]) -> None:
    assert first_trust(known, own_account=True) is Trust.UNDECIDED


@given(levels)
def test_no_key_is_trusted_blindly_under_the_policy_verified(known: list[Trust]) -> None:
    assert first_trust(known, own_account=False, policy="verified") is Trust.UNDECIDED


def test_a_key_is_new_only_once_even_for_another_process(directory: Path, store: Store) -> None:
    book = TrustBook(store)
    assert book.judge(JULIET, KEY, own_account=False, now=5.0) == Judgement(Trust.BLIND, first_time=True)
    assert book.judge(JULIET, KEY, own_account=False, now=6.0) == Judgement(Trust.BLIND, first_time=False)
    with Store.open(directory) as other:
        assert TrustBook(other).keys(JULIET) == [KnownKey(JULIET, KEY, Trust.BLIND, 5.0)]


def test_after_a_verification_the_next_new_key_waits_for_the_user(store: Store) -> None:
    book = TrustBook(store)
    book.judge(JULIET, KEY, own_account=False, now=1.0)
    book.judge(JULIET, OTHER, own_account=False, now=2.0)
    book.decide(JULIET, KEY, Trust.VERIFIED, now=3.0)
    assert book.judge(JULIET, THIRD, own_account=False, now=4.0).trust is Trust.UNDECIDED
    assert book.judge(JULIET, OTHER, own_account=False, now=4.0).trust is Trust.BLIND
    book.decide(JULIET, THIRD, Trust.VERIFIED, now=5.0)
    assert book.judge(JULIET, THIRD, own_account=False, now=6.0) == Judgement(Trust.VERIFIED, first_time=False)


def test_a_verification_says_nothing_about_other_contacts(store: Store) -> None:
    book = TrustBook(store)
    book.decide("romeo@montague.example", KEY, Trust.VERIFIED, now=1.0)
    assert book.judge(JULIET, KEY, own_account=False, now=2.0) == Judgement(Trust.BLIND, first_time=True)


def test_a_revoked_key_stays_revoked(store: Store) -> None:
    book = TrustBook(store)
    book.decide(JULIET, KEY, Trust.DISTRUSTED, now=1.0)
    assert book.judge(JULIET, KEY, own_account=False, now=2.0) == Judgement(Trust.DISTRUSTED, first_time=False)


def test_the_policy_verified_does_not_count_blind_trust_and_does_not_erase_it(store: Store) -> None:
    TrustBook(store).judge(JULIET, KEY, own_account=False, now=1.0)
    strict = TrustBook(store, "verified")
    assert strict.judge(JULIET, KEY, own_account=False, now=2.0) == Judgement(Trust.UNDECIDED, first_time=False)
    assert TrustBook(store).level(JULIET, KEY) is Trust.BLIND


def test_a_decision_keeps_the_time_when_the_key_was_first_seen(store: Store) -> None:
    book = TrustBook(store)
    book.judge(JULIET, KEY, own_account=False, now=1.0)
    book.decide(JULIET, KEY, Trust.VERIFIED, now=9.0)
    assert book.keys(JULIET) == [KnownKey(JULIET, KEY, Trust.VERIFIED, 1.0)]


def test_a_key_that_was_never_seen_has_no_level(store: Store) -> None:
    assert TrustBook(store).level(JULIET, KEY) is None


def test_a_level_that_makes_no_sense_is_damage(store: Store) -> None:
    TrustBook(store).decide(JULIET, KEY, Trust.VERIFIED, now=1.0)
    store.change("UPDATE trust SET level = 'maybe'")
    with pytest.raises(SetupError, match="is damaged"):
        TrustBook(store).keys(JULIET)
