"""Every fault of aioxmpp 0.13.3 and aioopenssl 0.6.0 that jet has met, mended in one place.

`mend` replaces what is broken in the libraries, once; `quiet` keeps their expected failures off the terminal. It
knows nothing of accounts or transfers. Both libraries are unmaintained; each mend says how one would notice that it
is no longer needed: in general, take it out and run tests/xmpp/test_connection.py.

Faults that are avoided instead of mended, because jet does without the part: `PKIXCertificateVerifier` needs a
pyOpenSSL before 26.2 and ssl.match_hostname, `make()` never binds the channel and falls back to PLAIN (security.py);
`STARTTLSConnector` hangs where a server ignores STARTTLS (server.py); `ibr.register` takes an error for a success
(registration.py); `PresenceServer` forgets the priority (connection.py), and `PresenceClient` forgets nobody
(presences.py); the look-ups of `EntityCapsService` mistrust most clients, because xml:lang leaks into their identities
(discovery.py).
"""

import asyncio
import functools
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aioopenssl
import aioxmpp.connector
import aioxmpp.entitycaps
import aioxmpp.errors
import aioxmpp.node
import aioxmpp.protocol
import aioxmpp.stream
import aioxmpp.structs
import aioxmpp.xml
import OpenSSL.SSL

#: Host, port and the connector that knows how to speak there.
Option = tuple[str, int, aioxmpp.connector.BaseConnector]

#: Finds the servers of a domain, best first.
Finder = Callable[[str], Awaitable[list[Option]]]

_finder: ContextVar[Finder] = ContextVar("finder")

#: What XML 1.0 cannot carry (section 2.2), and the surrogates that no UTF-8 stream can.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

#: How many parts of addresses, and names of elements, are remembered as good.
_KNOWN = 512

#: Failures that the libraries put into futures which nobody has to read.
_EXPECTED = (ConnectionError, aioxmpp.errors.StanzaError)


@functools.cache
def mend() -> None:
    """Mend the libraries for this process; further calls do nothing."""
    _write_to_closed_transport_is_dropped()
    _failed_handshake_fails_once()
    _lost_transport_is_not_reported_twice()
    _stanzas_survive_a_dying_stream()
    _stanzas_are_resent_in_order()
    _cancelled_answers_are_dropped()
    _servers_are_found_by_our_finder()
    _text_is_checked_fast()
    _names_are_checked_once()
    _capabilities_carry_our_name()
    _logs_are_silent()


@contextmanager
def finding_servers(finder: Finder) -> Iterator[None]:
    """Let all clients that are started in this block find their server by `finder`, also when they reconnect."""
    token = _finder.set(finder)
    try:
        yield
    finally:
        _finder.reset(token)


def quiet(loop: asyncio.AbstractEventLoop) -> None:
    """Drop what aioxmpp leaves unread in futures when a stream breaks; all else goes to the handler that was there.

    Failures are reported where jet awaits them. No longer needed when a cut connection prints nothing without it.
    """
    before = loop.get_exception_handler()
    if isinstance(before, _Quiet):
        return
    loop.set_exception_handler(_Quiet(before))


class _Quiet:
    def __init__(self, before: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None) -> None:
        self._before = before

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A task that failed unread is a fault of ours and stays visible: only bare futures are the libraries'.
        left_unread = not isinstance(context.get("future"), asyncio.Task) and "never retrieved" in context["message"]
        if left_unread and isinstance(context.get("exception"), _EXPECTED):
            return
        if self._before is None:
            loop.default_exception_handler(context)
        else:
            self._before(loop, context)


def _write_to_closed_transport_is_dropped() -> None:
    # aioopenssl raises RuntimeError from write() on a dead transport. aioxmpp then marks the stanza as failed and
    # ends the client instead of resuming the stream (XEP-0198). asyncio's own transports drop such data: so does this
    # one now, and the stanza is sent again after the resumption. No longer needed when a client survives a reset
    # without it.
    vanilla = aioopenssl.STARTTLSTransport.write

    def write(self: Any, data: bytes) -> None:
        if self._state is not None and (self._closing or not self._state.is_writable):
            return
        vanilla(self, data)

    aioopenssl.STARTTLSTransport.write = write


def _failed_handshake_fails_once() -> None:
    # A handshake that fails sets the waiting future's exception twice; the InvalidStateError of the second time goes
    # to the loop's handler, or replaces the true error. No longer needed when a rejected handshake leaves the loop's
    # handler alone.
    vanilla = aioopenssl.STARTTLSTransport._tls_do_handshake

    def handshake(self: Any) -> None:
        try:
            vanilla(self)
        except asyncio.InvalidStateError:
            if self._state != aioopenssl._State.CLOSED:
                raise

    aioopenssl.STARTTLSTransport._tls_do_handshake = handshake


def _lost_transport_is_not_reported_twice() -> None:
    # Every lost connection is told to the protocol, and once more, with a traceback, to the loop's handler; a second
    # error of the same transport raises RuntimeError inside the loop. OpenSSL's error classes are no OSErrors, so all
    # who wait on the stream would need to know them. No longer needed when a reset prints nothing without it.
    def fatal_error(self: Any, exc: BaseException, _message: str) -> None:
        if self._state == aioopenssl._State.CLOSED:
            return
        if isinstance(exc, OpenSSL.SSL.Error) and self._state != aioopenssl._State.TLS_HANDSHAKING:
            exc = ConnectionResetError("the TLS connection broke")
        self._force_close(exc)

    aioopenssl.STARTTLSTransport._fatal_error = fatal_error

    # After such an error while writing, the vanilla code goes on and reads a variable that was never set.
    vanilla = aioopenssl.STARTTLSTransport._write_ready

    def write_ready(self: Any) -> None:
        try:
            vanilla(self)
        except UnboundLocalError:
            if self._state != aioopenssl._State.CLOSED:
                raise

    aioopenssl.STARTTLSTransport._write_ready = write_ready


def _stanzas_survive_a_dying_stream() -> None:
    # Between the loss of the transport and the end of the stream's task a stanza fails with ConnectionError, though the
    # session will be resumed (XEP-0198). The task now ends before it takes the stanza, which stays first in the queue.
    # No longer needed when questions asked right after a cut are answered.
    vanilla = aioxmpp.stream.StanzaStream._process_outgoing

    def process_outgoing(self: Any, xmlstream: Any, token: Any) -> None:
        if xmlstream.state != aioxmpp.protocol.State.OPEN:
            raise ConnectionResetError("the stream broke")
        vanilla(self, xmlstream, token)

    aioxmpp.stream.StanzaStream._process_outgoing = process_outgoing


def _stanzas_are_resent_in_order() -> None:
    # After a resumption stanzas without an acknowledgement are sent again in reverse. No longer needed when messages
    # that were under way in a cut arrive in their order.
    def resume(self: Any, remote_counter: int) -> None:
        self.sm_ack(remote_counter)
        for token in reversed(self._sm_unacked_list):
            self._active_queue.putleft_nowait(token)
        self._sm_unacked_list.clear()

    aioxmpp.stream.StanzaStream._resume_sm = resume


def _cancelled_answers_are_dropped() -> None:
    # A stream that goes away cancels the coroutines that still answer requests, and then trips over their
    # CancelledError inside the loop. No longer needed when a client that stops in the middle of an answer prints
    # nothing without it.
    stream = aioxmpp.stream.StanzaStream
    send_reply, check = stream._iq_request_coro_done_send_reply, stream._iq_request_coro_done_check

    def answered(self: Any, request: Any, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            send_reply(self, request, task)

    def checked(self: Any, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            check(self, task)

    stream._iq_request_coro_done_send_reply = answered
    stream._iq_request_coro_done_check = checked


def _servers_are_found_by_our_finder() -> None:
    # `override_peer` is not exclusive: after any failure, and at each reconnect, aioxmpp looks the domain up in the
    # DNS and tries what it finds. A resumption at the server's `location` (XEP-0198 section 5) always takes STARTTLS,
    # without a deadline. Both now ask the finder that was set when the client was started, and nothing else. No
    # longer needed when Client takes a finder; there is no sign of that.
    async def discover(domain: str, **_: object) -> list[Option]:
        return await _finder.get()(domain)

    aioxmpp.node.discover_connectors = discover
    # What its own look-up would raise is named whenever a client ends; only to name it would load the resolver (60 ms).
    aioxmpp.node.dns = SimpleNamespace(resolver=SimpleNamespace(NoNameservers=ConnectionError))
    aioxmpp.stream.StanzaStream.sm_location = property(lambda _: None)


def _text_is_checked_fast() -> None:
    # The vanilla check loops over every character in Python: half of the time of an in-band transfer. No longer
    # needed when a profile of one does not show it.
    def is_valid(text: str) -> bool:
        return (text.isascii() and text.isprintable()) or _NOT_XML.search(text) is None

    aioxmpp.xml.is_valid_cdata_str = is_valid


def _names_are_checked_once() -> None:
    # Every address and every name of an element is looked at in Python, character by character and table by table,
    # each time that it comes or goes: a fifth of a session's CPU seconds, although a process sees the same few
    # thousands of times. No longer needed when a profile of many transfers does not show it.
    for name in ("nodeprep", "nameprep", "resourceprep"):
        setattr(aioxmpp.structs, name, functools.lru_cache(_KNOWN)(getattr(aioxmpp.structs, name)))
    aioxmpp.xml.xmlValidateNameValue_str = functools.lru_cache(_KNOWN)(aioxmpp.xml.xmlValidateNameValue_str)


def _capabilities_carry_our_name() -> None:
    # The service tells every contact aioxmpp's address as that of the client, and services cannot be subclassed. No
    # longer needed when it takes a node. XEP-0390 would double the size of each presence; no client that jet meets
    # reads it.
    aioxmpp.entitycaps.EntityCapsService.NODE = "urn:jetcli"


def _logs_are_silent() -> None:
    # Expected failures are logged with tracebacks, also when they are handled. Whoever wants to read them sets a level
    # before or after; the streams' DEBUG holds what the server sent during the login.
    for name in ("aioxmpp", "aioopenssl", "aiosasl"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL + 1)
