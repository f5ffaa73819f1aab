"""From nothing to an account and back: registration, invitations, passwords, several accounts, logging out."""

import json
import os
import ssl
import textwrap
import time

import pytest
from cryptography import x509
from logins import login, password_file

from jetcli.state.config import Config
from jetcli.state.passwords import write_password
from jetcli.state.store import KeyValues, Store
from jetcli.trial.prosody_files import _MODULES, lua
from jetcli.xmpp.omemo_names import own_device
from jetcli.xmpp.security import spki_sha256

pytestmark = pytest.mark.matrix


INVITES = f"modules_enabled = {lua((*_MODULES, 'invites', 'invites_register'))}\nregistration_invite_only = true"


def keys_file(home):
    return home.path / "state" / home.jid / "scram.json"


def test_a_command_comes_first_and_nothing_is_kept(jet, fresh, tmp_path):
    script = tmp_path / "pass"
    script.write_text(f"#!/bin/sh\nprintf '%s\\n' \"{fresh.password}\"\n")
    script.chmod(0o755)
    ended = login(jet, fresh, "--password-command", str(script), password="wrong")
    assert ended.code == 0
    assert not password_file(fresh).exists()
    assert not keys_file(fresh).exists()
    assert jet(fresh, "doctor").finished().code == 0


def test_a_file_comes_before_the_environment(jet, fresh, tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{fresh.password}\n")
    file.chmod(0o600)
    assert login(jet, fresh, "--password-file", str(file), password="wrong").code == 0


def test_a_file_that_others_can_read_is_refused(jet, fresh, tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{fresh.password}\n")
    file.chmod(0o644)
    ended = login(jet, fresh, "--password-file", str(file))
    assert (ended.code, ended.error, ended.hint) == (3, f"'{file}' can be read by others", f"chmod 600 {file}")


def test_standard_input_may_bring_it(jet, fresh):
    assert login(jet, fresh, "--password-file", "-", stdin=f"{fresh.password}\n".encode()).code == 0


def test_a_person_is_asked_last_and_it_is_not_shown(jet, fresh):
    process = jet(
        fresh, "login", fresh.jid, "--server", fresh.address, "--ca-file", fresh.server.ca_file, terminal=True
    )
    process.wait_for(f"Password of {fresh.jid}: ")
    process.type(f"{fresh.password}\n")
    assert process.finished().code == 0
    assert fresh.password not in process.stderr


def test_nobody_to_ask_and_no_password(jet, fresh):
    ended = login(jet, fresh)
    assert (ended.code, ended.error) == (3, f"there is no password for {fresh.jid}")
    assert "JET_PASSWORD" in ended.hint


def test_the_wrong_password_is_told_and_nothing_is_written(jet, fresh):
    ended = login(jet, fresh, password="wrong")
    assert (ended.code, ended.error) == (4, f"the server refused the login for {fresh.jid}")
    assert not ended.hint, "the way out is not what has just failed"
    assert not Config.load(fresh.path / "config.toml").accounts
    assert not password_file(fresh).exists()
    assert not keys_file(fresh).exists()


def test_a_server_that_has_not_the_pinned_key_gets_no_password(jet, fresh):
    problem = "its key is not the pinned one"
    ended = login(jet, fresh, "--pin", "0" * 64, password=fresh.password)
    assert (ended.code, ended.error) == (4, f"the certificate of {fresh.server.domain} is not valid: {problem}")
    assert not Config.load(fresh.path / "config.toml").accounts


def test_the_pinned_key_of_a_server_stands_for_its_certificate(jet, fresh):
    certificate = ssl.get_server_certificate((fresh.server.host, fresh.server.direct_tls_port))
    pin = spki_sha256(x509.load_pem_x509_certificate(certificate.encode())).hex()
    words = ("login", fresh.jid, "--server", fresh.address, "--pin", pin)
    assert jet(fresh, *words, env={"JET_PASSWORD": fresh.password}).finished().code == 0
    assert jet(fresh, "doctor").finished().code == 0


def test_an_account_is_reached_by_direct_tls(jet, fresh):
    fresh.address = f"{fresh.server.host}:{fresh.server.direct_tls_port}"
    assert login(jet, fresh, password=fresh.password).code == 5, "that port speaks TLS at once"
    assert login(jet, fresh, "--direct-tls", password=fresh.password).code == 0
    assert jet(fresh, "doctor").finished().code == 0


@pytest.fixture
def keyring(tmp_path):
    """A keyring that keeps its passwords in a file, as the extra would find one of the system."""
    place = tmp_path / "backend"
    place.mkdir()
    (place / "test_backend.py").write_text(
        textwrap.dedent(
            f"""
            import json, pathlib
            from keyring import backend, errors
            FILE = pathlib.Path({str(place / "passwords.json")!r})
            class Keyring(backend.KeyringBackend):
                priority = 9
                def _all(self): return json.loads(FILE.read_text()) if FILE.exists() else {{}}
                def get_password(self, service, user): return self._all().get(service + " " + user)
                def set_password(self, service, user, password):
                    FILE.write_text(json.dumps(self._all() | {{service + " " + user: password}}))
                def delete_password(self, service, user):
                    everything = self._all()
                    if everything.pop(service + " " + user, None) is None: raise errors.PasswordDeleteError
                    FILE.write_text(json.dumps(everything))
            """
        )
    )
    path = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH", "")]))
    env = {"PYTHON_KEYRING_BACKEND": "test_backend.Keyring", "PYTHONPATH": path}
    return env, place / "passwords.json"


def test_a_keyring_keeps_it_instead_of_a_file(jet, fresh, keyring):
    env, kept = keyring
    words = ("--server", fresh.address, "--ca-file", fresh.server.ca_file)
    assert jet(fresh, "login", fresh.jid, *words, env=env | {"JET_PASSWORD": fresh.password}).finished().code == 0
    assert json.loads(kept.read_text()) == {f"jet {fresh.jid}": fresh.password}
    assert not password_file(fresh).exists()
    assert not keys_file(fresh).exists()
    assert jet(fresh, "doctor", env=env).finished().code == 0
    assert jet(fresh, "logout", env=env).finished().code == 0
    assert json.loads(kept.read_text()) == {}


@pytest.mark.parametrize("backend", ["keyring.backends.fail.Keyring", "no.such.Backend"])
def test_without_a_keyring_that_works_there_is_the_file(jet, fresh, backend):
    env = {"PYTHON_KEYRING_BACKEND": backend, "JET_PASSWORD": fresh.password}
    words = ("--server", fresh.address, "--ca-file", fresh.server.ca_file)
    assert jet(fresh, "login", fresh.jid, *words, env=env).finished().code == 0
    assert keys_file(fresh).exists()


# Making accounts


def test_an_account_is_made(jet, fresh):
    fresh.jid = fresh.jid.replace("@", "-new@")
    assert login(jet, fresh, "--register", password="a new one").code == 0
    assert jet(fresh, "doctor").finished().code == 0


def test_what_a_server_wants_besides_is_told(jet, home, another_server):
    curious = another_server(settings='additional_registration_fields = { "email" }')
    new = home("romeo", on=curious, enrolled=False)
    ended = login(jet, new, "--register", password="x", jid=[new.jid.replace("@", "-new@")])
    assert (ended.code, ended.error.endswith("wants more for a new account than jet can give: email")) == (7, True)


@pytest.fixture
def inviting(another_server, home):
    """A server that makes accounts for the invited only, and a function that writes an invitation down."""
    server = another_server(settings=INVITES)
    new = home("romeo", on=server, enrolled=False)

    def invite(token, **said):
        now = int(time.time())
        entry = {"token": token, "created_at": now, "expires": now + 600, "allow_registration": True} | said
        path = server._layout.directory / "data" / "jet%2etest" / "invite_token.dat"
        server._store(path, f"return {lua({token: entry})}")

    return new, invite


def test_an_invitation_makes_the_account_that_it_names(jet, inviting):
    new, invite = inviting
    new.jid = "mercutio@jet.test"
    invite("T0ken", type="register", jid=new.jid, uri="xmpp:")
    uri = f"xmpp:{new.jid}?register;preauth=T0ken"
    ended = login(jet, new, "--import-invite", uri, jid=[], password="queen mab")
    assert ended.code == 0, ended
    assert jet(new, "status").finished().stderr.startswith(new.jid)


def test_an_invitation_that_is_none_is_told(jet, inviting):
    new, _invite = inviting
    uri = "xmpp:jet.test?register;preauth=nonsense"
    ended = login(jet, new, "--import-invite", uri, jid=["mercutio@jet.test"], password="x")
    assert ended.code == 4
    assert "the invitation is not valid, or has been used" in ended.error


def test_without_an_invitation_such_a_server_makes_none(jet, inviting):
    new, _invite = inviting
    ended = login(jet, new, "--register", jid=["mercutio@jet.test"], password="x")
    assert ended.code == 4


def test_an_invitation_to_a_contact_asks_for_their_presence(jet, home):
    juliet, romeo = home("juliet"), home("romeo", enrolled=False)
    uri = f"xmpp:{juliet.jid}?roster;preauth=Sub"
    assert login(jet, romeo, "--import-invite", uri, password=romeo.password).code == 0
    asked = [line for line in romeo.server.stanza_log.read_text().splitlines() if "<preauth" in line]
    assert any(f"to='{juliet.jid}'" in line and "type='subscribe'" in line and "Sub" in line for line in asked)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "missing JID"),
        (["--import-invite", "xmpp:jet.test?register;preauth=T"], "missing JID"),
        (["a@jet.test", "--import-invite", "https://jet.test"], "not an invitation such as"),
        (["a@b.org", "--import-invite", "xmpp:c@b.org?register;preauth=T"], "the invitation is for c@b.org, not for"),
    ],
)
def test_logins_that_make_no_sense(jet, fresh, words, error):
    ended = jet(fresh, "login", *words).finished()
    assert ended.code == 2
    assert ended.error.startswith(error)


# Several accounts


@pytest.fixture
def with_two(jet, home):
    """A home with two accounts; the second one became the default."""
    one, other = home("romeo", enrolled=False), home("juliet", enrolled=False)
    assert login(jet, one, password=one.password).code == 0
    other.path = one.path
    assert login(jet, other, password=other.password).code == 0
    return one, other


def test_an_account_is_chosen_by_name_or_address(jet, with_two):
    one, other = with_two
    name = one.jid.partition("@")[0]
    for words in (["-a", name, "doctor"], ["doctor", "-a", one.jid], ["--account", name, "doctor"]):
        assert f"account {one.jid}" in jet(one, *words).finished().stdout
    assert f"account {other.jid}" in jet(one, "doctor").finished().stdout
    ended = jet(one, "-a", "nobody", "doctor").finished()
    assert (ended.code, "there is no account 'nobody'" in ended.stdout) == (3, True)


def test_the_status_tells_of_all_accounts_or_of_the_chosen_one(jet, with_two):
    one, other = with_two
    everything = [json.loads(line) for line in jet(one, "status", "--json").finished().stdout.splitlines()]
    rows = {row["jid"]: row["default"] for row in everything if row["type"] == "account"}
    assert rows == {one.jid: False, other.jid: True}
    assert other.jid not in jet(one, "status", "-a", one.jid).finished().stderr


# Logging out


def published(home):
    with Store.open(home.path / "state" / home.jid) as store:
        return own_device(KeyValues(store))[0]


def test_logging_out_forgets_what_opens_the_account_and_keeps_its_device(jet, fresh):
    assert login(jet, fresh, password=fresh.password).code == 0
    device = published(fresh)
    assert jet(fresh, "logout").finished().code == 0
    assert not password_file(fresh).exists()
    assert not keys_file(fresh).exists()
    assert not Config.load(fresh.path / "config.toml").accounts
    assert "loopback = true" in (fresh.path / "config.toml").read_text()
    assert login(jet, fresh, password=fresh.password).code == 0
    assert published(fresh) == device


def test_removing_the_device_withdraws_it_and_deletes_its_state(jet, home, fresh):
    juliet = home("juliet", contacts=[])
    assert login(jet, fresh, password=fresh.password).code == 0
    device = published(fresh)
    assert jet(fresh, "logout", "--remove-device").finished().code == 0
    assert not (fresh.path / "state" / fresh.jid).exists()
    seen = jet(juliet, "trust", fresh.jid).finished()
    assert (seen.code, seen.stdout) == (0, "")
    assert login(jet, fresh, password=fresh.password).code == 0
    assert published(fresh) != device


def test_a_device_that_cannot_be_withdrawn_leaves_everything_as_it_was(jet, fresh):
    assert login(jet, fresh, password=fresh.password).code == 0
    keys_file(fresh).unlink()
    write_password(password_file(fresh), "wrong")
    assert jet(fresh, "logout", "--remove-device").finished().code == 4
    assert (fresh.path / "state" / fresh.jid / "state.db").exists()
    assert Config.load(fresh.path / "config.toml").accounts
