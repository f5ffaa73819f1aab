"""A server that takes no more sessions of an account, and sessions that come before anyone answers them."""

import asyncio
from types import SimpleNamespace

import aioxmpp
import pytest

from jetcli.transfer import account
from jetcli.transfer.events import Warned
from jetcli.transfer.options import Network
from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.failures import SessionLimitError, explain

FULL = SessionLimitError("jet.test takes no more sessions of romeo@jet.test")


def test_a_refused_binding_for_want_of_room_is_told_apart():
    refused = aioxmpp.errors.StreamNegotiationFailure("Resource binding failed")
    refused.__context__ = aioxmpp.errors.XMPPWaitError(aioxmpp.ErrorCondition.RESOURCE_CONSTRAINT)
    assert isinstance(explain(refused, AccountSettings("romeo@jet.test", "ro5e")), SessionLimitError)


def online(told, network):
    made = account.Online.__new__(account.Online)
    made.emit, made.network = told.append, network
    made._early, made._on_offer, made._on_continued = [], None, None
    return made


async def test_a_sender_waits_with_a_message_until_there_is_room(monkeypatch):
    monkeypatch.setattr(account, "SESSION_PAUSE_S", 0.0)
    answers, told = [FULL, FULL, "connected"], []

    async def connect():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await online(told, Network())._connected(connect, patient=True) == "connected"
    assert told == [Warned("jet.test takes no more sessions of romeo@jet.test; waiting until one of them ends")] * 2


@pytest.mark.parametrize(("patient", "network"), [(False, Network()), (True, Network(acceptance_s=0.0))])
async def test_a_receiver_and_one_whose_time_is_up_do_not_wait(patient, network):
    async def connect():
        raise FULL

    with pytest.raises(SessionLimitError):
        await online([], network)._connected(connect, patient=patient)


def early(transfer=None):
    """Return a session of a peer; `told` resolves to why it was ended."""
    told = asyncio.get_running_loop().create_future()
    offer = SimpleNamespace(transfer=transfer, senders="responder")
    return SimpleNamespace(session=SimpleNamespace(offer=offer), terminate=told.set_result, told=told)


async def test_a_request_that_comes_before_anyone_answers_is_handed_out_later():
    here = online([], Network())
    request, taken = early("J-1"), []
    here._offered(request)
    here.answer(taken.append)
    assert taken == [request]


async def test_a_request_that_nobody_answers_in_time_is_refused_and_forgotten(monkeypatch):
    monkeypatch.setattr(account, "EARLY_S", 0.0)
    here = online([], Network())
    request, taken = early("J-1"), []
    here._offered(request)
    async with asyncio.timeout(5):
        assert await request.told == "timeout"
    here.answer(taken.append)
    assert taken == []
