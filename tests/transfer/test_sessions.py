"""A server that takes no more sessions of an account."""

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
