"""Proposals between two accounts on a real server (XEP-0353)."""

import asyncio

import pytest

from jetcli.errors import DeclinedError, UnavailableError
from jetcli.xmpp.jingle_message import JingleMessages, Propose


@pytest.fixture
def messages(account, online, eventually):
    """Bring an account online: `theirs, jid, heard = await messages("juliet")`; `heard` collects proposals."""

    async def go(name):
        made, heard = [], asyncio.Queue()
        connection = await online(account(name), setup=lambda client: made.append(client.summon(JingleMessages)))
        # What comes before carbons are on goes to the store of the server: nobody of a higher priority is there.
        await eventually(lambda: not connection._tasks)
        made[0].on_proposal = lambda jid, sid: heard.put_nowait((jid, sid))
        return made[0], connection.jid, heard

    return go


def bare(jid: str) -> str:
    return jid.partition("/")[0]


async def test_whoever_proceeds_is_named_by_the_full_address(messages):
    ours, our_jid, _ = await messages("romeo")
    theirs, their_jid, heard = await messages("juliet")
    asking = asyncio.create_task(ours.propose(bare(their_jid), 20.0))
    jid, sid = await heard.get()
    assert jid == our_jid
    await theirs.proceed(jid, sid)
    assert await asking == (their_jid, sid)


async def test_a_rejected_proposal_is_declined(messages):
    ours, _, _ = await messages("romeo")
    theirs, their_jid, heard = await messages("juliet")
    asking = asyncio.create_task(ours.propose(bare(their_jid), 20.0))
    await theirs.reject(*await heard.get())
    with pytest.raises(DeclinedError, match="does not want it"):
        await asking


async def test_an_answer_of_somebody_else_is_none(messages):
    ours, our_jid, _ = await messages("romeo")
    _, their_jid, heard = await messages("juliet")
    other, _, _ = await messages("tybalt")
    asking = asyncio.create_task(ours.propose(bare(their_jid), 2.0))
    _, sid = await heard.get()
    await other.proceed(our_jid, sid)
    with pytest.raises(UnavailableError, match="answered within"):
        await asking


async def test_a_proposal_that_nobody_answers_is_retracted(messages, eventually):
    ours, our_jid, _ = await messages("romeo")
    theirs, their_jid, heard = await messages("juliet")
    with pytest.raises(UnavailableError):
        await ours.propose(bare(their_jid), 0.5)
    jid, _ = await heard.get()
    assert jid == our_jid
    await eventually(lambda: not theirs._theirs)


async def test_a_proposal_to_continue_is_heard_by_whoever_continues(messages):
    ours, our_jid, _ = await messages("romeo")
    theirs, their_jid, files = await messages("juliet")
    heard = asyncio.Queue()
    theirs.on_continuation = lambda jid, sid, transfer: heard.put_nowait((jid, sid, transfer))
    asking = asyncio.create_task(ours.propose(bare(their_jid), 20.0, transfer="first-sid"))
    jid, sid, transfer = await heard.get()
    assert (jid, transfer) == (our_jid, "first-sid")
    await theirs.proceed(jid, sid)
    assert await asking == (their_jid, sid)
    assert files.empty()


async def test_a_proposal_that_comes_twice_is_heard_once(messages):
    _, our_jid, _ = await messages("romeo")
    theirs, _, heard = await messages("juliet")
    proposal = Propose()
    proposal.id_ = "one"
    theirs._proposed(our_jid, proposal)
    theirs._proposed(our_jid, proposal)
    assert heard.qsize() == 1
