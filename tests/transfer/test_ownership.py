"""One owner of a transfer, who gets every session about it."""

import asyncio
from types import SimpleNamespace

import pytest

from jetcli.errors import SetupError
from jetcli.protocol.table import State
from jetcli.transfer.ownership import Mailbox, Ownership


class Negotiation:
    """A session as the mailbox sees it."""

    def __init__(self, sid, state=State.PENDING, *, initiator=False):
        self.session = SimpleNamespace(sid=sid, state=state, initiator=initiator)
        self.terminated = None

    def terminate(self, condition):
        self.terminated = condition

    async def close(self):
        self.terminated = self.terminated or "closed"


def test_a_transfer_has_one_owner_and_is_free_afterwards(tmp_path):
    ours, theirs = Ownership(tmp_path, "jet resume"), Ownership(tmp_path, "jet send")
    with ours.own("k3v9") as mailbox:
        assert ours.mailbox("k3v9") is mailbox
        assert theirs.mailbox("k3v9") is None
        with pytest.raises(SetupError, match="in the hands of another jet"), theirs.own("k3v9"):
            pass
    assert ours.mailbox("k3v9") is None
    with theirs.own("k3v9"):
        pass


async def test_what_is_delivered_comes_out():
    mailbox, session = Mailbox(), Negotiation("a")
    mailbox.deliver(session)
    assert await mailbox.next(1.0) is session
    assert mailbox.arrived() is None


async def test_nothing_comes_out_where_nothing_came():
    assert await Mailbox().next(0.0) is None


@pytest.mark.parametrize(("ours", "theirs", "winner"), [("a", "b", "ours"), ("b", "a", "theirs")])
async def test_of_two_proposals_that_cross_the_lower_id_wins_on_both_sides(ours, theirs, winner):
    mailbox, session = Mailbox(), Negotiation(theirs)
    mailbox.current = Negotiation(ours, initiator=True)
    mailbox.deliver(session)
    lost, won = (session, mailbox.current) if winner == "ours" else (mailbox.current, session)
    assert (lost.terminated, won.terminated) == ("alternative-session", None)
    assert (mailbox.arrived() is session) == (winner == "theirs")


async def test_a_peer_that_begins_anew_has_lost_the_session_that_we_still_see():
    mailbox, session, abandoned = Mailbox(), Negotiation("b"), asyncio.Event()
    mailbox.current, mailbox.abandon = Negotiation("a", State.ACTIVE, initiator=True), abandoned.set
    mailbox.deliver(session)
    assert mailbox.current.terminated == "connectivity-error"
    assert abandoned.is_set()
    assert mailbox.arrived() is session


async def test_sessions_that_nobody_took_are_ended():
    mailbox, session = Mailbox(), Negotiation("a")
    mailbox.deliver(session)
    await mailbox.close()
    assert session.terminated == "closed"
