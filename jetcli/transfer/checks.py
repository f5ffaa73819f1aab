"""The checks of `jet doctor` that need the network: each asks one thing of the server and judges the answer.

A check never fails the others: what it cannot find out is its own result. Nothing is changed anywhere.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from jetcli.errors import AuthError, JetError, UnsupportedError
from jetcli.protocol.model import NS_OMEMO
from jetcli.protocol.policy import shown
from jetcli.transfer.account import Online
from jetcli.xmpp import health
from jetcli.xmpp.ask import StanzaError
from jetcli.xmpp.omemo_payloads import NODE_DEVICES, bundle_node

Level = Literal["ok", "warn", "FAIL"]

#: Envelopes carry no time, but certificates and other clients' messages do.
CLOCK_WARN_S, CLOCK_FAIL_S = 60.0, 3600.0
CERTIFICATE_WARN = timedelta(days=14)
REACH_S = 3.0

_CARBONS = "urn:xmpp:carbons:2"
_PUBLISH_OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"


class Check(Struct, frozen=True):
    """A line of `jet doctor`; `repair` is what to do about a level other than "ok", `exit_code` what it stands for."""

    name: str
    level: Level
    text: str
    repair: str = ""
    exit_code: int = 3


def failed_login(error: JetError) -> Check:
    """Return the line for an account that could not go online."""
    name = "PEP" if isinstance(error, UnsupportedError) else "TLS" if _about_tls(error) else "login"
    return Check(name, "FAIL", error.message, error.hint, error.exit_code)


def _about_tls(error: JetError) -> bool:
    return isinstance(error, AuthError) and ("certificate" in error.message or "encryption" in error.message)


async def server_checks(online: Online) -> list[Check]:
    """Return how the server and our account there do, in the order in which a transfer needs them."""
    connection = online.connection
    checks = [
        Check("login", "ok", f"{shown(online.jid)} by {connection.mechanism}"),
        _tls(online),
    ]
    judged = await asyncio.gather(*(_judge(name, check, online) for name, check in _CHECKS.items()))
    return checks + list(judged)


async def _judge(name: str, check: Callable[[Online], Awaitable[Check]], online: Online) -> Check:
    try:
        return await check(online)
    except JetError as error:
        return Check(name, "FAIL", error.message, error.hint, error.exit_code)


def _tls(online: Online) -> Check:
    version, until = online.connection.tls
    text = f"{version}, certificate valid until {until:%Y-%m-%d}"
    if until - datetime.now(UTC) < CERTIFICATE_WARN:
        return Check("TLS", "warn", text, "tell the server's administrator: it expires soon")
    return Check("TLS", "ok", text)


async def _server(online: Online) -> Check:
    client = online.connection.client
    features = await health.server_features(client)
    own = (await health.keeps_personal_events(client))[1]
    lacks = [] if health.resumes_streams(client) else ["stream resumption (XEP-0198)"]
    lacks += [] if _CARBONS in features | own else ["message carbons (XEP-0280)"]
    if lacks:
        return Check("server", "warn", f"lacks {' and '.join(lacks)}", "transfers work, but survive fewer faults")
    return Check("server", "ok", "resumes streams, sends carbons")


async def _pep(online: Online) -> Check:
    is_pep, features = await health.keeps_personal_events(online.connection.client)
    if not is_pep:
        return Check("PEP", "FAIL", "the server keeps no personal events (XEP-0163)", "OMEMO needs them: ask its admin")
    if _PUBLISH_OPTIONS not in features:
        return Check("PEP", "warn", "the server ignores publish options", "keys may be closed to strangers: see keys")
    return Check("PEP", "ok", "keeps keys, with publish options")


async def _keys(online: Online) -> Check:
    """See our keys as a stranger would: listed, there, our own, and open to all."""
    device, client = online.device, online.connection.client
    repair = "run  jet login  again: it publishes them"
    published = await online.omemo.published()
    if published is None:
        return Check("keys", "FAIL", f"device {device.device_id} is not published", repair)
    if published != device.identity_key:
        return Check("keys", "FAIL", f"device {device.device_id} is published with another key", repair)
    for node in (NODE_DEVICES, bundle_node(device.device_id)):
        try:
            model = await health.access_model(client, node)
        except StanzaError:
            return Check("keys", "FAIL", f"{node.removeprefix(f'{NS_OMEMO}.')} is missing", repair)
        if model is None:
            return Check("keys", "warn", "published; the server does not tell who may read them", "")
        if model != "open":
            return Check("keys", "FAIL", f"strangers cannot read them (access model {shown(model)})", repair)
    return Check("keys", "ok", f"device {device.device_id} is published, and open to everyone")


async def _proxy(online: Online) -> Check:
    repair = "without one, transfers through firewalls go in-band, which is slow: ask the server's admin for XEP-0065"
    proxies = await online.proxies()
    if not proxies:
        return Check("proxy", "warn", "the server names no SOCKS5 proxy", repair)
    host, port = proxies[0].host, proxies[0].port
    try:
        async with asyncio.timeout(REACH_S):
            _reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return Check("proxy", "warn", f"{shown(host)}:{port} cannot be reached", repair)
    writer.close()
    return Check("proxy", "ok", f"{shown(host)}:{port}")


async def _clock(online: Online) -> Check:
    theirs = await health.server_time(online.connection.client)
    if theirs is None:
        return Check("clock", "ok", "not compared: the server tells no time")
    off_s = abs(theirs.timestamp() - time.time())
    text = f"{off_s:.0f} s off the server's"
    if off_s > CLOCK_FAIL_S:
        return Check("clock", "FAIL", text, "set the clock: certificates are judged by it")
    return Check(
        "clock", "warn" if off_s > CLOCK_WARN_S else "ok", text, "set the clock" if off_s > CLOCK_WARN_S else ""
    )


_CHECKS: dict[str, Callable[[Online], Awaitable[Check]]] = {
    "server": _server,
    "PEP": _pep,
    "keys": _keys,
    "proxy": _proxy,
    "clock": _clock,
}
