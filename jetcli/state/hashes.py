"""SHA-256 digests of files that are shared, so that each is read once for as long as it stays the same."""

from jetcli.state.store import Store
from jetcli.state.transfers import RecordedIdentity


class FileHashes:
    """Digests by device, inode, size and mtime."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, file: RecordedIdentity) -> bytes | None:
        """Return the digest of a file that was hashed in this state, or None."""
        sql = "SELECT sha256 FROM file_hashes WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ?"
        rows = self._store.rows(sql, _key(file))
        return bytes(rows[0][0]) if rows else None

    def remember(self, file: RecordedIdentity, sha256: bytes) -> None:
        """Keep the digest of a file, in place of those that it had in other states."""
        with self._store.transaction():
            self._store.change("DELETE FROM file_hashes WHERE device = ? AND inode = ?", _key(file)[:2])
            self._store.change("INSERT INTO file_hashes VALUES (?, ?, ?, ?, ?)", (*_key(file), sha256))


def _key(file: RecordedIdentity) -> tuple[str, str, int, int]:
    return str(file.device), str(file.inode), file.size, file.mtime_ns
