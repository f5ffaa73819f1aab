"""The tables of an account's database, and the version they have.

A later version adds to `MIGRATIONS` the statements that lead from the one before. No table holds a transport secret or
a password.
"""

#: "jet1" in ASCII: marks the file as jet's (SQLite's application_id).
APPLICATION_ID = 0x6A657431

SCHEMA_VERSION = 2

#: The statements that lead to each version after the first, in their order, from the one before.
MIGRATIONS = (
    (
        "ALTER TABLE transfers ADD COLUMN sha256 BLOB",
        "ALTER TABLE transfers ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE transfers ADD COLUMN most INTEGER",
        "ALTER TABLE transfers ADD COLUMN extract INTEGER NOT NULL DEFAULT 0",
    ),
)

# STRICT tables refuse what has the wrong type, WITHOUT ROWID keeps a key beside its value instead of in an index of
# its own. Device and inode numbers may use all 64 bits, which SQLite's integers do not: they are kept as text.
SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE key_values (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE transfers (
    id TEXT PRIMARY KEY, direction TEXT NOT NULL, first_sid TEXT NOT NULL, peer TEXT NOT NULL,
    device_keys BLOB NOT NULL, name TEXT NOT NULL, size INTEGER, date TEXT, media_type TEXT, path TEXT NOT NULL,
    final_name TEXT, on_exist TEXT, source TEXT, part TEXT, part_inode TEXT, verified INTEGER NOT NULL,
    synced INTEGER NOT NULL, boot_id TEXT NOT NULL, chunked INTEGER NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, sha256 BLOB, checksum INTEGER NOT NULL DEFAULT 0, most INTEGER,
    extract INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX transfers_by_session ON transfers (first_sid);
CREATE TABLE trust (
    jid TEXT NOT NULL, identity_key BLOB NOT NULL, level TEXT NOT NULL, first_seen REAL NOT NULL,
    PRIMARY KEY (jid, identity_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE seen_envelopes (digest BLOB PRIMARY KEY, seen REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX seen_envelopes_by_age ON seen_envelopes (seen);
CREATE TABLE chunked_peers (device_key BLOB PRIMARY KEY, since REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE file_hashes (
    device TEXT NOT NULL, inode TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL,
    PRIMARY KEY (device, inode, size, mtime_ns)
) STRICT, WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, since REAL NOT NULL) STRICT, WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
