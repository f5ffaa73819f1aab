"""Questions on a pseudo-terminal."""

import asyncio
import json
from pathlib import Path

import pytest

from jetcli.cli.events import JsonEvents
from jetcli.cli.prompt import Questions, ask_password
from jetcli.cli.view import View
from jetcli.errors import SetupError
from jetcli.protocol.device import Trust
from jetcli.transfer.events import Consent, OfferSeen

ASKED = "Accept? [y]es  [n]o  [r]ename  [a]lways from juliet@capulet.example:  "


def offer(directory=Path("/nowhere"), *, name="film.mkv", peer="juliet@capulet.example/jet.1", desc=None):
    return OfferSeen(
        "k3v9", peer, Trust.VERIFIED, name, 2_200_000_000, "video/x-matroska", desc, directory, 81_000_000_000
    )


class Talk:
    """Answers each question once it has been asked."""

    def __init__(self, messages, terminal):
        self.messages = messages
        self.terminal = terminal
        self.told = []
        json = JsonEvents("receive", self.told.append)
        self.questions = Questions(View(messages), json, descriptor=terminal.descriptor)
        self._asked = asyncio.Queue()
        self._write = messages.prompt
        messages.prompt = self._prompt

    @property
    def said(self):
        return self.messages.stream.getvalue()

    def _prompt(self, question):
        self._write(question)
        self._asked.put_nowait(question)

    async def asked(self):
        await asyncio.wait_for(self._asked.get(), 5)

    async def consent(self, *answers, to=None):
        task = asyncio.create_task(self.questions.consent(to or offer()))
        for answer in answers:
            await self.asked()
            self.terminal.type(answer)
        return await asyncio.wait_for(task, 5)


@pytest.fixture
def talk(paper, terminal):
    return Talk(paper(), terminal)


async def test_an_offer_is_described_and_asked_about(talk):
    assert await talk.consent("y\n") == Consent(accept=True)
    assert talk.said == (
        "juliet@capulet.example/jet.1 (verified) offers\n"
        "    film.mkv   2.2 GB   video/x-matroska   free 81 GB\n" + ASKED
    )


@pytest.mark.parametrize(
    ("answers", "consent"),
    [
        (["yes\n"], Consent(accept=True)),
        (["N\n"], Consent(accept=False)),
        (["a\n"], Consent(accept=True, always=True)),
        (["\n", "what?\n", "y\n"], Consent(accept=True)),
        (["r\n", "reel.mkv\n"], Consent(accept=True, name="reel.mkv")),
        (["r\n", ".hidden\n"], Consent(accept=True, name=".hidden")),
        (["r\n", "../../etc/passwd\n", "n\n"], Consent(accept=False)),
        (["r\n", "\n", "y\n"], Consent(accept=True)),
        (["\x04"], Consent(accept=False, reason="nobody answered")),
    ],
)
async def test_an_answer_means_what_it_says(talk, answers, consent):
    assert await talk.consent(*answers) == consent


@pytest.mark.parametrize("word", ["abort", "a.bin", "ok", "yeah", "yes!"])
async def test_a_word_that_is_none_of_the_choices_is_asked_about_again(talk, word):
    assert await talk.consent(f"{word}\n", "n\n") == Consent(accept=False)


async def test_always_holds_for_that_contact_in_this_run_and_for_no_other(talk):
    await talk.consent("a\n")
    assert await talk.consent(to=offer(peer="juliet@capulet.example/phone")) == Consent(accept=True, always=True)
    stranger = offer(peer="juliet@capulet.example.evil/x")
    assert await talk.consent("n\n", to=stranger) == Consent(accept=False)


async def test_what_was_typed_before_the_question_is_no_answer(talk):
    talk.terminal.type("y\n")
    assert await talk.consent("n\n") == Consent(accept=False)


async def test_a_name_that_is_taken_is_mentioned(talk, tmp_path):
    (tmp_path / "film.mkv").touch()
    await talk.consent("n\n", to=offer(tmp_path))
    assert "A file of this name is there already: with yes it stays, and this one gets a number." in talk.said


async def test_what_the_peer_says_is_cleaned(talk):
    await talk.consent("n\n", to=offer(peer="ju\x1b[2Jliet@x/\u202ey", desc="[bold]hi\x9b"))
    assert all(line.isprintable() for line in talk.said.split("\n"))
    assert r"“[bold]hi\x9b”" in talk.said


async def test_an_offer_that_is_withdrawn_ends_its_question(talk):
    task = asyncio.create_task(talk.questions.consent(offer()))
    await talk.asked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert talk.said.endswith(ASKED + "\n")
    assert await talk.consent("y\n") == Consent(accept=True)


async def test_what_is_told_while_a_question_is_open_stands_on_a_line_of_its_own(talk):
    task = asyncio.create_task(talk.questions.consent(offer()))
    await talk.asked()
    talk.messages.line("Lost film.mkv")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert talk.said.endswith(ASKED + "\nLost film.mkv\n")


async def test_two_offers_are_asked_about_one_after_the_other(talk):
    first = asyncio.create_task(talk.questions.consent(offer()))
    await talk.asked()
    second = asyncio.create_task(talk.questions.consent(offer(peer="nurse@capulet.example/x")))
    await asyncio.sleep(0)
    assert "nurse" not in talk.said
    talk.terminal.type("y\n")
    await first
    await talk.asked()
    talk.terminal.type("n\n")
    assert await second == Consent(accept=False)


async def test_programs_hear_of_the_question(talk):
    await talk.consent("n\n")
    asked = json.loads(talk.told[0])
    assert (asked["type"], asked["id"], asked["choices"]) == ("prompt", "k3v9", ["yes", "no", "rename", "always"])


def test_a_password_is_asked_for_without_being_shown(monkeypatch):
    asked = []
    monkeypatch.setattr("getpass.getpass", lambda question, stream: asked.append(question) or "ro5e")
    assert ask_password("romeo@montague.example", twice=True) == "ro5e"
    assert asked == ["Password of romeo@montague.example: ", "The same again: "]


def test_a_new_password_must_be_typed_the_same_twice(monkeypatch):
    answers = iter(["one", "two"])
    monkeypatch.setattr("getpass.getpass", lambda question, stream: next(answers))
    with pytest.raises(SetupError, match="differ"):
        ask_password("romeo@montague.example", twice=True)


def test_no_password_is_no_password(monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda question, stream: "")
    with pytest.raises(SetupError, match="no password was typed"):
        ask_password("romeo@montague.example")
