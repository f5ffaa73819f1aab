"""Which transfers this process owns, and where sessions that continue one of them are handed in.

One process owns a transfer, by a lock that the kernel releases with it. Inside the process one task owns it, and gets
every session of the peer that is about it through its `Mailbox`. What is done with a session is the owner's business.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jetcli.protocol.table import State
from jetcli.state.locks import transfer_lock
from jetcli.xmpp.negotiation import Negotiation


class Mailbox:
    """Where the owner of one transfer finds sessions that the peer has started to continue it.

    `current` is the session that the owner is busy with, `abandon` ends what it does there.
    """

    def __init__(self) -> None:
        self.current: Negotiation | None = None
        self.abandon: Callable[[], None] = lambda: None
        self._arrived: asyncio.Queue[Negotiation] = asyncio.Queue()

    def deliver(self, negotiation: Negotiation) -> None:
        """Hand in a session of the peer; the newest word of the peer counts.

        Where our own proposal is still unanswered, the lower session id wins, as in XEP-0166 section 7.2.16.
        """
        current = self.current
        if current is not None and current.session.state in {State.PENDING, State.ACTIVE}:
            pending = current.session.initiator and current.session.state is State.PENDING
            if pending and current.session.sid.encode() < negotiation.session.sid.encode():
                negotiation.terminate("alternative-session")
                return
            current.terminate("alternative-session" if pending else "connectivity-error")
            self.abandon()
        self._arrived.put_nowait(negotiation)

    def arrived(self) -> Negotiation | None:
        """Return a session of the peer that has come already, or None."""
        return None if self._arrived.empty() else self._arrived.get_nowait()

    async def next(self, timeout_s: float) -> Negotiation | None:
        """Return the next session of the peer, or None where none comes in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._arrived.get()
        except TimeoutError:
            return None

    def leave(self) -> None:
        """Tell the peer that we go, so that it looks for somebody else; for the session there is and those to come."""
        waiting = list(iter(self.arrived, None))
        for each in (self.current, *waiting):
            if each is not None:
                each.terminate("gone")
        for each in waiting:
            self._arrived.put_nowait(each)

    async def close(self) -> None:
        """End the sessions that nobody has taken."""
        while not self._arrived.empty():
            await self._arrived.get_nowait().close()


class Ownership:
    """The transfers of this process, under the account that has its state in `directory`."""

    def __init__(self, directory: Path, command: str) -> None:
        self._directory = directory
        self._command = command
        self._mailboxes: dict[str, Mailbox] = {}

    def mailbox(self, transfer_id: str) -> Mailbox | None:
        """Return where sessions about a transfer go, or None where this process does not own it."""
        return self._mailboxes.get(transfer_id)

    @contextmanager
    def own(self, transfer_id: str) -> Iterator[Mailbox]:
        """Own a transfer; raise SetupError naming the process that owns it, if another does."""
        with transfer_lock(self._directory, transfer_id, command=self._command):
            mailbox = self._mailboxes[transfer_id] = Mailbox()
            try:
                yield mailbox
            finally:
                del self._mailboxes[transfer_id]
