"""Sending many small files of one command as one stream, to a jet that takes bundles.

Each file is told of as if it went alone, once the receiver has said how it ended. Where the line breaks, the files that
the receiver has not told of are offered anew, in a stream of their own. A receiver that wants every file by itself says
so, and gets them so.
"""

import asyncio
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from jetcli.errors import DeclinedError, JetError, RemoteProtocolError, UnavailableError, UnsupportedError
from jetcli.files.bundle import BundleSource, SmallSource
from jetcli.files.source import STDIN
from jetcli.protocol.bundle import MAX_BUNDLE_SIZE, MAX_MEMBERS
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import SINGLY, Batch, Cipher, FileDescription, MembersEnded, Range
from jetcli.protocol.policy import shown
from jetcli.state.transfers import TransferRecord
from jetcli.transfer.account import Online
from jetcli.transfer.events import (
    Accepted,
    Declined,
    Event,
    FileDone,
    FileFailed,
    Listener,
    Offered,
    PathChosen,
    Phase,
    Progress,
    Verification,
    Waiting,
)
from jetcli.transfer.journal import history_of, new_transfer_id, note
from jetcli.transfer.offering import Offering, media_type_of
from jetcli.transfer.options import SendOptions
from jetcli.transfer.outcome import Outcome, failure_of, is_transient
from jetcli.transfer.outgoing import Begun, Outbound, Outgoing
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.peer import Peer, find_peer
from jetcli.transfer.persistence import pause_before
from jetcli.xmpp.negotiation import SessionEnded

Result = FileDone | FileFailed


def small_files(paths: Sequence[Path], unfinished: AbstractSet[str]) -> list[SmallSource]:
    """Return those that `paths` begin with and that may go as one bundle.

    A path of `unfinished` is continued instead.
    """
    files: list[SmallSource] = []
    total = 0
    for path in paths[:MAX_MEMBERS]:
        if path == STDIN or str(path.absolute()) in unfinished or (file := SmallSource.of(path)) is None:
            break
        total += file.size
        if total > MAX_BUNDLE_SIZE:
            break
        files.append(file)
    return files


class Bundling:
    """A run of small files on its way to `peer`, a device of `to`; `batch` is that of the first of them.

    After `run`, `peer` is who took them in the end, and the files behind `results` have to be sent one by one.
    """

    def __init__(
        self,
        online: Online,
        peer: Peer,
        files: Sequence[SmallSource],
        options: SendOptions,
        emit: Listener,
        *,
        to: str,
        batch: Batch,
    ) -> None:
        self.peer = peer
        self.results: list[Result] = []
        self._online = online
        self._files = files
        self._options = options
        self._emit = emit
        self._to = to
        self._batch = batch
        self._id = new_transfer_id(online.transfers)
        self._source = BundleSource(())
        self._first = 0
        self._singly = False
        self._taken = False
        self._told_at = time.monotonic()

    async def run(self) -> list[Result]:
        """Send the files and return how they ended, in their order; failures are told, not raised."""
        attempt, retries = 0, self._online.network.retries
        while True:
            through = len(self.results)
            outcome = await self._session()
            if self._singly or isinstance(outcome, FileDone):
                break
            transient = outcome.transient or (attempt > 0 and is_transient(outcome.error, None))
            attempt = 1 if len(self.results) > through else attempt + 1
            if not transient or attempt > retries:
                self._fail_rest(outcome.error)
                break
            await self._wait(attempt, outcome.error)
            if self._singly:
                break
        return self.results

    async def _session(self) -> Outcome:
        """Offer and send what has not ended, as one stream."""
        self._first = len(self.results)
        files = self._files[self._first :]
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        source = self._source = BundleSource(files, self._options.checksum, f"{files[0].name}{more}")
        out = Outbound(id=self._member_id(self._first), source=source, cipher=Cipher.CHUNKED, anew=True)
        outgoing = Outgoing(self._online, self._of_stream, self.peer.jid, out, Mailbox())
        offering = Offering(
            self._online,
            self.peer,
            self._emit,
            out=out,
            file=FileDescription(name=files[0].name, size=source.size),
            offered=self._tell_offer,
            batch=replace(self._batch, index=self._batch.index + self._first),
            bundle=(len(files), files[0].size),
        )

        async def begin() -> Begun:
            try:
                begun = await offering.accepted()
            except SessionEnded as ended:
                self._singly = ended.end.by_peer and ended.end.reason.application == SINGLY
                raise
            finally:
                self.peer = offering.peer
                outgoing.peer = self.peer.jid
            if begun.agreed != Range():
                raise RemoteProtocolError(f"{shown(self.peer.jid)} accepted a part of a bundle")
            begun.negotiation.on_members = self._members_ended
            self._tell_accepted()
            return begun

        try:
            outcome = await outgoing.run(begin)
        finally:
            await offering.close()
        if self._singly:
            # Each file is offered again, under an id of its own.
            self._emit(Declined(out.id, "send", "policy", "every file is to be offered by itself"))
        if isinstance(outcome, FileDone):
            self._members_ended(MembersEnded(len(files)))
        return outcome

    async def _wait(self, attempt: int, error: JetError) -> None:
        """Wait before the next try, then look for the peer again: it may have another address by now."""
        pause_s = pause_before(attempt)
        self._emit(Waiting(self._member_id(len(self.results)), "send", error, attempt, pause_s))
        await asyncio.sleep(pause_s)
        with suppress(UnavailableError, UnsupportedError):
            self.peer = await find_peer(self._online, self._to)
            self._singly = not self.peer.abilities.bundles

    def _fail_rest(self, error: JetError) -> None:
        """Tell of every file that has not ended why it did not go."""
        ended: list[tuple[int, JetError | None]] = []
        for place in self._left:
            name = shown(self._files[place].name)
            ended.append((place, error.saying(f"'{name}' was not sent: {error.message}")))
        self._end(ended)

    # What is told, of each file.

    def _member_id(self, place: int) -> str:
        """Return the id of the file at `place`, from 0."""
        return self._id if place == 0 else f"{self._id}-{place + 1}"

    @property
    def _left(self) -> range:
        return range(len(self.results), len(self._files))

    def _of_stream(self, event: Event) -> None:
        """Pass on what happens to the stream, but for what is told of each file."""
        if isinstance(event, PathChosen):
            for place in self._left:
                self._emit(replace(event, id=self._member_id(place)))
        elif not isinstance(event, Progress | FileDone):
            self._emit(event)

    def _tell_offer(self) -> None:
        """Tell that the first file is offered; the others are told of once they are accepted."""
        self._tell_offered(self._first)
        self._emit(Phase(f"waiting for {shown(self.peer.jid)} to accept", self._member_id(self._first)))

    def _tell_accepted(self) -> None:
        self._taken = True
        self._told_at = time.monotonic()
        for place in self._left:
            if place > self._first:
                self._tell_offered(place)
            self._emit(Accepted(self._member_id(place), "send"))

    def _tell_offered(self, place: int) -> None:
        file = self._files[place]
        kind, transfer_id = media_type_of(file.name), self._member_id(place)
        self._emit(Offered(transfer_id, "send", self.peer.jid, file.name, file.size, kind, resumable=False))

    def _members_ended(self, told: MembersEnded) -> None:
        """Take the receiver's word on how files ended, as far as they have been sent."""
        ended: list[tuple[int, JetError | None]] = []
        refused = dict(told.refused)
        already = len(self.results) - self._first
        for number in range(already, min(told.count, len(self._source.sent))):
            error: JetError | None = self._source.failures.get(number)
            if error is None and (reason := refused.get(number + 1)) is not None:
                altered = reason.condition == "security-error"
                name = shown(self._files[self._first + number].name)
                error = failure_of(Ended(reason, by_peer=True), shown(self.peer.jid), name, flowing=altered)
            ended.append((self._first + number, error))
        self._end(ended)

    def _end(self, ended: Sequence[tuple[int, JetError | None]]) -> None:
        """Record how files ended, then tell it; as with a file that goes alone, what was not taken has no record."""
        begun = [(place, error) for place, error in ended if self._taken and not isinstance(error, DeclinedError)]
        note(self._online.transfers, [self._record(*one) for one in begun], self._emit)
        for place, error in ended:
            result = self._result(place, error)
            self.results.append(result)
            if isinstance(result, FileDone):
                self._emit(Progress(result.id, "send", result.size, result.size))
            self._emit(result)

    def _record(self, place: int, error: JetError | None) -> TransferRecord:
        file, peer = self._files[place], self.peer.bare_jid
        path, saved = file.path.absolute(), error is None
        return history_of(self._member_id(place), "send", peer, name=file.name, size=file.size, path=path, saved=saved)

    def _result(self, place: int, error: JetError | None) -> Result:
        file, transfer_id = self._files[place], self._member_id(place)
        if error is not None:
            return FileFailed(transfer_id, "send", file.name, error)
        before, self._told_at = self._told_at, time.monotonic()
        seconds = self._told_at - before
        digest = self._source.sent[place - self._first].sha256
        proof: Verification = "chunks+checksum" if digest else "chunks"
        told = digest.hex() if digest else None
        return FileDone(transfer_id, "send", file.name, None, file.size, seconds, proof, told)
