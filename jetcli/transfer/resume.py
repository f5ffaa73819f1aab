"""Resuming on the user's word: the record says which side we are, and that side takes the first step."""

from collections.abc import Sequence

from jetcli.errors import JetError, NotResumableError
from jetcli.protocol.policy import shown
from jetcli.state.transfers import TransferRecord, TransferState
from jetcli.transfer.account import Online
from jetcli.transfer.collection import Collection
from jetcli.transfer.delivery import Delivery
from jetcli.transfer.events import FileDone, FileFailed, Listener, Offered, Waiting
from jetcli.transfer.options import Placing
from jetcli.transfer.outcome import Broken, Outcome, failed
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.persistence import persist
from jetcli.transfer.serve import Serving


async def resume_files(
    online: Online, records: Sequence[TransferRecord], placing: Placing, emit: Listener
) -> list[FileDone | FileFailed]:
    """Continue each of the transfers, one after the other; return how each of them ended, in their order."""
    async with Serving(online, emit):
        return [await resume_file(online, record, placing, emit) for record in records]


async def resume_file(
    online: Online, record: TransferRecord, placing: Placing, emit: Listener
) -> FileDone | FileFailed:
    """Continue one transfer. A failure is told and returned.

    Raises SetupError where another process owns the transfer.
    """
    outcome = await continue_transfer(online, record, placing, emit)
    if isinstance(outcome, FileDone):
        return outcome
    event = failed(outcome, record.id, record.direction, record.name)
    emit(event)
    return event


async def continue_transfer(online: Online, record: TransferRecord, placing: Placing, emit: Listener) -> Outcome:
    """Continue one transfer; a failure is returned and not told. Raises SetupError as `resume_file`."""
    if record.state is TransferState.DONE:
        return Broken(NotResumableError(f"'{shown(record.name)}' is complete"))
    emit(Offered(record.id, record.direction, record.peer, record.name, record.size, record.media_type, resumable=True))
    if not record.chunked:
        told = f"the client of {shown(record.peer)} cannot continue '{shown(record.name)}'"
        return Broken(NotResumableError(f"{told}; it has to start again"))
    with online.ownership.own(record.id) as mailbox:
        try:
            outcome = await _go_on(online, record, placing, emit, mailbox)
        finally:
            await mailbox.close()
    if isinstance(outcome, Broken) and isinstance(outcome.error, NotResumableError) and not outcome.moved:
        online.transfers.finish(record.id, TransferState.FAILED, record.updated)
    return outcome


async def _go_on(
    online: Online, record: TransferRecord, placing: Placing, emit: Listener, mailbox: Mailbox
) -> FileDone | Broken:
    work: Delivery | Collection
    if record.direction == "send":
        work = Delivery(online, emit, record.id, mailbox)
        step = work.offer
    else:
        work = Collection(online, emit, record.id, mailbox, placing)
        step = work.request

    def tell(attempt: int, pause_s: float, error: JetError) -> None:
        # Once there has been a session with the peer, it is worth looking for it again.
        work.eager = True
        emit(Waiting(record.id, record.direction, error, attempt, pause_s))

    return await persist(
        step(), mailbox=mailbox, answer=work.answer, again=step, retries=online.network.retries, tell=tell
    )
