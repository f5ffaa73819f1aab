"""Which files belong to one command of a sender, and when such a command has ended."""

import asyncio

import pytest

from jetcli.protocol.model import Batch
from jetcli.transfer import commands
from jetcli.transfer.commands import Commands
from jetcli.transfer.events import Consent

ALICE, BOB = b"alice's device", b"bob's device"


class Tally:
    """Commands whose ends are counted."""

    def __init__(self) -> None:
        self.finished = 0
        self.one = asyncio.Event()
        self.commands = Commands(self._one_more)

    def _one_more(self) -> None:
        self.finished += 1
        self.one.set()

    def files(self, *numbers: int, of: int, device: bytes = ALICE, batch: str = "b1", declined: bool = False) -> None:
        """Let these files of a batch come and end."""
        for number in numbers:
            self.commands.began(device, Batch(batch, number, of))
            self.commands.ended(device, Batch(batch, number, of), declined=declined)


@pytest.fixture
async def tally():
    return Tally()


async def test_a_file_without_a_batch_is_a_command_of_its_own(tally):
    tally.commands.began(ALICE, None)
    tally.commands.ended(ALICE, None)
    tally.commands.ended(None, None)
    assert tally.finished == 2


async def test_a_declined_file_is_no_command(tally):
    tally.commands.ended(ALICE, None, declined=True)
    tally.commands.ended(None, Batch("b1", 1, 2), declined=True)
    assert tally.finished == 0


async def test_a_batch_ends_with_its_last_file(tally):
    tally.files(1, 2, of=3)
    assert tally.finished == 0
    tally.files(3, of=3)
    assert tally.finished == 1


async def test_a_batch_ends_with_its_last_file_although_others_never_came(tally):
    tally.files(1, 3, of=3)
    assert tally.finished == 1


async def test_batches_are_told_apart_by_their_device_too(tally):
    tally.files(1, of=2)
    tally.files(1, 2, of=2, device=BOB, declined=True)
    assert tally.finished == 0
    tally.files(2, of=2)
    assert tally.finished == 1


async def test_a_batch_counts_when_any_of_it_was_taken(tally):
    tally.files(1, of=3, declined=True)
    tally.files(2, of=3)
    tally.files(3, of=3, declined=True)
    assert tally.finished == 1


async def test_a_batch_that_was_declined_whole_does_not_count(tally):
    tally.files(1, 2, 3, of=3, declined=True)
    assert tally.finished == 0


async def test_a_sender_that_leaves_early_ends_its_command_after_a_while(tally, monkeypatch):
    monkeypatch.setattr(commands, "NEXT_FILE_S", 0.01)
    tally.files(1, of=3)
    await asyncio.wait_for(tally.one.wait(), 10)
    assert tally.finished == 1


async def test_the_while_does_not_run_as_long_as_a_file_is_here(tally, monkeypatch):
    monkeypatch.setattr(commands, "NEXT_FILE_S", 0.01)
    tally.files(1, of=3)
    tally.commands.began(ALICE, Batch("b1", 2, 3))
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, over.set)  # timers go off in the order of their times
    await over.wait()
    assert tally.finished == 0


async def test_a_file_that_comes_again_and_again_ends_its_command(tally):
    tally.files(1, of=2)
    assert tally.finished == 0
    tally.files(1, of=2)
    assert tally.finished == 1


async def test_a_command_ends_when_none_of_its_files_is_here_any_more(tally):
    for number in (1, 2, 3):
        tally.commands.began(ALICE, Batch("b1", number, 3))
    tally.commands.ended(ALICE, Batch("b1", 3, 3))
    tally.commands.ended(ALICE, Batch("b1", 2, 3))
    assert tally.finished == 0, "what is run for the first file takes its time"
    tally.commands.ended(ALICE, Batch("b1", 1, 3))
    assert tally.finished == 1


async def test_an_answer_ends_with_its_command(tally):
    tally.commands.answer(ALICE, Batch("b1", 1, 3), Consent(accept=True))
    tally.files(1, 3, of=3)
    assert tally.commands.agreed(ALICE, Batch("b1", 2, 3)) is None


async def test_an_answer_ends_with_a_command_whose_sender_left_early(tally, monkeypatch):
    monkeypatch.setattr(commands, "NEXT_FILE_S", 0.01)
    tally.commands.answer(ALICE, Batch("b1", 1, 3), Consent(accept=True))
    tally.files(1, of=3)
    await asyncio.wait_for(tally.one.wait(), 10)
    assert tally.commands.agreed(ALICE, Batch("b1", 2, 3)) is None


async def test_an_answer_holds_for_the_files_of_its_command_only(tally):
    batch = Batch("b1", 1, 2)
    tally.commands.answer(ALICE, batch, Consent(accept=False, reason="not now"))
    assert tally.commands.agreed(ALICE, Batch("b1", 2, 2)) == Consent(accept=False, reason="not now")
    assert tally.commands.agreed(BOB, Batch("b1", 2, 2)) is None
    assert tally.commands.agreed(ALICE, Batch("b2", 2, 2)) is None
    assert tally.commands.agreed(ALICE, None) is None


async def test_a_name_and_an_always_are_not_for_the_other_files(tally):
    said = Consent(accept=True, name="other.txt", always=True, on_exist="overwrite")
    tally.commands.answer(ALICE, Batch("b1", 1, 2), said)
    assert tally.commands.agreed(ALICE, Batch("b1", 2, 2)) == Consent(accept=True, on_exist="overwrite")


async def test_a_file_without_a_batch_leaves_no_answer(tally):
    tally.commands.answer(ALICE, None, Consent(accept=True))
    assert tally.commands.agreed(ALICE, Batch("b1", 1, 1)) is None


async def test_a_sender_of_endless_batches_does_not_fill_our_memory(tally):
    for number in range(1000):
        tally.commands.answer(ALICE, Batch(str(number), 1, 2), Consent(accept=True))
    kept = [number for number in range(1000) if tally.commands.agreed(ALICE, Batch(str(number), 2, 2))]
    assert len(kept) == 256


# Bundles.


async def test_what_is_saved_of_a_command_is_remembered_until_it_ends():
    commands = Commands(lambda: None)
    commands.saved(b"device", Batch("b", 1, 3)).update({1, 2})
    assert commands.saved(b"device", Batch("b", 3, 3)) == {1, 2}
    assert commands.saved(b"another", Batch("b", 1, 3)) == set()
    commands.ended(b"device", Batch("b", 3, 3))
    assert commands.saved(b"device", Batch("b", 1, 3)) == set()


async def test_a_command_whose_sender_comes_back_goes_on():
    commands = Commands(lambda: None)
    commands.began(b"device", Batch("b", 1, 3), 3)
    back = commands.broke(b"device", Batch("b", 1, 3), 3)
    assert not back.is_set()
    commands.began(b"device", Batch("b", 2, 3), 2)
    assert back.is_set()


async def test_each_break_of_a_command_waits_for_a_return_of_its_own():
    commands = Commands(lambda: None)
    for _ in range(2):
        commands.began(b"device", Batch("b", 1, 3), 3)
        back = commands.broke(b"device", Batch("b", 1, 3), 3)
        assert not back.is_set()


async def test_a_sender_that_is_back_and_has_ended_its_command_is_not_waited_for():
    commands = Commands(lambda: None)
    commands.began(b"device", Batch("b", 1, 3), 3)
    back = commands.broke(b"device", Batch("b", 1, 3), 3)
    commands.began(b"device", Batch("b", 3, 3))
    commands.ended(b"device", Batch("b", 3, 3))
    assert back.is_set()


async def test_a_command_whose_sender_stays_away_is_not_waited_for_for_ever():
    commands = Commands(lambda: None)
    commands.began(b"device", Batch("b", 1, 3), 3)
    assert not await commands.returns(commands.broke(b"device", Batch("b", 1, 3), 3), 0.0)
