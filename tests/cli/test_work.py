"""The commands, with transfers that are played."""

import asyncio
import json
import math
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from jetcli.errors import DeclinedError, InterruptedTransferError, NetworkError, TrustError
from jetcli.protocol.device import Trust
from jetcli.protocol.scram import ScramKeys
from jetcli.transfer.events import Connected, Consent, FileDone, FileFailed, Offered, OfferSeen, Progress
from jetcli.transfer.options import Network


def done(name, path=None, direction="send"):
    return FileDone("k3v9", direction, name, path, 400, 0.5, "chunks")


def failed(error, resumable=False):
    return FileFailed("k3v9", "send", "film.mkv", error, resumable)


def test_send_hands_over_what_the_words_mean(jet_here, transfers, account, source):
    transfers.results = [done("film.mkv")]
    ended = jet_here("send", source, "juliet", "--checksum", "--wait", "forever", "--timeout", "1h", "--path", "relay")
    (credentials, network, receiving, command), (paths, to, options) = transfers.calls
    assert ended.code == 0
    assert (paths, to) == ((source,), "juliet@capulet.example")
    assert (options.checksum, options.wait_s, options.network) == (True, math.inf, network)
    assert (network.path, network.acceptance_s) == ("relay", 3600.0)
    assert (receiving, command) == (False, "jet send")
    assert (credentials.account.jid, credentials.secret) == ("romeo@montague.example", "ro5e")
    assert transfers.closed


def test_with_to_every_word_is_a_file(jet_here, transfers, account, source):
    assert jet_here("send", source, "--to", "nurse@capulet.example/kitchen", source).code == 0
    assert transfers.calls[1][:2] == ((source, source), "nurse@capulet.example/kitchen")


def test_flags_beat_the_environment_beat_the_configuration(jet_here, transfers, account, source, monkeypatch):
    (account / "config.toml").write_text(
        (account / "config.toml").read_text() + '[network]\npath = "ibb"\nloopback = true\n'
    )
    jet_here("send", source, "juliet")
    monkeypatch.setenv("JET_SEND_PATH", "direct")
    jet_here("send", source, "juliet")
    jet_here("send", source, "juliet", "--path", "relay")
    networks = [call[1] for call in transfers.calls if len(call) == 4]
    assert [network.path for network in networks] == ["ibb", "direct", "relay"]
    assert all(network.loopback for network in networks)


@pytest.mark.parametrize("words", [("send", "film.mkv", "juliet"), ("receive", "--accept-all")])
def test_a_transfer_is_tried_again_ten_times_unless_the_person_says_how_often(
    jet_here, transfers, account, source, words
):
    jet_here(*words)
    jet_here(*words, "--retry", "3")
    jet_here(*words, "--retry", "0")
    networks = [call[1] for call in transfers.calls if isinstance(call, tuple) and len(call) == 4]
    assert [network.retries for network in networks] == [10, 3, 0]


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([done("a"), done("b")], 0),
        ([failed(DeclinedError("no"))], 9),
        ([failed(NetworkError("a")), failed(NetworkError("b"))], 5),
        ([done("a"), failed(NetworkError("b"))], 14),
        ([failed(NetworkError("a")), failed(TrustError("b"))], 14),
    ],
)
def test_the_exit_code_sums_up_the_files(jet_here, transfers, account, source, results, code):
    transfers.results = results
    assert jet_here("send", source, "juliet").code == code


def test_a_failure_that_was_told_when_it_happened_is_not_told_twice(jet_here, transfers, account, source):
    transfers.error = InterruptedTransferError("connection lost after 4,999 of 5,000 bytes", hint="jet resume k3v9")
    transfers.events = [failed(transfers.error, resumable=True)]
    ended = jet_here("send", source, "juliet", "--json")
    assert ended.code == 10
    assert ended.err == "jet: error: connection lost after 4,999 of 5,000 bytes\njet: hint: jet resume k3v9\n"
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["type"] for line in told] == ["start", "error", "result"]
    assert (told[-1]["resumable"], told[-1]["resume_id"], told[-1]["exit"]) == (True, "k3v9", 10)


def test_send_writes_nothing_to_standard_output(jet_here, transfers, account, source):
    transfers.results = transfers.events = [done("film.mkv")]
    assert jet_here("send", source, "juliet").out == ""


def test_send_prints_no_path_of_what_it_receives_on_the_side(jet_here, transfers, account, source, tmp_path):
    transfers.events = [done("song.ogg", tmp_path / "song.ogg", "receive"), done("a.txt")]
    assert jet_here("send", source, "juliet").out == ""


@pytest.mark.parametrize(("option", "end"), [([], "\n"), (["-0"], "\0")])
def test_receive_prints_one_absolute_path_a_file(jet_here, transfers, account, tmp_path, option, end):
    transfers.events = [
        Connected("romeo@montague.example/jet.1", "montague.example"),
        done("film.mkv", Path("in/film.mkv"), "receive"),
    ]
    ended = jet_here("receive", "--accept-all", *option)
    assert ended.out == f"{tmp_path}/in/film.mkv{end}"
    assert "Waiting as romeo@montague.example/jet.1" in ended.err


def test_receive_hands_over_what_the_words_mean(jet_here, transfers, account, tmp_path):
    (tmp_path / "in").mkdir()
    jet_here("receive", "--from", "juliet", "--from", "anyone", "-d", "in", "--forever", "--max-size", "4GB")
    options = transfers.calls[1]
    assert options.directory == Path("in")
    assert options.senders == ("juliet@capulet.example", "anyone")
    assert (options.count, options.max_size, options.accept_all) == (None, 4_000_000_000, False)
    assert options.network == Network()


def test_the_environment_names_options_as_the_command_line_does(jet_here, transfers, account, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.setenv("JET_RECEIVE_DIR", "in")
    monkeypatch.setenv("JET_RECEIVE_FROM", "juliet nurse")
    monkeypatch.setenv("JET_QUIET", "1")
    ended = jet_here("receive")
    assert (ended.code, ended.err) == (0, "")
    assert transfers.calls[1].directory == Path("in")
    assert transfers.calls[1].senders == ("juliet@capulet.example", "nurse@capulet.example")


def test_what_the_configuration_says_of_taken_names_holds_without_an_option(jet_here, transfers, account):
    (account / "config.toml").write_text((account / "config.toml").read_text() + '[receive]\non_exist = "overwrite"\n')
    jet_here("receive", "--accept-all")
    jet_here("receive", "--accept-all", "--on-exist", "skip")
    assert [call.on_exist for call in transfers.calls if hasattr(call, "on_exist")] == ["overwrite", "skip"]


def test_a_directory_that_is_missing_is_named(jet_here, transfers, account):
    ended = jet_here("receive", "--accept-all", "-d", "nowhere")
    assert (ended.code, transfers.calls) == (13, [])
    assert ended.err.startswith("jet: error: cannot save in 'nowhere': no such directory")


def test_an_output_that_exists_is_not_touched(jet_here, transfers, account, source):
    before = source.read_bytes()
    ended = jet_here("receive", "--accept-all", "-o", source)
    assert (ended.code, transfers.calls) == (13, [])
    assert source.read_bytes() == before


def test_an_output_that_exists_is_replaced_where_the_configuration_says_so(jet_here, transfers, account, source):
    (account / "config.toml").write_text((account / "config.toml").read_text() + '[receive]\non_exist = "overwrite"\n')
    assert jet_here("receive", "--accept-all", "-o", source).code == 0
    assert [call.on_exist for call in transfers.calls if hasattr(call, "on_exist")] == ["overwrite"]


def test_what_goes_to_standard_output_needs_no_directory(jet_here, transfers, account):
    settings = '[receive]\ndir = "/nowhere/at/all"\n'
    (account / "config.toml").write_text((account / "config.toml").read_text() + settings)
    assert jet_here("receive", "--accept-all").code == 13
    assert jet_here("receive", "--accept-all", "--stdout").code == 0
    assert transfers.calls


def test_a_trial_takes_a_file(jet_here, tmp_path):
    ended = jet_here("try", tmp_path)
    assert (ended.code, ended.err) == (2, f"jet: error: '{tmp_path}' is a directory\njet: hint: jet try FILE\n")


def test_where_nobody_can_be_asked_the_allowed_are_accepted(jet_here, transfers, account, tmp_path):
    transfers.offers = [
        OfferSeen("k3v9", "juliet@capulet.example/x", Trust.BLIND, "film.mkv", 1, None, None, tmp_path, 9)
    ]
    jet_here("receive", "--from", "juliet")
    assert transfers.consents == [Consent(accept=True)]


class Row(Struct, frozen=True):
    jid: str
    client: str
    receives: bool
    sends: bool
    jet_omemo: bool
    resumes: bool
    streams: bool
    paths: tuple[str, ...]
    trust: str
    why_not: str = ""
    note: str = ""
    features: tuple[str, ...] = ("urn:a", "urn:b")


JET = Row("juliet@capulet.example/jet.x9", "jet 1.0", True, True, True, True, True, ("direct", "relay"), "verified")
GAJIM = Row(
    "juliet@capulet.example/ga\x1bjim", "Gajim", False, False, False, False, False, (), "new key", "missing jingle:jet"
)


def test_caps_is_parted_by_tabs_for_programs(jet_here, transfers, account):
    transfers.results = [JET, GAJIM]
    ended = jet_here("caps", "juliet")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "/jet.x9\tjet 1.0\tyes\tyes\tyes\tyes\tyes\tdirect relay\tverified",
        "/ga\\x1bjim\tGajim\tno\tno\tno\tno\tno\t\tnew key",
    ]
    assert "juliet@capulet.example · 2 devices online" in ended.err
    assert "Would send to /jet.x9." in ended.err


def test_caps_ends_with_7_where_no_device_can_take_a_file(jet_here, transfers, account):
    transfers.results = [GAJIM]
    ended = jet_here("caps", "juliet", "--json")
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert (ended.code, told[1]["why_not"], told[1]["type"]) == (7, "missing jingle:jet", "device")


def test_caps_shows_what_is_advertised_to_who_asks(jet_here, transfers, account):
    transfers.results = [JET]
    assert jet_here("caps", "juliet", "--raw").out == "/jet.x9\turn:a\n/jet.x9\turn:b\n"
    rows = [json.loads(jet_here("caps", "juliet", "--json", *raw).out.splitlines()[1]) for raw in ((), ("--raw",))]
    assert "features" not in rows[0]
    assert rows[1]["features"] == ["urn:a", "urn:b"]


def test_login_keeps_the_account_and_its_password_only_after_the_server_agreed(jet_here, transfers, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("ro5e\n")
    secret.chmod(0o600)
    transfers.error = NetworkError("cannot reach montague.example: name not found")
    assert jet_here("login", "romeo@montague.example", "--password-file", secret).code == 5
    assert not (tmp_path / "home" / "config.toml").exists()
    transfers.error = None
    options = ("--password-file", secret, "--server", "127.0.0.1:5222", "--allow-plain", "--register")
    ended = jet_here("login", "Romeo@montague.example", *options)
    credentials, register = transfers.calls[-1]
    assert (ended.code, register, credentials.secret) == (0, True, "ro5e")
    kept = tmp_path / "home" / "state" / "romeo@montague.example" / "password"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("ro5e\n", 0o600)
    assert 'server = "127.0.0.1:5222"' in (tmp_path / "home" / "config.toml").read_text()
    assert "ro5e" not in ended.err + ended.out + (tmp_path / "home" / "config.toml").read_text()


def test_login_keeps_the_keys_instead_of_the_password_where_there_are_some(jet_here, transfers, account, monkeypatch):
    state = account / "state" / "romeo@montague.example"
    transfers.keys = ScramKeys.derive("SHA-256", b"ro5e", b"salt", 4096)
    monkeypatch.setenv("JET_PASSWORD", "ro5e")
    assert jet_here("login", "romeo@montague.example").code == 0
    assert [file.name for file in state.iterdir() if file.name in {"password", "scram.json"}] == ["scram.json"]
    monkeypatch.delenv("JET_PASSWORD", raising=False)
    assert jet_here("login", "romeo@montague.example").code == 0
    assert transfers.calls[-1][0].secret == transfers.keys
    assert jet_here("login", "romeo@montague.example", "--register").code == 3
    transfers.keys = None
    monkeypatch.setenv("JET_PASSWORD", "ro5e")
    assert jet_here("login", "romeo@montague.example").code == 0
    assert [file.name for file in state.iterdir() if file.name in {"password", "scram.json"}] == ["password"]


def test_a_password_command_is_kept_instead_of_the_password(jet_here, transfers, account, tmp_path):
    jet_here("login", "romeo@montague.example", "--password-command", "printf '%s\\n' 'from the keeper'")
    assert transfers.calls[0][0].secret == "from the keeper"
    assert not (account / "state" / "romeo@montague.example" / "password").exists()
    assert "password_command = " in (account / "config.toml").read_text()
    assert "[aliases]" in (account / "config.toml").read_text()


def test_progress_and_a_file_are_told_as_json(jet_here, transfers, account, source):
    transfers.events = [
        Offered("k3v9", "send", "juliet@capulet.example/jet.1", "film.mkv", 400, "video/x-matroska", True),
        Progress("k3v9", "send", 0, 400),
        Progress("k3v9", "send", 200, 400),
        Progress("k3v9", "send", 400, 400),
        done("film.mkv"),
    ]
    told = [json.loads(line) for line in jet_here("send", source, "juliet", "--json").out.splitlines()]
    assert [line["type"] for line in told] == ["start", "offer", "progress", "progress", "file", "result"]
    assert told[3]["bytes"] == 400
    assert (told[-1]["files"], told[-1]["bytes"], told[-1]["ok"]) == (1, 400, True)


def test_a_task_that_is_left_over_does_not_keep_jet_from_ending(jet_here, transfers, account, source):
    async def stubborn():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    async def send_files(*_args):
        transfers.calls.append(asyncio.get_running_loop().create_task(stubborn()))
        await asyncio.sleep(0)
        return []

    sys.modules["jetcli.transfer.send"].send_files = send_files
    assert jet_here("send", source, "juliet").code == 0
