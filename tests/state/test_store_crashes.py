"""What a crash leaves of the database: the old state or the new one (property P12)."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import filled, laid_out

from jetcli.state.store import KeyValues, Store

# Crashes: property P12


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, list[int]]:
    """A new database, a log with four transactions of ten values each, and where in the log each of them ends."""
    directory = tmp_path_factory.mktemp("generations") / "s"
    with Store.open(directory) as store:
        keys, log = KeyValues(store), directory / "state.db-wal"
        ends = [0]
        for generation in range(4):
            with keys.transaction():
                for n in range(10):
                    keys.store(f"key-{n}", f"{generation}" * 600)
            ends.append(log.stat().st_size)
        return (directory / "state.db").read_bytes(), log.read_bytes(), ends


@given(data=st.data(), torn=st.binary(max_size=64))
@settings(max_examples=100, deadline=None)
def test_a_crash_after_any_prefix_of_the_writes_leaves_the_old_or_the_new_state(
    generations: tuple[bytes, bytes, list[int]], data: st.DataObject, torn: bytes
) -> None:
    database, log, ends = generations
    cut = data.draw(st.one_of(st.integers(0, len(log)), st.sampled_from(ends)))
    with (
        laid_out({"state.db": database, "state.db-wal": log[:cut] + torn}) as directory,
        Store.open(directory) as store,
    ):
        found = {KeyValues(store).load(f"key-{n}") for n in range(10)}
    complete = sum(end <= cut for end in ends) - 1
    states = [None, *(f"{generation}" * 600 for generation in range(4))]
    # Bytes of the torn write may happen to complete the transaction that was being written.
    assert found in ({states[complete]}, {states[min(complete + 1, 4)]})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes]:
    """A database before and after 30 values were copied into it, and the log that they came from."""
    directory = tmp_path_factory.mktemp("checkpoint") / "s"
    with Store.open(directory) as store:
        old = (directory / "state.db").read_bytes()
        for n in range(30):
            KeyValues(store).store(f"key-{n}", f"{n}" * 300)
        log = (directory / "state.db-wal").read_bytes()
        store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return old, (directory / "state.db").read_bytes(), log


@given(cut=st.integers(1, 65_536))
@settings(max_examples=50, deadline=None)
def test_a_crash_while_the_log_is_copied_into_the_file_loses_nothing(
    checkpoint: tuple[bytes, bytes, bytes], cut: int
) -> None:
    old, new, log = checkpoint
    assert old != new
    mixed = new[:cut] + old[cut:]
    with laid_out({"state.db": mixed, "state.db-wal": log}) as directory, Store.open(directory) as store:
        assert [KeyValues(store).load(f"key-{n}") for n in range(30)] == [f"{n}" * 300 for n in range(30)]


def test_a_process_killed_inside_a_transaction_has_changed_nothing(directory: Path) -> None:
    filled(directory, 2)
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from jetcli.state.store import KeyValues, Store
        store = Store.open(Path(sys.argv[1]))
        keys = KeyValues(store)
        with store.transaction():
            keys.store("key-0", "changed")
            print("inside", flush=True)
            sys.stdin.read()
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "inside\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    with Store.open(directory) as store:
        assert KeyValues(store).load("key-0") == '"0"'
