"""P16: offer, cut, change the file, resume, fill the disk, cut the power, in any order.

Whatever has the final name is what the source held, whole, when a session was agreed on: never a mixture of two of its
states. All that decides and moves bytes is jet's own; only the line between the two sides is an array.
"""

import contextlib
import os
import random
import shutil
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from streams import Wire

from jetcli.errors import InterruptedTransferError, JetError, LocalFileError, NotResumableError
from jetcli.files.digest import prefix_sha256
from jetcli.files.sink import Sink
from jetcli.files.source import Source
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import Cipher, FileDescription, Range, TransportSecret
from jetcli.protocol.proof import prefix_proof, proves_prefix
from jetcli.protocol.ranges import rest_of
from jetcli.state.store import Store
from jetcli.state.transfers import Transfers, TransferState
from jetcli.transfer import collection, delivery, journal
from jetcli.transfer.collection import Collection
from jetcli.transfer.journal import Journal
from jetcli.transfer.options import Placing
from jetcli.transfer.stream import receive_stream, send_stream

DEVICE = Device("juliet@capulet.example", 1, b"k" * 32, Trust.BLIND)
#: Up to four chunks of the stream, and sizes at the edges of one.
SIZES = st.sampled_from([700_000, 900_000, 524_289, 262_144, 1])
NEVER = threading.Event()


class Full(Sink):
    """A part on a disk with room for `room` bytes more."""

    room = 2**63

    def write(self, view):
        fits = view[: max(self.room, 0)]
        super().write(fits)
        self.room -= len(view)
        if len(fits) < len(view):
            raise LocalFileError("no space left")


class Transferring(RuleBasedStateMachine):
    """One file on its way from a source to a directory, by as many sessions as it takes."""

    @initialize(size=SIZES, begun=st.sampled_from([0.0, 0.5, 0.8]))
    def offer(self, size, begun):
        """Begin a transfer of which so much arrives in its first session."""
        self.place = Path(tempfile.mkdtemp(prefix="jet-any-order-"))
        self.inbox = self.place / "inbox"
        self.inbox.mkdir()
        self.source = self.place / "film.mkv"
        self.source.write_bytes(random.Random(size).randbytes(size))
        self.stores = [Store.open(self.place / side) for side in ("sender", "receiver")]
        self.sent, self.received = (Transfers(store) for store in self.stores)
        self.boot, self.session = "boot", 0
        self.boots = [mock.patch.object(module, "this_boot", self.this_boot) for module in (journal, collection)]
        for each in self.boots:
            each.start()
        self.agreed_states: list[bytes] = []
        sink = Sink.create(self.inbox, "film.mkv", "k3v9", size=size)
        with Source.open(self.source) as source:
            file = FileDescription("film.mkv", size)
            common = {"sid": "first", "file": file, "chunked": True, "devices": [DEVICE]}
            Journal.begin(self.sent, "k3v9", direction="send", peer="juliet", path=self.source, source=source, **common)
            self.journal = Journal.begin(
                self.received,
                "k3v9",
                direction="receive",
                peer="romeo",
                path=self.inbox,
                part=sink.part,
                part_inode=sink.part_inode,
                final_name="film.mkv",
                **common,
            )
        sink.keep()
        self.journal.failed(kept=True)
        self.resume(begun, None, None, killed=False)

    @precondition(lambda self: self.done())
    @rule(size=SIZES, begun=st.sampled_from([0.5, 0.8]))
    def offer_another(self, size, begun):
        self.teardown()
        self.offer(size, begun)

    def this_boot(self):
        return self.boot

    def teardown(self):
        for each in getattr(self, "boots", ()):
            each.stop()
        for store in getattr(self, "stores", ()):
            store.close()
        shutil.rmtree(getattr(self, "place", "/nonexistent"), ignore_errors=True)

    def done(self):
        return self.received.get("k3v9").state is TransferState.DONE

    # The sessions.

    @precondition(lambda self: not self.done())
    @rule()
    def resume_to_the_end(self):
        self.resume(1.0, None, None, killed=False)

    @precondition(lambda self: not self.done())
    @rule(
        carried=st.sampled_from([0.3, 0.6, 0.9, 1.1]),
        trouble=st.sampled_from(["none", "none", "full disk", "change"]),
        at=st.floats(0, 1),
        killed=st.booleans(),
    )
    def resume_in_part(self, carried, trouble, at, killed):
        self.resume(carried, at if trouble == "full disk" else None, at if trouble == "change" else None, killed=killed)

    def resume(self, carried, room, changed_at, *, killed):
        """Continue until `carried` of the rest has come; the disk fills up, the source changes, one is killed."""
        work = Collection(SimpleNamespace(transfers=self.received), lambda _event: None, "k3v9", None, Placing())
        try:
            sink = work._reopened(self.received.get("k3v9"))
        except JetError:
            return  # what is in the place of the part is not ours, or gone
        sink.__class__ = Full
        try:
            self.transfer(sink, carried, room, changed_at)
        except InterruptedTransferError:
            if killed:  # no last note, no last sync
                sink._close()
                return
        except JetError:
            pass
        finally:
            if sink._descriptor >= 0:
                self.journal.synced(sink.position, sink.keep())
        if not self.done():
            self.journal.failed(kept=True)

    def transfer(self, sink, carried, room, changed_at):
        record, offset = self.sent.get("k3v9"), sink.position
        self.session += 1
        secret = TransportSecret(self.session.to_bytes(32), self.session.to_bytes(12))
        with delivery._opened(record) as source:
            agreed = rest_of(Range(offset), source.size)
            if delivery._must_prove(record, source) and agreed.offset:
                said = prefix_proof(secret, offset, prefix_sha256(sink, offset, NEVER))
                if not proves_prefix(said, secret, offset, prefix_sha256(source, offset, NEVER)):
                    raise NotResumableError("changed")
                Journal(self.sent, "k3v9").source_is(source)
            self.agreed_states.append(self.source.read_bytes())
            rest = source.size - offset
            wire = Wire()

            def progress(position):
                if changed_at is not None and position - offset >= changed_at * rest:
                    self.edit_in_place(position // 2)

            common = {"transcript": bytes(32), "size": source.size, "offset": offset, "stop": NEVER}
            with contextlib.suppress(LocalFileError):  # the source changed: its last chunk was not sent
                send_stream(wire, source, Cipher.CHUNKED, secret, progress=progress, **common)
            wire.stream = memoryview(bytes(wire.sent[: round(carried * len(wire.sent))]))
            if room is not None:
                sink.room = round(room * rest)

            def noted(position):
                self.journal.written(position)

            receive_stream(wire, sink, Cipher.CHUNKED, secret, progress=noted, **common)
            sink.publish()
            self.journal.done()

    # What happens in between.

    @rule(
        how=st.sampled_from(["edit", "edit", "edit", "copy", "copy and edit", "longer", "shorter"]),
        at=st.one_of(st.just(0), st.integers(0, 899_999)),
    )
    def change_the_source(self, how, at):
        before = self.source.stat()
        if how.startswith("copy"):
            shutil.copy2(self.source, self.place / "copy")
            (self.place / "copy").replace(self.source)
        if how.endswith("edit"):
            self.edit_in_place(at)
        if how in {"longer", "shorter"}:
            os.truncate(self.source, before.st_size + 1 if how == "longer" else before.st_size // 2)
            os.utime(self.source, ns=(before.st_atime_ns, before.st_mtime_ns))

    def edit_in_place(self, at):
        """Change two bytes, one of them the last, and put the time back, as the most treacherous program would."""
        before, content = self.source.stat(), bytearray(self.source.read_bytes() or b"-")
        content[at % len(content)] ^= 1
        content[-1] ^= 2
        with self.source.open("r+b") as file:
            file.write(content)
        # The clock of a file system moves in steps of some milliseconds: the change has to fall into another one.
        while self.source.stat().st_ctime_ns == before.st_ctime_ns:
            os.utime(self.source, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.utime(self.source, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(how=st.sampled_from(["power cut", "longer", "shorter"]))
    def hit_the_part(self, how):
        """Change the part as no jet does; after a power cut it is another boot, and only what was synced is there."""
        record, part = self.received.get("k3v9"), self.inbox / ".jet-k3v9.part"
        if how == "power cut":
            self.boot += "'"
        if not part.exists():
            return
        size = part.stat().st_size
        if how == "power cut":
            with part.open("r+b") as file:
                file.seek(record.synced)
                file.write(os.urandom(max(size - record.synced, 0)))
        else:
            os.truncate(part, size * 2 if how == "longer" else size // 2)

    @invariant()
    def the_file_is_what_was_offered(self):
        final = self.inbox / "film.mkv"
        if final.exists():
            assert final.read_bytes() in self.agreed_states


Transferring.TestCase.settings = settings(
    max_examples=25, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = Transferring.TestCase


@pytest.mark.parametrize("begun", [0.0, 0.5])
def test_without_trouble_the_file_comes_to_its_end(begun):
    """What holds of a published file in any order says something only where one is published."""
    transferring = Transferring()
    try:
        transferring.offer(900_000, begun)
        assert not transferring.done()
        transferring.resume_to_the_end()
        assert transferring.done()
        assert (transferring.inbox / "film.mkv").read_bytes() == transferring.source.read_bytes()
    finally:
        transferring.teardown()
