"""From the values of `jetcli.protocol.model` to Jingle stanzas, in the shapes that every known client accepts."""

import binascii

from lxml import etree

from jetcli.protocol import model
from jetcli.xmpp import payloads
from jetcli.xmpp.omemo_payloads import Encrypted


def write(action: model.Action) -> payloads.Jingle:
    """Return the `<jingle/>` element of an action."""
    jingle = payloads.Jingle()
    jingle.sid = action.sid
    jingle.action = _ACTIONS[type(action)]
    match action:
        case model.Initiate():
            jingle.initiator = action.initiator
            jingle.contents.append(_write_content(action.content, offer=True))
        case model.Accept():
            jingle.responder = action.responder
            jingle.contents.append(_write_content(action.content))
        case model.TransportReplace() | model.TransportAccept() | model.TransportReject():
            jingle.contents.append(_write_content(action.content))
        case model.TransportInfo():
            jingle.contents.append(_write_transport_info(action))
        case model.SessionInfo():
            _write_note(jingle, action)
        case model.Terminate():
            jingle.reason = _write_reason(action.reason)
    return jingle


_ACTIONS: dict[type[model.Action], str] = {
    model.Initiate: "session-initiate",
    model.Accept: "session-accept",
    model.TransportInfo: "transport-info",
    model.TransportReplace: "transport-replace",
    model.TransportAccept: "transport-accept",
    model.TransportReject: "transport-reject",
    model.SessionInfo: "session-info",
    model.Terminate: "session-terminate",
}


def _write_content(content: model.Content, *, offer: bool = False) -> payloads.Content:
    element = payloads.Content()
    element.creator, element.name, element.senders = content.creator, content.name, content.senders
    if content.description is not None:
        element.description = payloads.Description()
        element.description.file = _write_file(content.description)
    if content.transport is not None:
        element.transport = _write_transport(content.transport, offer=offer)
    if content.security is not None:
        element.security = _write_security(content.security)
    if content.transfer is not None:
        element.transfer = payloads.Transfer()
        element.transfer.sid = content.transfer
    if content.batch is not None:
        batch = element.batch = payloads.Batch()
        batch.id_, batch.index, batch.of = content.batch.id, str(content.batch.index), str(content.batch.of)
    if content.bundle is not None:
        element.bundle = payloads.Bundle()
        element.bundle.files = str(content.bundle)
        element.bundle.first = None if content.first_size is None else str(content.first_size)
    if content.prove:
        element.prove = (model.NS_RESUME, "prove")
    return element


def _write_file(description: model.FileDescription) -> payloads.File:
    file = payloads.File()
    file.name, file.media_type = description.name, description.media_type
    file.date, file.desc = description.date, description.desc
    file.size = None if description.size is None else str(description.size)
    if description.range is not None:
        file.range = payloads.Range()
        file.range.offset = str(description.range.offset) if description.range.offset else None
        file.range.length = None if description.range.length is None else str(description.range.length)
    if description.hash_used is not None:
        file.hash_used = payloads.HashUsed()
        file.hash_used.algo = description.hash_used
    file.hashes.extend(_write_hash(value) for value in description.hashes)
    return file


def _write_hash(value: model.Hash) -> payloads.Hash:
    element = payloads.Hash()
    element.algo = value.algo
    element.text = None if value.value is None else _base64(value.value)
    return element


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _write_transport(transport: model.Transport, *, offer: bool) -> payloads.Socks5Transport | payloads.InbandTransport:
    match transport:
        case model.Socks5Transport():
            element = payloads.Socks5Transport()
            element.sid, element.dstaddr = transport.sid, transport.dstaddr
            element.mode = "tcp" if offer else None
            element.candidates.extend(_write_candidate(candidate) for candidate in transport.candidates)
            return element
        case model.InbandTransport():
            inband = payloads.InbandTransport()
            inband.sid, inband.block_size = transport.sid, str(transport.block_size)
            return inband
        case model.UnknownTransport():
            raise ValueError("an unknown transport is never sent")


def _write_candidate(candidate: model.Candidate) -> payloads.Candidate:
    element = payloads.Candidate()
    element.cid, element.host, element.port = candidate.cid, candidate.host, str(candidate.port)
    element.jid, element.priority, element.type_ = candidate.jid, str(candidate.priority), candidate.type.value
    return element


def _write_security(security: model.Security) -> payloads.Security:
    element = payloads.Security()
    element.name, element.cipher, element.type_ = security.name, security.cipher, security.type
    if security.envelope is not None:
        element.encrypted = Encrypted.from_envelope(security.envelope)
    return element


def _write_transport_info(action: model.TransportInfo) -> payloads.Content:
    element = payloads.Content()
    element.creator, element.name, element.senders = action.creator, action.name, action.senders
    transport = element.transport = payloads.Socks5Transport()
    transport.sid = action.transport_sid
    match action.note:
        case model.CandidateUsed(cid):
            transport.used = payloads.CandidateUsed()
            transport.used.cid = cid
        case model.Activated(cid):
            transport.activated = payloads.Activated()
            transport.activated.cid = cid
        case model.CandidateError():
            transport.failed = (model.NS_SOCKS5_TRANSPORT, "candidate-error")
        case model.ProxyError():
            transport.failed = (model.NS_SOCKS5_TRANSPORT, "proxy-error")
    return element


def _write_note(jingle: payloads.Jingle, action: model.SessionInfo) -> None:
    """Write a session-info: exactly one child, or none; Dino takes no other."""
    match action.note:
        case model.Checksum(hashes):
            checksum = jingle.checksum = payloads.Checksum()
            checksum.creator, checksum.name = action.creator, action.name
            checksum.file = payloads.File()
            checksum.file.hashes.extend(_write_hash(value) for value in hashes)
        case model.Received():
            jingle.received = payloads.Received()
            jingle.received.creator, jingle.received.name = action.creator, action.name
        case model.Prefix(length, proof):
            jingle.prefix = payloads.Prefix()
            jingle.prefix.length, jingle.prefix.text = str(length), _base64(proof)
        case model.MembersEnded():
            jingle.members_ended = _write_members_ended(action.note)
        case model.Ping():
            pass
        case model.Unknown():
            raise ValueError("an unknown session-info is never sent")


def _write_members_ended(note: model.MembersEnded) -> payloads.MembersEnded:
    element = payloads.MembersEnded()
    element.count = str(note.count)
    for number, reason in note.refused:
        refused = payloads.Refused()
        refused.number, refused.condition, refused.text = str(number), reason.condition, reason.text
        element.refused.append(refused)
    return element


def _write_reason(reason: model.Reason) -> payloads.Reason:
    element = payloads.Reason()
    element.rest.append(_element(model.NS_JINGLE, reason.condition))
    if reason.text:
        element.rest.append(_element(model.NS_JINGLE, "text", reason.text))
    if reason.application:
        namespace = _APPLICATIONS.get(reason.application, model.NS_FILE_TRANSFER_ERRORS)
        element.rest.append(_element(namespace, reason.application))
    return element


#: Conditions of jet's own, with their namespaces.
_APPLICATIONS = {
    model.UNKNOWN_TRANSFER: model.NS_RESUME,
    model.SOURCE_CHANGED: model.NS_RESUME,
    model.SINGLY: model.NS_BUNDLE,
}


def _element(namespace: str, name: str, text: str | None = None) -> etree._Element:
    element = etree.Element(f"{{{namespace}}}{name}", nsmap={None: namespace})
    element.text = text
    return element
