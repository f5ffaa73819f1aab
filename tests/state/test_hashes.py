"""Digests of shared files, kept as long as the files are the same."""

from jetcli.state.hashes import FileHashes
from jetcli.state.store import Store
from jetcli.state.transfers import RecordedIdentity

FILE = RecordedIdentity(2**64 - 1, 2**64 - 2, 2**40, 10**18, 10**18 + 1)


def test_a_digest_is_known_for_the_state_that_was_hashed(store: Store) -> None:
    hashes = FileHashes(store)
    assert hashes.known(FILE) is None
    hashes.remember(FILE, bytes(32))
    assert hashes.known(FILE) == bytes(32)
    assert hashes.known(FILE._replace(ctime_ns=0)) == bytes(32), "a renamed file has the same bytes"
    for change in ({"device": 1}, {"inode": 1}, {"size": 1}, {"mtime_ns": 1}):
        assert hashes.known(FILE._replace(**change)) is None


def test_an_older_state_of_a_file_is_forgotten(store: Store) -> None:
    hashes = FileHashes(store)
    hashes.remember(FILE, bytes(32))
    hashes.remember(FILE._replace(mtime_ns=5), b"x" * 32)
    assert hashes.known(FILE) is None
    assert hashes.known(FILE._replace(mtime_ns=5)) == b"x" * 32
