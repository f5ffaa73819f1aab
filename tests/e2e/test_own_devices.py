"""Several machines of one account, and several processes on one of them."""

from dataclasses import replace

import pytest

pytestmark = pytest.mark.matrix


@pytest.fixture
def machine_of(tmp_path):
    """Make another machine of a home's account: another state, and so another OMEMO device."""

    def make(home, name="laptop"):
        place = tmp_path / name
        (place / "home").mkdir(parents=True, mode=0o700)
        (place / "files").mkdir()
        laptop = replace(home, path=place / "home", files=place / "files")
        laptop.enrol()
        laptop.network()
        return laptop

    return make


@pytest.fixture
def trust_each_other(jet):
    """Let the user of two machines tell each of them the other's key."""

    def trust(*machines):
        for one, other in (machines, machines[::-1]):
            shown = jet(other, "trust", "--json").event("device")["fingerprint"]
            assert jet(one, "trust", one.jid, "--add", shown).finished().code == 0

    return trust


def test_ones_own_other_machine_has_to_be_trusted_first(home, machine_of, receiver, jet, trust_each_other):
    desk = home("romeo")
    laptop = machine_of(desk)
    receiving = receiver(laptop)
    refused = jet(desk, "send", desk.file("a", 10), desk.jid).finished()
    assert refused.code == 8, refused
    assert f"jet trust {desk.jid} --verify" in refused.hint
    trust_each_other(desk, laptop)
    sending = jet(desk, "send", desk.file("b", 10), desk.jid).finished()
    assert sending.code == 0, sending
    assert laptop.saved == {"b": desk.saved["b"]}
    assert receiving.finished().code == 0, receiving


def test_a_receiver_of_this_very_machine_is_no_place_to_send_to(home, receiver, jet):
    romeo = home("romeo")
    receiving = receiver(romeo, "--forever")
    refused = jet(romeo, "send", romeo.file("a", 10), romeo.jid).finished()
    assert refused.code == 6, refused
    assert refused.error == f"no other machine of {romeo.jid} is online"
    assert receiving.code is None
    assert list(romeo.saved) == ["a"]


def test_receivers_of_this_very_machine_are_passed_over_for_another_one(
    home, machine_of, receiver, jet, trust_each_other
):
    desk = home("romeo")
    laptop = machine_of(desk)
    here = [receiver(desk, "--forever") for _ in range(3)]
    receiver(laptop, "--forever")
    trust_each_other(desk, laptop)
    sending = jet(desk, "send", desk.file("a", 10), desk.jid).finished()
    assert sending.code == 0, sending
    assert laptop.saved == {"a": desk.saved["a"]}
    assert not any("jet: error" in process.stderr or "declined" in process.stderr for process in here), here


def test_a_full_address_of_this_very_machine_is_no_place_to_send_to(home, receiver, jet):
    romeo = home("romeo")
    receiving = receiver(romeo, "--forever")
    refused = jet(romeo, "send", romeo.file("a", 10), receiving.ready()).finished()
    assert (refused.code, refused.error) == (2, f"{receiving.ready()} runs on this very machine"), refused


def test_a_machine_that_is_not_trusted_does_not_stand_before_one_that_is(
    home, machine_of, receiver, jet, trust_each_other
):
    desk = home("romeo")
    laptop, phones = machine_of(desk), [machine_of(desk, f"phone {number}") for number in range(2)]
    for machine in (laptop, *phones):
        receiver(machine, "--forever")
    assert jet(desk, *desk.login, env={"JET_PASSWORD": desk.password}).finished().code == 0
    trust_each_other(desk, laptop)
    sending = jet(desk, "send", desk.file("a", 10), desk.file("b", 10), desk.jid).finished()
    assert sending.code == 0, sending
    assert laptop.saved == desk.saved
    assert not any(phone.saved for phone in phones)


def test_a_device_that_a_receiver_still_uses_is_not_removed(home, receiver, jet):
    romeo = home("romeo")
    receiving = receiver(romeo, "--forever")
    refused = jet(romeo, "logout", "--remove-device").finished()
    other = f"another jet (process {receiving.process.pid}, 'jet receive') is online as this device of {romeo.jid}"
    assert (refused.code, refused.error) == (3, other), refused
    assert refused.hint == f"stop it with  kill {receiving.process.pid}  and log out again"
    assert jet(romeo, "trust").finished().code == 0
    receiving.signal(15)
    assert receiving.finished().code == 143
    assert jet(romeo, "logout", "--remove-device").finished().code == 0
    assert not (romeo.path / "state" / romeo.jid).exists()
