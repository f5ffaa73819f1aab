"""In-band bytestreams (XEP-0047): the stanzas, and the service that gives each to the bytestream it belongs to.

A bytestream is found by the full JID that the server stamped on the stanza and by its sid, and only one that a Jingle
session expects is ever opened. What the blocks hold, and when they are acknowledged, is the business of
`jetcli.xmpp.inband_channel`. aioxmpp's own `ibb` is not used: it checks little, and acknowledges what nobody took.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import aioxmpp
import aioxmpp.errors
from aioxmpp import xso
from msgspec import Struct

from jetcli.errors import JetError
from jetcli.protocol.bytestream import MAX_BLOCK_SIZE, SEQ_MODULO
from jetcli.protocol.model import NS_INBAND, InbandTransport
from jetcli.protocol.policy import MAX_SIZE, unsigned
from jetcli.xmpp.ask import StanzaError, ask
from jetcli.xmpp.channel import IDLE_S
from jetcli.xmpp.inband_channel import BlockRefusedError, InbandChannel

__all__ = ["Close", "Data", "InbandChannel", "InbandService", "Open"]

#: No wait is for ever. A peer that stands still is noticed much earlier, by the channel's idle time.
_DELIVERY_S = 600.0
_OPEN_S = 30.0


@aioxmpp.IQ.as_payload_class
class Open(xso.XSO):
    """`<open/>` (XEP-0047 section 2.1)."""

    TAG = (NS_INBAND, "open")
    sid = xso.Attr("sid", default=None)
    block_size = xso.Attr("block-size", default=None)
    stanza = xso.Attr("stanza", default=None)

    def __init__(self, sid: str, block_size: int) -> None:
        super().__init__()
        self.sid = sid
        self.block_size = str(block_size)


@aioxmpp.IQ.as_payload_class
class Data(xso.XSO):
    """`<data/>` (XEP-0047 section 2.2); `text` is base64."""

    TAG = (NS_INBAND, "data")
    sid = xso.Attr("sid", default=None)
    seq = xso.Attr("seq", default=None)
    text = xso.Text(default=None)

    def __init__(self, sid: str, seq: int, text: str) -> None:
        super().__init__()
        self.sid = sid
        self.seq = str(seq)
        self.text = text


@aioxmpp.IQ.as_payload_class
class Close(xso.XSO):
    """`<close/>` (XEP-0047 section 2.3)."""

    TAG = (NS_INBAND, "close")
    sid = xso.Attr("sid", default=None)

    def __init__(self, sid: str) -> None:
        super().__init__()
        self.sid = sid


class _Bytestream(Struct, frozen=True):
    """A bytestream that a session expects; `opened` is done when it may carry blocks."""

    channel: InbandChannel
    opened: "asyncio.Future[None]"

    @property
    def is_open(self) -> bool:
        """Whether it was opened; a wait that was given up, or that the loss of the server ended, is no opening."""
        return self.opened.done() and not self.opened.cancelled() and self.opened.exception() is None


class InbandService:
    """The in-band bytestreams of one connection."""

    def __init__(self, client: aioxmpp.Client) -> None:
        self._client = client
        self._bytestreams: dict[tuple[str, str], _Bytestream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        for payload, handler in ((Open, self._on_open), (Data, self._on_data), (Close, self._on_close)):
            client.stream.register_iq_request_handler(aioxmpp.IQType.SET, payload, handler)
        for signal in (client.on_stream_destroyed, client.on_stopped, client.on_failure):
            signal.connect(self._lost)

    async def open(
        self,
        peer: str,
        transport: InbandTransport,
        *,
        open_it: bool,
        seq_modulo: int = SEQ_MODULO,
        timeout_s: float = _OPEN_S,
        idle_s: float = IDLE_S,
    ) -> InbandChannel:
        """Return the channel of an agreed transport with `peer` (full JID).

        With `open_it` we open the bytestream, as the initiator of a session does; else the peer's `<open/>` is awaited,
        which finds it expected from the first step of this coroutine on. Raises OSError.
        """
        key = (peer, transport.sid)
        if key in self._bytestreams:
            raise FileExistsError("a bytestream of that sid is open")
        address = aioxmpp.JID.fromstr(peer)

        async def deliver(seq: int, text: str) -> None:
            await ask(self._client, Data(transport.sid, seq, text), address, _DELIVERY_S, kind="set")

        channel = InbandChannel(
            transport.block_size,
            deliver=deliver,
            hang_up=lambda: self._spawn(self._close(address, transport.sid)),
            released=lambda: self._forget(key),
            modulo=seq_modulo,
            idle_s=idle_s,
        )
        bytestream = _Bytestream(channel, asyncio.get_running_loop().create_future())
        self._bytestreams[key] = bytestream
        try:
            await self._opened(address, transport, bytestream, timeout_s, open_it=open_it)
        except BaseException:
            if not bytestream.is_open:
                channel.peer_closed()  # it was never open: there is nothing to close
            channel.close()
            raise
        return channel

    async def _opened(
        self, peer: aioxmpp.JID, transport: InbandTransport, bytestream: _Bytestream, timeout_s: float, *, open_it: bool
    ) -> None:
        if not open_it:
            async with asyncio.timeout(timeout_s):
                await bytestream.opened
            return
        # The peer's first block may be read from the stream before this coroutine sees the answer to its own request.
        bytestream.opened.set_result(None)
        try:
            await ask(self._client, Open(transport.sid, transport.block_size), peer, timeout_s, kind="set")
        except StanzaError as error:
            bytestream.channel.peer_closed()
            raise ConnectionRefusedError(error.message) from error
        except JetError as error:
            raise ConnectionError(error.message) from error

    async def _close(self, peer: aioxmpp.JID, sid: str) -> None:
        # Whatever the answer, the bytestream is closed (XEP-0047 section 2.3).
        with suppress(JetError):
            await ask(self._client, Close(sid), peer, kind="set")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, key: tuple[str, str]) -> None:
        self._bytestreams.pop(key, None)

    def _lost(self, *_: object) -> None:
        for bytestream in list(self._bytestreams.values()):
            failure = ConnectionResetError("the connection to the server was lost")
            bytestream.channel.fail(failure)
            if not bytestream.opened.done():
                bytestream.opened.set_exception(failure)

    # Handlers are no coroutines, so that stanzas are judged in the order in which they came.

    def _on_open(self, iq: aioxmpp.IQ) -> "asyncio.Future[None]":
        bytestream = self._bytestreams.get((str(iq.from_), iq.payload.sid))
        if bytestream is None or bytestream.opened.done():
            raise _refusal("not-acceptable", "no session expects this bytestream")
        if iq.payload.stanza not in {None, "iq"}:
            raise _refusal("feature-not-implemented", "blocks are taken in IQ stanzas only")
        if _number(iq.payload.block_size, MAX_BLOCK_SIZE) not in range(1, bytestream.channel.block_size + 1):
            raise _refusal("resource-constraint", f"at most {bytestream.channel.block_size} bytes were agreed")
        bytestream.opened.set_result(None)
        return _done()

    def _on_data(self, iq: aioxmpp.IQ) -> "asyncio.Future[None]":
        channel = self._open_channel(iq)
        seq = _number(iq.payload.seq, MAX_SIZE)
        try:
            acknowledgement = channel.take(seq, iq.payload.text or "")
        except BlockRefusedError as error:
            raise _refusal(error.condition, str(error)) from None
        return asyncio.ensure_future(_acknowledged(acknowledgement))

    def _on_close(self, iq: aioxmpp.IQ) -> "asyncio.Future[None]":
        self._open_channel(iq).peer_closed()
        return _done()

    def _open_channel(self, iq: aioxmpp.IQ) -> InbandChannel:
        bytestream = self._bytestreams.get((str(iq.from_), iq.payload.sid))
        if bytestream is None or not bytestream.is_open:
            raise _refusal("item-not-found", "no such bytestream is open")
        return bytestream.channel


def _number(text: str | None, maximum: int) -> int:
    try:
        return unsigned(text or "", maximum)
    except ValueError as error:
        raise _refusal("bad-request", str(error)) from None


def _done() -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


async def _acknowledged(acknowledgement: "asyncio.Future[None]") -> None:
    try:
        await acknowledgement
    except BlockRefusedError as error:
        raise _refusal(error.condition, str(error)) from None


def _refusal(condition: str, text: str) -> aioxmpp.errors.XMPPError:
    """Return a stanza error; a smaller block or less haste would help with the constraint, nothing with the others."""
    kind = aioxmpp.errors.XMPPModifyError if condition == "resource-constraint" else aioxmpp.errors.XMPPCancelError
    name = condition.upper().replace("-", "_")
    return kind(aioxmpp.ErrorCondition[name], text=text)
