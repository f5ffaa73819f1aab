"""The fingerprints that jet shows are those that Dino has in its own database, on both sides."""

import base64
import re
import sqlite3
from contextlib import closing

import pytest

pytestmark = pytest.mark.usefixtures("dino")

GROUPS = re.compile(r"[0-9a-f]{8}(?: [0-9a-f]{8}){7}")


@pytest.fixture
def dinos_book(peers):
    """Ask the database in which Dino keeps its keys: `dinos_book("SELECT ...", values...)` returns the rows."""

    def ask(query: str, *values: object) -> list[tuple]:
        [path] = peers.directory.glob("dino/*/.local/share/dino/omemo.db")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as book:
            return book.execute(query, values).fetchall()

    return ask


def as_dino_shows_it(key: str) -> str:
    """Write a key of Dino's database as Dino does (its `fingerprint_from_base64`): without the first byte, the type."""
    kind, *digits = base64.b64decode(key)
    assert (kind, len(digits)) == (5, 32)
    digits = bytes(digits).hex()
    return " ".join(digits[at : at + 8] for at in range(0, 64, 8))


def test_the_key_that_jet_shows_of_dino_is_dinos_own(dino, known_to_dino, dinos_book):
    [(device, key)] = dinos_book("SELECT device_id, identity_key_public_base64 FROM identity")
    shown = known_to_dino.jet("trust", dino)
    assert shown.code == 0, shown
    row = next(line for line in shown.stdout.splitlines() if line.startswith(f"{device}\t"))
    assert GROUPS.findall(row) == [as_dino_shows_it(key)]


def test_the_key_that_dino_keeps_of_jet_is_the_one_that_jet_shows(known_to_dino, dinos_book, until):
    shown = known_to_dino.jet("trust")
    assert shown.code == 0, shown
    device, fingerprint = shown.stdout.strip().split("\t")
    query = "SELECT identity_key_public_base64 FROM identity_meta WHERE address_name = ? AND device_id = ?"
    [(key,)] = until(
        lambda: [row for row in dinos_book(query, known_to_dino.jid, int(device)) if row[0]],
        "Dino never kept the key of jet's device",
    )
    assert as_dino_shows_it(key) == fingerprint
    uri = known_to_dino.jet("trust", "--uri").stdout
    assert uri == f"xmpp:{known_to_dino.jid}?omemo-sid-{device}={fingerprint.replace(' ', '')}\n"
