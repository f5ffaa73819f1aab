"""What the words of a command line name as something to send: a file, a directory, standard input.

Which of them can be sent as it comes depends on who receives: a jet takes streams whose size nobody knows, every other
client wants a size, so that these are written to a temporary file first.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from jetcli.errors import LocalFileError
from jetcli.files.archive import ArchiveSource
from jetcli.files.pipe import PipeSource, SpooledSource
from jetcli.files.source import STDIN, Origin, Source
from jetcli.protocol.policy import shown
from jetcli.transfer.events import Listener, Phase, Warned
from jetcli.transfer.options import SendOptions


@asynccontextmanager
async def opened(
    path: Path, options: SendOptions, *, streams: bool, peer: str, emit: Listener
) -> AsyncIterator[Origin]:
    """Open what `path` names; `streams` says whether the receiver takes what has no size, `peer` is its name.

    Raises LocalFileError where it cannot be read, or where it would have to be spooled and must not be.
    """
    with ExitStack() as closing:
        origin: Origin
        if path == STDIN:
            origin = closing.enter_context(PipeSource(0, options.name or "stdin", options.size))
        elif os.path.isdir(path):  # noqa: ASYNC240 (one look, as before every sending)
            origin = closing.enter_context(ArchiveSource(path, options.name, lambda p: _passed_over(p, emit)))
        else:
            origin = closing.enter_context(Source.open(path, options.name))
        if origin.size is None and not streams:
            if options.no_spool:
                raise unsized(origin.name, peer)
            origin = closing.enter_context(await _spooled(origin, peer, emit))
        yield origin


def unsized(name: str, peer: str) -> LocalFileError:
    """Return the error of something without a size that must not be stored first."""
    return LocalFileError(
        f"'{shown(name)}' has no size, and the client of {shown(peer)} wants one",
        hint="give --size BYTES, or leave out --no-spool",
    )


def _passed_over(path: str, emit: Listener) -> None:
    emit(Warned(f"'{shown(path)}' is neither a file, a directory nor a link; it is left out"))


async def _spooled(origin: Origin, peer: str, emit: Listener) -> SpooledSource:
    """Write all of `origin` to a temporary file, since its size has to be told first."""
    emit(Warned(f"the client of {shown(peer)} wants to know the size: '{shown(origin.name)}' is stored here first"))
    emit(Phase(f"storing '{shown(origin.name)}'"))
    spooling = asyncio.ensure_future(asyncio.to_thread(SpooledSource.of, origin))
    try:
        return await asyncio.shield(spooling)
    finally:
        if not spooling.done():
            origin.stop()
            await asyncio.wait({spooling})
            spooling.exception()  # seen: it was stopped
