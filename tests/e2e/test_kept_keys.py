"""What `jet login` keeps instead of the password, how it opens the account, and what is said when it no longer does."""

import base64
import json
import stat

import pytest

from jetcli.state.scram import read_keys

pytestmark = pytest.mark.matrix


def login(jet, home, *words, password=None):
    env = {} if password is None else {"JET_PASSWORD": password}
    return jet(home, *home.login, *words, env=env).finished()


def kept(home, name="scram.json"):
    return home.path / "state" / home.jid / name


@pytest.fixture
def fresh(home):
    return home("romeo", enrolled=False)


@pytest.fixture
def enrolled(jet, fresh):
    assert login(jet, fresh, password=fresh.password).code == 0
    return fresh


def test_no_file_holds_the_password(enrolled):
    secret = enrolled.password.encode()
    files = [file.read_bytes() for file in enrolled.path.rglob("*") if file.is_file()]
    assert files
    assert not any(form in content for content in files for form in (secret, base64.b64encode(secret)))
    assert stat.S_IMODE(kept(enrolled).stat().st_mode) == 0o600
    assert not kept(enrolled, "password").exists()


def test_files_are_sent_with_the_kept_keys_and_no_log_shows_them(jet, receiver, home, fresh):
    juliet = home("juliet", contacts=[fresh])
    assert login(jet, fresh, password=fresh.password).code == 0
    receiver(juliet, "-n", "1")
    file = fresh.file("a.txt", b"by keys")
    sent = jet(fresh, "-vv", "--log-file", fresh.files / "log", "send", file, juliet.jid).finished()
    assert sent.code == 0
    keys = read_keys(kept(fresh))
    said = sent.stderr + sent.stdout + (fresh.files / "log").read_text()
    for secret in (keys.client_key, keys.server_key, keys.salt):
        assert base64.b64encode(secret).decode() not in said
        assert secret.hex() not in said


def test_an_older_file_with_the_password_works_until_the_next_login_replaces_it(jet, home):
    romeo = home("romeo")
    assert kept(romeo, "password").read_text() == f"{romeo.password}\n"
    assert jet(romeo, "doctor").finished().code == 0
    assert kept(romeo, "password").exists()
    assert login(jet, romeo).code == 0
    assert not kept(romeo, "password").exists()
    assert read_keys(kept(romeo)) is not None
    assert jet(romeo, "doctor").finished().code == 0


def test_a_changed_password_is_told_and_logging_in_again_helps(jet, enrolled):
    romeo, local = enrolled, enrolled.jid.partition("@")[0]
    romeo.server.add_account(local, "a new password")
    ended = jet(romeo, "send", romeo.file("a.txt", 10), "juliet@jet.test").finished()
    assert ended.code == 4
    assert ended.error.startswith(f"the server no longer accepts the keys kept for {romeo.jid}: ")
    assert ended.hint == f"jet login {romeo.jid}"
    assert jet(romeo, "doctor", env={"JET_PASSWORD": "a new password"}).finished().code == 0
    assert login(jet, romeo, password="a new password").code == 0
    assert jet(romeo, "doctor").finished().code == 0


def test_keys_that_were_changed_are_refused_by_the_server(jet, enrolled):
    document = json.loads(kept(enrolled).read_text())
    document["client_key"] = base64.b64encode(bytes(32)).decode()
    kept(enrolled).write_text(json.dumps(document))
    ended = jet(enrolled, "caps").finished()
    assert ended.code == 4
    assert ended.error == f"the server no longer accepts the keys kept for {enrolled.jid}: it refused the login"


def test_logging_in_again_needs_no_password_where_nobody_can_be_asked(jet, enrolled):
    before = kept(enrolled).read_text()
    assert login(jet, enrolled).code == 0
    assert kept(enrolled).read_text() == before


def test_logging_out_removes_the_keys(jet, enrolled):
    assert jet(enrolled, "logout").finished().code == 0
    assert not kept(enrolled).exists()


def test_where_the_server_wants_the_password_itself_the_password_is_kept(jet, home, another_server):
    names = ", ".join(f'"SCRAM-SHA-{each}"' for each in ("1", "1-PLUS", "256", "256-PLUS"))
    romeo = home("romeo", on=another_server(settings=f"disable_sasl_mechanisms = {{ {names} }}"), enrolled=False)
    assert login(jet, romeo, "--allow-plain", password=romeo.password).code == 0
    assert kept(romeo, "password").read_text() == f"{romeo.password}\n"
    assert not kept(romeo).exists()
    assert jet(romeo, "doctor").finished().code == 0
