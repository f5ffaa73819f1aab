"""The user's command for a file that has come: it ends by itself, or with us."""

import asyncio
import json
import os
import sys

import pytest

from jetcli.transfer import afterwards
from jetcli.transfer.afterwards import Afterwards, run_for
from jetcli.transfer.events import FileDone, Warned

DONE = FileDone("k3v9", "receive", "film.mkv", None, 10, 1.0, "chunks")
SENDER = "romeo@jet.test/jet.1"
IGNORING = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


class Lasting:
    """A command that lasts; both ends of its life show at a pipe with a name. It never outlives the test for long."""

    def __init__(self, place, before="pass"):
        self._line = place / "line"
        os.mkfifo(self._line)
        script = (
            "import os, signal, sys; signal.alarm(30);"
            f"{before}; line = open(sys.argv[1], 'w'); line.write('.'); line.flush(); signal.pause()"
        )
        self.words = (sys.executable, "-c", script, str(self._line))

    async def runs(self):
        """Wait until it runs."""
        self._end = await asyncio.to_thread(self._line.open, "rb", buffering=0)
        assert await asyncio.to_thread(self._end.read, 1) == b"."

    async def is_over(self):
        """Wait until it has ended."""
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(self._end.read, 1) == b""
        self._end.close()


@pytest.fixture
def lasting(tmp_path):
    """Make a lasting command: `lasting(IGNORING)`."""
    return lambda *before: Lasting(tmp_path, *before)


async def test_a_failure_is_told_and_no_more(lasting):
    told = []
    await run_for((sys.executable, "-c", "raise SystemExit(3)"), DONE, SENDER, told.append)
    assert told == [Warned(f"'{sys.executable}' failed for 'film.mkv' with exit code 3", "k3v9")]


async def test_the_command_learns_what_came_of_whom(tmp_path):
    place = tmp_path / "told"
    script = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    done = FileDone("k3v9", "receive", "film.mkv", tmp_path / "film.mkv", 10, 1.0, "chunks")
    await run_for((sys.executable, "-c", script, str(place)), done, SENDER, pytest.fail)
    told = json.loads(place.read_text())
    assert {name: value for name, value in told.items() if name.startswith("JET_") and name not in os.environ} == {
        "JET_PATH": str(tmp_path / "film.mkv"),
        "JET_NAME": "film.mkv",
        "JET_FROM": SENDER,
        "JET_SIZE": "10",
        "JET_ID": "k3v9",
    }


@pytest.mark.parametrize("script", [(), (IGNORING,)], ids=["one that ends when told", "one that has to be forced"])
async def test_whoever_is_stopped_ends_the_command(lasting, monkeypatch, script):
    if script:
        monkeypatch.setattr(afterwards, "GRACE_S", 0.01)
    command = lasting(*script)
    running = asyncio.ensure_future(run_for(command.words, DONE, SENDER, print))
    await command.runs()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await command.is_over()


@pytest.mark.parametrize("when", ["while files come", "while the last command is waited for"])
async def test_whoever_is_stopped_ends_the_commands_of_a_bundle(lasting, when):
    command, never = lasting(), asyncio.Event()

    async def unbundle():
        async with Afterwards(command.words, SENDER, print) as run:
            run.for_file(DONE)
            if when == "while files come":
                await never.wait()

    unbundling = asyncio.ensure_future(unbundle())
    await command.runs()
    unbundling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unbundling
    await command.is_over()
