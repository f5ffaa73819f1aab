"""Which SOCKS5 candidate carries the bytes, and in what order candidates are tried (XEP-0260 section 2).

Both sides compute the same answer from what each of them reached; there is no message that announces the result.
Knows no addresses' merits: `jetcli.protocol.policy` says which of them may be dialled at all.
"""

from collections.abc import Iterable
from typing import NamedTuple

from jetcli.protocol.model import Candidate, CandidateType


class Nomination(NamedTuple):
    """The nominated candidate; `owned` when it is one of ours, so that the peer connected to it."""

    candidate: Candidate
    owned: bool


def nominate(mine: Candidate | None, theirs: Candidate | None, initiator: bool) -> Nomination | None:
    """Choose between the candidate of ours that the peer reached and the peer's candidate that we reached.

    The higher priority wins; on a tie, the candidate that the session's initiator reached. `initiator` says whether
    that is us. None where neither side reached any, which is the time to fall back (XEP-0260 section 2.4).
    """
    if mine is None or theirs is None:
        if theirs is not None:
            return Nomination(theirs, owned=False)
        return None if mine is None else Nomination(mine, owned=True)
    tie = mine.priority == theirs.priority
    owned = not initiator if tie else mine.priority > theirs.priority
    return Nomination(mine if owned else theirs, owned)


def dial_order(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Sort candidates by the order in which they are tried: priority downwards, else as the peer listed them."""
    return tuple(sorted(candidates, key=lambda candidate: -candidate.priority))


def priority(type_: CandidateType, rank: int = 0) -> int:
    """Return the priority of our `rank`-th candidate of a type, from 0 for the best (XEP-0260 section 2.3).

    Ranks past 65535 share the lowest priority. It is never 0, which Dino refuses together with the whole offer.
    """
    return (type_.preference << 16) + max(65535 - rank, 1)
