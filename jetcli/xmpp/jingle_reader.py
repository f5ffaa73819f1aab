"""From Jingle stanzas to the values of `jetcli.protocol.model`.

Reading is strict where a wrong guess would cost the file (numbers, ids, one content a stanza) and lenient where clients
are known to differ (missing attributes, misspelt reasons, two spellings of the media type). Whatever cannot be read
raises RemoteProtocolError and nothing else. Every text has a greatest length.
"""

import binascii

from lxml import etree

from jetcli.errors import RemoteProtocolError
from jetcli.protocol import model, policy
from jetcli.protocol.bundle import MAX_MEMBER_SIZE
from jetcli.protocol.policy import MAX_CANDIDATES, MAX_DESC, MAX_HASH, MAX_NAME, MAX_SID
from jetcli.xmpp import payloads

# A host name (RFC 1035), and the three parts of an address with their separators (RFC 7622).
_MAX_HOST = 255
_MAX_JID = 3071
_MAX_BATCH = 1_000_000


def bad(what: str) -> RemoteProtocolError:
    """Return the error for a stanza that cannot be read."""
    return RemoteProtocolError(f"the peer sent {what}", condition="bad-request")


def number(text: str | None, what: str, greatest: int) -> int:
    """Read a number from 0 to `greatest`."""
    try:
        return policy.unsigned(text or "", greatest)
    except ValueError:
        raise bad(f"no valid {what}") from None


def bounded(text: str | None, limit: int, what: str) -> str | None:
    """Return `text`, refusing one that is longer than `limit` characters."""
    if text is not None and len(text) > limit:
        raise bad(f"a {what} of {len(text)} characters")
    return text


def required(text: str | None, what: str) -> str:
    """Return an identifier that must be there."""
    checked = bounded(text, MAX_SID, what)
    if not checked:
        raise bad(f"no {what}")
    return checked


def read(jingle: payloads.Jingle) -> model.Action:
    """Return the action that a `<jingle/>` element says; raise RemoteProtocolError where jet knows none such."""
    sid = required(jingle.sid, "session id")
    match jingle.action:
        case "session-initiate":
            return model.Initiate(sid, _only_content(jingle), bounded(jingle.initiator, _MAX_JID, "initiator"))
        case "session-accept":
            return model.Accept(sid, _only_content(jingle), bounded(jingle.responder, _MAX_JID, "responder"))
        case "transport-info":
            return _transport_info(sid, jingle)
        case "transport-replace":
            return model.TransportReplace(sid, _only_content(jingle))
        case "transport-accept":
            return model.TransportAccept(sid, _only_content(jingle))
        case "transport-reject":
            return model.TransportReject(sid, _only_content(jingle))
        case "session-info":
            return _session_info(sid, jingle)
        case "session-terminate":
            return model.Terminate(sid, _reason(jingle.reason))
        case _:
            raise RemoteProtocolError("the peer sent an action that jet does not know", condition="unsupported-action")


def _only_content(jingle: payloads.Jingle) -> model.Content:
    content = _one_content(jingle)
    return model.Content(
        creator=bounded(content.creator, MAX_SID, "creator") or "initiator",
        name=bounded(content.name, MAX_SID, "content name") or "",
        senders=bounded(content.senders, MAX_SID, "senders"),
        description=_description(content.description),
        transport=_transport(content),
        security=_security(content.security),
        transfer=required(content.transfer.sid, "transfer sid") if content.transfer is not None else None,
        prove=content.prove is not None,
        batch=_batch(content.batch),
        bundle=number(content.bundle.files, "bundle size", _MAX_BATCH) if content.bundle is not None else None,
        first_size=_first_size(content.bundle),
    )


def _first_size(element: payloads.Bundle | None) -> int | None:
    if element is None or element.first is None:
        return None
    return number(element.first, "size of a bundle's first file", MAX_MEMBER_SIZE)


def _batch(element: payloads.Batch | None) -> model.Batch | None:
    """Read which of how many files this is; one that is none of them belongs to no batch."""
    if element is None:
        return None
    index = number(element.index, "batch index", _MAX_BATCH)
    of = number(element.of, "batch size", _MAX_BATCH)
    return model.Batch(required(element.id_, "batch id"), index, of) if 1 <= index <= of else None


def _description(description: payloads.Description | None) -> model.FileDescription | None:
    if description is None or description.file is None:
        return None
    file = description.file
    wrong: list[str] = []
    size = _number_or(wrong, file.size)
    return model.FileDescription(
        name=bounded(file.name, MAX_NAME, "file name"),
        size=size,
        media_type=bounded(file.media_type or file.camel_media_type, MAX_HASH, "media type"),
        date=bounded(file.date, MAX_SID, "date"),
        desc=bounded(file.desc, MAX_DESC, "description"),
        range=_range(file.range, wrong),
        hash_used=bounded(file.hash_used.algo, MAX_SID, "hash name") if file.hash_used is not None else None,
        hashes=_hashes(file),
        bad_number=wrong[0] if wrong else None,
    )


def _number_or(wrong: list[str], text: str | None) -> int | None:
    """Read an optional number; a text that is none goes to `wrong`, for the refusal to quote it."""
    if text is None:
        return None
    try:
        return policy.unsigned(text)
    except ValueError:
        wrong.append(text[:MAX_SID])
        return None


def _range(element: payloads.Range | None, wrong: list[str]) -> model.Range | None:
    if element is None:
        return None
    return model.Range(_number_or(wrong, element.offset) or 0, _number_or(wrong, element.length))


def _hashes(file: payloads.File) -> tuple[model.Hash, ...]:
    return tuple(
        model.Hash(bounded(element.algo, MAX_SID, "hash name") or "", _base64(element.text))
        for element in file.hashes[:MAX_CANDIDATES]
    )


def _base64(text: str | None) -> bytes | None:
    if not text or len(text) > MAX_HASH:
        return None
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except (binascii.Error, ValueError):
        return None


def _transport(content: payloads.Content) -> model.Transport | None:
    transport = content.transport
    if isinstance(transport, payloads.Socks5Transport):
        return _socks5(transport)
    if isinstance(transport, payloads.InbandTransport):
        block_size = number(transport.block_size or "4096", "block size", 65535)
        if block_size == 0:
            raise bad("no valid block size")
        return model.InbandTransport(required(transport.sid, "transport sid"), block_size)
    for element in content.rest:
        name = etree.QName(element)
        if name.localname == "transport":
            return model.UnknownTransport((name.namespace or "")[:MAX_DESC])
    return None


def _socks5(transport: payloads.Socks5Transport) -> model.Socks5Transport:
    candidates = [_candidate(element) for element in transport.candidates[:MAX_CANDIDATES]]
    return model.Socks5Transport(
        sid=required(transport.sid, "transport sid"),
        candidates=tuple(candidate for candidate in candidates if candidate is not None),
        dstaddr=bounded(transport.dstaddr, MAX_SID, "dstaddr"),
    )


def _candidate(element: payloads.Candidate) -> model.Candidate | None:
    """Read one candidate; one of an unknown type, or without an address, is passed over as XEP-0260 asks."""
    try:
        kind = model.CandidateType(element.type_ or "direct")
    except ValueError:
        return None
    host = bounded(element.host, _MAX_HOST, "candidate host")
    if not host:
        return None
    return model.Candidate(
        cid=required(element.cid, "candidate id"),
        host=host,
        port=number(element.port or "1080", "candidate port", 65535),
        jid=bounded(element.jid, _MAX_JID, "candidate address") or "",
        priority=number(element.priority or "0", "candidate priority", 2**31 - 1),
        type=kind,
    )


def _security(element: payloads.Security | None) -> model.Security | None:
    if element is None:
        return None
    envelope = element.encrypted.envelope() if element.encrypted is not None else None
    return model.Security(
        name=bounded(element.name, MAX_SID, "content name"),
        cipher=bounded(element.cipher, MAX_DESC, "cipher"),
        type=bounded(element.type_, MAX_DESC, "security type"),
        envelope=envelope,
    )


def _transport_info(sid: str, jingle: payloads.Jingle) -> model.TransportInfo:
    content = _one_content(jingle)
    transport = content.transport
    if not isinstance(transport, payloads.Socks5Transport):
        raise bad("a transport-info that is not for a SOCKS5 transport")
    note: model.TransportNote
    if transport.used is not None:
        note = model.CandidateUsed(required(transport.used.cid, "candidate id"))
    elif transport.activated is not None:
        note = model.Activated(bounded(transport.activated.cid, MAX_SID, "candidate id") or "")
    elif transport.failed is not None:
        failed = transport.failed[1]
        note = model.CandidateError() if failed == "candidate-error" else model.ProxyError()
    else:
        raise bad("a transport-info that says nothing")
    return model.TransportInfo(
        sid,
        bounded(content.creator, MAX_SID, "creator") or "initiator",
        bounded(content.name, MAX_SID, "content name") or "",
        bounded(content.senders, MAX_SID, "senders"),
        required(transport.sid, "transport sid"),
        note,
    )


def _one_content(jingle: payloads.Jingle) -> payloads.Content:
    if len(jingle.contents) != 1:
        raise bad(f"{len(jingle.contents)} contents where one is expected")
    content: payloads.Content = jingle.contents[0]
    return content


def _session_info(sid: str, jingle: payloads.Jingle) -> model.SessionInfo:
    if jingle.checksum is not None:
        file = jingle.checksum.file
        hashes = _hashes(file) if file is not None else ()
        return _of_content(sid, model.Checksum(hashes), jingle.checksum)
    if jingle.received is not None:
        return _of_content(sid, model.Received(), jingle.received)
    if jingle.prefix is not None:
        length = number(jingle.prefix.length, "prefix length", policy.MAX_SIZE)
        return model.SessionInfo(sid, model.Prefix(length, _base64(jingle.prefix.text) or b""))
    if jingle.members_ended is not None:
        return model.SessionInfo(sid, _members_ended(jingle.members_ended))
    if len(jingle.rest):
        return model.SessionInfo(sid, model.Unknown((etree.QName(jingle.rest[0]).namespace or "")[:MAX_DESC]))
    return model.SessionInfo(sid, model.Ping())


def _members_ended(element: payloads.MembersEnded) -> model.MembersEnded:
    refused = tuple(
        (
            number(one.number, "number of a file", _MAX_BATCH),
            model.Reason(required(one.condition, "condition"), (one.text or "")[:MAX_DESC] or None),
        )
        for one in element.refused
    )
    return model.MembersEnded(number(element.count, "number of files", _MAX_BATCH), refused)


def _of_content(sid: str, note: model.SessionNote, element: payloads.Checksum | payloads.Received) -> model.SessionInfo:
    creator, name = bounded(element.creator, MAX_SID, "creator"), bounded(element.name, MAX_SID, "content name")
    return model.SessionInfo(sid, note, creator, name)


def _reason(element: payloads.Reason | None) -> model.Reason:
    """Read a reason; Dino spells two of them with underscores, and unknown ones stand for themselves."""
    condition, text, application = "general-error", None, None
    for child in element.rest if element is not None else ():
        name = etree.QName(child)
        if name.namespace != model.NS_JINGLE:
            application = name.localname[:MAX_SID]
        elif name.localname == "text":
            text = (child.text or "")[:MAX_DESC] or None
        else:
            condition = name.localname.replace("_", "-")[:MAX_SID]
    return model.Reason(condition, text, application)
