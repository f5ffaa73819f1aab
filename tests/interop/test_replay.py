"""Whole sessions of other clients, replayed to jet with one element of one stanza changed, thousands of times.

Of jet everything runs but the network and the ratchet: what reads stanzas, the session and its deadlines, what judges
an offer, the stream, the part file and its publication. Each session ends in time, with the file or with an error of
jet's own, and a file that appears is the sender's.
"""

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from captures import CAPTURES, FILES, Recorded, parsed, sessions, variants
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lxml import etree

from jetcli.errors import JetError, TrustError
from jetcli.protocol import model
from jetcli.protocol.device import Device, OpenedEnvelope, Trust
from jetcli.protocol.effects import Limits
from jetcli.protocol.quirks import Quirks
from jetcli.protocol.session import Session
from jetcli.transfer import incoming, intake
from jetcli.transfer.admission import admit
from jetcli.transfer.events import FileDone
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.reception import Reception
from jetcli.xmpp.jingle_reader import read
from jetcli.xmpp.negotiation import Negotiation, SessionEnded

pytestmark = [pytest.mark.matrix, pytest.mark.skipif(not FILES, reason=f"no captures at {CAPTURES}")]

CONTENT, KEY = random.Random(0).randbytes(1003), bytes(range(16))
#: Every deadline of a session, and the sum of all that one can have, with room for a busy machine.
DEADLINE_S, END_S = 0.3, 20.0
AT_ONCE = 60


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(incoming, "CHECKSUM_S", DEADLINE_S)
    monkeypatch.setattr(intake, "SURPLUS_WAIT_S", DEADLINE_S)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield threads


class Bytes:
    """The channel, on which everything that the peer sent has come."""

    def __init__(self, wire: bytes) -> None:
        self._rest = memoryview(wire)
        self.patience = lambda: False

    def recv_into(self, buffer) -> int:
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def drain(self, _deadline_s, enough=None) -> int:
        return len(self._rest)

    def abort(self) -> None:
        self._rest = self._rest[:0]

    close = abort


@dataclass
class Ways:
    """The candidates: what is offered and reached is what jet's side offered and reached in the capture."""

    own: list[etree._Element]
    wire: bytes
    refused: int = 0

    async def offer(self, sid, _proxies, *, taken=()):
        accepted = [action for action in map(plain, self.own) if isinstance(action, model.Accept)]
        known = accepted[0].content.transport if accepted else None
        return model.Socks5Transport(sid, known.candidates if isinstance(known, model.Socks5Transport) else ())

    async def dial(self, candidates, _dstaddr, _sid):
        notes = [action.note for action in map(plain, self.own) if isinstance(action, model.TransportInfo)]
        reached = {note.cid for note in notes if isinstance(note, model.CandidateUsed)}
        return next((each for each in candidates if each.cid in reached), None)

    async def activate(self, _sid, _candidate):
        return True

    async def take(self, _candidate, *, owned):
        return Bytes(self.wire)

    def raise_floor(self, _floor):
        pass

    def drop(self):
        pass


def plain(element: etree._Element) -> model.Action | None:
    """Read an element that was not changed."""
    jingle = parsed(element)
    try:
        return None if jingle is None else read(jingle)
    except JetError:
        return None


def online(recorded: Recorded, pool) -> SimpleNamespace:
    """What a reception knows of the world: a ratchet that opens the captured envelope and no other."""
    captured = plain(recorded.by_initiator[0]).content.security
    device = Device("peer@jet.test", 7, b"k" * 32, Trust.BLIND)

    async def open_envelope(envelope: model.Envelope, _sender: str) -> OpenedEnvelope:
        if captured is None or envelope.keys != captured.envelope.keys or envelope.sender != captured.envelope.sender:
            raise TrustError("the envelope cannot be opened")
        return OpenedEnvelope(KEY, envelope.iv, device)

    async def proxies():
        return ()

    return SimpleNamespace(
        jid=recorded.responder,
        pool=pool,
        hashing=pool,
        finishing=pool,
        network=SimpleNamespace(idle_s=DEADLINE_S),
        omemo=SimpleNamespace(open=open_envelope),
        quirks=lambda _peer: Quirks(),
        proxies=proxies,
        transfers=Mock(),
        throttle=SimpleNamespace(slowed=lambda channel: channel),
        seen_envelopes=SimpleNamespace(first_time=lambda *_: True),
        chunked_peers=SimpleNamespace(knows=lambda _key: False),
    )


def negotiated(sid: str, me: str, peer: str, ways: Ways) -> Negotiation:
    """A session whose every stanza is acknowledged, and whose deadlines are short."""

    async def deliver(_action) -> None:
        return

    async def open_inband(_transport, _open_it):
        return Bytes(ways.wire)

    inband, limits = model.InbandTransport("i", 4096), Limits(*[DEADLINE_S] * 5)
    return Negotiation(Session(sid, me, peer, inband=inband, limits=limits), ways, deliver, open_inband)


def hears(negotiation: Negotiation, action: model.Action | None) -> bool:
    """Take one stanza as the service does; say whether it was taken."""
    if action is None or action.sid != negotiation.session.sid:
        return False
    try:
        negotiation.receive(action)
    except JetError:  # the peer gets an error, and the session goes on
        return False
    return True


async def receiving(
    recorded: Recorded, heard: list[etree._Element], place: Path, pool, *, patience_s: float = 0.0
) -> str:
    """Let jet hear what the initiator said, and send what it sent; return what it came to, in a word.

    An initiator that ends the session has sent its bytes before: so long it lets jet take them.
    """
    captured = plain(recorded.by_initiator[0]).content.security
    iv = captured.envelope.iv if captured is not None else bytes(12)
    actions = [plain(element) for element in heard]
    first = next((at for at, action in enumerate(actions) if isinstance(action, model.Initiate)), None)
    if first is None:
        return "no session"
    ways = Ways(recorded.by_responder, AESGCM(KEY).encrypt(iv, CONTENT, None))
    negotiation = negotiated(actions[first].sid, recorded.responder, recorded.initiator, ways)
    if not hears(negotiation, actions[first]):
        return "no session"
    reception = asyncio.create_task(received(online(recorded, pool), negotiation, place))
    try:
        for action in actions[first + 1 :]:
            await asyncio.sleep(0.001)
            if isinstance(action, model.Terminate):
                await asyncio.wait({reception}, timeout=patience_s)
            hears(negotiation, action)
        async with asyncio.timeout(END_S):
            return await reception
    finally:
        await negotiation.close()


async def sending(recorded: Recorded, heard: list[etree._Element], _place: Path, _pool) -> str:
    """Let jet offer what the initiator offered and hear what the responder said; return how the session ended."""
    offer = plain(recorded.by_initiator[0])
    negotiation = negotiated(offer.sid, recorded.initiator, recorded.responder, Ways(recorded.by_initiator, b""))
    negotiation.initiate(offer.content)

    async def sent() -> str:
        try:
            await negotiation.channel
            negotiation.first_byte()
            negotiation.inform(model.Checksum(()))
            negotiation.await_confirmation()
        except SessionEnded:
            pass
        end = await negotiation.ended
        assert end.error is None or isinstance(end.error, JetError)
        return type(end.error).__name__ if end.error else f"the peer: {end.reason.condition}"

    try:
        async with asyncio.timeout(END_S):
            task = asyncio.create_task(sent())
            for element in heard:
                await asyncio.sleep(0.001)
                hears(negotiation, plain(element))
            return await task
    finally:
        await negotiation.close()


async def received(world, negotiation: Negotiation, place: Path) -> str:
    """Take the offer as `jet receive --accept-all` does."""
    options = ReceiveOptions(place, accept_all=True)
    try:
        admitted = await admit(world, options, negotiation)
        reception = Reception(
            world,
            options,
            lambda _event: None,
            negotiation=negotiation,
            admitted=admitted,
            transfer_id="t",
            name=admitted.name,
            on_exist="rename",
            mailbox=Mailbox(),
        )
        outcome = await reception.run()
    except JetError as error:
        return type(error).__name__
    except SessionEnded as ended:
        return f"ended: {ended.end.reason.condition}"
    return "saved" if isinstance(outcome, FileDone) else type(outcome.error).__name__


def check(place: Path, came: str) -> None:
    """What lies in the directory is the sender's file, or nothing."""
    found = [path.read_bytes() for path in place.iterdir()]
    assert found == ([CONTENT] if came == "saved" else []), (came, [path.name for path in place.iterdir()])


async def every_variant(play, recorded: Recorded, said: list[etree._Element], place: Path, pool) -> Counter:
    """Play a session once for every change of every stanza that the peer has said."""
    gate, came = asyncio.Semaphore(AT_ONCE), Counter()

    async def one(directory: Path, heard: list[etree._Element]) -> None:
        async with gate:
            await asyncio.to_thread(directory.mkdir, parents=True)
            word = await play(recorded, heard, directory, pool)
            check(directory, word)
            came[word] += 1

    async with asyncio.TaskGroup() as tasks:
        for at, whole in enumerate(said):
            for number, (what, variant) in enumerate(variants(whole)):
                heard = [*said[:at], variant, *said[at + 1 :]]
                tasks.create_task(one(place / f"{at}-{number}", heard), name=what)
    return came


#: What was no transfer to begin with: nothing encrypted, or a session that its receiver refused.
NO_TRANSFER = {
    "dino-to-dino-jet-ibb": "NetworkError",
    "dino-to-libervia-jet": "NetworkError",
    "libervia-plain": "TrustError",
    "libervia-to-dino-jet-l5m.bin": "NetworkError",
    "libervia-to-dino-plain": "TrustError",
    "probe-to-dino-plain-ibb": "TrustError",
}
#: Where the initiator gave up just when it need not have any more.
RACES = {"libervia-to-dino-jet-ibb"}
EVERY_CAPTURE = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@EVERY_CAPTURE
async def test_a_session_as_it_was_is_received(path, tmp_path, pool):
    for number, recorded in enumerate(sessions(path, CONTENT)):
        place = tmp_path / str(number)
        place.mkdir()
        came = await receiving(recorded, recorded.by_initiator, place, pool, patience_s=DEADLINE_S)
        check(place, came)
        if path.stem not in RACES:
            assert came == NO_TRANSFER.get(path.stem, "saved")


@EVERY_CAPTURE
async def test_a_sender_with_one_element_changed_gives_an_error_or_the_file_in_time(path, tmp_path, pool):
    for number, recorded in enumerate(sessions(path, CONTENT)):
        came = await every_variant(receiving, recorded, recorded.by_initiator, tmp_path / str(number), pool)
        assert len(came) > 1


@EVERY_CAPTURE
async def test_a_receiver_with_one_element_changed_ends_the_session_in_time(path, tmp_path, pool):
    for number, recorded in enumerate(sessions(path, CONTENT)):
        came = await every_variant(sending, recorded, recorded.by_responder, tmp_path / str(number), pool)
        assert came or not recorded.by_responder
