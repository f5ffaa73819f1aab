"""Which of a contact's resources a file is sent to, with a discovery in memory."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from jetcli.errors import NobodyResumesError, UnavailableError, UnsupportedError, UsageError
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.quirks import RECEIVING, SENDING
from jetcli.transfer import peer as peers
from jetcli.transfer.peer import capabilities, find_peer, resuming_peers

ME, BOB = "me@north.test/jet.1", "bob@south.test"
JET = frozenset(RECEIVING)
OTHER = JET - {feature for feature in JET if feature.startswith("urn:jetcli:")}


@dataclass
class World:
    """Bob's resources: what each advertises, or None where it does not answer; `devices` are his OMEMO devices."""

    online: dict[str, frozenset[str] | None]
    contact: bool = True
    names: dict[str, str] = field(default_factory=dict)
    devices: tuple[Device, ...] = (Device(BOB, 1, b"key", Trust.BLIND),)
    jid: str = ME
    told: list[object] = field(default_factory=list)
    proposed_to: str | None = None
    here: frozenset[str] = frozenset()
    bare_jid: str = "me@north.test"
    later: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.emit = self.told.append
        self.discovery = self.messages = self
        self.omemo = SimpleNamespace(devices=self.devices_of)

    async def devices_of(self, _jid):
        if not self.devices:
            raise UnsupportedError("none")
        return self.devices

    def shows_presence(self, _jid: str) -> bool:
        return self.contact

    def runs_here(self, jid: str) -> bool:
        return jid == self.jid or jid in self.here

    async def wait_for_presence(self, jid: str, _timeout_s: float, *, but) -> None:
        """They are here, or are not; who comes `later` comes where nobody else will do."""
        if all(but(f"{jid}/{name}") for name in self.online):
            self.online |= self.later

    def resources(self, jid: str):
        return [SimpleNamespace(jid=f"{jid}/{name}") for name in self.online]

    async def peer_info(self, jid: str, _timeout_s: float, *, awake: bool):
        if jid.endswith("/silent"):
            await asyncio.Event().wait()
        features = self.online.get(jid.partition("/")[2])
        if features is None:
            raise UnavailableError(f"{jid} did not answer")
        return SimpleNamespace(features=features, client_name=self.names.get(jid.partition("/")[2], "jet"))

    async def version(self, _jid: str, _timeout_s: float):
        return None

    async def propose(self, bare: str, _timeout_s: float, *, transfer=None):
        if self.proposed_to is None:
            raise UnavailableError(f"no device of {bare} answered")
        return f"{bare}/{self.proposed_to}", "the proposal"


@pytest.mark.parametrize(
    ("online", "chosen"),
    [
        ({"a": JET}, "a"),
        ({"old": frozenset(), "a": JET}, "a"),
        ({"chat": OTHER, "a": JET}, "a"),
        ({"sends": frozenset(SENDING), "chat": OTHER}, "chat"),
        ({"first": JET, "second": JET}, "first"),
        ({"ghost": None, "a": JET}, "a"),
    ],
)
async def test_the_best_resource_that_answers_is_taken(online, chosen):
    assert (await find_peer(World(online), BOB)).jid == f"{BOB}/{chosen}"


@pytest.mark.parametrize(
    ("online", "chosen"),
    [
        ({"resuming": frozenset(SENDING)}, "resuming"),
        ({"chat": OTHER, "resuming": frozenset(SENDING)}, "resuming"),
        ({"resuming": frozenset(SENDING), "a": JET}, "a"),
        ({"chat": OTHER}, "chat"),
    ],
)
async def test_what_is_to_be_continued_may_go_to_one_that_receives_nothing_else(online, chosen):
    assert (await find_peer(World(online), BOB, transfer="sid")).jid == f"{BOB}/{chosen}"


async def test_a_full_address_is_used_as_it_is():
    world = World({"a": JET, "chat": OTHER}, contact=False)
    assert (await find_peer(world, f"{BOB}/chat")).jid == f"{BOB}/chat"


@pytest.mark.parametrize("online", [{}, {"ghost": None}])
async def test_nobody_who_answers_is_unavailable(online):
    with pytest.raises(UnavailableError, match=r"bob@south\.test is not online"):
        await find_peer(World(online), BOB)


async def test_somebody_whose_presence_is_hidden_is_unavailable_with_the_two_ways_out():
    with pytest.raises(UnavailableError, match="no contact") as refusal:
        await find_peer(World({"a": JET}, contact=False), BOB)
    assert f"{BOB}/jet..." in refusal.value.hint
    assert "contacts" in refusal.value.hint


async def test_somebody_whose_presence_is_hidden_is_found_by_a_proposal():
    world = World({"a": JET, "b": JET}, contact=False)
    world.proposed_to = "b"
    peer = await find_peer(world, BOB)
    assert (peer.jid, peer.proposal) == (f"{BOB}/b", "the proposal")


async def test_a_client_that_cannot_is_named_with_what_it_lacks():
    with pytest.raises(UnsupportedError, match=r"bob@south\.test/old cannot receive .*jingle:jet"):
        await find_peer(World({"old": frozenset(SENDING)}), BOB)


async def test_a_client_whose_encryption_differs_is_refused():
    with pytest.raises(UnsupportedError, match="XEP-0396"):
        await find_peer(World({"a": OTHER}, names={"a": "aTalk"}), BOB)


async def test_this_very_client_is_a_usage_error():
    with pytest.raises(UsageError, match=r"^cannot send to this very client$"):
        await find_peer(World({}), ME)


async def test_our_other_resources_are_peers_and_this_one_is_not():
    world = World({"jet.1": JET, "jet.2": JET})
    assert (await find_peer(world, "me@north.test")).jid == "me@north.test/jet.2"


async def test_a_receiver_of_this_machine_is_no_peer_of_its_sender():
    world = World({"jet.1": JET, "jet.2": JET, "jet.3": JET}, here=frozenset({"me@north.test/jet.2"}))
    assert (await find_peer(world, "me@north.test")).jid == "me@north.test/jet.3"
    with pytest.raises(UsageError, match="very machine"):
        await find_peer(world, "me@north.test/jet.2")
    with pytest.raises(UnavailableError, match=r"no other machine of me@north\.test is online"):
        await find_peer(World({"jet.1": JET}), "me@north.test")


async def test_the_best_resource_names_those_that_are_as_good():
    peer = await find_peer(World({"chat": OTHER, "a": JET, "b": JET, "c": JET}), BOB)
    assert [peer.jid, *(other.jid for other in peer.others)] == [f"{BOB}/{name}" for name in "abc"]


async def test_a_table_names_the_best_device_first_and_why_others_would_not_do():
    best, worst = await capabilities(World({"old": frozenset(), "a": JET}), BOB)
    assert (best.jid, best.receives, best.why_not, best.trust) == (f"{BOB}/a", True, "", "btbv")
    assert best.paths == ("direct", "relay", "ibb")
    assert (worst.receives, worst.jet_omemo) == (False, False)
    assert worst.why_not.startswith("missing jingle")


@pytest.mark.parametrize(
    ("levels", "word", "receives"),
    [
        ((), "no keys", False),
        ((Trust.BLIND,), "btbv", True),
        ((Trust.BLIND, Trust.VERIFIED), "verified", True),
        ((Trust.BLIND, Trust.DISTRUSTED), "btbv", True),
        ((Trust.UNDECIDED,), "new key", True),
        ((Trust.DISTRUSTED,), "distrusted", False),
        ((Trust.UNDECIDED, Trust.DISTRUSTED), "new key", True),
    ],
)
async def test_a_table_says_how_far_the_keys_are_trusted_and_whether_a_file_would_be_sealed(levels, word, receives):
    devices = tuple(Device(BOB, number, b"key", level) for number, level in enumerate(levels))
    [row] = await capabilities(World({"a": JET}, devices=devices), BOB)
    assert row.trust == word
    assert row.receives is receives
    assert bool(row.why_not) is not receives


async def test_a_ghost_does_not_hold_up_a_transfer_that_another_can_continue(monkeypatch):
    monkeypatch.setattr(peers, "GRACE_S", 0.01)
    world = World({"silent": JET, "client": OTHER, "jet": JET})
    async with asyncio.timeout(5):
        able = await resuming_peers(world, BOB, before=f"{BOB}/silent")
    assert [peer.jid for peer in able] == [f"{BOB}/jet"]


async def test_those_that_cannot_continue_a_transfer_are_not_the_last_word_on_it():
    world = World({"ghost": None, "phone": OTHER}, names={"phone": "Dino"})
    with pytest.raises(NobodyResumesError, match=r"bob@south\.test cannot continue a transfer with Dino"):
        await resuming_peers(world, BOB, before=f"{BOB}/ghost")


async def test_whoever_comes_in_time_is_found_although_a_ghost_is_seen():
    assert (await find_peer(World({"ghost": None}, later={"a": JET}), BOB, wait_s=30.0)).jid == f"{BOB}/a"


async def test_who_wants_nobody_waited_for_hears_at_once_that_there_is_only_a_ghost():
    with pytest.raises(UnavailableError):
        await find_peer(World({"ghost": None}, later={"a": JET}), BOB)
