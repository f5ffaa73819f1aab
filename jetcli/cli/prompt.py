"""Questions to the person at the terminal: what to do with an offer, and the password.

Reads whole lines from the terminal on the event loop, so that a signal, or an offer that is withdrawn, ends the
question. Everything a peer says is cleaned before it is shown; the answer never depends on keys typed beforehand.
"""

import asyncio
import os
import sys
import termios

from jetcli.cli.events import JsonEvents
from jetcli.cli.view import TRUST_WORDS, View
from jetcli.cli.wording import plural, size_text
from jetcli.errors import DeclinedError, RemoteProtocolError, SetupError
from jetcli.protocol.policy import local_name, shown
from jetcli.transfer.events import Consent, OfferSeen

LINE_LIMIT = 4096

CHOICES = ("yes", "no", "rename", "always")


async def terminal_line(descriptor: int) -> str | None:
    """Return the next line that is typed, without its end; None when the terminal has gone (or Ctrl-D)."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[bytes] = loop.create_future()

    def readable() -> None:
        loop.remove_reader(descriptor)
        try:
            typed.set_result(os.read(descriptor, LINE_LIMIT))
        except OSError:
            typed.set_result(b"")

    loop.add_reader(descriptor, readable)
    try:
        line = await typed
    finally:
        loop.remove_reader(descriptor)
    return line.decode(errors="replace").rstrip("\r\n") if line else None


class Questions:
    """Asks about offers, one at a time, on the terminal `descriptor`."""

    def __init__(self, view: View, json: JsonEvents | None = None, *, descriptor: int = 0) -> None:
        self._view = view
        self._json = json
        self._descriptor = descriptor
        self._one_at_a_time = asyncio.Lock()
        self._always: set[str] = set()

    async def consent(self, offer: OfferSeen) -> Consent:
        """Ask what to do with `offer`; a contact that got "always" before is not asked about again."""
        bare = offer.peer.partition("/")[0]
        async with self._one_at_a_time:
            if bare in self._always:
                return Consent(accept=True, always=True)
            self._view.hide()
            for line in _described(offer):
                self._view.messages.line(line)
            consent = await self._answer(offer, bare)
        if consent.always:
            self._always.add(bare)
        return consent

    async def confirm(self, transfer: str, question: str) -> bool:
        """Ask a question of which no is the answer of silence."""
        async with self._one_at_a_time:
            self._view.hide()
            if self._json is not None:
                self._json.prompt(transfer, question, ["yes", "no"], "no")
            answer = await self._ask(f"{question} [y/N]  ")
        return (answer or "").strip().lower() in {"y", "yes"}

    async def _answer(self, offer: OfferSeen, bare: str) -> Consent:
        taken = offer.asks_on_exist and _is_there(offer)
        choices = [*CHOICES, *(["overwrite"] if taken else [])]
        over = "  [o]verwrite" if taken else ""
        question = f"Accept? [y]es  [n]o  [r]ename{over}  [a]lways from {shown(bare)}:  "
        if self._json is not None:
            self._json.prompt(offer.id, "Accept?", choices, "")
        while True:
            answer = await self._ask(question)
            if answer is None:
                return Consent(accept=False, reason="nobody answered")
            word, _, reason = answer.strip().partition(" ")
            match next((choice for choice in choices if word.lower() in {choice[:1], choice}), None):
                case "yes":
                    return Consent(accept=True, on_exist="rename" if taken else None)
                case "no":
                    return Consent(accept=False, reason=shown(reason.strip()))
                case "overwrite":
                    return Consent(accept=True, on_exist="overwrite")
                case "always":
                    return Consent(accept=True, always=True)
                case "rename":
                    name = await self._new_name()
                    if name is not None:
                        return Consent(accept=True, name=name)

    async def _new_name(self) -> str | None:
        answer = await self._ask("Save it as:  ")
        if not answer:
            return None
        try:
            return local_name(answer, allow_hidden=True)
        except (DeclinedError, RemoteProtocolError):
            self._view.messages.line("That is not the name of a file in one directory.")
            return None

    async def _ask(self, question: str) -> str | None:
        _forget_typed(self._descriptor)
        self._view.messages.prompt(question)
        try:
            answer = await terminal_line(self._descriptor)
            if answer is not None:
                self._view.messages.answered()
        finally:
            self._view.messages.leave_question()
        return answer


def ask_password(jid: str, *, twice: bool = False) -> str:
    """Ask for the password of `jid` on the terminal without showing it, `twice` where it is a new one.

    Raises SetupError where none is typed, or where the two differ.
    """
    password = _hidden_line(f"Password of {shown(jid)}: ")
    if not password:
        raise SetupError(f"no password was typed for {shown(jid)}")
    if twice and _hidden_line("The same again: ") != password:
        raise SetupError("the two passwords differ")
    return password


def _hidden_line(question: str) -> str:
    from getpass import getpass

    try:
        return getpass(question, stream=sys.stderr)
    except EOFError:
        return ""


def _described(offer: OfferSeen) -> list[str]:
    size = "size unknown" if offer.size is None else size_text(offer.size)
    more = f" and {plural(offer.bundle - 1, 'more file')}, together" if offer.bundle > 1 else ""
    facts = [shown(offer.name) + more, size, shown(offer.media_type or ""), f"free {size_text(offer.free)}"]
    lines = [
        f"{shown(offer.peer)} ({TRUST_WORDS[offer.trust]}) offers",
        "    " + "   ".join(fact for fact in facts if fact),
    ]
    if offer.desc:
        lines.append(f"    “{shown(offer.desc)}”")
    if offer.files > 1:
        lines.append(f"    It is the first of {offer.files} files; the answer is for all of them.")
    if _is_there(offer):
        lines.append("    A file of this name is there already: with yes it stays, and this one gets a number.")
    return lines


def _is_there(offer: OfferSeen) -> bool:
    return os.path.lexists(offer.directory / offer.name)


def _forget_typed(descriptor: int) -> None:
    """Drop what was typed before the question was on the screen."""
    try:
        termios.tcflush(descriptor, termios.TCIFLUSH)
    except termios.error:
        return
