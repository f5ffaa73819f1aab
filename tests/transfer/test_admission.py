"""Who may send to us."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from jetcli.protocol.device import Trust
from jetcli.transfer.admission import ANYONE, CONTACTS, may_send, stranger
from jetcli.transfer.options import ReceiveOptions

ME = "me@north.test"
FRIEND, VERIFIED, STRANGER = "friend@south.test", "verified@south.test", "stranger@south.test"
ALL = (ME, FRIEND, VERIFIED, STRANGER)


def allowed(senders=(), *, accept_all: bool = False) -> set[str]:
    keys = {VERIFIED: [SimpleNamespace(trust=Trust.BLIND), SimpleNamespace(trust=Trust.VERIFIED)]}
    online = SimpleNamespace(
        bare_jid=ME,
        trust=SimpleNamespace(keys=lambda jid: keys.get(jid, [SimpleNamespace(trust=Trust.BLIND)])),
        discovery=SimpleNamespace(is_contact=lambda jid: jid == FRIEND),
    )
    options = ReceiveOptions(Path(), senders=tuple(senders), accept_all=accept_all)
    return {jid for jid in ALL if may_send(online, options, jid)}


@pytest.mark.parametrize("accept_all", [False, True])
def test_contacts_verified_devices_and_our_own_account_may_send(accept_all):
    assert allowed(accept_all=accept_all) == {ME, FRIEND, VERIFIED}


@pytest.mark.parametrize("accept_all", [False, True])
def test_from_names_all_who_may_send(accept_all):
    assert allowed([STRANGER], accept_all=accept_all) == {STRANGER}
    assert allowed([CONTACTS, STRANGER], accept_all=accept_all) == {FRIEND, STRANGER}
    assert allowed([ANYONE], accept_all=accept_all) == set(ALL)


def test_a_contact_whom_from_does_not_name_is_not_called_a_stranger():
    assert "whom --from does not name" in stranger(ReceiveOptions(Path(), senders=(STRANGER,)), FRIEND).message


def test_a_stranger_is_declined_with_the_way_to_let_them_in():
    error = stranger(ReceiveOptions(Path()), STRANGER)
    assert error.exit_code == 9
    assert error.hint == f"jet receive --from {STRANGER}"
