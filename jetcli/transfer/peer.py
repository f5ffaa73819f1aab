"""The other side: which of a contact's devices can take part in a transfer, and why the others cannot."""

import asyncio
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from jetcli import __version__
from jetcli.errors import JetError, NobodyResumesError, UnavailableError, UnsupportedError, UsageError
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.policy import shown
from jetcli.protocol.quirks import RECEIVING, Abilities, abilities
from jetcli.transfer.account import Online
from jetcli.transfer.events import Detail, Phase
from jetcli.xmpp.discovery import CLIENT_NAME

#: A resource that was killed stays "available" for minutes: it is asked, and passed over when it does not answer.
GHOST_S = 5.0
#: How long others are waited for once somebody has answered who will do: so many times as long as that one took, within
#: limits. The slowest way to another machine is not much longer than the quickest, unless nobody is at its end.
GRACE_TIMES, LEAST_GRACE_S, GRACE_S = 5, 0.1, 0.5
#: Presence follows the login within tenths of a second where a contact is online at all.
PRESENCE_S = 2.0
#: Whoever listens for proposals answers at once; a person who is asked gets `--wait`.
PROPOSAL_S = 10.0
#: A client that does not tell its version must not hold up the answer.
VERSION_S = 2.0


class Peer(Struct, frozen=True):
    """One resource of the other side; `jid` is full.

    `proposal` is the id of the session that it has agreed to already, None where it was not asked (XEP-0353). `others`
    are resources of the same account that are as good: which of them has a device that is trusted, nobody can tell.
    """

    jid: str
    bare_jid: str
    client: str
    abilities: Abilities
    proposal: str | None = None
    others: tuple["Peer", ...] = ()
    features: frozenset[str] = frozenset()

    @property
    def quality(self) -> tuple[bool, bool]:
        """Sorts peers: those that can receive first, and jets before others."""
        return self.abilities.receives, self.abilities.chunked

    def suits(self, *, continuing: bool) -> bool:
        """Say whether it can take what is sent, or where something is continued, at least the rest of that."""
        return self.abilities.receives or (continuing and self.abilities.resumes)


class DeviceRow(Struct, frozen=True):
    """A line of `jet caps`: what one resource of a contact can do; `why_not` is empty where a send would work.

    `client` is its name and version, `note` what matters about it, `features` what it advertises (XEP-0030).
    """

    jid: str
    client: str
    receives: bool
    sends: bool
    jet_omemo: bool
    resumes: bool
    streams: bool
    paths: tuple[str, ...]
    trust: str
    why_not: str
    note: str = ""
    features: tuple[str, ...] = ()


async def find_peer(online: Online, to: str, *, wait_s: float = 0.0, transfer: str | None = None) -> Peer:
    """Return the resource of `to` (bare or full JID) that a file is best sent to.

    With `transfer`, the sid of the first session of what is to be continued, that may be one which receives nothing
    else: whoever waits in `jet resume` there.

    Raises UnavailableError where none is online within `wait_s`, or where we cannot see whether one is;
    UnsupportedError where none can receive; UsageError for this very client, and for another of this very machine.
    """
    if to == online.jid:
        raise UsageError("cannot send to this very client")
    if online.runs_here(to):
        raise UsageError(f"{shown(to)} runs on this very machine")
    bare_jid = to.partition("/")[0]
    if to == bare_jid and not online.discovery.shows_presence(bare_jid):
        peers = await _unseen_peers(online, bare_jid, wait_s, transfer)
    else:
        until = asyncio.get_running_loop().time() + wait_s
        peers = await _present(online, to, await _resources(online, to, wait_s), until=until)
    if not peers:
        raise _nobody(online, to, hint=f"jet send --wait 1h FILE {shown(bare_jid)}")
    continuing = transfer is not None
    best = max(peers, key=lambda peer: (continuing and peer.abilities.resumes, peer.quality))
    if not best.suits(continuing=continuing):
        raise UnsupportedError(
            f"{shown(best.jid)} cannot receive encrypted transfers ({best.abilities.why_not})",
            hint=f"jet caps {shown(bare_jid)}",
        )
    return replace(best, others=tuple(peer for peer in peers if peer is not best and peer.quality == best.quality))


async def resuming_peers(
    online: Online, bare_jid: str, *, before: str | None, transfer: str | None = None
) -> list[Peer]:
    """Return the resources of `bare_jid` that can continue a transfer, the one that had it `before` first.

    Whoever shows us no presence is asked for `transfer`, the sid of its first session. Raises UnavailableError where
    none is online, NobodyResumesError where those that are cannot.
    """
    known = (before,) if before else ()
    visible = online.discovery.shows_presence(bare_jid)
    seen = await _resources(online, bare_jid, 0.0) if visible else ()
    peers = await _present(online, bare_jid, tuple(dict.fromkeys((*known, *seen))), awake=True)
    if not (peers or visible) and transfer is not None:
        peers = await _proposed(online, bare_jid, PROPOSAL_S, transfer)
    if not peers:
        raise _nobody(online, bare_jid)
    able = [peer for peer in peers if peer.abilities.resumes]
    if not able:
        clients = ", ".join(sorted({shown(peer.client) or "its client" for peer in peers}))
        raise NobodyResumesError(f"{shown(bare_jid)} cannot continue a transfer with {clients}")
    return able


async def _unseen_peers(online: Online, bare_jid: str, wait_s: float, transfer: str | None) -> list[Peer]:
    """Ask for somebody who knows `transfer`, if there is one to be continued, and else for somebody who receives."""
    if transfer is not None:
        with suppress(UnavailableError):
            return await _proposed(online, bare_jid, PROPOSAL_S, transfer)
    return await _proposed(online, bare_jid, max(PROPOSAL_S, wait_s))


async def _proposed(online: Online, bare_jid: str, wait_s: float, transfer: str | None = None) -> list[Peer]:
    """Ask whoever listens at an account whose devices we cannot see for a session (XEP-0353)."""
    online.emit(Phase(f"asking {shown(bare_jid)}, who is no contact of yours"))
    try:
        full_jid, sid = await online.messages.propose(bare_jid, wait_s, transfer=transfer)
    except UnavailableError:
        error = _unseen(bare_jid)
        if transfer is not None:
            error.hint = ""  # a person there has nothing to allow: a jet that has the transfer answers by itself
        raise error from None
    peer = await _ask(online, bare_jid, full_jid, awake=True)
    return [] if peer is None else [replace(peer, proposal=sid)]


def _nobody(online: Online, to: str, *, hint: str = "") -> UnavailableError:
    own = to == online.bare_jid
    return UnavailableError(
        f"no other machine of {shown(to)} is online" if own else f"{shown(to)} is not online", hint=hint
    )


def _unseen(bare_jid: str) -> UnavailableError:
    jid = shown(bare_jid)
    return UnavailableError(
        f"{jid} is no contact of yours, so its devices cannot be seen, and none of them answered",
        hint=f"use the full address that jet receive shows there ({jid}/jet...), let  jet receive --from  with your"
        " address wait there, or add each other as contacts in a chat client",
    )


async def _resources(online: Online, to: str, wait_s: float) -> tuple[str, ...]:
    """Return the full JIDs to ask, best priority first."""
    bare_jid, _, resource = to.partition("/")
    if resource:
        return (to,)
    if not online.discovery.shows_presence(bare_jid):
        raise _unseen(bare_jid)
    online.emit(Phase(f"looking for {shown(bare_jid)}"))
    await online.discovery.wait_for_presence(bare_jid, max(PRESENCE_S, wait_s), but=online.runs_here)
    return _elsewhere(online, bare_jid)


def _elsewhere(online: Online, bare_jid: str) -> tuple[str, ...]:
    """Return the resources of an account that are online now, but for those of this very machine."""
    return tuple(r.jid for r in online.discovery.resources(bare_jid) if not online.runs_here(r.jid))


async def _present(
    online: Online, to: str, resources: tuple[str, ...], *, awake: bool = False, until: float = 0.0
) -> list[Peer]:
    """Ask `resources`, and those that show up meanwhile where none of them answers: they may all have been killed.

    Somebody else is waited for until the loop's clock shows `until`.
    """
    bare_jid, _, resource = to.partition("/")
    asked: set[str] = set()
    peers: list[Peer] = []
    while resources and not peers:
        asked.update(resources)
        peers = await _answering(online, bare_jid, resources, awake=awake)
        resources = () if peers or resource else await _others(online, bare_jid, asked, until)
    return peers


async def _others(online: Online, bare_jid: str, asked: set[str], until: float) -> tuple[str, ...]:
    """Return the resources that were not `asked` yet; where there are none, wait for one."""
    left_s = until - asyncio.get_running_loop().time()
    if left_s > 0:
        await online.discovery.wait_for_presence(
            bare_jid, left_s, but=lambda jid: jid in asked or online.runs_here(jid)
        )
    return tuple(jid for jid in _elsewhere(online, bare_jid) if jid not in asked)


async def _answering(online: Online, bare_jid: str, resources: tuple[str, ...], *, awake: bool = False) -> list[Peer]:
    """Ask every resource at once what it can do; the order stays, and those that do not answer are left out.

    With `awake` one that can resume is enough: the others are waited for only a moment more.
    """
    asking = [asyncio.ensure_future(_ask(online, bare_jid, jid, awake=awake)) for jid in resources]
    try:
        await _answered(asking, enough=awake)
        answers = [each.result() for each in asking if each.done()]
    finally:
        for each in asking:
            each.cancel()
    return [peer for peer in answers if peer is not None]


async def _answered(asking: list["asyncio.Task[Peer | None]"], *, enough: bool) -> None:
    """Wait until all have answered, or `enough` until one that can resume has and the others have had a moment."""
    clock = asyncio.get_running_loop().time
    pending: set[asyncio.Task[Peer | None]] = set(asking)
    began = clock()
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        answers = (each.result() for each in done)
        if enough and any(peer is not None and peer.abilities.resumes for peer in answers):
            if pending:
                grace_s = min(GRACE_S, max(LEAST_GRACE_S, GRACE_TIMES * (clock() - began)))
                await asyncio.wait(pending, timeout=grace_s)
            return


async def _ask(online: Online, bare_jid: str, jid: str, *, awake: bool) -> Peer | None:
    try:
        info = await online.discovery.peer_info(jid, GHOST_S, awake=awake)
    except JetError as error:
        online.emit(Detail(f"{shown(jid)} passed over: {error.message}"))
        return None
    return Peer(
        jid, bare_jid, info.client_name or "", abilities(info.features, info.client_name), features=info.features
    )


async def capabilities(online: Online, jid: str) -> list[DeviceRow]:
    """Return what each online resource of `jid` can do, the one that a file would be sent to first.

    Raises UnavailableError where none is online.
    """
    bare_jid = jid.partition("/")[0]
    peers, devices = await asyncio.gather(_all_peers(online, bare_jid, jid), _devices(online, bare_jid))
    trust = _summary(devices)
    ordered = sorted(peers, key=lambda peer: peer.quality, reverse=True)
    versions = await asyncio.gather(*(online.discovery.version(peer.jid, VERSION_S) for peer in ordered))
    return [_row(peer, trust, version) for peer, version in zip(ordered, versions, strict=True)]


async def own_capabilities(online: Online) -> list[DeviceRow]:
    """Return what this machine can do while it receives, then what the other machines of the account can do."""
    own = online.bare_jid
    await online.discovery.wait_for_presence(own, PRESENCE_S, but=online.runs_here)
    others, devices = await asyncio.gather(_answering(online, own, _elsewhere(online, own)), _devices(online, own))
    features = frozenset(RECEIVING)
    here = Peer(online.jid, own, CLIENT_NAME, abilities(features, CLIENT_NAME), features=features)
    versions = await asyncio.gather(*(online.discovery.version(peer.jid, VERSION_S) for peer in others))
    trust = _summary(devices)
    rows = [_row(peer, trust, version) for peer, version in zip(others, versions, strict=True)]
    return [_row(here, "verified", __version__), *rows]


async def _all_peers(online: Online, bare_jid: str, jid: str) -> list[Peer]:
    peers = await _answering(online, bare_jid, await _resources(online, jid, 0.0))
    if not peers:
        raise _nobody(online, jid)
    return peers


async def _devices(online: Online, bare_jid: str) -> tuple[Device, ...]:
    try:
        return await online.omemo.devices(bare_jid)
    except UnsupportedError:
        return ()


_NO_KEYS, _DISTRUSTED = "no keys", "distrusted"
#: How its keys are trusted -> why nothing would be sealed for them.
_NOT_TRUSTED = {
    _NO_KEYS: "has published no OMEMO device",
    _DISTRUSTED: "has no key that you trust: jet trust",
}


def _summary(devices: tuple[Device, ...]) -> str:
    """Say how far the account's OMEMO devices are trusted: a resource does not tell which of them it is."""
    levels = {device.trust for device in devices}
    if not devices:
        return _NO_KEYS
    if Trust.VERIFIED in levels:
        return "verified"
    if Trust.BLIND in levels:
        return "btbv"
    return "new key" if Trust.UNDECIDED in levels else _DISTRUSTED


def _row(peer: Peer, trust: str, version: str | None) -> DeviceRow:
    able = peer.abilities
    why_not = able.why_not or _NOT_TRUSTED.get(trust, "")
    paths = (("direct", "relay") if able.socks5 else ()) + (("ibb",) if able.inband else ())
    return DeviceRow(
        jid=peer.jid,
        client=shown(f"{peer.client} {version or ''}".strip()) or "unknown",
        receives=not why_not,
        sends=not able.missing and able.quirks.compatible,
        jet_omemo=not able.missing,
        resumes=able.resumes,
        streams=able.chunked,
        paths=paths,
        trust=trust,
        why_not=why_not,
        note=able.quirks.note,
        features=tuple(sorted(peer.features)),
    )
