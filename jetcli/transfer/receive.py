"""Receiving files: waits for offers, asks where someone must be asked, and ends when enough has come.

What becomes of one admitted offer is in `jetcli.transfer.reception`, whether one is admitted in
`jetcli.transfer.admission`. One bad offer never ends a receiver that is to stay up.
"""

import asyncio
import os
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from jetcli.errors import DeclinedError, JetError, UnavailableError
from jetcli.protocol.bundle import MAX_MEMBERS
from jetcli.protocol.flood import DECLINE_BURST, DECLINES_PER_S, PeerBuckets
from jetcli.protocol.model import SINGLY, Batch
from jetcli.protocol.policy import shown
from jetcli.transfer.account import Online
from jetcli.transfer.admission import Admitted, admit, may_send, stranger
from jetcli.transfer.afterwards import Afterwards, run_for
from jetcli.transfer.collection import Collection
from jetcli.transfer.commands import Commands
from jetcli.transfer.consent import Ask, Consents, RefusedError
from jetcli.transfer.events import (
    Accepted,
    Consent,
    Declined,
    FileDone,
    FileFailed,
    Listener,
    Offered,
    Phase,
    Waiting,
    Warned,
)
from jetcli.transfer.journal import new_transfer_id
from jetcli.transfer.options import OnExist, ReceiveOptions
from jetcli.transfer.outcome import WITHDRAWN, Broken, Outcome, failed, let_go, reason_for
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.persistence import patience_s, pause_before, persist
from jetcli.transfer.reception import Reception
from jetcli.transfer.serve import Serving
from jetcli.transfer.unbundling import Rules, Unbundling
from jetcli.xmpp.negotiation import Negotiation

Result = FileDone | FileFailed


async def receive_files(
    online: Online, options: ReceiveOptions, emit: Listener, consent: Ask, stop: asyncio.Event
) -> list[Result]:
    """Receive until `options.count` files have ended, or `stop` is set; return how each of them ended.

    Declined offers do not count. With `count` None only `stop` ends it, and one result of each kind is returned: a file
    that came, and a failure for each exit code. `consent` is asked unless `accept_all` or
    `senders` answer for the user. Cancelling ends every transfer, keeping what can be continued.
    """
    desk = _Desk(online, options, emit, consent)
    if options.stdout and options.unverified_stdout:
        emit(Warned("bytes of clients other than jet go to standard output before they are verified"))
    serving = Serving(online, emit, desk.completed)
    online.listen(desk.take)
    online.messages.on_proposal = desk.proposed
    waits: list[asyncio.Future[bool]] = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(desk.enough.wait())]
    if options.idle_s is not None:
        waits.append(asyncio.ensure_future(desk.idle(options.idle_s, serving)))
    emit(Phase("waiting for files"))
    try:
        waiting: set[asyncio.Future[Any]] = {*waits, online.lost}
        async with serving:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if online.lost.done() and not desk.enough.is_set():
            raise online.lost.result()
    finally:
        for wait in waits:
            wait.cancel()
        await desk.close()
    if desk.idled and not desk.results and options.count is not None:
        raise UnavailableError(f"nothing came within {options.idle_s:g} s")
    return desk.results


class _SinglyError(Exception):
    """Every file has to be offered by itself."""


class _Desk:
    """Where offers arrive: each is handled in a task of its own."""

    def __init__(self, online: Online, options: ReceiveOptions, emit: Listener, consent: Ask) -> None:
        self._online = online
        self._options = options
        self._emit = emit
        self._told = PeerBuckets(DECLINE_BURST, DECLINES_PER_S)
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands = Commands(self._command_finished)
        self._consents = Consents(options, self._commands, consent)
        self._finished = 0
        self._taken = False
        self._ended_at = asyncio.get_running_loop().time()
        self.idled = False
        self.results: list[Result] = []
        self.enough = asyncio.Event()

    def take(self, negotiation: Negotiation) -> None:
        """Handle an offer; returns at once."""
        task = asyncio.get_running_loop().create_task(self._handle(negotiation))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Tell of a bug: nobody awaits the task, and what escapes it would be lost without a word."""
        self._tasks.discard(task)
        self._ended_at = asyncio.get_running_loop().time()
        if not task.cancelled() and (bug := task.exception()) is not None:
            error = JetError(f"a bug in jet: {type(bug).__name__}: {shown(str(bug))}")
            failure = FileFailed(None, "receive", None, error)
            self._emit(failure)
            self.count(failure)

    def proposed(self, full_jid: str, sid: str) -> None:
        """Answer a proposal by the list of who may send; a stranger gets no answer, which would show us online."""
        bare_jid = full_jid.partition("/")[0]
        allowed = may_send(self._online, self._options, bare_jid)
        if allowed or self._online.discovery.is_contact(bare_jid):
            answer = self._online.messages.proceed if allowed else self._online.messages.reject
            task = asyncio.get_running_loop().create_task(answer(full_jid, sid))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not allowed and self._may_tell(bare_jid):
            refusal = stranger(self._options, bare_jid)
            self._tell_declined(new_transfer_id(self._online.transfers), "policy", refusal)

    async def idle(self, idle_s: float, serving: Serving) -> bool:
        """Return when nothing has gone on for `idle_s`, here or in `serving`."""
        clock = asyncio.get_running_loop().time
        while (left_s := max(self._active_at(), serving.active_at) + idle_s - clock()) > 0:  # noqa: ASYNC110 (time)
            await asyncio.sleep(left_s)
        self.idled = True
        return True

    def _active_at(self) -> float:
        return asyncio.get_running_loop().time() if self._tasks else self._ended_at

    async def close(self) -> None:
        """End what is still going on."""
        self._online.messages.on_proposal = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle(self, negotiation: Negotiation) -> None:
        transfer_id = new_transfer_id(self._online.transfers)
        offer = negotiation.session.offer
        seen = _Seen(offer.batch, min(offer.bundle or 1, MAX_MEMBERS))
        try:
            result = await self._receive(negotiation, transfer_id, seen)
        except _SinglyError:
            negotiation.terminate("unsupported-applications", application=SINGLY)
            return
        except DeclinedError as error:
            self._decline(negotiation, transfer_id, error, told_of=seen.told)
            self._ended_files(seen, declined=True)
            return
        except JetError as error:
            result = self._fail(negotiation, transfer_id, error)
        finally:
            await negotiation.close()
        if result is None:
            return
        await self._afterwards(result, negotiation.session.peer)
        self._note(result)
        self._ended_files(seen)

    def _ended_files(self, seen: "_Seen", *, declined: bool = False) -> None:
        """Note that the files of an offer have ended."""
        for number in range(seen.count):
            batch = replace(seen.batch, index=seen.batch.index + number) if seen.batch else None
            self._commands.ended(seen.device, batch, declined=declined)

    async def completed(self, result: Result, sender: str) -> None:
        """Note how a file ended that another receiver had begun."""
        await self._afterwards(result, sender)
        self.count(result)

    async def _afterwards(self, result: Result, sender: str) -> None:
        """Run the user's command for a file that has come."""
        if isinstance(result, FileDone) and self._options.command:
            await run_for(self._options.command, result, sender, self._emit)

    def count(self, result: Result) -> None:
        """Note how a file ended that is a command of its own."""
        self._note(result)
        self._command_finished()

    def _note(self, result: Result) -> None:
        """Keep how a file ended: of a receiver that stays up as much as its exit code needs, one of each kind."""
        if isinstance(result, FileFailed):
            let_go(result.error)
        if self._options.count is not None or all(_kind(result) != _kind(kept) for kept in self.results):
            self.results.append(result)

    def _command_finished(self) -> None:
        self._finished += 1
        if self._options.count is not None and self._finished >= self._options.count:
            self.enough.set()

    async def _receive(self, negotiation: Negotiation, transfer_id: str, seen: "_Seen") -> Result | None:
        """Take an offer and return how its file ended; None for a bundle whose files have all been told of."""
        bare_jid = negotiation.session.peer.partition("/")[0]
        if not may_send(self._online, self._options, bare_jid):
            raise stranger(self._options, bare_jid)
        bundled = negotiation.session.offer.bundle is not None
        if bundled and (self._options.stdout or self._options.output is not None or self._options.extract):
            raise _SinglyError

        def known(device: bytes) -> None:
            seen.device = device
            self._commands.began(device, seen.batch, seen.count)

        admitted = await admit(self._online, self._options, negotiation, known)
        file = admitted.offer.file
        self._emit(
            Offered(
                transfer_id,
                "receive",
                negotiation.session.peer,
                file.name or "",
                admitted.offer.content.first_size if bundled else admitted.size,
                file.media_type,
                admitted.between_jets and file.range is not None,
            )
        )
        seen.told = True
        consent = await self._consents.agree(negotiation, transfer_id, admitted, seen.batch)
        if bundled:
            return await self._receive_bundle(negotiation, transfer_id, admitted, consent, seen)
        name, on_exist = consent.name or admitted.name, consent.on_exist or self._options.on_exist
        self._check_place(admitted, name, on_exist)
        self._emit(Accepted(transfer_id, "receive"))
        with self._online.ownership.own(transfer_id) as mailbox:
            reception = Reception(
                self._online,
                self._options,
                self._emit,
                negotiation=negotiation,
                admitted=admitted,
                transfer_id=transfer_id,
                name=name,
                on_exist=on_exist,
                mailbox=mailbox,
            )
            try:
                outcome = await self._persist(reception, transfer_id, mailbox)
            finally:
                await mailbox.close()
        self._demand_offered(outcome)
        if isinstance(outcome, FileDone):
            return outcome
        event = failed(outcome, transfer_id, "receive", name)
        self._emit(event)
        return event

    async def _receive_bundle(
        self, negotiation: Negotiation, transfer_id: str, admitted: Admitted, consent: Consent, seen: "_Seen"
    ) -> Result | None:
        """Save the files of a bundle; return the failure of those that have not come."""
        batch, device = seen.batch, admitted.opened.device.identity_key
        assert batch is not None, "a bundle has been judged by its batch"
        saved = self._commands.saved(device, batch)
        first, retries = batch.index - 1, self._online.network.retries
        run = Afterwards(self._options.command, negotiation.session.peer, self._emit)

        taken = bool(saved)

        def ended(place: int, result: Result | None) -> None:
            nonlocal taken
            if isinstance(result, FileDone):
                saved.add(first + place)
                run.for_file(result)
            if result is not None:
                taken = True
                self._note(result)

        rules = Rules(self._options, consent, frozenset(number - first for number in saved))
        unbundling = Unbundling(
            self._online,
            self._emit,
            negotiation=negotiation,
            admitted=admitted,
            transfer_id=transfer_id,
            rules=rules,
            ended=ended,
        )
        async with run:
            outcome = await unbundling.run()
            back: asyncio.Event | None = None
            if isinstance(outcome, Broken) and outcome.transient and retries:
                # At once: the sender may be back before the user's commands have ended.
                back = self._commands.broke(device, batch, seen.count)
        self._demand_offered(outcome)
        if isinstance(outcome, FileDone):
            self._ended_files(seen, declined=not taken)
            return None
        await negotiation.close()
        if back is not None:
            self._emit(Waiting(transfer_id, "receive", outcome.error, 1, pause_before(1)))
            if await self._commands.returns(back, patience_s(retries)):
                return None
        return unbundling.failed(outcome)

    async def _persist(self, reception: Reception, transfer_id: str, mailbox: Mailbox) -> Outcome:
        """Receive, and wait for the sender to come back where the line breaks."""
        rest = Collection(self._online, self._emit, transfer_id, mailbox)

        def tell(attempt: int, pause_s: float, error: JetError) -> None:
            self._emit(Waiting(transfer_id, "receive", error, attempt, pause_s))

        return await persist(
            reception.run(),
            mailbox=mailbox,
            answer=rest.answer,
            again=None,
            retries=self._online.network.retries,
            tell=tell,
        )

    # Consent.

    def _check_place(self, admitted: Admitted, name: str, on_exist: OnExist) -> None:
        """Raise DeclinedError where the user wants no file of that name, or has had the only one."""
        if self._options.stdout or self._options.output is not None:
            if self._taken:
                raise DeclinedError("this receiver takes one file only")
            self._taken = True
        elif on_exist == "skip" and os.path.lexists(admitted.directory / name):
            raise DeclinedError(f"'{shown(name)}' is here already")

    def _demand_offered(self, outcome: Outcome) -> None:
        """Raise DeclinedError where the offer was withdrawn before we had accepted it, so that nothing has begun."""
        if isinstance(outcome, Broken) and outcome.withdrawn and not outcome.kept:
            self._taken = False
            raise DeclinedError(WITHDRAWN)

    def _decline(self, negotiation: Negotiation, transfer_id: str, error: DeclinedError, *, told_of: bool) -> None:
        peer = negotiation.session.peer
        by_peer = negotiation.ended.done()
        reason = reason_for(error)
        negotiation.terminate(reason.condition, error.message or None)
        by = "peer" if by_peer else "me" if isinstance(error, RefusedError) else "policy"
        # What was told to begin is told to end; of the others one a minute is enough.
        if told_of or self._may_tell(peer.partition("/")[0]):
            self._tell_declined(transfer_id, by, error)

    def _may_tell(self, bare_jid: str) -> bool:
        return self._told.take(bare_jid, asyncio.get_running_loop().time())

    def _tell_declined(self, transfer_id: str, by: str, error: DeclinedError) -> None:
        hint = f"; to take it:  {error.hint}" if error.hint else ""
        self._emit(Declined(transfer_id, "receive", by, f"{error.message}{hint}"))

    def _fail(self, negotiation: Negotiation, transfer_id: str, error: JetError) -> FileFailed:
        reason = reason_for(error)
        negotiation.terminate(reason.condition, reason.text)
        offered = negotiation.session.offer.description
        failed = FileFailed(transfer_id, "receive", offered.name if offered else None, error)
        self._emit(failed)
        return failed


def _kind(result: Result) -> int:
    return result.error.exit_code if isinstance(result, FileFailed) else 0


@dataclass(slots=True)
class _Seen:
    """What is known of an offer so far: its batch, how many files it has, and the device once that is sure.

    `told` says whether the user has been told of it.
    """

    batch: Batch | None
    count: int = 1
    device: bytes | None = None
    told: bool = False
