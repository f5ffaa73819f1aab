"""What a signal does to a running command; real processes, since handlers belong to one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jetcli.cli.signals import Interruption, Stopped

#: A jet whose transfer says what it does and ends only when it is cancelled, politely or not at all.
PROGRAM = """
import asyncio, sys
from types import SimpleNamespace
from pathlib import Path
from jetcli.transfer.events import FileDone, Offered, Progress

class Online:
    async def open(self, *args, **named): return self
    async def unless_lost(self, work): return await work
    async def __aenter__(self): return self
    async def __aexit__(self, *error):
        if MANNERS == "polite": print("goodbye", file=sys.stderr, flush=True)

async def send_files(online, paths, to, options, emit):
    emit(Offered("k3v9", "send", to, "film.mkv", 2_200_000_000, None, True))
    emit(Progress("k3v9", "send", 1_600_000_000, 2_200_000_000))
    print("running", file=sys.stderr, flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if MANNERS == "polite": raise
            print("deaf", file=sys.stderr, flush=True)

async def receive_files(online, options, emit, consent, stop):
    for number in range(100000):
        emit(FileDone(str(number), "receive", "film.mkv", Path("film.mkv"), 1, 0.1, "tag"))
        await asyncio.sleep(0)
    return []

MANNERS = sys.argv.pop(1)
if MANNERS == "going on":
    MANNERS = "polite"
    async def send_files(online, paths, to, options, emit):
        emit(Offered("k3v9", "send", to, "film.mkv", 2_200_000_000, None, True, held=600_000_000))
        print("running", file=sys.stderr, flush=True)
        await asyncio.sleep(3600)
credentials = lambda *values: values
sys.modules["jetcli.transfer.account"] = SimpleNamespace(Online=Online(), Credentials=credentials)
sys.modules["jetcli.transfer.send"] = SimpleNamespace(send_files=send_files)
sys.modules["jetcli.transfer.receive"] = SimpleNamespace(receive_files=receive_files)
from jetcli.cli import run
run()
"""
#: The same, which is asked where it is before it has begun and after it has ended.
ASKED_TOO_SOON_AND_TOO_LATE = PROGRAM.replace(
    "run()\n",
    """
import signal
from jetcli import cli
perform = cli.perform

def asked(*words):
    signal.raise_signal(signal.SIGUSR1)
    code = perform(*words)
    signal.raise_signal(signal.SIGUSR1)
    return code

cli.perform = asked
run()
""",
)


@pytest.fixture
def start(environment, account, source, tmp_path):
    processes = []

    def begin(manners, *arguments, program=PROGRAM):
        process = subprocess.Popen(
            [sys.executable, "-c", program, manners, *arguments],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(process, word):
    for line in process.stderr:
        if line.strip() == word:
            return
    pytest.fail(f"{word!r} was never said")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_the_first_signal_ends_the_transfer_in_good_order(start, number, code):
    process = start("polite", "send", "film.mkv", "juliet", "--json")
    wait_for(process, "running")
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == code
    told = "film.mkv: 1.6 of 2.2 GB had been sent.\nContinue with:  jet resume k3v9\n"
    assert err == f"goodbye\nStopped.\n{told}"
    told = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in told] == ["start", "offer", "progress", "result"]
    assert (told[-1]["exit"], told[-1]["ok"]) == (code, False)
    assert (told[-1]["resumable"], told[-1]["resume_id"]) == (True, "k3v9")


def test_a_transfer_that_goes_on_can_be_continued_even_where_nothing_has_moved_yet(start):
    process = start("going on", "send", "film.mkv", "juliet", "--json")
    wait_for(process, "running")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert "film.mkv: 0.6 of 2.2 GB had been sent.\nContinue with:  jet resume k3v9\n" in err
    told = json.loads(out.splitlines()[-1])
    assert (told["exit"], told["resumable"], told["resume_id"]) == (130, True, "k3v9")


def test_where_the_transfer_is_can_be_asked_by_a_signal(start):
    process = start("polite", "send", "film.mkv", "juliet")
    wait_for(process, "running")
    process.send_signal(signal.SIGUSR1)
    wait_for(process, "film.mkv: 1.6 of 2.2 GB (72 %)")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_asking_before_there_is_a_transfer_or_after_it_ends_nothing(start):
    process = start("polite", "send", "film.mkv", "juliet", program=ASKED_TOO_SOON_AND_TOO_LATE)
    wait_for(process, "running")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, ""), err


def test_a_transfer_that_does_not_listen_is_left_within_two_seconds(start):
    process = start("rude", "send", "film.mkv", "juliet", "--json")
    wait_for(process, "running")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=10)
    assert 1 < time.monotonic() - began < 2.5
    assert process.returncode == 130
    assert [json.loads(line)["type"] for line in out.splitlines()].count("result") == 1
    assert json.loads(out.splitlines()[-1])["exit"] == 130


def test_the_second_signal_leaves_at_once(start):
    process = start("rude", "send", "film.mkv", "juliet")
    wait_for(process, "running")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    wait_for(process, "deaf")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert time.monotonic() - began < 1
    assert process.returncode == 143


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_reader_that_goes_away_ends_jet_with_141_and_no_traceback(start, option):
    process = start("polite", "receive", "--accept-all", *option)
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _out, err = process.communicate(timeout=10)
    assert process.returncode == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_a_signal_before_there_is_a_task_stops_the_program_where_it_stands():
    interruption = Interruption(leave=lambda code: None)
    before = signal.getsignal(signal.SIGTERM)
    try:
        interruption.install()
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        interruption.settled()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert interruption.code == 143


def test_a_signal_that_was_switched_off_stays_off(start):
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        Interruption().install()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, ignored)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("jetcli.cli.signals.Interruption.settled", 143),  # the command is over, its code not yet told
        ("jetcli.cli.report.Report.result", 0),  # too late: the code is decided
    ],
)
def test_a_signal_after_the_end_of_the_command_leaves_one_result_and_its_code(environment, account, place, code):
    program = (
        "import os, pkgutil, signal\n"
        f"owner, name = pkgutil.resolve_name({place.rpartition('.')[0]!r}), {place.rpartition('.')[2]!r}\n"
        "usual = getattr(owner, name)\n"
        "def late(*args):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return usual(*args)\n"
        "setattr(owner, name, late)\n"
        "from jetcli.cli import run\n"
        "run(['status', '--json'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    results = [line for line in map(json.loads, ended.stdout.splitlines()) if line["type"] == "result"]
    assert [result["exit"] for result in results] == [ended.returncode] == [code]
    assert "Traceback" not in ended.stderr
