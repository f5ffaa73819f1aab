"""Pipes at one end and a client at the other that wants a size first and verifies at the end only."""

import asyncio
import io
import os
import tarfile

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

pytestmark = pytest.mark.matrix

CONTENT = os.urandom(300_001)
MODERN = (2, 13)


@pytest.fixture
def spool(tmp_path):
    """Where a jet with this environment writes temporary files; it is empty whenever no jet runs."""
    place = tmp_path / "temporary"
    place.mkdir()
    yield place
    assert list(place.iterdir()) == []


async def ended(process):
    return await asyncio.to_thread(process.finished)


def bare(phone) -> str:
    return phone.jid.partition("/")[0]


async def test_standard_input_is_stored_first_and_that_is_said(home, jet, phone, spool):
    romeo = home("romeo")
    juliet = await phone(romeo, MODERN)
    words = ("send", "-", bare(juliet), "--name", "noise.bin")
    sending = jet(romeo, *words, stdin=CONTENT, env={"TMPDIR": str(spool)})
    saved = await juliet.receive()
    assert (await ended(sending)).code == 0, sending
    assert (saved.name, saved.content, saved.tag_right) == ("noise.bin", CONTENT, True)
    assert f"the client of {juliet.jid} wants to know the size: 'noise.bin' is stored here first" in sending.stderr


async def test_a_size_that_is_given_makes_storing_needless(home, jet, phone, spool):
    romeo = home("romeo")
    juliet = await phone(romeo, MODERN)
    words = ("send", "-", bare(juliet), "--no-spool", "--size", str(len(CONTENT)))
    sending = jet(romeo, *words, stdin=CONTENT, env={"TMPDIR": str(spool)})
    saved = await juliet.receive()
    assert (await ended(sending)).code == 0, sending
    assert (saved.name, saved.content, saved.tag_right) == ("stdin", CONTENT, True)
    assert "stored" not in sending.stderr


async def test_a_size_that_is_not_true_withholds_the_tag(home, jet, phone, monkeypatch):
    romeo = home("romeo")
    juliet = await phone(romeo, MODERN)
    decrypts, ends = juliet._decrypts, []

    def noted(key, iv, wire):
        ends.append((len(wire) < 300_002 + 16, decrypts(key, iv, wire)[1]))
        return decrypts(key, iv, wire)

    monkeypatch.setattr(juliet, "_decrypts", noted)
    sending = jet(romeo, "send", "-", bare(juliet), "--size", "300002", stdin=CONTENT)
    receiving = asyncio.ensure_future(juliet.receive())
    assert (await ended(sending)).code == 13, sending
    await asyncio.gather(receiving, return_exceptions=True)  # whom it would answer may have gone
    assert ends == [(True, False)], "too short, and its tag is wrong"


async def test_without_leave_to_store_nothing_is_offered(home, jet, phone):
    romeo = home("romeo")
    juliet = await phone(romeo, MODERN)
    refused = await ended(jet(romeo, "send", "-", bare(juliet), "--no-spool", stdin=CONTENT))
    assert refused.code == 13, refused
    assert refused.error == f"'stdin' has no size, and the client of {juliet.jid} wants one"
    assert refused.hint == "give --size BYTES, or leave out --no-spool"
    assert juliet._inbox.empty()


async def test_a_directory_is_stored_as_an_archive_first(home, jet, phone, spool):
    romeo = home("romeo")
    (romeo.files / "photos").mkdir()
    (romeo.files / "photos" / "balcony.jpg").write_bytes(CONTENT)
    juliet = await phone(romeo, MODERN)
    sending = jet(romeo, "send", "photos", bare(juliet), env={"TMPDIR": str(spool)})
    saved = await juliet.receive()
    assert (await ended(sending)).code == 0, sending
    assert saved.name == "photos.tar"
    with tarfile.open(fileobj=io.BytesIO(saved.content)) as tar:
        assert tar.extractfile("photos/balcony.jpg").read() == CONTENT


async def test_a_signal_ends_the_storing_of_an_endless_stream(home, jet, phone, spool):
    romeo = home("romeo")
    juliet = await phone(romeo, MODERN)
    endless = ("bash", "-c", 'exec "$@" < <(exec sleep 60)', "bash")
    sending = jet(romeo, "send", "-", bare(juliet), "--json", env={"TMPDIR": str(spool)}, prefix=endless)
    await asyncio.to_thread(sending.wait_for, "is stored here first")
    sending.signal(2)
    assert (await ended(sending)).code == 130, sending
    assert sending.events[-1]["exit"] == 130
    assert juliet._inbox.empty()


async def test_standard_output_gets_nothing_before_the_tag_has_been_compared(home, jet, phone, spool):
    romeo = home("romeo")
    juliet = await phone(romeo, MODERN)
    receiving = jet(romeo, "receive", "--accept-all", "--stdout", env={"TMPDIR": str(spool)})
    jid = await asyncio.to_thread(receiving.ready)
    assert await juliet.send(jid, "text", b"what's in a name") == "direct"
    assert (await ended(receiving)).code == 0, receiving
    assert receiving.stdout == "what's in a name"
    assert "verified" not in receiving.stderr


@pytest.mark.parametrize(
    ("option", "out"), [("--stdout", ""), ("--unverified-stdout", "what's in a name")], ids=["held back", "unverified"]
)
async def test_a_tag_that_is_wrong_is_exit_12_whatever_has_come_out(
    home, jet, phone, script, spool, monkeypatch, option, out
):
    class Spoiling:
        def __init__(self, key):
            self.cipher = AESGCM(key)

        def encrypt(self, *plain):
            sealed = self.cipher.encrypt(*plain)
            return sealed[:-1] + bytes([sealed[-1] ^ 1])

    romeo = home("romeo")
    juliet = await phone(romeo, MODERN)
    receiving = jet(romeo, "receive", "--accept-all", option, env={"TMPDIR": str(spool)})
    jid = await asyncio.to_thread(receiving.ready)
    monkeypatch.setattr(script, "AESGCM", Spoiling)
    with pytest.raises(script.GaveUpError, match="security-error"):
        await juliet.send(jid, "text", b"what's in a name")
    assert (await ended(receiving)).code == 12, receiving
    assert receiving.stdout == out
    assert receiving.stderr.count("before they are verified") == (option == "--unverified-stdout")
