"""Resuming on the user's word: the record says which side we are, and that side takes the first step."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from jetcli.errors import JetError, NobodyResumesError, NotResumableError, SetupError, UnavailableError
from jetcli.protocol.policy import shown
from jetcli.state.transfers import TransferRecord, TransferState
from jetcli.transfer.account import Online
from jetcli.transfer.collection import Collection
from jetcli.transfer.delivery import Delivery
from jetcli.transfer.events import FileDone, FileFailed, Listener, Offered, Waiting
from jetcli.transfer.meeting import Meeting, Turns, is_nobody
from jetcli.transfer.options import Placing
from jetcli.transfer.outcome import Broken, Outcome, failed
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.persistence import persist
from jetcli.transfer.serve import Serving

#: How long the other side is looked for where the user says nothing: both may have been started at this moment.
WAIT_S = 30.0


async def resume_files(
    online: Online, records: Sequence[TransferRecord], placing: Placing, emit: Listener, *, wait_s: float = WAIT_S
) -> list[FileDone | FileFailed]:
    """Continue each of the transfers, and return how each of them ended, in their order.

    One after the other looks for its peer; those who are not online are waited for together, `wait_s` at most.
    """
    turns = Turns(wait_s)
    resuming = [_Resuming(online, record, placing, emit, turns) for record in records]
    # Owned before anyone is answered: the other side's session must find us here, and not be taken up beside us.
    with ExitStack() as owned:
        for each in resuming:
            owned.callback(each.own().close)
        async with Serving(online, emit):
            return await asyncio.gather(*(each.run() for each in resuming))


async def continue_transfer(
    online: Online, record: TransferRecord, mailbox: Mailbox, placing: Placing, emit: Listener
) -> Outcome:
    """Continue one transfer, which is owned by `mailbox`, with who is online; a failure is returned and not told."""
    outcome = await _Resuming(online, record, placing, emit, Turns(0.0)).outcome(mailbox)
    if isinstance(outcome, Broken) and is_nobody(outcome.error):
        _give_up(online, record, outcome)
    return outcome


class _Resuming:
    """One transfer that is continued because the user says so."""

    def __init__(self, online: Online, record: TransferRecord, placing: Placing, emit: Listener, turns: Turns) -> None:
        self._online = online
        self._record = record
        self._placing = placing
        self._emit = emit
        self._turns = turns
        self._owned = ExitStack()
        self._mailbox: Mailbox | None = None
        self._refused: SetupError | None = None

    def own(self) -> ExitStack:
        """Own the transfer until what is returned is closed, or note which process does."""
        try:
            self._mailbox = self._owned.enter_context(self._online.ownership.own(self._record.id))
        except SetupError as error:
            self._refused = error
        return self._owned

    async def run(self) -> FileDone | FileFailed:
        """Continue what is owned, and own it no more. A failure is told and returned, and so is an owner elsewhere."""
        record = self._record
        with self._owned:
            if self._mailbox is None:
                assert self._refused is not None, "owned, or refused"
                outcome: Outcome = Broken(self._refused)
            else:
                outcome = await self.outcome(self._mailbox)
        if isinstance(outcome, FileDone):
            return outcome
        if isinstance(outcome.error, UnavailableError | NobodyResumesError) and not outcome.error.hint:
            outcome.error.hint = f"jet resume --wait 1h {record.id}"
        event = failed(outcome, record.id, record.direction, record.name)
        self._emit(event)
        return event

    async def outcome(self, mailbox: Mailbox) -> Outcome:
        """Continue the transfer; a failure is returned and not told.

        What cannot be continued is finished, unless that is only what those jets say that happen to be online.
        """
        record = self._record
        if record.state is TransferState.DONE:
            return Broken(NotResumableError(f"'{shown(record.name)}' is complete"))
        file = record.name, record.size, record.media_type
        self._emit(Offered(record.id, record.direction, record.peer, *file, resumable=True, held=record.verified))
        if not record.chunked:
            told = f"the client of {shown(record.peer)} cannot continue '{shown(record.name)}'"
            return Broken(NotResumableError(f"{told}; it has to start again"))
        try:
            outcome = await self._go_on(mailbox)
        finally:
            await mailbox.close()
        if isinstance(outcome, Broken) and not is_nobody(outcome.error):
            _give_up(self._online, record, outcome)
        return outcome

    async def _go_on(self, mailbox: Mailbox) -> Outcome:
        record = self._record
        work: Delivery | Collection
        if record.direction == "send":
            work = Delivery(self._online, self._emit, record.id, mailbox)
            step = work.offer
        else:
            work = Collection(self._online, self._emit, record.id, mailbox, self._placing)
            step = work.request
        meeting = Meeting(self._online, record.peer, mailbox, self._turns, step=step, answer=work.answer)

        def tell_nobody(error: JetError, wait_s: float) -> None:
            self._emit(Waiting(record.id, record.direction, error, 0, None, until_s=wait_s))

        def tell(attempt: int, pause_s: float, error: JetError) -> None:
            # Once there has been a session with the peer, it is worth looking for it again.
            work.eager = True
            self._emit(Waiting(record.id, record.direction, error, attempt, pause_s))

        return await persist(
            meeting.first(tell_nobody),
            mailbox=mailbox,
            answer=work.answer,
            again=meeting.next,
            retries=self._online.network.retries,
            tell=tell,
        )


def _give_up(online: Online, record: TransferRecord, outcome: Broken) -> None:
    """Record that a transfer that cannot be continued has failed, unless somebody who is not online may continue it."""
    final = isinstance(outcome.error, NotResumableError) and not isinstance(outcome.error, NobodyResumesError)
    if final and not outcome.moved:
        online.transfers.finish(record.id, TransferState.FAILED, record.updated)
