"""Two sessions joined by a queue that loses, doubles and reorders stanzas; time passes when nothing else can."""

import random
from dataclasses import dataclass, field

import pytest

from jetcli.errors import RemoteProtocolError
from jetcli.protocol import effects as fx
from jetcli.protocol import model
from jetcli.protocol.session import Session
from jetcli.protocol.table import Path, State

ADA, BOB = "ada@north.example/jet.1", "bob@south.example/jet.2"


def candidate(owner: str, kind: model.CandidateType, rank: int = 0) -> model.Candidate:
    cid = f"{owner[0]}-{kind.value}-{rank}"
    return model.Candidate(cid, "198.51.100.7", 40000, owner, (kind.preference << 16) + 65535 - rank, kind)


DIRECT, PROXY = model.CandidateType.DIRECT, model.CandidateType.PROXY


@dataclass
class World:
    """What is reachable: candidate ids that a dial reaches, and whether proxies can be activated and in-band works."""

    reachable: frozenset[str] = frozenset()
    proxies_work: bool = True
    inband_works: bool = True


@dataclass
class Side:
    """One end: its session, the deadlines that run, and what came of it."""

    session: Session
    ours: model.Socks5Transport
    deadlines: dict[fx.Wait, float] = field(default_factory=dict)
    channel: fx.UseSocks5 | fx.UseInband | None = None
    end: fx.Ended | None = None


class Pair:
    """Ada offers, Bob accepts; `run` plays until nothing moves any more."""

    def __init__(self, world: World, *, seed: int = 0, drop: float = 0.0, double: float = 0.0, reorder: float = 0.0):
        self.world = world
        self.random = random.Random(seed)
        self.faults = (drop, double, reorder)
        self.now = 0.0
        self.wire: list[tuple[str, model.Action]] = []
        inband = model.InbandTransport("ibb-1", 4096) if world.inband_works else None
        self.sides = {
            jid: Side(
                Session("J-1", jid, other, inband=inband),
                model.Socks5Transport("s5b-1", (candidate(jid, DIRECT), candidate(jid, PROXY))),
            )
            for jid, other in ((ADA, BOB), (BOB, ADA))
        }

    @property
    def ada(self) -> Side:
        return self.sides[ADA]

    @property
    def bob(self) -> Side:
        return self.sides[BOB]

    def run(self) -> "Pair":
        file = model.FileDescription("a.txt", 16)
        offer = model.Content("initiator", "ft-1", "initiator", file, self.ada.ours)
        self._perform(ADA, self.ada.session.initiate(offer))
        for _ in range(500):
            if self.wire:
                self._deliver()
            elif not self._pass_time():
                return self
        raise AssertionError("the two sides never came to rest")

    def _deliver(self) -> None:
        drop, double, reorder = self.faults
        index = self.random.randrange(len(self.wire)) if self.random.random() < reorder else 0
        to, action = self.wire.pop(index)
        if self.random.random() < drop:
            return
        for _ in range(2 if self.random.random() < double else 1):
            side = self.sides[to]
            try:
                effects = side.session.receive(action)
            except RemoteProtocolError:
                continue
            self._perform(to, effects)

    def _pass_time(self) -> bool:
        waiting = [(at, jid, wait) for jid, side in self.sides.items() for wait, at in side.deadlines.items()]
        if not waiting:
            return False
        self.now, jid, wait = min(waiting, key=lambda entry: entry[0])
        del self.sides[jid].deadlines[wait]
        self._perform(jid, self.sides[jid].session.deadline_passed(wait))
        return True

    def _perform(self, jid: str, effects: list[fx.Effect]) -> None:
        side = self.sides[jid]
        for effect in effects:
            match effect:
                case fx.Send(action):
                    self.wire.append((BOB if jid == ADA else ADA, action))
                case fx.StartDeadline(wait, seconds):
                    side.deadlines[wait] = self.now + seconds
                case fx.StopDeadline(wait):
                    side.deadlines.pop(wait, None)
                case fx.Offered(content):
                    self._perform(
                        jid,
                        side.session.accept(
                            model.Content("initiator", "ft-1", "initiator", content.description, side.ours)
                        ),
                    )
                case fx.Dial(_, candidates, _):
                    reached = next((c for c in candidates if c.cid in self.world.reachable), None)
                    self._perform(jid, side.session.dialled(reached))
                case fx.Activate():
                    self._perform(jid, side.session.activated(self.world.proxies_work))
                case fx.UseSocks5() | fx.UseInband():
                    side.channel = effect
                case fx.DropTransport():
                    side.channel = None
                case fx.Ended():
                    side.end = effect
                    assert side.session.state is State.ENDED
        assert side.session.path is not Path.OPEN or side.channel is not None or side.end is not None


@pytest.fixture
def pair():
    """Make a pair: `pair(World(...), seed=1, drop=0.2)`."""
    return Pair


@pytest.fixture
def world():
    return World
