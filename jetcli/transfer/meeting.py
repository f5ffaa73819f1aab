"""How the two sides of an interrupted transfer find each other, whichever of them comes online first.

Either may take the first step. Whoever finds nobody waits: for the other side to show up, and for its session about the
transfer, which is as good as one of our own. What is said in a session is not known here.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from jetcli.errors import JetError, NobodyResumesError, UnavailableError
from jetcli.protocol.model import UNKNOWN_TRANSFER
from jetcli.transfer.account import Online
from jetcli.transfer.outcome import Broken, Outcome
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.persistence import Try
from jetcli.xmpp.negotiation import Negotiation

#: Told once when nobody is there: why, and how long somebody is waited for.
TellNobody = Callable[[JetError, float], None]


class Turns:
    """Lets the transfers of one command take their steps one after the other; `until` is when none waits any more."""

    def __init__(self, wait_s: float) -> None:
        self.one = asyncio.Lock()
        self.until = asyncio.get_running_loop().time() + wait_s


class Meeting:
    """One transfer with `peer` (bare JID): `step` looks for the other side, `answer` takes the session it has begun."""

    def __init__(
        self,
        online: Online,
        peer: str,
        mailbox: Mailbox,
        turns: Turns,
        *,
        step: Try,
        answer: Callable[[Negotiation], Awaitable[Outcome]],
    ) -> None:
        self._online = online
        self._peer = peer
        self._mailbox = mailbox
        self._turns = turns
        self._step = step
        self._answer = answer

    async def first(self, tell: TellNobody) -> Outcome:
        """Return how the first session ended, or the last vain step where there was none in time."""
        told = False
        while True:
            before = self._present()
            outcome = await self.next()
            wait_s = self._turns.until - asyncio.get_running_loop().time()
            if not (isinstance(outcome, Broken) and is_nobody(outcome.error) and wait_s > 0):
                return outcome
            if not told:
                tell(outcome.error, wait_s)
                told = True
            came, negotiation = await self._unless_called(self._somebody_new(before, wait_s))
            if negotiation is not None:
                return await self._answer(negotiation)
            if not came:
                return outcome

    async def next(self) -> Outcome:
        """Take our step when it is our turn, or answer the other side where it comes first."""
        ours, negotiation = await self._unless_called(self._turns.one.acquire())
        try:
            return await (self._step() if negotiation is None else self._answer(negotiation))
        finally:
            if ours:
                self._turns.one.release()

    def _present(self) -> set[str]:
        return {resource.jid for resource in self._online.discovery.resources(self._peer)}

    async def _somebody_new(self, before: set[str], wait_s: float) -> bool:
        return await self._online.discovery.wait_for_presence(self._peer, wait_s, but=before.__contains__)

    async def _unless_called(self, waiting: Coroutine[Any, Any, bool]) -> tuple[bool, Negotiation | None]:
        """Await something until the other side's session comes; return what it gave, and that session."""
        ours = asyncio.ensure_future(waiting)
        theirs = asyncio.ensure_future(self._mailbox.next(math.inf))
        try:
            await asyncio.wait({ours, theirs}, return_when=asyncio.FIRST_COMPLETED)
            return ours.done() and ours.result(), theirs.result() if theirs.done() else None
        finally:
            for task in (ours, theirs):
                task.cancel()
            await asyncio.gather(ours, theirs, return_exceptions=True)


def is_nobody(error: JetError) -> bool:
    """Say whether a vain step may succeed once somebody else comes online."""
    if isinstance(error, UnavailableError | NobodyResumesError):
        return True
    return getattr(error, "application", None) == UNKNOWN_TRANSFER
