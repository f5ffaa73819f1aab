import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.protocol.model import Candidate, CandidateType
from jetcli.protocol.nomination import dial_order, nominate, priority

priorities = st.integers(1, 2**31 - 1) | st.sampled_from([1, 2])


def candidate(cid, priority):
    return Candidate(cid=cid, host="192.0.2.1", port=5000, jid="a@b/c", priority=priority)


@given(st.none() | priorities, st.none() | priorities)
def test_both_sides_nominate_the_same_candidate(initiators, responders):
    of_initiator = initiators and candidate("i", initiators)
    of_responder = responders and candidate("r", responders)
    at_initiator = nominate(of_initiator, of_responder, initiator=True)
    at_responder = nominate(of_responder, of_initiator, initiator=False)
    if initiators is None and responders is None:
        assert at_initiator is None
        assert at_responder is None
    else:
        assert at_initiator.candidate is at_responder.candidate
        assert at_initiator.owned is not at_responder.owned


def test_nobody_reached_anything_means_no_nomination():
    assert nominate(None, None, initiator=True) is None


@pytest.mark.parametrize("initiator", [True, False])
def test_the_only_candidate_that_was_reached_is_nominated(initiator):
    one = candidate("one", 5)
    assert nominate(one, None, initiator) == (one, True)
    assert nominate(None, one, initiator) == (one, False)


@pytest.mark.parametrize("initiator", [True, False])
def test_the_higher_priority_wins_whoever_offered_it(initiator):
    low, high = candidate("low", 5), candidate("high", 6)
    assert nominate(high, low, initiator) == (high, True)
    assert nominate(low, high, initiator) == (high, False)


def test_on_a_tie_the_candidate_that_the_initiator_reached_wins():
    ours, theirs = candidate("ours", 5), candidate("theirs", 5)
    assert nominate(ours, theirs, initiator=True) == (theirs, False)
    assert nominate(ours, theirs, initiator=False) == (ours, True)


def test_candidates_are_dialled_from_the_highest_priority_and_equals_in_the_peers_order():
    a, b, c = candidate("a", 1), candidate("b", 9), candidate("c", 1)
    assert dial_order([a, b, c]) == (b, a, c)


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_every_direct_candidate_outranks_every_proxy(direct_rank, proxy_rank):
    direct = priority(CandidateType.DIRECT, direct_rank)
    proxy = priority(CandidateType.PROXY, proxy_rank)
    assert direct > proxy > 0


def test_priorities_fall_with_the_rank():
    assert priority(CandidateType.DIRECT) == (126 << 16) + 65535
    assert priority(CandidateType.DIRECT, 1) == priority(CandidateType.DIRECT) - 1
