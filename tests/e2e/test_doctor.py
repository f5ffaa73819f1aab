"""What `jet doctor` finds, each with its repair."""

import os
import subprocess
import sys

import pytest
from logins import login, password_file

pytestmark = pytest.mark.matrix


def checks(process):
    rows = [line.split("\t") for line in process.stdout.splitlines()]
    return {row[1]: row[0] for row in rows}


def test_a_healthy_account_has_no_failures(jet, fresh):
    assert login(jet, fresh, password=fresh.password).code == 0
    ended = jet(fresh, "doctor").finished()
    assert ended.code == 0
    found = checks(ended)
    # The test's certificate is valid for two days only, and doctor warns of that.
    assert found.pop("TLS") == "warn"
    assert set(found) == {"config", "permissions", "disk", "login", "server", "PEP", "keys", "proxy", "clock"}
    assert set(found.values()) == {"ok"}


def test_doctor_tells_programs_in_json(jet, fresh):
    assert login(jet, fresh, password=fresh.password).code == 0
    ended = jet(fresh, "doctor", "--json").finished()
    assert {event["check"] for event in ended.events if event["type"] == "check"} >= {"login", "keys"}
    assert ended.events[-1] | {"type": "result", "exit": 0} == ended.events[-1]


def failing(ended):
    return {(row[1], row[3]) for row in (line.split("\t") for line in ended.stdout.splitlines()) if row[0] == "FAIL"}


def test_no_account_is_a_failure_with_a_repair(jet, fresh):
    ended = jet(fresh, "doctor").finished()
    assert (ended.code, failing(ended)) == (3, {("config", "jet login JID")})


def test_open_doors_are_found(jet, home):
    romeo = home("romeo")
    state = romeo.path / "state" / romeo.jid
    state.chmod(0o755)
    ended = jet(romeo, "doctor").finished()
    assert (ended.code, failing(ended)) == (3, {("permissions", f"chmod 700 '{state}'")})


def test_a_wrong_password_is_found(jet, home):
    romeo = home("romeo")
    password_file(romeo).write_text("wrong\n")
    ended = jet(romeo, "doctor").finished()
    assert (ended.code, failing(ended)) == (4, {("login", f"jet login {romeo.jid}")})


def test_a_certificate_of_someone_else_is_found(jet, home):
    romeo = home("romeo")
    config = romeo.path / "config.toml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "ca_file" not in line))
    ended = jet(romeo, "doctor").finished()
    assert (ended.code, {name for name, _ in failing(ended)}) == (4, {"TLS"})


def test_a_server_out_of_reach_is_found(jet, home):
    romeo = home("romeo", address="127.0.0.1:1")
    ended = jet(romeo, "doctor").finished()
    assert (ended.code, {name for name, _ in failing(ended)}) == (5, {"login"})


def test_a_server_without_what_helps_is_warned_of(jet, home, another_server):
    poor = another_server(settings='modules_disabled = { "s2s", "smacks", "carbons", "time" }')
    romeo = home("romeo", on=poor)
    ended = jet(romeo, "doctor").finished()
    assert ended.code == 0
    assert checks(ended)["server"] == "warn"
    assert "not compared" in ended.stdout


def test_keys_that_strangers_cannot_read_are_found(jet, home):
    romeo = home("romeo")
    assert jet(romeo, "doctor").finished().code == 0
    # What another client might do to the node of the device list.
    changing = f"""
import asyncio, sys
sys.path.insert(0, {os.getcwd()!r})
import aioxmpp, aioxmpp.forms, aioxmpp.pubsub.xso as pubsub
from pathlib import Path
from jetcli.xmpp.ask import ask
from jetcli.xmpp.connection import AccountSettings, Connection, Presence
from jetcli.xmpp.omemo_payloads import NODE_DEVICES
async def main():
    host, port = {romeo.address!r}.split(":")
    settings = AccountSettings({romeo.jid!r}, {romeo.password!r}, server=(host, int(port)),
                               ca_file=Path({str(romeo.server.ca_file)!r}))
    async with await Connection.open(settings, resource="other", presence=Presence()) as connection:
        answer = await ask(connection.client, pubsub.OwnerRequest(pubsub.OwnerConfigure(node=NODE_DEVICES)), None)
        form = answer.payload.data
        form.type_ = aioxmpp.forms.DataType.SUBMIT
        for field in form.fields:
            if field.var == "pubsub#access_model":
                field.values[:] = ["presence"]
        request = pubsub.OwnerRequest(pubsub.OwnerConfigure(node=NODE_DEVICES))
        request.payload.data = form
        await ask(connection.client, request, None, kind="set")
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", changing], check=True, timeout=30)
    ended = jet(romeo, "doctor").finished()
    assert ended.code == 3
    assert "strangers cannot read them (access model presence)" in ended.stdout


def test_status_and_trust_load_no_network(jet, home):
    """The promise is 0.4 s, which a busy machine cannot keep: what costs the time must not be loaded."""
    romeo = home("romeo")
    assert jet(romeo, "doctor").finished().code == 0
    for command in ("status", "trust"):
        program = (
            "import sys\nfrom jetcli.cli import perform\nfrom jetcli.cli.signals import Interruption\n"
            f"perform([{command!r}], Interruption())\n"
            "print('LOADED', *sorted({'aioxmpp', 'omemo', 'OpenSSL', 'cryptography'} & set(sys.modules)))"
        )
        env = {"PATH": os.environ["PATH"], "JET_HOME": str(romeo.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stdout.splitlines()[-1] == "LOADED"
