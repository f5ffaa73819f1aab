"""What jet believes, shows and dials of all that a peer says: text, file names, sizes, addresses, lengths.

Every function here is pure: facts come in, a value, a reason or an error comes out. This is the only place where a
peer's file name becomes a name on disk (`local_name`) and where peer text becomes fit for a terminal (`shown`).
How often a peer may say something is judged in `jetcli.protocol.flood`.
"""

import ipaddress
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from jetcli.errors import DeclinedError, RemoteProtocolError

if TYPE_CHECKING:
    from jetcli.protocol.model import FileDescription

Network = IPv4Network | IPv6Network

#: Plaintext bytes that AES-GCM may seal under one key and IV (SP 800-38D section 5.2.1.1).
GCM_LIMIT = 2**36 - 32
#: The largest size or offset that is taken for one: what a file system can address.
MAX_SIZE = 2**63 - 1
#: Candidates of one transport that are looked at; more would make jet a port scanner.
MAX_CANDIDATES = 8
#: Longest texts that are read from a stanza, in characters. No client sends half as much.
MAX_NAME = 1024
MAX_DESC = 1024
MAX_SID = 64
MAX_CID = 64
MAX_HASH = 128
#: Offers that may wait for a person's answer, in all and of one peer.
MAX_WAITING_OFFERS = 4
MAX_WAITING_OFFERS_PER_PEER = 1
#: Accepted sessions that may run or queue for a worker; the next is answered with resource-constraint.
MAX_SESSIONS = 64
#: Bytes of UTF-8 in one component of a path: NAME_MAX of every usual file system.
MAX_COMPONENT = 255

# Control, format (bidi overrides among them), surrogate, private use, line and paragraph separator: what a terminal
# obeys, hides or cannot draw. Unassigned characters pass, because tomorrow's letters are among them; noncharacters
# will never be one.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Turn the reading order of what follows them: `invoice\u202efdp.exe` looks like a document.
_REORDERING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})

# A suffix stays behind the number; longer than this it is rather a sentence that ends in the name.
_SUFFIX = re.compile(r"(?<=[^.])(?:\.tar)?\.[^. ]{1,12}$")

# IPv6 ranges that carry an IPv4 address or lead to one (RFC 4291 2.5.5, 6052, 8215, 7915, 3056, 4380), so that they
# could smuggle 127.0.0.1 past the other rules; and ranges that name no host, whatever `is_global` says of them.
_NO_HOSTS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "fec0::/10",
        "100::/64",
        "3fff::/20",
        "5f00::/16",
        "192.88.99.0/24",
    )
)
# Interface identifiers of ISATAP (RFC 5214 section 6.1) hold an IPv4 address under any prefix.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


def shown(text: str, limit: int = 200) -> str:
    r"""Make peer text fit for a terminal, a log and an error line.

    The result is one line of at most `limit` characters without control, format, surrogate, private-use and separator
    characters (security.md's P11): these appear escaped, as `\x1b` or `\u202e`. What is cut ends in an ellipsis.
    """
    pieces: list[str] = []
    room = limit
    for piece in map(_escaped, text[: limit + 1]):
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            return _cut(pieces, limit)
    return "".join(pieces)


def _escaped(char: str) -> str:
    if not _unshowable(char):
        return char
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _unshowable(char: str) -> bool:
    code = ord(char)
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return noncharacter or unicodedata.category(char) in _UNSHOWABLE


def _cut(pieces: list[str], limit: int) -> str:
    """Drop whole pieces from the end until an ellipsis fits; half an escape would read as text."""
    length = sum(map(len, pieces))
    while pieces and length > limit - 1:
        length -= len(pieces.pop())
    return "".join([*pieces, "…"])


def shown_size(count: int) -> str:
    """Write a number of bytes for a person, in powers of 1000: `512 B`, `3.1 kB`, `81 GB`, `9.0 TB`."""
    if count < 1000:
        return f"{count} B"
    value, units = count / 1000, ["kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}" if value < 9.95 else f"{value:.0f} {units[0]}"


def local_name(name: str | None, *, allow_hidden: bool = False) -> str:
    """Return a peer's file name as one safe component, or refuse it; nothing is repaired or decoded.

    A path where a name belongs, and what would command or deceive a terminal, breaks the protocol. Names that a sender
    may well have are declined: none, a backslash, a leading dot (unless `allow_hidden`), those of jet's own part files,
    blanks only, more than 255 bytes, and whatever else `shown` would have to escape. The security considerations of
    XEP-0234 ask for this and leave the rules to us.

    Raises RemoteProtocolError (`failed-application`) and DeclinedError.
    """
    name = name or ""
    if _is_path(name) or any(map(_is_hostile, name)):
        hint = "jet receive -o NAME takes it under a name of yours"
        raise RemoteProtocolError(_unsafe(name), condition="failed-application", hint=hint)
    if not _storable(name) or any(map(_unshowable, name)) or _is_part(name):
        raise DeclinedError(_unsafe(name), hint="jet receive -o NAME")
    if name.startswith(".") and not allow_hidden:
        raise DeclinedError(_unsafe(name), hint="jet receive --allow-hidden, or -o NAME")
    return name


def _is_path(name: str) -> bool:
    return name in {".", ".."} or "/" in name


def _is_hostile(char: str) -> bool:
    return unicodedata.category(char) == "Cc" or unicodedata.bidirectional(char) in _REORDERING


def _storable(name: str) -> bool:
    """Tell whether every system stores the name; surrogates count as the three bytes that nothing can store."""
    short = len(name.encode("utf-8", "surrogatepass")) <= MAX_COMPONENT
    return short and bool(name.strip()) and "\\" not in name


def _is_part(name: str) -> bool:
    # Compared without case, since some file systems do not tell case apart.
    folded = name.casefold()
    return folded.startswith(".jet-") and folded.endswith(".part")


def _unsafe(name: str) -> str:
    return f"refused unsafe file name '{shown(name)}'"


def numbered(name: str, n: int) -> str:
    """Return the `n`th name to try where `name` is taken: `report (2).pdf`, `a (2).tar.gz`, `.profile (2)`.

    The stem is cut where the result would be longer than a file system takes.
    """
    found = _SUFFIX.search(name)
    suffix = found.group() if found else ""
    tail = f" ({n}){suffix}"
    stem = name[: len(name) - len(suffix)].encode()
    return stem[: MAX_COMPONENT - len(tail.encode())].decode(errors="ignore") + tail


def unsigned(text: str, maximum: int = MAX_SIZE) -> int:
    """Read a number as XML schema writes an unsigned one: ASCII digits and nothing else, at most `maximum`.

    `int` alone also takes signs, blanks, underscores and the digits of other scripts. Raises ValueError.
    """
    # The length comes first: reading a million digits takes time.
    if not 1 <= len(text) <= 20 or not (text.isascii() and text.isdigit()):
        raise ValueError("not an unsigned number")
    value = int(text)
    if value > maximum:
        raise ValueError(f"more than {maximum}")
    return value


def offered_size(file: "FileDescription", *, may_be_unknown: bool = False) -> int | None:
    """Return the size that an offer announces; None only where `may_be_unknown`, which takes the chunked cipher.

    Raises RemoteProtocolError for a size that is missing, no number, or outside 0 to 2^63 - 1.
    """
    if file.bad_number is not None:
        reason = f": '{shown(file.bad_number, 40)}'"
    elif file.size is None and may_be_unknown:
        return None
    elif file.size is not None and 0 <= file.size <= MAX_SIZE:
        return file.size
    else:
        reason = "" if file.size is None else f": '{shown(str(file.size), 40)}'"
    raise RemoteProtocolError(f"the offer has no valid size{reason}", condition="failed-application")


def believable_mtime(mtime: float | None, now: float) -> float | None:
    """Return a peer's modification time if a published file may carry it: from 1980 on, at most a day ahead.

    Both in seconds since the epoch; 1980 is the oldest date that every file system can store.
    """
    if mtime is None or not math.isfinite(mtime) or not 315_532_800 <= mtime <= now + 86_400:
        return None
    return mtime


def why_not_dial(host: str, port: int, *, on_link: Iterable[Network], loopback: bool = False) -> str | None:
    """Say why a peer's candidate must not be dialled, or return None if it may be.

    `host` must be an address literal without a scope id: a peer's names are never resolved. Private addresses pass
    only inside `on_link`, the networks of our own interfaces; loopback addresses only with `loopback`. The reason is
    for our own user: the peer hears the same candidate-error whatever it was (XEP-0260 section 2.4).
    """
    address = _literal(host)
    if address is None:
        return "not an IP address"
    if not 1024 <= port <= 65535:
        return "port outside 1024-65535"
    if address.is_loopback:
        return None if loopback else "address of this machine"
    if address.is_link_local or address.is_unspecified:
        return "address of this machine or link"
    if address.is_multicast or _embeds_or_names_no_host(address):
        return "not a unicast address of a host"
    if not address.is_global and not any(address in network for network in _alike(address, on_link)):
        return "private address outside our networks"
    return None


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """Read an address; an IPv4 address mapped into IPv6 is the IPv4 address that the kernel would dial."""
    if "%" in host:
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def _embeds_or_names_no_host(address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in _alike(address, _NO_HOSTS)):
        return True
    return isinstance(address, IPv6Address) and (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP


def _alike(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> Iterator[Network]:
    return (network for network in networks if network.version == address.version)
