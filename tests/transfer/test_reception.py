"""What is left where a transfer cannot even be recorded: nothing."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from jetcli.errors import LocalFileError, SetupError
from jetcli.files import pipe
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import FileDescription
from jetcli.transfer.events import Offered
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.outlets import outlet
from jetcli.transfer.ownership import Mailbox, Ownership
from jetcli.transfer.reception import Reception
from jetcli.transfer.request import _Request

ROMEO = Device("romeo@montague.example", 1, b"k" * 32, Trust.BLIND)
FILE = FileDescription("film.mkv", 100)
SESSION = SimpleNamespace(session=SimpleNamespace(peer=f"{ROMEO.jid}/jet", sid="first"))


class FullDisk:
    """Transfers of which no more can be recorded."""

    def new_id(self, _random):
        return "k3v9"

    def begin(self, _record):
        raise LocalFileError("cannot write 'state.db': no space left")


@pytest.fixture
def online(tmp_path):
    return SimpleNamespace(transfers=FullDisk(), ownership=Ownership(tmp_path, "jet request"))


def admitted(inbox: Path, **more):
    values = {
        "directory": inbox,
        "size": 100,
        "secret": None,
        "between_jets": True,
        "opened": SimpleNamespace(device=ROMEO),
        "offer": SimpleNamespace(file=FILE, cipher=None, promises_checksum=False),
    }
    return SimpleNamespace(**values | more)


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


async def test_an_offer_that_cannot_be_recorded_leaves_no_part_and_no_descriptor(online, inbox):
    reception = Reception(
        online,
        ReceiveOptions(inbox),
        lambda _event: None,
        negotiation=SESSION,
        admitted=admitted(inbox),
        transfer_id="k3v9",
        name="film.mkv",
        on_exist="rename",
        mailbox=Mailbox(),
    )
    descriptors = open_descriptors()
    with pytest.raises(LocalFileError, match="no space left"):
        await reception.run()
    assert (list(inbox.iterdir()), open_descriptors()) == ([], descriptors)


def promised():
    return SimpleNamespace(negotiation=SESSION, file=FILE, size=100, secret=None, devices=[ROMEO], content=None)


async def test_a_request_that_cannot_be_recorded_leaves_no_part_and_no_descriptor(online, inbox):
    descriptors = open_descriptors()
    with pytest.raises(LocalFileError, match="no space left"):
        await _Request(online, "film.mkv", ReceiveOptions(inbox), lambda _event: None)._receive(promised())
    assert (list(inbox.iterdir()), open_descriptors()) == ([], descriptors)


async def test_a_request_that_another_process_owns_leaves_no_part_and_tells_of_none(online, inbox, tmp_path):
    told = []
    with Ownership(tmp_path, "jet receive").own("k3v9"):
        descriptors = open_descriptors()
        with pytest.raises(SetupError):
            await _Request(online, "film.mkv", ReceiveOptions(inbox), told.append)._receive(promised())
        assert (list(inbox.iterdir()), open_descriptors()) == ([], descriptors)
    assert not [event for event in told if isinstance(event, Offered)]


def test_standard_output_for_which_nothing_can_be_held_back_is_let_go(inbox, monkeypatch):
    def full(_size):
        raise LocalFileError("cannot make a temporary file: no space left")

    monkeypatch.setattr(pipe, "spool", full)
    descriptors = open_descriptors()
    with pytest.raises(LocalFileError, match="no space left"):
        outlet(ReceiveOptions(inbox, stdout=True), admitted(inbox, between_jets=False), "k3v9", "film.mkv", "rename")
    assert open_descriptors() == descriptors
