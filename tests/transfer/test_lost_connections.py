"""A connection that is gone for good ends whatever a command does."""

import asyncio

import pytest

from jetcli.errors import AuthError, UnavailableError
from jetcli.transfer.account import Online

REFUSED = AuthError("jet.test refused the login")


@pytest.fixture
async def online():
    made = Online.__new__(Online)
    made.lost = asyncio.get_running_loop().create_future()
    return made


async def test_what_waits_for_ever_ends_with_the_reason_and_leaves_in_order(online):
    waits, left = asyncio.Event(), []

    async def work():
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            left.append("in order")

    working = asyncio.ensure_future(online.unless_lost(work()))
    await waits.wait()
    online._lost(REFUSED)
    with pytest.raises(AuthError, match="refused the login"):
        await working
    assert left == ["in order"]


async def test_what_is_lost_already_is_not_begun(online):
    online._lost(REFUSED)
    with pytest.raises(AuthError):
        await online.unless_lost(asyncio.Event().wait())


async def test_what_has_ended_counts_although_the_connection_is_lost_just_then(online):
    async def work():
        online._lost(REFUSED)
        return 14

    assert await online.unless_lost(work()) == 14


async def test_a_failure_of_the_work_is_its_own(online):
    async def work():
        raise UnavailableError("juliet@jet.test is not online")

    with pytest.raises(UnavailableError):
        await online.unless_lost(work())


async def test_whoever_stops_the_command_stops_its_work(online):
    waits, stopped = asyncio.Event(), asyncio.Event()

    async def work():
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    working = asyncio.ensure_future(online.unless_lost(work()))
    await waits.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert stopped.is_set()
