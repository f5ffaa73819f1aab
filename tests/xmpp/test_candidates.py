"""Candidates of two sides on loopback: what is offered, what is dialled, and who ends up with the connection."""

import asyncio
import ipaddress
import socket

import pytest

from jetcli.protocol.model import Candidate, CandidateType
from jetcli.protocol.policy import MAX_CANDIDATES
from jetcli.xmpp import candidates as module
from jetcli.xmpp import socks5
from jetcli.xmpp.candidates import Candidates, Reach

ADA, BOB = "ada@north.test/jet.1", "bob@south.test/jet.2"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
HERE = Reach(hosts=("127.0.0.1",), on_link=LOOPBACK, loopback=True)
PROXY = socks5.StreamHost("proxy.north.test", "127.0.0.1", 7777)
SID = "s5b-1"


class Side(Candidates):
    """Candidates that remember what was told and which proxies were asked."""

    def __init__(self, me, peer, reach, *, proxy_works=True, **kwargs) -> None:
        self.lines: list[str] = []
        self.asked: list[tuple[str, str, str]] = []

        async def activate(*words: str) -> None:
            self.asked.append(words)
            if not proxy_works:
                raise socks5.ProxyRefusedError("it does not like you")

        super().__init__(me, peer, reach, activate_proxy=activate, told=self.lines.append, **kwargs)


@pytest.fixture
async def side():
    """Make one side: `side(reach)` is Ada's, `side(reach, BOB, ADA)` Bob's; all is closed at the end."""
    made = []

    def make(reach=HERE, me=ADA, peer=BOB, **kwargs) -> Side:
        made.append(Side(me, peer, reach, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.drop()


@pytest.fixture
def dials(monkeypatch):
    """Replace dialling: `dials[host]` is an exception, an event to wait for, or nothing; `dials.made` is the record."""

    class Dials(dict):
        def __init__(self) -> None:
            super().__init__()
            self.made: list[tuple[str, int]] = []

    outcomes = Dials()

    async def dial(host, port, dstaddr, *, timeout_s, **_):
        outcomes.made.append((host, port))
        outcome = outcomes.get(host)
        if isinstance(outcome, asyncio.Event):
            await outcome.wait()
        elif outcome is not None:
            raise outcome
        near, far = socket.socketpair()
        outcomes[f"far end of {host}"] = far
        return module.SocketChannel(near)

    monkeypatch.setattr(module, "STAGGER_S", 0.01)
    monkeypatch.setattr(module, "DIAL_S", 0.01)
    monkeypatch.setattr(socks5, "dial", dial)
    return outcomes


def candidate(host: str, port: int = 5000, rank: int = 0, kind=CandidateType.DIRECT, jid: str = BOB) -> Candidate:
    return Candidate(f"{host}:{port}:{kind}", host, port, jid, (kind.preference << 16) - rank, kind)


# What is offered.


async def test_our_addresses_are_offered_before_the_proxies(side):
    offered = await side().offer(SID, [PROXY])
    direct, proxy = offered.candidates
    assert (direct.type, direct.host, direct.jid) == (CandidateType.DIRECT, "127.0.0.1", ADA)
    assert (proxy.type, proxy.host, proxy.port, proxy.jid) == (CandidateType.PROXY, "127.0.0.1", 7777, PROXY.jid)
    assert direct.priority > proxy.priority
    assert direct.cid != proxy.cid


async def test_an_address_that_the_peer_has_offered_already_is_left_out(side):
    offered = await side().offer(SID, [PROXY], taken=[candidate("127.0.0.1", 7777, kind=CandidateType.PROXY)])
    assert [each.type for each in offered.candidates] == [CandidateType.DIRECT]


@pytest.mark.parametrize(("direct", "proxy"), [(True, False), (False, True), (False, False)])
async def test_ways_that_are_not_wanted_are_not_offered(side, direct, proxy):
    reach = Reach(direct=direct, proxy=proxy, hosts=HERE.hosts)
    kinds = {each.type for each in (await side(reach).offer(SID, [PROXY])).candidates}
    wanted = {kind for kind, is_wanted in ((CandidateType.DIRECT, direct), (CandidateType.PROXY, proxy)) if is_wanted}
    assert kinds == wanted


async def test_an_advertised_address_stands_for_all_of_ours(side):
    reach = Reach(hosts=("127.0.0.1", "127.0.0.2"), advertised=("198.51.100.7", 4000))
    [only] = (await side(reach).offer(SID, [])).candidates
    assert (only.host, only.port) == ("198.51.100.7", 4000)


async def test_no_more_candidates_are_offered_than_a_peer_looks_at(side):
    proxies = [socks5.StreamHost("proxy.north.test", "127.0.0.1", 7000 + number) for number in range(20)]
    assert len((await side().offer(SID, proxies)).candidates) == MAX_CANDIDATES


async def test_however_many_addresses_we_have_our_proxy_is_offered(side):
    reach = Reach(hosts=tuple(f"127.0.0.{number}" for number in range(1, MAX_CANDIDATES + 3)), loopback=True)
    offered = (await side(reach).offer(SID, [PROXY])).candidates
    assert [each.type for each in offered] == [CandidateType.DIRECT] * (MAX_CANDIDATES - 1) + [CandidateType.PROXY]


# What is dialled.


async def test_both_sides_of_a_direct_candidate_get_one_connection(side):
    ada, bob = side(), side(HERE, BOB, ADA)
    offered = await ada.offer(SID, [])
    reached = await bob.dial(offered.candidates, offered.dstaddr, SID)
    assert reached == offered.candidates[0]
    near, far = await ada.take(reached, owned=True), await bob.take(reached, owned=False)
    near.sendall(memoryview(b"hello"))
    received = bytearray(5)
    assert far.recv_into(memoryview(received)) == 5
    assert received == b"hello"
    near.close()
    far.close()


async def test_without_a_dst_addr_the_one_of_the_specification_is_asked_for(side):
    ada, bob = side(), side(HERE, BOB, ADA)
    offered = await ada.offer(SID, [])
    assert await bob.dial(offered.candidates, None, SID) == offered.candidates[0]


async def test_a_connection_may_stand_still_for_as_long_as_was_said(side):
    ada, bob = side(idle_s=0.05), side(HERE, BOB, ADA, idle_s=0.05)
    offered = await ada.offer(SID, [])
    reached = await bob.dial(offered.candidates, offered.dstaddr, SID)
    channels = await ada.take(reached, owned=True), await bob.take(reached, owned=False)
    for channel in channels:
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(channel.recv_into, memoryview(bytearray(1)))
    for channel in channels:
        channel.close()


@pytest.mark.parametrize(
    ("host", "port"),
    [("169.254.169.254", 80), ("127.0.0.1", 22), ("10.255.255.1", 5000), ("router.lan", 5000), ("224.0.0.1", 5000)],
)
async def test_what_policy_forbids_is_never_dialled(side, dials, host, port):
    bob = side(HERE, BOB, ADA)
    assert await bob.dial([candidate(host, port)], None, SID) is None
    assert dials.made == []
    assert bob.refused == 1
    [line] = bob.lines
    assert line.startswith(f"not dialling {host} port {port}: ")


async def test_at_most_eight_candidates_are_dialled(side, dials):
    many = [candidate(f"127.0.0.{number}", rank=number) for number in range(1, 60)]
    dials.update(dict.fromkeys((each.host for each in many), ConnectionRefusedError()))
    assert await side().dial(many, None, SID) is None
    assert [host for host, _ in dials.made] == [each.host for each in many[:MAX_CANDIDATES]]


async def test_one_that_does_not_answer_gives_the_next_its_chance(side, dials):
    never = asyncio.Event()
    dials["127.0.0.1"] = never
    best, second = candidate("127.0.0.1"), candidate("127.0.0.2", rank=1)
    assert await side().dial([second, best], None, SID) == second
    assert [host for host, _ in dials.made] == ["127.0.0.1", "127.0.0.2"]


async def test_a_connection_that_nobody_takes_is_closed(side, dials):
    bob = side()
    reached = await bob.dial([candidate("127.0.0.1")], None, SID)
    assert reached is not None
    bob.drop()
    far = dials["far end of 127.0.0.1"]
    far.settimeout(5)
    assert far.recv(1) == b""
    far.close()


async def test_candidates_that_cannot_win_any_more_are_not_dialled(side, dials):
    bob = side()
    low, high = candidate("127.0.0.1", kind=CandidateType.PROXY), candidate("127.0.0.2")
    dials[high.host] = OSError()
    bob.raise_floor(high.priority)
    assert await bob.dial([low, high], None, SID) is None
    assert [host for host, _ in dials.made] == [high.host]


async def test_dials_that_lose_their_chance_half_way_are_given_up(side, dials, eventually):
    bob, never = side(), asyncio.Event()
    dials["127.0.0.1"] = never
    dialling = asyncio.create_task(bob.dial([candidate("127.0.0.1")], None, SID))
    await eventually(lambda: dials.made)
    bob.raise_floor(2**31)
    assert await dialling is None


async def test_a_proxy_may_be_named_only_by_a_server_of_ours_or_the_peers(side, dials, monkeypatch):
    async def resolve(host, port, why_not, **_):
        assert why_not("169.254.169.254", port) is not None
        return "127.0.0.1"

    monkeypatch.setattr(socks5, "resolve", resolve)
    reach = Reach(on_link=LOOPBACK, loopback=True, trusted_domains=frozenset({"south.test"}))
    named = candidate("files.example", kind=CandidateType.PROXY, jid="proxy.south.test")
    assert await side(reach).dial([named], None, SID) == named
    assert dials.made == [("127.0.0.1", 5000)]
    for stranger in ("proxy.evil.test", "evilsouth.test", "south.test.evil.test"):
        bob = side(reach)
        other = candidate("files.example", kind=CandidateType.PROXY, jid=stranger)
        assert await bob.dial([other], None, SID) is None
        assert bob.refused == 1


# Proxies of ours, and the end.


async def test_our_own_proxy_is_connected_and_then_activated(side, dials):
    ada = side(Reach(on_link=LOOPBACK, loopback=True))
    [proxy] = (await ada.offer(SID, [PROXY])).candidates
    assert await ada.activate(SID, proxy)
    assert ada.asked == [(PROXY.jid, SID, BOB)]
    channel = await ada.take(proxy, owned=True)
    channel.close()


@pytest.mark.parametrize("fault", ["connection", "activation"])
async def test_a_proxy_that_does_not_serve_is_told_and_left(side, dials, fault):
    ada = side(Reach(on_link=LOOPBACK, loopback=True), proxy_works=fault != "activation")
    if fault == "connection":
        dials[PROXY.host] = ConnectionRefusedError()
    [proxy] = (await ada.offer(SID, [PROXY])).candidates
    assert not await ada.activate(SID, proxy)
    assert f"proxy {PROXY.jid} was not activated" in ada.lines[0]


@pytest.fixture
def names(monkeypatch):
    """Replace the look-up of names: `names[host]` is its address, and what is not there is not known."""
    addresses = {}

    def getaddrinfo(host, port, *_):
        host.encode("idna")
        if host not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (addresses[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return addresses


HOSTED = socks5.StreamHost("proxy.hoster.test", "proxy.hoster.test", 7777)
AT_CUSTOM_DOMAIN = Reach(on_link=LOOPBACK, loopback=True, trusted_domains=frozenset({"north.test", "south.test"}))


async def test_a_proxy_that_our_server_names_under_another_domain_is_resolved_and_dialled(side, dials, names):
    names[HOSTED.host] = "127.0.0.9"
    ada = side(AT_CUSTOM_DOMAIN)
    [proxy] = (await ada.offer(SID, [HOSTED])).candidates
    assert await ada.activate(SID, proxy)
    assert dials.made == [("127.0.0.9", 7777)]
    assert ada.asked == [(HOSTED.jid, SID, BOB)]


@pytest.mark.parametrize("host", [HOSTED.host, "a" * 64 + ".hoster.test", "at.home.test", "10.255.255.1"])
async def test_a_proxy_of_ours_that_has_no_address_to_dial_is_told_and_left(side, dials, names, host):
    names |= {"at.home.test": "169.254.169.254", "10.255.255.1": "10.255.255.1"}
    ada = side(AT_CUSTOM_DOMAIN)
    [proxy] = (await ada.offer(SID, [socks5.StreamHost(HOSTED.jid, host, 7777)])).candidates
    assert not await ada.activate(SID, proxy)
    assert dials.made == []
    assert f"proxy {HOSTED.jid} was not activated" in ada.lines[0]


@pytest.mark.parametrize("other", [{"host": "files.example"}, {"port": 5222}, {"jid": "proxy.evil.test"}])
async def test_a_peer_cannot_name_another_host_by_our_proxys_name(side, dials, names, other):
    names |= {HOSTED.host: "127.0.0.9", "files.example": "127.0.0.8"}
    ada = side(AT_CUSTOM_DOMAIN)
    await ada.offer(SID, [HOSTED])
    same = {"host": HOSTED.host, "port": HOSTED.port, "jid": HOSTED.jid}
    assert await ada.dial([candidate(kind=CandidateType.PROXY, **same)], None, SID) is not None
    bob = side(AT_CUSTOM_DOMAIN)
    await bob.offer(SID, [HOSTED])
    assert await bob.dial([candidate(kind=CandidateType.PROXY, **same | other)], None, SID) is None
    assert bob.refused == 1


async def test_a_nominated_candidate_without_a_connection_is_an_os_error(side):
    ada = side(Reach(direct=False))
    [proxy] = (await ada.offer(SID, [PROXY])).candidates
    with pytest.raises(OSError, match="no connection"):
        await ada.take(proxy, owned=True)


async def test_nobody_listens_after_the_drop(side):
    ada = side()
    [direct] = (await ada.offer(SID, [])).candidates
    ada.drop()
    async with asyncio.timeout(5):
        while await listens(direct):
            pass


async def listens(candidate: Candidate) -> bool:
    try:
        _, writer = await asyncio.open_connection(candidate.host, candidate.port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
