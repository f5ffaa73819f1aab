"""How the user takes an offer: by the rules of the command line, by an answer given before, or by asking a person.

One person is asked one thing at a time, and a command of a sender once. What may be asked about at all is decided
before (`jetcli.transfer.admission`).
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from typing import Any

from jetcli.errors import DeclinedError
from jetcli.files.space import free_bytes
from jetcli.protocol.model import Batch
from jetcli.protocol.policy import MAX_WAITING_OFFERS, MAX_WAITING_OFFERS_PER_PEER, shown
from jetcli.transfer.admission import Admitted
from jetcli.transfer.commands import Commands
from jetcli.transfer.events import Consent, OfferSeen
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.outcome import WITHDRAWN
from jetcli.xmpp.negotiation import Negotiation

#: Asks a person about one offer; several are asked one after the other.
Ask = Callable[[OfferSeen], Awaitable[Consent]]


class RefusedError(DeclinedError):
    """The person who was asked said no."""


class Consents:
    """Answers offers for the user; `consent` asks them, `commands` remembers what they said to a command."""

    def __init__(self, options: ReceiveOptions, commands: Commands, consent: Ask) -> None:
        self._options = options
        self._commands = commands
        self._consent = consent
        self._asking = asyncio.Lock()
        self._waiting: Tally[str] = Tally()
        self._welcome: set[str] = set()

    async def agree(
        self, negotiation: Negotiation, transfer_id: str, admitted: Admitted, batch: Batch | None
    ) -> Consent:
        """Return how the user takes the file; raise DeclinedError where they do not."""
        bare_jid, device = negotiation.session.peer.partition("/")[0], admitted.opened.device.identity_key
        if self._options.accept_all or self._options.senders or bare_jid in self._welcome:
            return Consent(accept=True)
        files = admitted.offer.content.bundle or 1
        if earlier := self._commands.agreed(device, batch, files):
            if not earlier.accept:
                raise RefusedError(earlier.reason)
            return earlier
        if self._waiting.total() >= MAX_WAITING_OFFERS or self._waiting[bare_jid] >= MAX_WAITING_OFFERS_PER_PEER:
            raise DeclinedError("other offers are still waiting for an answer")
        self._waiting[bare_jid] += 1
        try:
            async with self._asking:
                answer = await self._ask(
                    negotiation,
                    _seen(transfer_id, admitted, negotiation, asks_on_exist=self._options.on_exist == "ask"),
                )
        finally:
            self._waiting[bare_jid] -= 1
        self._commands.answer(device, batch, answer, files)
        if not answer.accept:
            raise RefusedError(answer.reason)
        if answer.always:
            self._welcome.add(bare_jid)
        return answer

    async def _ask(self, negotiation: Negotiation, seen: OfferSeen) -> Consent:
        """Ask, as long as the offer stands: a sender that gives up takes the question away."""
        question = asyncio.ensure_future(self._consent(seen))
        try:
            waiting: set[asyncio.Future[Any]] = {question, negotiation.ended}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if question.done():
                return question.result()
            raise DeclinedError(WITHDRAWN)
        finally:
            question.cancel()


def _seen(transfer_id: str, admitted: Admitted, negotiation: Negotiation, *, asks_on_exist: bool) -> OfferSeen:
    file, batch = admitted.offer.file, negotiation.session.offer.batch
    return OfferSeen(
        id=transfer_id,
        peer=shown(negotiation.session.peer),
        trust=admitted.opened.device.trust,
        name=admitted.name,
        size=admitted.size,
        bundle=admitted.offer.content.bundle or 1,
        media_type=file.media_type and shown(file.media_type),
        desc=file.desc and shown(file.desc),
        directory=admitted.directory,
        free=free_bytes(admitted.directory),
        files=batch.of if batch else 1,
        asks_on_exist=asks_on_exist,
    )
