from pathlib import Path

from jetcli.state.seen import KEPT_S, ChunkedPeers, ScramSeen, SeenEnvelopes
from jetcli.state.store import Store

KEY, IV = b"k" * 32, b"i" * 12


def test_an_envelope_is_new_once_for_all_processes(directory: Path, store: Store) -> None:
    assert SeenEnvelopes(store).first_time(KEY, IV, 1.0)
    with Store.open(directory) as other:
        assert not SeenEnvelopes(other).first_time(KEY, IV, 2.0)


def test_another_device_or_iv_is_another_envelope(store: Store) -> None:
    seen = SeenEnvelopes(store)
    assert seen.first_time(KEY, IV, 1.0)
    assert seen.first_time(b"K" * 32, IV, 1.0)
    assert seen.first_time(KEY, b"I" * 12, 1.0)
    assert seen.first_time(KEY + IV[:1], IV[1:], 1.0)


def test_an_envelope_is_remembered_for_ninety_days_and_no_longer(store: Store) -> None:
    seen = SeenEnvelopes(store)
    seen.first_time(KEY, IV, 0.0)
    assert not seen.first_time(KEY, IV, KEPT_S)
    assert KEPT_S == 90 * 86_400
    assert seen.first_time(KEY, IV, KEPT_S + 1)
    assert store.rows("SELECT count(*) FROM seen_envelopes") == [(1,)]


def test_neither_key_nor_iv_is_in_the_database(directory: Path, store: Store) -> None:
    SeenEnvelopes(store).first_time(KEY, IV, 1.0)
    store.close()
    content = (directory / "state.db").read_bytes()
    assert KEY not in content
    assert IV not in content


def test_a_peer_that_spoke_the_chunked_cipher_is_known_until_it_is_forgotten(store: Store) -> None:
    peers = ChunkedPeers(store)
    assert not peers.knows(KEY)
    peers.remember(KEY, 1.0)
    peers.remember(KEY, 2.0)
    assert peers.knows(KEY)
    assert not peers.knows(b"K" * 32)
    peers.forget(KEY)
    assert not peers.knows(KEY)


def test_a_login_by_scram_is_remembered(directory: Path, store: Store) -> None:
    assert not ScramSeen(store).known()
    ScramSeen(store).remember(1.0)
    ScramSeen(store).remember(2.0)
    with Store.open(directory) as other:
        assert ScramSeen(other).known()
