"""Arithmetic of byte ranges: what is held, what is missing, and whether a peer's range lies inside a file.

Byte ranges are Python's `range(start, stop)`; only a stanza's own `Range` (XEP-0234 section 4.4) has offset and length.
"""

from collections.abc import Iterable

from jetcli.errors import RemoteProtocolError
from jetcli.protocol.model import Range


def merged(held: Iterable[range]) -> list[range]:
    """Return the same bytes as sorted, disjoint ranges that neither touch nor are empty."""
    whole: list[range] = []
    for piece in sorted((piece for piece in held if piece), key=lambda piece: piece.start):
        if whole and piece.start <= whole[-1].stop:
            whole[-1] = range(whole[-1].start, max(whole[-1].stop, piece.stop))
        else:
            whole.append(piece)
    return whole


def missing(held: Iterable[range], size: int) -> list[range]:
    """Return the byte ranges of a `size`-byte file that `held` leaves out.

    `held` may overlap, be unsorted and reach beyond the file; the result is sorted, disjoint and free of empty ranges.
    `missing([], 0)` is `[]`.
    """
    gaps: list[range] = []
    cursor = 0
    for piece in merged(held):
        gaps.append(range(cursor, min(piece.start, size)))
        cursor = max(cursor, piece.stop)
    gaps.append(range(cursor, size))
    return [gap for gap in gaps if gap]


def span(wanted: Range | None, size: int) -> range:
    """Return the bytes of a `size`-byte file that a peer's range means; None means all of them.

    An offset of the whole size is the empty range: nothing is missing. No byte before the offset is ever in it.

    Raises RemoteProtocolError where the range reaches outside the file: a range that was cut silently would leave the
    two sides with different ideas of where the stream ends.
    """
    if wanted is None:
        return range(size)
    stop = size if wanted.length is None else wanted.offset + wanted.length
    if not 0 <= wanted.offset <= stop <= size:
        raise RemoteProtocolError(
            f"the range from {wanted.offset} to {stop} lies outside a file of {size} bytes",
            condition="failed-application",
        )
    return range(wanted.offset, stop)


def rest_of(wanted: Range | None, size: int) -> Range:
    """Return the part of a `size`-byte file that is still to be sent, where the peer names a range to its end.

    Raises RemoteProtocolError as `span` does, and where the peer wants less than the rest.
    """
    asked = span(wanted, size)
    if asked.stop != size:
        raise RemoteProtocolError(
            f"the range ends at {asked.stop} of {size} bytes, where all that is missing was to be named",
            condition="failed-application",
        )
    return Range(asked.start)
