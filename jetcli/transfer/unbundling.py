"""Taking a bundle: each of its members becomes a file of its own, under the rules that hold for a single file.

A worker thread hands over verified bytes; a member is judged and saved once all of it is there, and told (to the user
and to the sender) once the directory is on the disk. What breaks loses only what has not come: the sender offers that
anew, and a member that is here already is not saved twice.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from msgspec import Struct

from jetcli.errors import DeclinedError, IntegrityError, InterruptedTransferError, JetError, RemoteProtocolError
from jetcli.files.bundle import SmallFiles
from jetcli.files.space import check_space
from jetcli.protocol.bundle import Member, MemberReader
from jetcli.protocol.model import MembersEnded
from jetcli.protocol.offer import acceptance
from jetcli.protocol.policy import local_name, shown, shown_size
from jetcli.state.transfers import TransferRecord
from jetcli.transfer.account import Online
from jetcli.transfer.admission import Admitted
from jetcli.transfer.events import (
    Accepted,
    Consent,
    Declined,
    Event,
    FileDone,
    FileFailed,
    Listener,
    Offered,
    PathChosen,
    Progress,
    Verification,
)
from jetcli.transfer.incoming import Begun, Expected, Incoming
from jetcli.transfer.journal import Unrecorded, history_of, note
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.outcome import Broken, Outcome, reason_for
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.ways import accepted_transport
from jetcli.xmpp.negotiation import Negotiation

#: So many files share one writing down of their directory, and one word to the sender.
_GROUP = 64


class Ended(Struct, frozen=True):
    """How the member at `place` (from 1) ended: saved at `path`, or not for `error`.

    With neither it was here before.
    """

    place: int
    member: Member
    seconds: float
    path: Path | None = None
    error: JetError | None = None


class Rules(Struct, frozen=True):
    """What holds for the members: the user's options and consent, and the places of those that are here already."""

    options: ReceiveOptions
    consent: Consent
    had: AbstractSet[int] = frozenset()


class MemberFiles:
    """Where the bytes of a bundle go, see `jetcli.files.sink.Output`.

    `ended` hears how some of its members ended, on the worker thread.
    """

    resumable = False
    waiting = False

    def __init__(
        self, directory: Path, transfer_id: str, count: int, rules: Rules, ended: Callable[[Sequence[Ended]], None]
    ) -> None:
        self._files = SmallFiles(directory, transfer_id)
        self._directory = directory
        self._reader = MemberReader(count)
        self._rules = rules
        self._ended = ended
        self._place = 0
        self._position = 0
        self._last = time.monotonic()

    @property
    def position(self) -> int:
        """Bytes of the stream so far."""
        return self._position

    def stop(self) -> None:
        """Do nothing: files never wait."""

    def write(self, view: memoryview) -> None:
        """Take verified bytes, and save the members that they complete."""
        members = self._reader.feed(view)
        self._position += len(view)
        for first in range(0, len(members), _GROUP):
            ended = [self._take(member, data) for member, data in members[first : first + _GROUP]]
            self._files.settle()
            self._ended(ended)

    def sync(self) -> int:
        """Return how many bytes have come: what counts of them is on the disk."""
        return self._position

    def publish(self, mtime: float | None = None) -> None:
        """Make sure that every member has come; each of them has been published by itself."""
        del mtime
        self._files.close()
        self._reader.finish()

    def keep(self) -> int:
        """Close; nothing is kept that is no whole file."""
        self._files.close()
        return self._position

    def discard(self) -> None:
        """Close; what has been saved stays."""
        self._files.close()

    def _take(self, member: Member, data: bytes) -> Ended:
        self._place += 1
        path = error = None
        if self._place not in self._rules.had:
            try:
                path = self._save(member, data)
            except JetError as refused:
                error = refused
        before, self._last = self._last, time.monotonic()
        return Ended(self._place, member, self._last - before, path, error)

    def _save(self, member: Member, data: bytes) -> Path:
        """Save a member under the rules of a single file; raises as they do."""
        options, consent = self._rules.options, self._rules.consent
        name = consent.name if consent.name and self._place == 1 else None
        name = name or local_name(member.name, allow_hidden=options.allow_hidden)
        if options.max_size is not None and member.size > options.max_size:
            raise DeclinedError(f"'{shown(name)}' is larger than --max-size ({shown_size(member.size)})")
        if member.withheld:
            raise InterruptedTransferError(f"the sender kept '{shown(name)}' back: it cannot be read, or has changed")
        if member.sha256 is not None and hashlib.sha256(data).digest() != member.sha256:
            raise IntegrityError(f"'{shown(name)}' does not match the announced checksum; it was not saved")
        on_exist = consent.on_exist or options.on_exist
        if on_exist == "skip" and self._files.is_taken(name):
            raise DeclinedError(f"'{shown(name)}' is here already")
        check_space(self._directory, member.size)
        return self._files.save(self._place, name, data, mtime=float(member.mtime), on_exist=on_exist)


class Unbundling:
    """One admitted and agreed offer of a bundle.

    `ended` hears of each member: its place, and how it ended, None where it was declined or here before.
    """

    def __init__(
        self,
        online: Online,
        emit: Listener,
        *,
        negotiation: Negotiation,
        admitted: Admitted,
        transfer_id: str,
        rules: Rules,
        ended: Callable[[int, FileDone | FileFailed | None], None],
    ) -> None:
        content = admitted.offer.content
        assert content.bundle is not None, "only a bundle is unbundled"
        self._online = online
        self._emit = emit
        self._negotiation = negotiation
        self._admitted = admitted
        self._id = transfer_id
        self._rules = rules
        self._on_ended = ended
        self._path: PathChosen | None = None
        self.count = content.bundle
        #: How many members have come to an end.
        self.through = 0

    async def run(self) -> Outcome:
        """Receive the bundle; a failure is returned. Raises LocalFileError before the accept."""
        loop = asyncio.get_running_loop()

        def ended(group: Sequence[Ended]) -> None:
            loop.call_soon_threadsafe(self._tell, group)

        sink = MemberFiles(self._admitted.directory, self._id, self.count, self._rules, ended)
        offer = self._admitted.offer
        expected = Expected(
            id=self._id,
            name=self._admitted.name,
            size=self._admitted.size,
            date=None,
            cipher=offer.cipher,
            secret=self._admitted.secret,
            repeatable=False,
            anew=True,
            device=self._admitted.opened.device.identity_key,
        )
        incoming = Incoming(
            self._online,
            self._of_stream,
            self._negotiation,
            expected=expected,
            sink=sink,
            journal=Unrecorded(self._online.transfers, self._id),
            mailbox=Mailbox(),
        )
        return await incoming.run(self._accept)

    async def _accept(self) -> Begun:
        offer = self._admitted.offer
        transport = await accepted_transport(self._online, self._negotiation, offer.transport)
        self._negotiation.accept(acceptance(offer.content, transport))
        return Begun(offer.content)

    def failed(self, broken: Broken) -> FileFailed:
        """Tell of the members that have not come, and return how they ended."""
        error = broken.error
        error.message = f"{error.message}; {self.through} of {self.count} files of this command have come"
        failure = FileFailed(self._id, "receive", None, error)
        self._emit(failure)
        return failure

    def member_id(self, place: int) -> str:
        """Return the id of a member; the first is told of under that of the bundle."""
        return self._id if place == 1 else f"{self._id}-{place}"

    def _of_stream(self, event: Event) -> None:
        """Pass on what happens to the stream, but for what is told of each member."""
        if isinstance(event, PathChosen):
            self._path = event
        elif not isinstance(event, Progress | FileDone):
            self._emit(event)

    def _tell(self, group: Sequence[Ended]) -> None:
        """Record how some members ended, tell the user, then the sender."""
        note(self._online.transfers, [self._record(one) for one in group if _has_history(one)], self._emit)
        for one in group:
            self.through = one.place
            result = None
            if one.path is not None or one.error is not None:
                self._announce(one)
                result = self._result(one)
            self._on_ended(one.place, result)
        refused = tuple((one.place, reason_for(one.error)) for one in group if one.error is not None)
        self._negotiation.inform(MembersEnded(self.through, refused))

    def _record(self, one: Ended) -> TransferRecord:
        member, final_name = one.member, one.path.name if one.path else None
        return history_of(
            self.member_id(one.place),
            "receive",
            self._negotiation.session.peer.partition("/")[0],
            name=member.name,
            size=member.size,
            path=self._admitted.directory.absolute(),
            final_name=final_name,
            saved=one.path is not None,
        )

    def _announce(self, one: Ended) -> None:
        """Tell what a single file's offer, acceptance and way would have told."""
        member_id, member = self.member_id(one.place), one.member
        if one.place > 1:
            peer = self._negotiation.session.peer
            self._emit(Offered(member_id, "receive", peer, member.name, member.size, None, resumable=False))
        if isinstance(one.error, DeclinedError | RemoteProtocolError):
            return  # the rules would not have let it come alone
        self._emit(Accepted(member_id, "receive"))
        if self._path is not None:
            self._emit(PathChosen(member_id, "receive", self._path.transport, self._path.relay))

    def _result(self, one: Ended) -> FileDone | FileFailed | None:
        member_id, member = self.member_id(one.place), one.member
        result: FileDone | FileFailed
        if isinstance(one.error, DeclinedError):
            self._emit(Declined(member_id, "receive", "policy", one.error.message))
            return None
        if one.error is not None:
            result = FileFailed(member_id, "receive", member.name, one.error)
        else:
            assert one.path is not None, "what was not refused was saved"
            digest = member.sha256.hex() if member.sha256 else None
            proof: Verification = "chunks+checksum" if digest else "chunks"
            name, size = one.path.name, member.size
            self._emit(Progress(member_id, "receive", size, size))
            result = FileDone(member_id, "receive", name, one.path, size, one.seconds, proof, digest)
        self._emit(result)
        return result


def _has_history(one: Ended) -> bool:
    """Say whether there is something to keep: of a file that was here before, or not wanted, there is not."""
    return one.path is not None or (one.error is not None and not isinstance(one.error, DeclinedError))
