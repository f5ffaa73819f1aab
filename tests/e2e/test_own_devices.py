"""Sending to another machine of one's own account, and to no other process of the same machine."""

from dataclasses import replace

import pytest

pytestmark = pytest.mark.matrix


@pytest.fixture
def laptop_of(tmp_path):
    """Make another machine of a home's account: another state, and so another OMEMO device."""

    def make(home):
        place = tmp_path / "laptop"
        (place / "home").mkdir(parents=True, mode=0o700)
        (place / "files").mkdir()
        laptop = replace(home, path=place / "home", files=place / "files")
        laptop.enrol()
        laptop.network()
        return laptop

    return make


def test_ones_own_other_machine_has_to_be_trusted_first(home, laptop_of, receiver, jet):
    desk = home("romeo")
    laptop = laptop_of(desk)
    receiving = receiver(laptop)
    refused = jet(desk, "send", desk.file("a", 10), desk.jid).finished()
    assert refused.code == 8, refused
    assert f"jet trust {desk.jid} --verify" in refused.hint
    for one, other in ((desk, laptop), (laptop, desk)):
        shown = jet(other, "trust").finished().stdout
        digits = [word for word in shown.split() if len(word) == 8 and set(word) <= set("0123456789abcdef")][:8]
        assert jet(one, "trust", one.jid, "--add", "".join(digits)).finished().code == 0, shown
    sending = jet(desk, "send", desk.file("b", 10), desk.jid).finished()
    assert sending.code == 0, sending
    assert laptop.saved == {"b": desk.saved["b"]}
    assert receiving.finished().code == 0, receiving


def test_a_receiver_of_this_very_machine_is_no_place_to_send_to(home, receiver, jet):
    romeo = home("romeo")
    receiving = receiver(romeo, "--forever")
    refused = jet(romeo, "send", romeo.file("a", 10), romeo.jid).finished()
    assert refused.code == 7, refused
    assert refused.error == f"{romeo.jid} has published no other OMEMO device than this machine's"
    assert receiving.code is None
    assert list(romeo.saved) == ["a"]
