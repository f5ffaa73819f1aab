"""Peers that cannot take a file: who is away, who is no contact, whose client lacks something."""

import signal

import aioxmpp
import pytest


@pytest.fixture
async def client(account) -> "aioxmpp.Client":
    """Bring somebody online who has no jet: `await client("paris", contacts=[romeo])` returns the full JID."""
    from jetcli.xmpp.account import AccountSettings
    from jetcli.xmpp.connection import Connection, Presence

    running = []

    async def start(name: str, *, contacts, features=()) -> str:
        made = account(name, contacts=contacts)
        settings = AccountSettings(made.jid, made.password, made.address, ca_file=made.server.ca_file)

        def setup(client) -> None:
            disco = client.summon(aioxmpp.DiscoServer)
            for feature in features:
                disco.register_feature(feature)

        connection = await Connection.open(settings, resource="old", presence=Presence(show_xa=False), setup=setup)
        running.append(connection)
        return connection.jid

    yield start
    for connection in running:
        await connection.close()


def test_a_contact_who_is_offline_is_exit_6(pair, jet):
    romeo, juliet = pair
    sending = jet(romeo, "send", romeo.file("a.txt", 10), juliet.jid).finished()
    assert sending.code == 6, sending
    assert sending.error == f"{juliet.jid} is not online"
    assert "--wait" in sending.hint


def test_a_contact_who_comes_online_in_time_gets_the_file(pair, receiver, jet):
    romeo, juliet = pair
    sending = jet(romeo, "-vv", "send", "--wait", "20s", romeo.file("a.txt", 10), juliet.jid)
    sending.wait_for(f"[Ll]ooking for {juliet.jid}")
    receiving = receiver(juliet)
    assert sending.finished().code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == romeo.saved


def test_a_contact_whose_killed_jet_is_still_seen_is_waited_for(new_pair, receiver, jet):
    romeo, juliet = new_pair
    ghost = receiver(juliet)
    ghost.signal(signal.SIGKILL)
    ghost.finished()
    sending = jet(romeo, "-v", "send", "--wait", "30s", romeo.file("a.txt", 10), juliet.jid)
    sending.wait_for("passed over")
    receiving = receiver(juliet)
    assert sending.finished().code == 0, sending
    assert receiving.finished().code == 0, receiving


def test_somebody_who_is_no_contact_is_exit_6_with_the_ways_out(home, receiver, jet):
    romeo, tybalt = home("romeo"), home("tybalt")
    receiver(tybalt)
    sending = jet(romeo, "send", romeo.file("a.txt", 10), tybalt.jid).finished()
    assert sending.code == 6, sending
    assert "no contact" in sending.error
    assert f"{tybalt.jid}/jet" in sending.hint
    assert "contacts" in sending.hint


def test_a_full_address_where_nobody_is_is_exit_6(pair, jet):
    romeo, juliet = pair
    sending = jet(romeo, "send", romeo.file("a.txt", 10), f"{juliet.jid}/jet.gone").finished()
    assert sending.code == 6, sending


async def test_a_client_without_jet_is_exit_7_with_what_is_missing(home, client, jet):
    romeo = home("romeo")
    paris = await client("paris", contacts=[romeo])
    sending = jet(romeo, "send", romeo.file("a.txt", 10), paris.partition("/")[0])
    await in_thread(sending)
    assert sending.code == 7, sending
    assert sending.error.startswith(f"{paris} cannot receive encrypted transfers (missing ")
    assert "jingle:jet" in sending.error
    assert sending.hint == f"jet caps {paris.partition('/')[0]}"


async def test_a_client_without_an_omemo_device_is_exit_7(home, client, jet):
    from jetcli.protocol.quirks import RECEIVING

    romeo = home("romeo")
    paris = await client("paris", contacts=[romeo], features=RECEIVING)
    bare = paris.partition("/")[0]
    sending = jet(romeo, "send", romeo.file("a.txt", 10), bare)
    await in_thread(sending)
    assert sending.code == 7, sending
    assert sending.error == f"{bare} has published no OMEMO device"


async def test_caps_says_why_a_device_would_not_do(home, client, jet):
    romeo = home("romeo")
    paris = await client("paris", contacts=[romeo])
    bare = paris.partition("/")[0]
    asking = jet(romeo, "caps", bare)
    await in_thread(asking)
    assert asking.code == 7, asking
    assert asking.stdout.startswith("/old\t")
    assert "/old: missing jingle" in asking.stderr


def test_caps_of_a_waiting_jet_is_exit_0(pair, receiver, jet):
    romeo, juliet = pair
    waiting = receiver(juliet)
    asking = jet(romeo, "caps", juliet.jid, "--json").finished()
    assert asking.code == 0, asking
    [row] = [event for event in asking.events if event["type"] == "device"]
    assert row["jid"] == waiting.ready()
    assert row["receives"] is True
    assert jet(romeo, "caps", f"nobody@{juliet.jid.partition('@')[2]}").finished().code == 6


@pytest.mark.matrix
def test_caps_without_an_address_is_about_this_machine_and_the_server(home, jet):
    romeo = home("romeo")
    asking = jet(romeo, "caps").finished()
    assert asking.code == 0, asking
    [row] = asking.stdout.splitlines()
    assert row.split("\t")[0].startswith("/jet.")
    assert row.split("\t")[2:] == ["yes"] * 5 + ["direct relay ibb", "verified"]
    assert f"{romeo.jid} · 1 device online" in asking.stderr
    assert "proxy: 127.0.0.1:" in asking.stderr
    told = jet(romeo, "caps", "--json").finished()
    assert {event["check"] for event in told.events if event["type"] == "check"} >= {"server", "PEP", "proxy"}


@pytest.mark.matrix
def test_caps_shows_on_demand_what_a_device_advertises(pair, receiver, jet):
    romeo, juliet = pair
    waiting = receiver(juliet)
    resource = waiting.ready().partition("/")[2]
    rows = [line.split("\t") for line in jet(romeo, "caps", "--raw", juliet.jid).finished().stdout.splitlines()]
    assert ["/" + resource, "urn:xmpp:jingle:jet-omemo:0"] in rows
    assert ["/" + resource, "urn:jetcli:chunked:0"] in rows
    [row] = [event for event in jet(romeo, "caps", "--raw", juliet.jid, "--json").finished().events if "note" in event]
    assert sorted(row["features"]) == row["features"] == [feature for _, feature in rows]


@pytest.mark.matrix
@pytest.mark.parametrize("there", [True, False])
def test_a_dry_run_says_whether_there_is_somebody_and_offers_nothing(pair, receiver, jet, there):
    romeo, juliet = pair
    receiving = receiver(juliet) if there else None
    sending = jet(romeo, "send", "--dry-run", romeo.file("a.txt", 10), romeo.file("b.txt", 10), juliet.jid).finished()
    assert sending.code == (0 if there else 6), sending
    assert (f"Would send 2 files to {juliet.jid}/" in sending.stderr) is there
    if receiving is not None:
        assert f"To {receiving.ready()} (" in sending.stderr
        assert receiving.code is None
        assert "offers" not in receiving.stderr
    assert juliet.saved == {}


@pytest.mark.matrix
def test_a_dry_run_ends_as_the_sending_would(pair, receiver, jet):
    romeo, juliet = pair
    receiver(juliet)
    other = "--fingerprint", "ab" * 32
    dry = jet(romeo, "send", "--dry-run", *other, romeo.file("a.txt", 10), juliet.jid).finished()
    real = jet(romeo, "send", *other, romeo.file("a.txt", 10), juliet.jid).finished()
    assert (dry.code, dry.error) == (8, real.error), (dry, real)


async def in_thread(process) -> None:
    """Wait for a process while the event loop of this test serves its clients."""
    import asyncio

    await asyncio.to_thread(process.finished)
