"""The ratchet: sessions that start, cross, break and skip, without any network."""

import logging

import pytest
from msgspec.structs import replace

from jetcli.protocol.model import Envelope
from jetcli.xmpp import omemo_ratchet
from jetcli.xmpp.omemo_ratchet import (
    MAX_SKIPPED,
    CannotOpenError,
    DuplicateError,
    KeyChangedError,
    NotForUsError,
    Ratchet,
)

KEY = bytes(range(16))
LONG_KEY = bytes(range(32))


@pytest.fixture
def make(new_memory):
    """Make a ratchet with a device: `make("romeo")`."""

    def ratchet(name: str, memory=None) -> Ratchet:
        made = Ratchet(new_memory() if memory is None else memory, f"{name}@verona.example")
        if made.device_id is None:
            made.create(())
        made.jid = f"{name}@verona.example"
        return made

    return ratchet


@pytest.fixture
def pair(make):
    """Two devices that know each other's published keys."""
    romeo, juliet = make("romeo"), make("juliet")
    romeo.learn(juliet.jid, juliet.device_id, juliet.bundle())
    juliet.learn(romeo.jid, romeo.device_id, romeo.bundle())
    return romeo, juliet


def sealed(sender: Ratchet, receiver: Ratchet, key: bytes = KEY) -> Envelope:
    known = sender.has_session(receiver.jid, receiver.device_id)
    made = sender.seal(receiver.jid, receiver.device_id, key, None if known else receiver.bundle())
    return Envelope(sender.device_id, bytes(12), (made,))


@pytest.mark.parametrize("key", [KEY, LONG_KEY])
def test_the_receiver_gets_the_bare_key_without_a_tag(pair, key):
    romeo, juliet = pair
    assert juliet.open(romeo.jid, sealed(romeo, juliet, key)).key_material == key


def test_an_answer_confirms_a_session_and_is_itself_not_answered(pair):
    romeo, juliet = pair
    first = sealed(romeo, juliet)
    answer = juliet.open(romeo.jid, first).answer
    assert first.keys[0].prekey
    assert not answer.keys[0].prekey
    assert romeo.open(juliet.jid, answer).answer is None
    assert not sealed(romeo, juliet).keys[0].prekey


def test_a_key_exchange_that_comes_again_and_again_is_opened_and_answered_once(pair):
    romeo, juliet = pair
    opened = [juliet.open(romeo.jid, sealed(romeo, juliet)) for _ in range(5)]
    assert [each.key_material for each in opened] == [KEY] * 5
    assert [each.answer is not None for each in opened] == [True, False, False, False, False]


def test_a_peer_that_never_hears_from_us_is_answered_now_and_then(pair):
    romeo, juliet = pair
    romeo.open(juliet.jid, juliet.open(romeo.jid, sealed(romeo, juliet)).answer)
    answers = [juliet.open(romeo.jid, sealed(romeo, juliet)).answer for _ in range(120)]
    assert sum(answer is not None for answer in answers) == 2


def test_an_envelope_opens_once(pair):
    romeo, juliet = pair
    first, second = sealed(romeo, juliet), sealed(romeo, juliet)
    for envelope in (first, second):
        juliet.open(romeo.jid, envelope)
        with pytest.raises(DuplicateError):
            juliet.open(romeo.jid, envelope)


def test_an_envelope_for_others_is_not_for_us(pair, make):
    romeo, juliet = pair
    with pytest.raises(NotForUsError):
        juliet.open(romeo.jid, sealed(romeo, make("mercutio")))


def test_of_several_keys_with_our_id_the_right_one_is_found(pair, make):
    romeo, juliet = pair
    nurse = make("nurse")
    wrong = sealed(romeo, nurse).keys[0]
    right = sealed(romeo, juliet).keys[0]
    both = (type(wrong)(juliet.device_id, wrong.data, wrong.prekey), right)
    assert juliet.open(romeo.jid, Envelope(romeo.device_id, bytes(12), both)).key_material == KEY


def test_sessions_that_both_sides_start_at_once_both_work(pair):
    romeo, juliet = pair
    from_romeo, from_juliet = sealed(romeo, juliet), sealed(juliet, romeo)
    to_romeo = juliet.open(romeo.jid, from_romeo).answer
    to_juliet = romeo.open(juliet.jid, from_juliet).answer
    juliet.open(romeo.jid, to_juliet)
    romeo.open(juliet.jid, to_romeo)
    for sender, receiver in [pair, pair[::-1]] * 3:
        assert receiver.open(sender.jid, sealed(sender, receiver)).key_material == KEY


def test_a_replaced_session_is_taken_up_by_the_other_side(pair):
    romeo, juliet = pair
    juliet.open(romeo.jid, sealed(romeo, juliet))
    message = juliet.replace(romeo.jid, romeo.device_id, romeo.bundle())
    assert romeo.open(juliet.jid, message).answer is not None
    assert juliet.open(romeo.jid, sealed(romeo, juliet)).key_material == KEY


def test_a_session_from_a_used_prekey_is_dead_until_it_gives_way_to_one_from_another(make):
    romeo, juliet, mercutio = make("romeo"), make("juliet"), make("mercutio")
    juliet.learn(romeo.jid, romeo.device_id, romeo.bundle())
    juliet.learn(mercutio.jid, mercutio.device_id, mercutio.bundle())
    bundle = juliet.bundle()
    stale = replace(bundle, pre_keys=dict([bundle.pre_keys.popitem()]))
    first = mercutio.seal(juliet.jid, juliet.device_id, KEY, stale)
    juliet.open(mercutio.jid, Envelope(mercutio.device_id, bytes(12), (first,)))
    for given in (stale, None):
        dead = romeo.seal(juliet.jid, juliet.device_id, KEY, given)
        with pytest.raises(CannotOpenError):
            juliet.open(romeo.jid, Envelope(romeo.device_id, bytes(12), (dead,)))
        assert romeo.is_unanswered(juliet.jid, juliet.device_id)
    anew = romeo.seal(juliet.jid, juliet.device_id, KEY, juliet.bundle(), anew=True)
    assert juliet.open(romeo.jid, Envelope(romeo.device_id, bytes(12), (anew,))).key_material == KEY


def test_a_session_that_was_answered_gives_way_to_none(pair):
    romeo, juliet = pair
    romeo.open(juliet.jid, juliet.open(romeo.jid, sealed(romeo, juliet)).answer)
    assert not romeo.is_unanswered(juliet.jid, juliet.device_id)
    assert not romeo.seal(juliet.jid, juliet.device_id, KEY, juliet.bundle(), anew=True).prekey


def test_a_bundle_alone_begins_no_second_session(pair):
    """As where several jets have fetched it before the first of them has begun one: all have to use that one."""
    romeo, juliet = pair
    bundle = juliet.bundle()
    keys = [romeo.seal(juliet.jid, juliet.device_id, KEY, bundle) for _ in range(4)]
    assert len({key.data[:40] for key in keys}) == 1, "version, prekey and base key are those of a session"
    for key in keys:
        assert juliet.open(romeo.jid, Envelope(romeo.device_id, bytes(12), (key,))).key_material == KEY


def test_what_was_under_way_when_the_session_was_replaced_still_opens(pair):
    romeo, juliet = pair
    romeo.open(juliet.jid, juliet.open(romeo.jid, sealed(romeo, juliet)).answer)
    late = sealed(romeo, juliet)
    romeo.open(juliet.jid, juliet.replace(romeo.jid, romeo.device_id, romeo.bundle()))
    assert juliet.open(romeo.jid, late).key_material == KEY


def test_1100_messages_that_were_never_seen_do_not_lock_the_ratchet(pair):
    romeo, juliet = pair
    romeo.open(juliet.jid, juliet.open(romeo.jid, sealed(romeo, juliet)).answer)
    for _ in range(1100):
        romeo.seal(juliet.jid, juliet.device_id, KEY)
    assert juliet.open(romeo.jid, sealed(romeo, juliet)).key_material == KEY
    assert MAX_SKIPPED == 10_000


def test_more_unseen_messages_than_the_limit_cannot_be_opened_and_change_nothing(pair, make, monkeypatch):
    romeo, juliet = pair
    romeo.open(juliet.jid, juliet.open(romeo.jid, sealed(romeo, juliet)).answer)
    monkeypatch.setattr(omemo_ratchet, "MAX_SKIPPED", 20)
    juliet = make("juliet", juliet._storage)
    near = sealed(romeo, juliet)
    for _ in range(30):
        far = sealed(romeo, juliet)
    before = dict(juliet._storage)
    with pytest.raises(CannotOpenError):
        juliet.open(romeo.jid, far)
    assert dict(juliet._storage) == before
    assert juliet.open(romeo.jid, near).key_material == KEY


def test_a_used_prekey_is_gone_and_replaced(pair):
    romeo, juliet = pair
    before = juliet.bundle().pre_keys
    juliet.unpublished = False
    juliet.open(romeo.jid, sealed(romeo, juliet))
    assert len(juliet.bundle().pre_keys) == 99
    juliet.refresh()
    after = juliet.bundle().pre_keys
    assert len(before.keys() - after.keys()) == len(after.keys() - before.keys()) == 1
    assert juliet.unpublished


def test_a_device_keeps_its_identity_key(pair, make):
    romeo, juliet = pair
    impostor = make("juliet")
    with pytest.raises(KeyChangedError):
        romeo.learn(juliet.jid, juliet.device_id, impostor.bundle())
    assert romeo.identity_of(juliet.jid, juliet.device_id) == juliet.identity_key


def test_a_key_exchange_under_another_identity_key_is_refused(pair, make):
    romeo, juliet = pair
    impostor = make("romeo")
    key = impostor.seal(juliet.jid, juliet.device_id, KEY, juliet.bundle())
    with pytest.raises(KeyChangedError):
        juliet.open(romeo.jid, Envelope(romeo.device_id, bytes(12), (key,)))


def test_a_bundle_with_a_forged_signature_starts_no_session(pair, make):
    romeo, juliet = pair
    good, other = juliet.bundle(), make("mallory").bundle()
    forged = type(good)(good.identity_key, other.signed_pre_key, good.signed_pre_key_id, good.signature, good.pre_keys)
    assert romeo.seal(juliet.jid, juliet.device_id, KEY, forged) is None
    assert not romeo.has_session(juliet.jid, juliet.device_id)


@pytest.mark.parametrize("data", [b"", b"\x33", b"\x33" * 60, b"A" * 60, bytes(200)])
@pytest.mark.parametrize("prekey", [True, False])
def test_garbage_cannot_be_opened(pair, data, prekey):
    romeo, juliet = pair
    key = type(sealed(romeo, juliet).keys[0])(juliet.device_id, data, prekey)
    with pytest.raises(CannotOpenError):
        juliet.open(romeo.jid, Envelope(romeo.device_id, bytes(12), (key,)))


def test_nothing_is_opened_from_a_device_whose_key_is_unknown(make):
    romeo, juliet = make("romeo"), make("juliet")
    with pytest.raises(CannotOpenError):
        juliet.open(romeo.jid, sealed(romeo, juliet))


def test_the_signed_prekey_is_replaced_after_a_week_and_the_one_before_still_works(pair, monkeypatch):
    romeo, juliet = pair
    under_way = sealed(romeo, juliet)
    before = juliet.bundle().signed_pre_key
    juliet.unpublished = False
    juliet.refresh()
    assert juliet.bundle().signed_pre_key == before
    monkeypatch.setattr(omemo_ratchet, "ROTATION_S", -1.0)
    juliet.refresh()
    assert juliet.unpublished
    assert juliet.bundle().signed_pre_key != before
    assert juliet.open(romeo.jid, under_way).key_material == KEY


def test_a_new_device_takes_an_id_that_nobody_has(make, new_memory, monkeypatch):
    draws = iter([41, 42, 2**31 - 2])
    monkeypatch.setattr(omemo_ratchet.secrets, "randbelow", lambda _: next(draws))
    ratchet = Ratchet(new_memory(), "romeo@verona.example")
    ratchet.create({42, 43})
    assert ratchet.device_id == 2**31 - 1


def test_two_processes_on_one_storage_see_each_others_steps(pair, make):
    romeo, juliet = pair
    twin = make("juliet", juliet._storage)
    romeo.open(juliet.jid, juliet.open(romeo.jid, sealed(romeo, juliet)).answer)
    for receiver in (twin, juliet, twin):
        assert receiver.open(romeo.jid, sealed(romeo, juliet)).key_material == KEY
        assert romeo.open(juliet.jid, sealed(receiver, romeo)).key_material == KEY


def test_the_librarys_loggers_stay_above_debug():
    assert logging.getLogger("omemo.core").getEffectiveLevel() > logging.DEBUG
    assert logging.getLogger("omemo.core.identity_key_pair").getEffectiveLevel() > logging.DEBUG
