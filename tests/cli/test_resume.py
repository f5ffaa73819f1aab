"""Which transfers are listed and forgotten, whatever has become of the directories of their parts."""

import json
import os

import pytest

from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import FileDescription
from jetcli.state.store import Store
from jetcli.state.transfers import Transfers
from jetcli.transfer.journal import Journal

LOCAL_FILE = 13
JULIET = Device("juliet@capulet.example", 1, b"k" * 32, Trust.BLIND)


@pytest.fixture
def inbox(account, tmp_path):
    """The directory in which the part of an interrupted transfer should be."""
    with Store.open(account / "state" / "romeo@montague.example") as store:
        journal = Journal.begin(
            Transfers(store),
            "k3v9",
            direction="receive",
            sid="first",
            peer=JULIET.jid,
            file=FileDescription("film.mkv", 10),
            path=tmp_path / "inbox",
            chunked=True,
            devices=[JULIET],
            part=".jet-k3v9.part",
            part_inode=None,
            final_name="film.mkv",
        )
        journal.failed(kept=True)
    return tmp_path / "inbox"


def listed(jet_here):
    return [row for row in map(json.loads, jet_here("resume", "--list", "--json").out.splitlines()) if "part" in row]


def test_a_part_that_cannot_be_removed_is_told_and_its_record_kept(jet_here, inbox):
    part = inbox / ".jet-k3v9.part"
    part.mkdir(parents=True)  # what nobody may unlink, not even root
    forgetting = jet_here("resume", "--forget", "k3v9")
    assert forgetting.code == LOCAL_FILE, forgetting
    assert f"cannot remove the part of 'film.mkv' in '{inbox}': " in forgetting.err
    assert [row["part"] for row in listed(jet_here)] == [str(part)]


def test_a_directory_that_cannot_be_looked_into_keeps_its_record(jet_here, inbox):
    inbox.symlink_to(inbox)
    assert [row["part"] for row in listed(jet_here)] == [None]
    assert jet_here("resume", "--forget", "k3v9").code == LOCAL_FILE
    assert len(listed(jet_here)) == 1


@pytest.mark.parametrize("gone", ["directory", "part"])
def test_a_part_that_is_gone_is_forgotten(jet_here, inbox, gone):
    if gone == "part":
        os.mkdir(inbox)
    assert jet_here("resume", "--forget", "k3v9").code == 0
    assert listed(jet_here) == []
