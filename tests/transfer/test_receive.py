"""What a receiver keeps of the files that have come, and what it tells of the offers that it did not take."""

import asyncio
import gc
import itertools
import weakref
from types import SimpleNamespace

import pytest

from jetcli.cli.report import exit_code
from jetcli.errors import IntegrityError, LocalFileError
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import Content, FileDescription, InbandTransport
from jetcli.transfer import receive
from jetcli.transfer.events import Consent, Declined, FileDone, FileFailed, Offered
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.receive import _Desk
from jetcli.transfer.serve import Serving

DONE = FileDone("k3v9", "receive", "film.mkv", None, 1, 0.1, "chunks")


@pytest.fixture
def desk(inbox):
    def make(**options):
        return _Desk(None, ReceiveOptions(inbox, **options), lambda _event: None, None)

    return make


class Buffer:
    """Stands in for the memory that a stream goes through."""


def broken(held, kind=IntegrityError):
    """Return the failure of a stream in the frames of which something is held."""
    buffer = Buffer()
    held.add(buffer)
    try:
        try:
            raise ValueError
        except ValueError as cause:
            raise kind("altered") from cause
    except kind as error:
        return FileFailed("k3v9", "receive", "film.mkv", error)


@pytest.mark.parametrize("count", [None, 2000])
async def test_nothing_is_held_of_the_streams_that_failed(desk, count):
    receiving, held = desk(count=count), weakref.WeakSet()
    for _ in range(1000):
        receiving.count(broken(held))
    gc.collect()
    assert not held


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([DONE], 0),
        ([IntegrityError], 12),
        ([IntegrityError, LocalFileError], 14),
        ([DONE, IntegrityError], 14),
    ],
)
async def test_a_receiver_that_stays_up_keeps_what_its_exit_code_needs_and_no_more(desk, results, code):
    receiving = desk(count=None)
    for _ in range(1000):
        for result in results:
            receiving.count(result if result is DONE else broken(weakref.WeakSet(), result))
    assert (len(receiving.results), exit_code(receiving.results)) == (len(results), code)


async def test_a_receiver_of_so_many_files_returns_how_each_of_them_ended(desk):
    receiving = desk(count=3)
    for _ in range(3):
        receiving.count(DONE)
    assert receiving.results == [DONE] * 3
    assert receiving.enough.is_set()


async def test_a_receiver_does_not_idle_while_the_rest_of_an_earlier_file_comes(desk):
    serving, whole = Serving(None, lambda _event: None), asyncio.Event()
    serving._start(whole.wait())
    idling = asyncio.create_task(desk().idle(0.001, serving))
    await asyncio.wait({idling}, timeout=0.1)
    assert not idling.done()
    whole.set()
    async with asyncio.timeout(10):
        assert await idling


ROMEO = Device("romeo@montague.example", 1, b"k" * 32, Trust.BLIND)
FILE = FileDescription("film.mkv", 1)


class Session:
    """A session of Romeo's with an offer in it."""

    def __init__(self):
        content = Content("initiator", "a-file", "initiator", FILE, InbandTransport("i", 4096))
        self.session = SimpleNamespace(peer=f"{ROMEO.jid}/jet", offer=content)
        self.ended = asyncio.get_running_loop().create_future()
        self.reasons = []

    def terminate(self, condition, _text):
        self.reasons.append(condition)

    async def close(self):
        """Do nothing: nothing was opened."""


@pytest.fixture
def offered(inbox, monkeypatch):
    """Let Romeo offer so many files to a receiver, one after the other; return what was told."""

    async def admit(_online, options, negotiation, known):
        known(ROMEO.identity_key)
        offer = SimpleNamespace(file=FILE, content=negotiation.session.offer)
        opened = SimpleNamespace(device=ROMEO)
        where = {"directory": options.directory, "name": "film.mkv", "size": 1}
        return SimpleNamespace(offer=offer, opened=opened, between_jets=True, **where)

    monkeypatch.setattr(receive, "admit", admit)

    async def go(times, *, contact=True, **options):
        told, numbers = [], itertools.count()
        online = SimpleNamespace(
            bare_jid="juliet@capulet.example",
            discovery=SimpleNamespace(is_contact=lambda _jid: contact),
            trust=SimpleNamespace(keys=lambda _jid: []),
            transfers=SimpleNamespace(new_id=lambda _random: f"k{next(numbers)}"),
        )

        async def no(_seen):
            return Consent(accept=False)

        receiving = _Desk(online, ReceiveOptions(inbox, count=None, **options), told.append, no)
        for _ in range(times):
            await receiving._handle(Session())
        return told

    return go


@pytest.mark.parametrize(("options", "by"), [({}, "me"), ({"accept_all": True, "on_exist": "skip"}, "policy")])
async def test_the_end_of_every_offer_is_told_that_was_told(offered, inbox, options, by):
    (inbox / "film.mkv").touch()
    told = await offered(3, **options)
    assert [(type(event), event.id) for event in told] == [
        (kind, f"k{number}") for number in range(3) for kind in (Offered, Declined)
    ]
    assert {event.by for event in told if isinstance(event, Declined)} == {by}


async def test_of_the_offers_of_a_stranger_one_a_minute_is_told(offered):
    [declined] = await offered(3, contact=False)
    assert isinstance(declined, Declined)
