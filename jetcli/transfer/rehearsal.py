"""A sending that stops before the offer: whether there is somebody who could take the files, by trusted keys."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from jetcli.errors import UnsupportedError
from jetcli.files.source import STDIN, check_sendable
from jetcli.protocol.model import IV_SIZE, TransportSecret
from jetcli.protocol.offer import cipher_for
from jetcli.protocol.policy import GCM_LIMIT, shown
from jetcli.transfer.account import Online
from jetcli.transfer.events import Listener, PeerFound
from jetcli.transfer.offering import weakest
from jetcli.transfer.options import SendOptions
from jetcli.transfer.origins import unsized
from jetcli.transfer.peer import Peer, find_peer


async def rehearse(online: Online, paths: Sequence[Path], to: str, options: SendOptions, emit: Listener) -> Peer:
    """Return who would be offered the files, and tell of them; nobody is offered anything.

    Raises what `send_files` would raise or report before the answer to its first offer.
    """
    for path in paths:
        check_sendable(path, options.name)
    peer = await find_peer(online, to, wait_s=options.wait_s)
    if peer.proposal is not None:
        await online.messages.retract(peer.jid, peer.proposal)
    for path in paths:
        _demand_room(path, peer, options)
    # The envelope is thrown away: to make one is to ask every question about the keys.
    secret = TransportSecret(secrets.token_bytes(cipher_for(peer.abilities).key_size), secrets.token_bytes(IV_SIZE))
    _, devices = await online.omemo.seal(secret, peer.bare_jid)
    emit(PeerFound(peer.jid, peer.client, weakest(devices), peer.abilities.chunked, peer.abilities.resumes))
    return peer


def _demand_room(path: Path, peer: Peer, options: SendOptions) -> None:
    """Raise UnsupportedError or LocalFileError where the cipher of that peer cannot take the file."""
    if peer.abilities.chunked:
        return
    if path == STDIN or path.is_dir():
        if options.no_spool and (options.size is None or path != STDIN):
            raise unsized(options.name or path.name or "stdin", peer.jid)
    elif os.stat(path).st_size > GCM_LIMIT:
        name, who = shown(path.name), shown(peer.jid)
        raise UnsupportedError(f"'{name}' is too large for {who}: its cipher takes 64 GiB at most")
