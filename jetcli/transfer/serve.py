"""Answers sessions that continue a transfer of ours, as long as any command of the account is online.

A session is for the transfer that it names by the sid of its first session, if the record knows the bare JID that asks;
the device is judged when the envelope is opened. Nothing else tells whether we know a transfer: every other question
has the same answer.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from jetcli.errors import JetError, SetupError
from jetcli.protocol.model import UNKNOWN_TRANSFER
from jetcli.protocol.offer import is_request
from jetcli.protocol.policy import shown
from jetcli.state.transfers import TransferRecord, TransferState
from jetcli.transfer.account import Online
from jetcli.transfer.collection import Collection
from jetcli.transfer.delivery import Delivery
from jetcli.transfer.events import Declined, Detail, FileDone, FileFailed, Listener, Offered, Waiting
from jetcli.transfer.outcome import WITHDRAWN, Broken, Outcome, failed
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.persistence import persist
from jetcli.xmpp.negotiation import Negotiation

#: Told how a transfer ended that this process did not begin, and the full JID of who continued it.
OnResult = Callable[[FileDone | FileFailed, str], Awaitable[None]]
#: Answers a request for a file that is not the rest of a transfer.
OnRequest = Callable[[Negotiation], Coroutine[Any, Any, None]]


class Serving:
    """Answers while it is open: a context manager.

    `on_result` hears of received files only. Without `on_request` no file is given out that is not part of a transfer.
    """

    def __init__(
        self,
        online: Online,
        emit: Listener,
        on_result: OnResult | None = None,
        *,
        on_request: OnRequest | None = None,
    ) -> None:
        self._online = online
        self._emit = emit
        self._on_result = on_result
        self._on_request = on_request
        self._tasks: set[asyncio.Task[None]] = set()
        self._mailboxes: set[Mailbox] = set()
        self._left = False
        self._ended_at = -math.inf

    @property
    def active_at(self) -> float:
        """When something was last going on, on the loop's clock: now, while there is."""
        return asyncio.get_running_loop().time() if self._tasks else self._ended_at

    async def __aenter__(self) -> Self:
        self._online.answer(self._take)
        self._online.messages.on_continuation = self._proposed
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._online.messages.on_continuation = None
        if kind is not asyncio.CancelledError:
            # The command has come to its end, and nobody has stopped it: another jet of ours may go on.
            for mailbox in self._mailboxes:
                mailbox.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, negotiation: Negotiation) -> None:
        if self._left:
            negotiation.terminate("gone")
            return
        record = self._record(negotiation)
        if record is None and self._on_request is not None and negotiation.session.offer.transfer is None:
            self._start(self._on_request(negotiation))
        elif record is None:
            self._refuse(negotiation)
        elif mailbox := self._online.ownership.mailbox(record.id):
            mailbox.deliver(negotiation)
        else:
            self._start(self._serve(negotiation, record))

    def _proposed(self, full_jid: str, sid: str, first_sid: str) -> None:
        """Let a peer who cannot see us find us for a transfer that both sides know; nobody else gets an answer."""
        if self._online.transfers.of_session(first_sid, full_jid.partition("/")[0]):
            self._start(self._online.messages.proceed(full_jid, sid))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended_at = asyncio.get_running_loop().time()

    def _record(self, negotiation: Negotiation) -> TransferRecord | None:
        """Return the record that a session continues, where its peer is the one of the record."""
        content = negotiation.session.offer
        if content.transfer is None:
            return None
        bare_jid = negotiation.session.peer.partition("/")[0]
        direction = "send" if is_request(content) else "receive"
        records = self._online.transfers.of_session(content.transfer, bare_jid)
        return next((record for record in records if record.direction == direction), None)

    def _refuse(self, negotiation: Negotiation) -> None:
        continued = negotiation.session.offer.transfer is not None
        self._emit(Detail(f"{shown(negotiation.session.peer)} asked for a transfer or file that is not known here"))
        application = UNKNOWN_TRANSFER if continued else "file-not-available"
        negotiation.terminate("failed-application", application=application)

    async def _serve(self, negotiation: Negotiation, record: TransferRecord) -> None:
        try:
            with self._online.ownership.own(record.id) as mailbox:
                self._mailboxes.add(mailbox)
                try:
                    outcome = await self._answer(negotiation, record, mailbox)
                except BaseException:
                    await mailbox.close()
                    raise
                finally:
                    self._mailboxes.discard(mailbox)
            # What has come while the last session took its leave is answered like any other.
            while (late := mailbox.arrived()) is not None:
                self._take(late)
        except SetupError as error:
            self._emit(Detail(error.message, record.id))
            self._refuse(negotiation)
            return
        finally:
            await negotiation.close()
        if record.state is TransferState.DONE:
            return  # a late question about what was told long ago
        if isinstance(outcome, Broken) and outcome.withdrawn:
            self._emit(Declined(record.id, record.direction, "peer", WITHDRAWN))
            return
        event: FileDone | FileFailed
        if isinstance(outcome, Broken):
            event = failed(outcome, record.id, record.direction, record.name)
            self._emit(event)
        else:
            event = outcome
        if record.direction == "receive" and self._on_result is not None:
            await self._on_result(event, negotiation.session.peer)

    async def _answer(self, negotiation: Negotiation, record: TransferRecord, mailbox: Mailbox) -> Outcome:
        kind = Delivery if record.direction == "send" else Collection
        work = kind(self._online, self._emit, record.id, mailbox)
        if record.state is not TransferState.DONE:
            peer, file = negotiation.session.peer, (record.name, record.size, record.media_type)
            self._emit(Offered(record.id, record.direction, peer, *file, resumable=True, held=record.verified))

        def tell(attempt: int, pause_s: float, error: JetError) -> None:
            self._emit(Waiting(record.id, record.direction, error, attempt, pause_s))

        # Whoever asked goes on asking: here is only waited, and only where a file is expected.
        retries = self._online.network.retries if record.direction == "receive" else 0
        return await persist(
            work.answer(negotiation), mailbox=mailbox, answer=work.answer, again=None, retries=retries, tell=tell
        )
