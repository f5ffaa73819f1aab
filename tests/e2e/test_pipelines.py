"""Standard input and standard output as the ends of a transfer, and directories as tar streams."""

import io
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from jets import WAIT_S

pytestmark = pytest.mark.matrix

TEXT = "".join(f"{number} bottles of beer\n" for number in range(40_000))


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Run a command in a home; whatever still runs of it at the end of the test, its children included, is ended."""
    with ExitStack() as running:

        def begin(home, *words: str, stdin=subprocess.DEVNULL) -> subprocess.Popen:
            environment = {"HOME": str(home.path), "JET_HOME": str(home.path), "PATH": os.environ["PATH"]}
            environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
            process = subprocess.Popen(
                words, cwd=home.files, env=environment | {"TERM": "dumb"}, start_new_session=True,
                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            running.callback(end, process)
            return process

        yield begin


def end(process: subprocess.Popen) -> None:
    """End the group of a process: politely, so that its account leaves the server, and then by force."""
    with process, suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def shell(start) -> Callable[..., subprocess.Popen]:
    """Run a line of bash in a home, with `jet` as a command."""
    jet = f'jet() {{ {shlex.quote(sys.executable)} -m jetcli "$@"; }}'
    return lambda home, line: start(home, "bash", "-c", f"{jet}; {line}")


def wait_for(process: subprocess.Popen, word: bytes) -> None:
    """Wait until standard error has this word."""
    said, deadline = b"", time.monotonic() + WAIT_S
    while word not in said:
        ready, _, _ = select.select([process.stderr], [], [], max(deadline - time.monotonic(), 0))
        piece = os.read(process.stderr.fileno(), 65_536) if ready else b""
        assert piece, f"{word!r} was never said: {said!r}"
        said += piece


def test_standard_input_goes_to_a_jet_as_it_comes(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet)
    content = os.urandom(700_001)
    sending = jet(romeo, "send", "-", juliet.jid, "--name", "noise", stdin=content).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == {"noise": content}


def test_a_stream_comes_out_of_standard_output_while_it_still_goes_in(pair, receiver, start):
    romeo, juliet = pair
    receiving = receiver(juliet, "--stdout")
    reading, writing = os.pipe()
    sender = start(romeo, sys.executable, "-m", "jetcli", "send", "-", juliet.jid, stdin=reading)
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        pipe.write(TEXT)
        pipe.flush()
        receiving.wait_for("100 bottles of beer", stream="stdout")
        assert sender.poll() is None
        pipe.write("the end\n")
    assert sender.wait(20) == 0, sender.communicate()
    assert receiving.finished().code == 0, receiving
    assert receiving.stdout == TEXT + "the end\n"
    assert juliet.saved == {}


def test_a_writer_that_pauses_longer_than_the_idle_time_does_not_break_the_stream(pair, receiver, shell):
    romeo, juliet = pair
    for home in pair:
        home.network("idle = '1s'")
    receiving = receiver(juliet, "--stdout")
    sender = shell(romeo, f"(echo early; sleep 2.5; echo late) | jet send - {juliet.jid}")
    assert (sender.wait(20), receiving.finished().code) == (0, 0), (sender.communicate(), receiving)
    assert receiving.stdout == "early\nlate\n"


def test_a_reader_that_pauses_longer_than_the_idle_time_does_not_break_the_stream(pair, jet, shell):
    romeo, juliet = pair
    for home in pair:
        home.network("idle = '1s'")
    reader = shell(juliet, "set -o pipefail; jet receive --stdout --accept-all | (head -c 1; sleep 3; wc -c)")
    wait_for(reader, b"Waiting as")
    film = romeo.file("film.mkv", b"x" * 20_000_000)
    sending = jet(romeo, "send", film, juliet.jid).finished(25)
    assert (sending.code, reader.wait(20)) == (0, 0), sending
    assert reader.stdout.read() == b"x19999999\n"


def test_a_reader_that_leaves_ends_the_receiver_as_sigpipe_would(pair, jet, shell):
    romeo, juliet = pair
    reader = shell(juliet, "set -o pipefail; jet receive --stdout --accept-all | head -c 3")
    wait_for(reader, b"Waiting as")
    sending = jet(romeo, "send", romeo.file("film.mkv", b"x" * 3_000_000), juliet.jid).finished()
    assert sending.code == 10, sending
    told = reader.communicate(timeout=20)
    assert (reader.returncode, told[0]) == (141, b"xxx"), told
    assert b"Traceback" not in told[1]


def test_a_signal_ends_a_sender_that_waits_for_its_standard_input(pair, receiver, shell):
    romeo, juliet = pair
    receiving = receiver(juliet)
    sender = shell(romeo, f"exec {sys.executable} -m jetcli send - {juliet.jid} < <(sleep 60)")
    wait_for(sender, b"path")
    sender.send_signal(2)
    assert sender.wait(5) == 130, sender.communicate()
    assert receiving.finished().code == 10, receiving
    assert juliet.saved == {}


#: Runs a command, and says at its end how much memory it held at most.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, "-m", "jetcli", *sys.argv[1:]])
print("at most", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, "KiB", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.soak
def test_eight_gibibytes_through_pipes_need_no_more_memory_than_a_small_file(pair, shell):
    romeo, juliet = pair
    measured = f"{sys.executable} -c {shlex.quote(MEASURED)}"
    numbers = f"seq 1 1000000000 | head -c {8 * 2**30}"
    reader = shell(juliet, f"set -o pipefail; {measured} receive --stdout --accept-all | cmp - <({numbers})")
    wait_for(reader, b"Waiting as")
    writer = shell(romeo, f"{numbers} | {measured} send - {juliet.jid}")
    told = [process.communicate(timeout=1800)[1].decode() for process in (writer, reader)]
    assert (writer.returncode, reader.returncode) == (0, 0), told
    most = [int(re.search(r"at most (\d+) KiB", text)[1]) / 1024 for text in told]
    print(f"at most {most[0]:.1f} MiB at the sender and {most[1]:.1f} MiB at the receiver")
    assert max(most) <= 110, told


def test_json_leaves_standard_output_to_the_bytes(pair, receiver, jet):
    romeo, juliet = pair
    receiving = jet(juliet, "receive", "--json", "-o", "-", "--accept-all")
    receiving.wait_for('"type": "connected"')
    assert jet(romeo, "send", romeo.file("a.txt", b"what's in a name"), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert receiving.stdout == "what's in a name"
    assert '"type": "result"' in receiving.stderr.splitlines()[-1]


def test_a_size_that_is_not_true_withholds_the_end(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "--forever")
    for size in ("4", "6"):
        sending = jet(romeo, "send", "-", juliet.jid, "--size", size, stdin=b"12345").finished()
        assert sending.code == 13, sending
    assert juliet.saved == {}
    assert jet(romeo, "send", "-", juliet.jid, "--size", "5", stdin=b"12345").finished().code == 0
    assert receiving.code is None
    assert juliet.saved == {"stdin": b"12345"}


def test_a_directory_travels_as_one_tar_stream(pair, receiver, jet):
    romeo, juliet = pair
    photos = romeo.files / "photos"
    (photos / "verona").mkdir(parents=True)
    (photos / "verona" / "balcony.jpg").write_bytes(b"moon")
    (photos / "me.jpg").symlink_to("verona/balcony.jpg")
    receiving = receiver(juliet)
    assert jet(romeo, "send", "photos", juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    with tarfile.open(juliet.files / "photos.tar") as tar:
        assert tar.getnames() == ["photos", "photos/me.jpg", "photos/verona", "photos/verona/balcony.jpg"]
        assert all(member.uname == "" and member.uid == 0 for member in tar)


def test_extract_unpacks_into_a_new_directory(pair, receiver, jet):
    romeo, juliet = pair
    photos = romeo.files / "photos"
    photos.mkdir()
    (photos / "balcony.jpg").write_bytes(b"moon")
    (juliet.files / "photos").mkdir()
    receiving = receiver(juliet, "--extract")
    assert jet(romeo, "send", "photos", juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    there = juliet.files / "photos (2)"
    assert receiving.stdout == f"{there}\n"
    assert (next(there.rglob("balcony.jpg"))).read_bytes() == b"moon"
    assert sorted(path.name for path in juliet.files.iterdir()) == ["photos", "photos (2)"]


def test_a_hostile_archive_is_not_unpacked(pair, receiver, jet):
    romeo, juliet = pair
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("../escaped")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    receiving = receiver(juliet, "--extract")
    sending = jet(romeo, "send", romeo.file("gift.tar", packed.getvalue()), juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (9, 15), (sending, receiving)
    assert receiving.error == "'gift.tar' was not unpacked: '../escaped' would lie outside of the new directory"
    assert sending.error == f"{receiving.ready()} declined 'gift.tar': {receiving.error}"
    assert (sending.hint, receiving.hint) == ("", "")
    assert not [home for home in pair if "gift.tar" in jet(home, "resume", "--list").finished().stdout]
    assert [path.name for path in juliet.files.iterdir()] == ["gift.tar"]
    assert not (juliet.files.parent / "escaped").exists()


@pytest.mark.parametrize("words", [["--stdout", "-d", "."], ["--stdout", "-n", "2"], ["-o", "-", "--forever"]])
def test_standard_output_is_for_one_file(pair, jet, words):
    assert jet(pair[1], "receive", "--accept-all", *words).finished().code == 2
