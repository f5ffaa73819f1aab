"""Whole negotiations between two session machines."""

import itertools

import pytest

from jetcli.protocol import effects as fx
from jetcli.protocol.table import Path

A_DIRECT, A_PROXY, B_DIRECT, B_PROXY = "a-direct-0", "a-proxy-0", "b-direct-0", "b-proxy-0"
#: All that may be reachable.
SETS = [set(c) for n in range(5) for c in itertools.combinations((A_DIRECT, A_PROXY, B_DIRECT, B_PROXY), n)]


def connections(pair) -> list[tuple[str, bool] | str | None]:
    """What each side uses: candidate id and whether it is its own, "in-band", or None."""
    used = []
    for side in (pair.ada, pair.bob):
        if isinstance(side.channel, fx.UseSocks5):
            used.append((side.channel.candidate.cid, side.channel.owned))
        else:
            used.append("in-band" if side.channel else None)
    return used


@pytest.mark.parametrize("reachable", SETS, ids=lambda reachable: "+".join(sorted(reachable)) or "nothing")
def test_both_sides_use_the_same_connection_whatever_is_reachable(pair, world, reachable):
    ada, bob = connections(pair(world(frozenset(reachable))).run())
    if not reachable:
        assert (ada, bob) == ("in-band", "in-band")
        return
    assert ada[0] == bob[0]
    assert ada[1] is not bob[1]
    if reachable & {A_DIRECT, B_DIRECT}:
        assert "direct" in ada[0]


def test_of_two_direct_candidates_that_of_equal_rank_which_the_initiator_reached_wins(pair, world):
    ada, _ = connections(pair(world(frozenset({A_DIRECT, B_DIRECT}))).run())
    assert ada == (B_DIRECT, False)


def test_a_proxy_that_refuses_leads_both_to_in_band(pair, world):
    played = pair(world(frozenset({A_PROXY}), proxies_work=False)).run()
    assert connections(played) == ["in-band", "in-band"]


def test_without_any_way_both_sides_learn_it(pair, world):
    played = pair(world(inband_works=False)).run()
    assert played.ada.session.path is Path.FAILED or played.ada.end.by_peer
    assert played.ada.end is not None
    assert played.bob.end is not None


@pytest.mark.parametrize("seed", range(150))
def test_over_a_bad_line_both_sides_end_or_agree(pair, world, seed):
    world_ = world(frozenset({A_DIRECT, B_PROXY}), proxies_work=seed % 3 > 0)
    played = pair(world_, seed=seed, drop=0.15, double=0.2, reorder=0.4).run()
    open_sides = [side for side in (played.ada, played.bob) if side.end is None and side.channel is not None]
    if len(open_sides) == 2:
        ada, bob = connections(played)
        assert (ada == bob == "in-band") or ada[0] == bob[0] or "in-band" in (ada, bob)
    for side in (played.ada, played.bob):
        waiting_for_an_offer = side is played.bob and not side.deadlines and side.session.state.value == "idle"
        assert side.end or side.channel or waiting_for_an_offer


@pytest.mark.parametrize("seed", range(320))
def test_over_a_line_that_loses_nothing_both_sides_agree_or_both_end(pair, world, seed):
    """With a direct way they agree, although stanzas come twice and in any order."""
    reachable = SETS[seed % len(SETS)]
    played = pair(world(frozenset(reachable), proxies_work=seed % 3 > 0), seed=seed, double=0.2, reorder=0.4).run()
    if reachable & {A_DIRECT, B_DIRECT}:
        assert (played.ada.end, played.bob.end) == (None, None)
    if played.ada.end is None or played.bob.end is None:
        ada, bob = connections(played)
        assert ada == bob == "in-band" or (ada[0] == bob[0] and ada[1] is not bob[1])
