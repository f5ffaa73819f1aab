"""The transcript of an offer: what both sides must have read alike before the chunked cipher opens a byte.

XEP-0391 authenticates the transport secret and nothing else: name, size, session id and range travel where servers can
edit them. Two jets therefore derive the stream key from a digest of these fields (`jetcli.protocol.cipher.stream_key`),
so that an edited or exchanged offer makes the first chunk fail. `docs/chunked-cipher.md` is the same for implementers.
This module only encodes; who agreed to which range is the session's business.
"""

import hashlib
import struct
from typing import Self

from msgspec import Struct
from msgspec.structs import astuple

from jetcli.protocol.model import Content, Range

_ABSENT = b"\xff\xff\xff\xff"


class Transcript(Struct, frozen=True):
    """The fields that the stream key depends on, in the order in which they are encoded.

    Texts are as parsed from the session-initiate, not normalised; None is an absent attribute or element. `initiator`
    and `responder` are prepared full JIDs. `transfer` is the sid of a resumed transfer's first session. `offset` and
    `length` are the agreed range. `bundle` is how many files a bundle carries.
    """

    sid: str
    content_creator: str
    content_name: str
    senders: str | None
    initiator: str
    responder: str
    security_type: str | None
    name: str | None
    size: int | None
    date: str | None
    media_type: str | None
    desc: str | None
    transfer: str | None
    offset: int = 0
    length: int | None = None
    bundle: int | None = None

    @classmethod
    def of(cls, content: Content, *, sid: str, initiator: str, responder: str, agreed: Range | None = None) -> Self:
        """Return the transcript of the offer `content`; `agreed` is the accept's range, else the offer's, else None.

        Raises ValueError where the content has no description or no security: such an offer has no stream.
        """
        file, security = content.description, content.security
        if file is None or security is None:
            raise ValueError("a transcript needs a description and a security element")
        part = agreed or Range()
        return cls(
            sid=sid,
            content_creator=content.creator,
            content_name=content.name,
            senders=content.senders,
            initiator=initiator,
            responder=responder,
            security_type=security.type,
            name=file.name,
            size=file.size,
            date=file.date,
            media_type=file.media_type,
            desc=file.desc,
            transfer=content.transfer,
            offset=part.offset,
            length=part.length,
            bundle=content.bundle,
        )

    def encoded(self) -> bytes:
        """Return the fields in order, each as u32-BE length and UTF-8 bytes, an absent one as 0xFFFFFFFF.

        The last one, `bundle`, is there only where there is a bundle.
        """
        fields = astuple(self)
        return b"".join(_field(value) for value in (fields if self.bundle is not None else fields[:-1]))

    def digest(self) -> bytes:
        """Return SHA-256 of the encoded transcript, 32 bytes."""
        return hashlib.sha256(self.encoded()).digest()


def _field(value: str | int | None) -> bytes:
    if value is None:
        return _ABSENT
    data = str(value).encode()
    return struct.pack(">I", len(data)) + data
