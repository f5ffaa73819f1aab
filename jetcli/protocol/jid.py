"""XMPP addresses (RFC 7622): what is one, and its parts.

Owns the check that the command line makes before anything is loaded or dialled. It knows nothing of rosters, of
presence or of the library that later carries the address; that library prepares the parts once more.
"""

import re
import unicodedata

from msgspec import Struct
from msgspec.structs import replace

#: RFC 7622 sections 3.2 to 3.4: each part holds 1 to 1,023 bytes of UTF-8.
PART_LIMIT = 1023

#: RFC 7622 section 3.3.1: these never stand in a local part.
_NOT_LOCAL = frozenset("\"&'/:<>@")

#: One label of a domain name: letters and digits of any script, hyphens inside (RFC 5890 section 2.3.1).
_LABEL = re.compile(r"\w(?:[\w·-]{0,61}\w)?")
_ADDRESS_LITERAL = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]")


class Jid(Struct, frozen=True):
    """An address: `local` is None for a server, `resource` is None in a bare JID."""

    local: str | None
    domain: str
    resource: str | None = None

    @property
    def bare(self) -> "Jid":
        """This address without its resource."""
        return replace(self, resource=None)

    def __str__(self) -> str:
        local = "" if self.local is None else f"{self.local}@"
        resource = "" if self.resource is None else f"/{self.resource}"
        return f"{local}{self.domain}{resource}"


def parse_jid(text: str) -> Jid:
    """Return the address that `text` spells, its case folded where case does not count.

    Raises ValueError with the reason where it spells none (RFC 7622 section 3).
    """
    address, slash, resource = text.partition("/")
    local, at, domain = address.rpartition("@") if address.count("@") == 1 else ("", "", address)
    return Jid(
        _local_part(local) if at else None,
        _domain_part(domain),
        _resource_part(resource) if slash else None,
    )


def _local_part(text: str) -> str:
    _limit(text, "local part")
    if any(character in _NOT_LOCAL or character.isspace() or _unprintable(character) for character in text):
        raise ValueError("the part before the @ holds a character that no address has")
    return unicodedata.normalize("NFC", text.lower())


def _domain_part(text: str) -> str:
    domain = text.removesuffix(".")
    _limit(domain, "domain")
    if _ADDRESS_LITERAL.fullmatch(domain):
        return domain.lower()
    labels = domain.split(".")
    if not all(_LABEL.fullmatch(label) and "_" not in label for label in labels):
        raise ValueError("the domain is not a host name")
    return unicodedata.normalize("NFC", domain.lower())


def _resource_part(text: str) -> str:
    _limit(text, "resource")
    if any(_unprintable(character) for character in text):
        raise ValueError("the resource holds a control character")
    return unicodedata.normalize("NFC", text)


def _limit(text: str, part: str) -> None:
    if not text:
        raise ValueError(f"its {part} is empty")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"its {part} is not UTF-8") from None
    if size > PART_LIMIT:
        raise ValueError(f"its {part} is longer than {PART_LIMIT} bytes")


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
