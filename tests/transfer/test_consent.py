"""What a person's answer is good for: the files that they were told of, each of them once."""

import asyncio
from types import SimpleNamespace

import pytest

from jetcli.errors import DeclinedError
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import Batch, FileDescription
from jetcli.transfer.commands import Commands
from jetcli.transfer.consent import Consents
from jetcli.transfer.events import Consent
from jetcli.transfer.options import ReceiveOptions

YES = Consent(accept=True)
PHONE = Device("romeo@jet.test", 1, b"romeo's device", Trust.BLIND)


class Receiver:
    """Takes offers of one device as `jet receive` does; a person says `said` to each question."""

    def __init__(self, directory, said=YES, **options):
        self.asked, self.finished = [], 0
        self.commands = Commands(self._one_more)
        self._said = said
        self._directory = directory
        self._consents = Consents(ReceiveOptions(directory=directory, **options), self.commands, self._ask)

    def _one_more(self):
        self.finished += 1

    async def _ask(self, seen):
        self.asked.append(seen)
        return self._said

    async def offered(self, batch, *, bundle=None, size=1):
        """Let an offer come, up to where it is accepted."""
        self.commands.began(PHONE.identity_key, batch, bundle or 1)
        content = SimpleNamespace(batch=batch, bundle=bundle)
        admitted = SimpleNamespace(
            opened=SimpleNamespace(device=PHONE),
            offer=SimpleNamespace(file=FileDescription("a.txt", size), content=content),
            name="a.txt",
            size=size,
            directory=self._directory,
        )
        ended = asyncio.get_running_loop().create_future()
        negotiation = SimpleNamespace(session=SimpleNamespace(peer=f"{PHONE.jid}/jet.1", offer=content), ended=ended)
        return await self._consents.agree(negotiation, "k3v9", admitted, batch)

    async def takes(self, batch, **offer):
        """Let an offer come, be accepted and end."""
        await self.offered(batch, **offer)
        for number in range(offer.get("bundle") or 1):
            self.commands.ended(PHONE.identity_key, Batch(batch.id, batch.index + number, batch.of))


@pytest.fixture
def receiver(tmp_path):
    """Make a receiver: `receiver(accept_all=True)`."""
    return lambda *said, **options: Receiver(tmp_path, *said, **options)


async def test_a_command_is_asked_about_once(receiver):
    person = receiver()
    for number in (1, 2, 3):
        await person.takes(Batch("x", number, 3))
    assert [seen.files for seen in person.asked] == [3]
    assert person.finished == 1


async def test_a_yes_to_a_command_of_one_file_is_none_to_a_later_one_of_the_same_name(receiver):
    person = receiver()
    await person.takes(Batch("x", 1, 1))
    await person.takes(Batch("x", 1, 1), size=2**40)
    assert [seen.size for seen in person.asked] == [1, 2**40]


async def test_nor_to_one_that_comes_beside_it(receiver):
    person = receiver()
    await person.offered(Batch("x", 1, 1))
    await person.offered(Batch("x", 1, 1), size=2**40)
    assert [seen.size for seen in person.asked] == [1, 2**40]


async def test_nor_to_a_command_of_more_files_than_they_were_told(receiver):
    person = receiver()
    await person.offered(Batch("x", 1, 2))
    await person.offered(Batch("x", 2, 900_000))
    assert [seen.files for seen in person.asked] == [2, 900_000]


async def test_nor_to_a_bundle_that_brings_one_of_the_files_again(receiver):
    person = receiver()
    await person.takes(Batch("x", 1, 9))
    await person.takes(Batch("x", 2, 9), bundle=3)
    assert len(person.asked) == 1
    await person.takes(Batch("x", 4, 9), bundle=3)
    assert len(person.asked) == 2


async def test_the_first_file_of_two_fifty_times_over_is_asked_about_every_time(receiver):
    person = receiver()
    for _ in range(50):
        await person.takes(Batch("x", 1, 2))
    assert len(person.asked) == 50
    assert person.finished == 25


async def test_nobody_is_asked_where_all_is_accepted_but_the_repeats_end_the_command(receiver):
    nobody = receiver(accept_all=True)
    await nobody.takes(Batch("x", 1, 2))
    assert nobody.finished == 0
    await nobody.takes(Batch("x", 1, 2))
    assert nobody.finished == 1
    assert not nobody.asked


async def test_a_command_that_breaks_in_the_middle_is_asked_about_once(receiver):
    person, device = receiver(), PHONE.identity_key
    await person.takes(Batch("x", 1, 3))
    await person.offered(Batch("x", 2, 3), bundle=2)
    back = person.commands.broke(device, Batch("x", 2, 3), 2)
    await person.takes(Batch("x", 2, 3), bundle=2)
    assert back.is_set()
    assert len(person.asked) == 1
    assert person.finished == 1


async def test_a_no_holds_for_the_whole_command_however_often_it_comes(receiver):
    person = receiver(Consent(accept=False, reason="not tonight"))
    for number in (1, 1, 2):
        with pytest.raises(DeclinedError, match="not tonight"):
            await person.offered(Batch("x", number, 3))
        person.commands.ended(PHONE.identity_key, Batch("x", number, 3), declined=True)
    assert len(person.asked) == 1
