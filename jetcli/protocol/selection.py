"""Which SOCKS5 candidates the two sides of one session have reached (XEP-0260 section 2.4).

It collects our own dial's result and the peer's candidate-used or candidate-error, in whatever order they come, and has
a verdict once both are known.
"""

from msgspec import Struct

from jetcli.protocol.model import Candidate, CandidateError, CandidateUsed
from jetcli.protocol.nomination import nominate


class Nominee(Struct, frozen=True):
    """The candidate that won; `owned` when it is ours, so that the peer connected to it."""

    candidate: Candidate
    owned: bool


class Selection:
    """The choice among `ours` (offered by us) and the peer's candidates, as far as it has come."""

    def __init__(self, ours: tuple[Candidate, ...], *, initiator: bool) -> None:
        self._ours = {candidate.cid: candidate for candidate in ours}
        self._initiator = initiator
        self._reached: Candidate | None = None
        self._choice: CandidateUsed | CandidateError | None = None
        self.dialled = False

    @property
    def decided(self) -> bool:
        """Whether both sides have said what they reached."""
        return self.dialled and self._choice is not None

    @property
    def chosen(self) -> Candidate | None:
        """The candidate of ours that the peer reached, if it has named one."""
        return self._ours.get(self._choice.cid) if isinstance(self._choice, CandidateUsed) else None

    def offers(self, cid: str) -> bool:
        """Say whether a candidate of that id is ours."""
        return cid in self._ours

    def dial_ended(self, reached: Candidate | None) -> None:
        """Keep which of the peer's candidates we reached."""
        self.dialled, self._reached = True, reached

    def peer_said(self, choice: CandidateUsed | CandidateError) -> None:
        """Keep the peer's word; only its first counts."""
        if self._choice is None:
            self._choice = choice

    def verdict(self) -> Nominee | None:
        """Return the nominated candidate, or None where neither side reached any."""
        nominated = nominate(self.chosen, self._reached, self._initiator)
        return Nominee(*nominated) if nominated else None
