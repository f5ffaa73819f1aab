"""Token buckets: who knocks too often is turned away, and only they."""

from hypothesis import given
from hypothesis import strategies as st

from jetcli.protocol.flood import DECLINE_BURST, DECLINES_PER_S, STANZA_BURST, STANZAS_PER_S, PeerBuckets, TokenBucket


def test_a_burst_passes_and_the_next_waits_for_its_token():
    bucket = TokenBucket(burst=3, rate=2.0, tokens=3, at_s=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.4)
    assert bucket.take(0.5)


def test_a_clock_that_jumps_back_gives_no_tokens_and_takes_none():
    bucket = TokenBucket(burst=1, rate=1.0, tokens=1, at_s=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(0.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_no_schedule_gets_more_than_burst_and_rate_allow(moments):
    moments.sort()
    peers = PeerBuckets(STANZA_BURST, STANZAS_PER_S)
    taken = sum(peers.take("mallory@evil.example", moment) for moment in moments)
    assert taken <= STANZA_BURST + (moments[-1] - moments[0]) * STANZAS_PER_S + 1e-6


def test_a_flood_of_one_peer_leaves_another_its_turn():
    peers = PeerBuckets(STANZA_BURST, STANZAS_PER_S)
    assert sum(peers.take("mallory@evil.example", 1.0) for _ in range(10_000)) == STANZA_BURST
    assert peers.take("juliet@capulet.example", 1.0)


def test_what_was_welcome_does_not_count():
    peers = PeerBuckets(3, 0.001)
    for _ in range(100):
        assert peers.take("romeo@montague.example", 0.0)
        peers.give_back("romeo@montague.example")
    assert [peers.take("romeo@montague.example", 0.0) for _ in range(4)] == [True, True, True, False]


def test_no_peer_is_given_more_than_its_burst():
    peers = PeerBuckets(3, 0.001)
    peers.give_back("romeo@montague.example")
    assert peers.take("romeo@montague.example", 0.0)
    for _ in range(10):
        peers.give_back("romeo@montague.example")
    assert sum(peers.take("romeo@montague.example", 0.0) for _ in range(10)) == 3


def test_a_peer_that_is_turned_away_is_told_so_once_a_minute():
    peers = PeerBuckets(DECLINE_BURST, DECLINES_PER_S)
    told = [second for second in range(121) if peers.take("mallory@evil.example", float(second))]
    assert told == [0, 60, 120]


def test_a_flood_under_many_names_is_held_in_bounded_memory():
    peers = PeerBuckets(STANZA_BURST, STANZAS_PER_S, peers=100)
    peers.take("juliet@capulet.example", 0.0)
    for number in range(10_000):
        assert peers.take(f"{number}@evil.example", 0.0)
        assert peers.take("juliet@capulet.example", number * 1.0)
    assert len(peers) == 100


def test_the_peer_that_speaks_is_not_the_one_forgotten():
    peers = PeerBuckets(1, 0.001, peers=2)
    peers.take("mallory@evil.example", 0.0)
    for number in range(10):
        peers.take(f"{number}@evil.example", 0.0)
        assert not peers.take("mallory@evil.example", 0.0)
