"""The XML of Jingle as aioxmpp declarations: shapes only.

Every attribute and child is optional and every number is text here: what a peer left out or misspelt is judged by our
own rules (`jetcli.xmpp.jingle_reader`, `jetcli.protocol.offer`), not answered by aioxmpp before they run. Unknown
children are collected, so that an unknown transport is seen and not silently dropped.
"""

from collections.abc import Generator
from typing import Any

import aioxmpp
from aioxmpp import xso

from jetcli.protocol.model import (
    NS_BATCH,
    NS_BUNDLE,
    NS_FILE_TRANSFER,
    NS_HASHES,
    NS_INBAND_TRANSPORT,
    NS_JET,
    NS_JINGLE,
    NS_JINGLE_ERRORS,
    NS_RESUME,
    NS_SOCKS5_TRANSPORT,
)
from jetcli.xmpp.omemo_payloads import Encrypted


class Once(xso.Child):
    """A child that decides something: of two, nobody could tell which one is meant, so the stanza is refused."""

    def from_events(self, instance: Any, ev_args: Any, ctx: Any) -> Generator[None, Any, Any]:
        """Parse the child; raise ValueError where there has been one already."""
        if self.__get__(instance, type(instance)) is not None:
            raise ValueError("an element that may come once came twice")
        return (yield from super().from_events(instance, ev_args, ctx))


class Hash(xso.XSO):
    """`<hash/>` (XEP-0300)."""

    TAG = (NS_HASHES, "hash")
    algo = xso.Attr("algo", default=None)
    text = xso.Text(default=None)


class HashUsed(xso.XSO):
    """`<hash-used/>` (XEP-0300 section 4)."""

    TAG = (NS_HASHES, "hash-used")
    algo = xso.Attr("algo", default=None)


class Range(xso.XSO):
    """`<range/>` (XEP-0234 section 4.4)."""

    TAG = (NS_FILE_TRANSFER, "range")
    offset = xso.Attr("offset", default=None)
    length = xso.Attr("length", default=None)
    rest = xso.Collector()


class File(xso.XSO):
    """`<file/>` (XEP-0234 section 3); Conversations spells the media type in camel case."""

    TAG = (NS_FILE_TRANSFER, "file")
    name = xso.ChildText((NS_FILE_TRANSFER, "name"), default=None)
    size = xso.ChildText((NS_FILE_TRANSFER, "size"), default=None)
    media_type = xso.ChildText((NS_FILE_TRANSFER, "media-type"), default=None)
    camel_media_type = xso.ChildText((NS_FILE_TRANSFER, "mediaType"), default=None)
    date = xso.ChildText((NS_FILE_TRANSFER, "date"), default=None)
    desc = xso.ChildText((NS_FILE_TRANSFER, "desc"), default=None)
    range = Once([Range])
    hash_used = xso.Child([HashUsed])
    hashes = xso.ChildList([Hash])


class Description(xso.XSO):
    """`<description/>` of a file transfer."""

    TAG = (NS_FILE_TRANSFER, "description")
    file = xso.Child([File])


class Checksum(xso.XSO):
    """`<checksum/>` (XEP-0234 section 8.3)."""

    TAG = (NS_FILE_TRANSFER, "checksum")
    creator = xso.Attr("creator", default=None)
    name = xso.Attr("name", default=None)
    file = xso.Child([File])


class Received(xso.XSO):
    """`<received/>` (XEP-0234 section 8.1)."""

    TAG = (NS_FILE_TRANSFER, "received")
    creator = xso.Attr("creator", default=None)
    name = xso.Attr("name", default=None)


class Candidate(xso.XSO):
    """`<candidate/>` (XEP-0260 section 2.2)."""

    TAG = (NS_SOCKS5_TRANSPORT, "candidate")
    cid = xso.Attr("cid", default=None)
    host = xso.Attr("host", default=None)
    port = xso.Attr("port", default=None)
    jid = xso.Attr("jid", default=None)
    priority = xso.Attr("priority", default=None)
    type_ = xso.Attr("type", default=None)


class CandidateUsed(xso.XSO):
    """`<candidate-used/>` (XEP-0260 section 2.4)."""

    TAG = (NS_SOCKS5_TRANSPORT, "candidate-used")
    cid = xso.Attr("cid", default=None)


class Activated(xso.XSO):
    """`<activated/>` (XEP-0260 section 2.4)."""

    TAG = (NS_SOCKS5_TRANSPORT, "activated")
    cid = xso.Attr("cid", default=None)


class Socks5Transport(xso.XSO):
    """`<transport/>` over SOCKS5 (XEP-0260)."""

    TAG = (NS_SOCKS5_TRANSPORT, "transport")
    sid = xso.Attr("sid", default=None)
    mode = xso.Attr("mode", default=None)
    dstaddr = xso.Attr("dstaddr", default=None)
    candidates = xso.ChildList([Candidate])
    used = xso.Child([CandidateUsed])
    activated = xso.Child([Activated])
    failed = xso.ChildTag(
        [(NS_SOCKS5_TRANSPORT, "candidate-error"), (NS_SOCKS5_TRANSPORT, "proxy-error")], allow_none=True
    )


class InbandTransport(xso.XSO):
    """`<transport/>` in-band (XEP-0261)."""

    TAG = (NS_INBAND_TRANSPORT, "transport")
    sid = xso.Attr("sid", default=None)
    block_size = xso.Attr("block-size", default=None)


class Security(xso.XSO):
    """`<security/>` (XEP-0391 section 4.1)."""

    TAG = (NS_JET, "security")
    name = xso.Attr("name", default=None)
    cipher = xso.Attr("cipher", default=None)
    type_ = xso.Attr("type", default=None)
    encrypted = xso.Child([Encrypted])
    rest = xso.Collector()


class Transfer(xso.XSO):
    """`<transfer/>`: names a resumed transfer by the sid of its first session."""

    TAG = (NS_RESUME, "transfer")
    sid = xso.Attr("sid", default=None)


class Batch(xso.XSO):
    """`<batch/>`: which of the files of one command this is."""

    TAG = (NS_BATCH, "batch")
    id_ = xso.Attr("id", default=None)
    index = xso.Attr("index", default=None)
    of = xso.Attr("of", default=None)


class Bundle(xso.XSO):
    """`<bundle/>`: how many small files the stream carries, and the size of the first."""

    TAG = (NS_BUNDLE, "bundle")
    files = xso.Attr("files", default=None)
    first = xso.Attr("first", default=None)


class Content(xso.XSO):
    """`<content/>` (XEP-0166 section 7.3)."""

    TAG = (NS_JINGLE, "content")
    creator = xso.Attr("creator", default=None)
    name = xso.Attr("name", default=None)
    senders = xso.Attr("senders", default=None)
    disposition = xso.Attr("disposition", default=None)
    description = xso.Child([Description])
    transport = xso.Child([Socks5Transport, InbandTransport])
    security = xso.Child([Security])
    transfer = Once([Transfer])
    batch = xso.Child([Batch])
    bundle = xso.Child([Bundle])
    prove = xso.ChildTag([(NS_RESUME, "prove")], allow_none=True)
    rest = xso.Collector()


class Reason(xso.XSO):
    """`<reason/>`: its children are collected, since clients misspell them and add their own."""

    TAG = (NS_JINGLE, "reason")
    rest = xso.Collector()


class Prefix(xso.XSO):
    """`<prefix/>`: proof of the bytes that a resuming receiver holds, base64."""

    TAG = (NS_RESUME, "prefix")
    length = xso.Attr("length", default=None)
    text = xso.Text(default=None)


class Refused(xso.XSO):
    """`<refused/>`: a member of a bundle that was not saved."""

    TAG = (NS_BUNDLE, "refused")
    number = xso.Attr("number", default=None)
    condition = xso.Attr("condition", default=None)
    text = xso.Text(default=None)


class MembersEnded(xso.XSO):
    """`<ended/>`: how many members of a bundle have come to their end."""

    TAG = (NS_BUNDLE, "ended")
    count = xso.Attr("count", default=None)
    refused = xso.ChildList([Refused])


@aioxmpp.IQ.as_payload_class
class Jingle(xso.XSO):
    """`<jingle/>` (XEP-0166 section 7.1)."""

    TAG = (NS_JINGLE, "jingle")
    action = xso.Attr("action", default=None)
    sid = xso.Attr("sid", default=None)
    initiator = xso.Attr("initiator", default=None)
    responder = xso.Attr("responder", default=None)
    contents = xso.ChildList([Content])
    reason = xso.Child([Reason])
    checksum = xso.Child([Checksum])
    received = xso.Child([Received])
    prefix = Once([Prefix])
    members_ended = xso.Child([MembersEnded])
    rest = xso.Collector()


@aioxmpp.stanza.Error.as_application_condition
class UnknownSession(xso.XSO):
    """No session has that sid (XEP-0166 section 10)."""

    TAG = (NS_JINGLE_ERRORS, "unknown-session")


@aioxmpp.stanza.Error.as_application_condition
class OutOfOrder(xso.XSO):
    """The action does not fit the session's state (XEP-0166 section 10)."""

    TAG = (NS_JINGLE_ERRORS, "out-of-order")


@aioxmpp.stanza.Error.as_application_condition
class TieBreak(xso.XSO):
    """Both sides offered the same; the other offer wins (XEP-0166 section 7.2.16)."""

    TAG = (NS_JINGLE_ERRORS, "tie-break")


@aioxmpp.stanza.Error.as_application_condition
class UnsupportedInfo(xso.XSO):
    """The session-info payload is not understood (XEP-0166 section 10)."""

    TAG = (NS_JINGLE_ERRORS, "unsupported-info")
