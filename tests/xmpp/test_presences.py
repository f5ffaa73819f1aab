"""What is kept of the presences that come, where a server or a contact makes them up."""

from types import SimpleNamespace

import aioxmpp
import pytest

from jetcli.xmpp.discovery import Discovery
from jetcli.xmpp.presences import MOST_CLIENTS, MOST_STRANGERS

ROMEO = "romeo@montague.example"
AVAILABLE, UNAVAILABLE, ERROR = (
    aioxmpp.PresenceType.AVAILABLE,
    aioxmpp.PresenceType.UNAVAILABLE,
    aioxmpp.PresenceType.ERROR,
)


@pytest.fixture
async def seeing():
    """Make a client that was never online, to which presences come: `seeing.come(jid)`; `kept` is what stays."""
    client = aioxmpp.Client(aioxmpp.JID.fromstr("juliet@capulet.example/jet"), None)
    discovery = Discovery(client, ())

    def come(jid, kind=AVAILABLE):
        client.stream._process_incoming_presence(aioxmpp.Presence(type_=kind, from_=aioxmpp.JID.fromstr(jid)))

    def befriend(jid):
        client.summon(aioxmpp.RosterClient).items[aioxmpp.JID.fromstr(jid)] = SimpleNamespace(subscription="both")

    kept = client.summon(aioxmpp.PresenceClient)._presences
    return SimpleNamespace(come=come, befriend=befriend, discovery=discovery, kept=kept)


def resources(seeing, bare):
    return [resource.jid for resource in seeing.discovery.resources(bare)]


@pytest.mark.parametrize(
    ("address", "kinds"),
    [
        ("stranger{}@made.up/jet", (AVAILABLE,)),
        ("stranger@made.up/jet{}", (AVAILABLE,)),
        ("made{}.up", (AVAILABLE,)),
        ("stranger{}@made.up/jet", (ERROR,)),
        ("stranger{}@made.up/jet", (AVAILABLE, ERROR)),
        ("stranger{}@made.up/jet", (AVAILABLE, UNAVAILABLE)),
    ],
)
async def test_endless_strangers_take_bounded_room_and_no_contacts_place(seeing, address, kinds):
    seeing.befriend(ROMEO)
    seeing.come(f"{ROMEO}/jet")
    for number in range(2000):
        for kind in kinds:
            seeing.come(address.format(number), kind)
    assert sum(max(len(clients), 1) for clients in seeing.kept.values()) <= MOST_STRANGERS + 1
    assert resources(seeing, ROMEO) == [f"{ROMEO}/jet"]


async def test_the_last_strangers_are_seen(seeing):
    for number in range(2 * MOST_STRANGERS):
        seeing.come(f"stranger{number}@made.up/jet")
    last = f"stranger{2 * MOST_STRANGERS - 1}@made.up"
    assert resources(seeing, last) == [f"{last}/jet"]
    assert resources(seeing, "stranger0@made.up") == []


@pytest.mark.parametrize("bare", [ROMEO, "juliet@capulet.example"])
async def test_a_contact_and_our_own_account_have_so_many_clients_and_no_more(seeing, bare):
    seeing.befriend(ROMEO)
    for number in range(3 * MOST_CLIENTS):
        seeing.come(f"{bare}/jet{number}")
    assert len(resources(seeing, bare)) == MOST_CLIENTS
    seeing.come(f"{bare}/jet0", UNAVAILABLE)
    seeing.come(f"{bare}/new")
    assert f"{bare}/new" in resources(seeing, bare)


async def test_a_stranger_who_has_become_a_contact_stays(seeing):
    seeing.come(f"{ROMEO}/jet")
    seeing.befriend(ROMEO)
    for number in range(2 * MOST_STRANGERS):
        seeing.come(f"stranger{number}@made.up/jet")
    assert resources(seeing, ROMEO) == [f"{ROMEO}/jet"]
