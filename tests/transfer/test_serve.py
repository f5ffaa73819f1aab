"""What is told of a transfer that this process did not begin, once whoever continued it has ended."""

import asyncio
from types import SimpleNamespace

import pytest

from jetcli.errors import InterruptedTransferError, UnavailableError
from jetcli.state.transfers import TransferState
from jetcli.transfer.events import Declined, FileDone, FileFailed
from jetcli.transfer.outcome import Broken
from jetcli.transfer.ownership import Ownership
from jetcli.transfer.serve import Serving

PEER = "romeo@montague.example/jet"
DONE = FileDone("k3v9", "receive", "film.mkv", None, 1, 0.1, "chunks")
RECORD = SimpleNamespace(id="k3v9", direction="receive", name="film.mkv", state=TransferState.INTERRUPTED)


class Session:
    """A session of the peer that continues a transfer."""

    session = SimpleNamespace(peer=PEER)

    async def close(self):
        """Do nothing: nothing was opened."""


@pytest.fixture
def serve(tmp_path):
    """Serve a session that ends so; return what was told, and what was counted."""

    async def go(outcome):
        told, counted = [], []

        async def count(result, sender):
            await asyncio.sleep(0)
            counted.append((type(result), sender))

        async def answered(*_):
            return outcome

        serving = Serving(SimpleNamespace(ownership=Ownership(tmp_path, "jet receive")), told.append, count)
        serving._answer = answered
        await serving._serve(Session(), RECORD)
        return told, counted

    return go


async def test_a_file_that_has_come_counts(serve):
    assert await serve(DONE) == ([], [(FileDone, PEER)])


async def test_a_file_that_broke_counts(serve):
    [failure], counted = await serve(Broken(InterruptedTransferError("connection lost"), kept=True))
    assert (failure.error.hint, failure.resumable) == ("jet resume k3v9", True)
    assert counted == [(FileFailed, PEER)]


async def test_a_rest_that_the_sender_withdraws_before_it_is_accepted_counts_for_nothing(serve):
    told, counted = await serve(Broken(UnavailableError("withdrew"), kept=True, withdrawn=True))
    assert told == [Declined("k3v9", "receive", "peer", "withdrawn by the sender")]
    assert counted == []
