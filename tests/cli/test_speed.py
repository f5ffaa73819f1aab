"""What has to be quick. Counted is the time of the processor, the best of a few runs: the machine may be busy."""

import os
import resource
import subprocess
import sys

import pytest

from jetcli.state.store import KeyValues, Store
from jetcli.xmpp.omemo_names import OWN_ID, OWN_IDENTITY

# Measured alone: beside other tests, even the time of the processor depends on what they do to its caches.
pytestmark = pytest.mark.soak

TRIES = 5


def best_s(environment, cwd, *words):
    times = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "jetcli", *words], env=environment, cwd=cwd, capture_output=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["send", "--help"], ["completion", "bash"], ["sned"], ["send", "x", "a@b@c"], ["receive", "--frob"]],
)
def test_help_completion_and_usage_errors_take_150_ms(environment, tmp_path, words):
    assert best_s(environment, tmp_path, *words) <= 0.150


@pytest.mark.parametrize("word", ["ro", "", "me"])
def test_a_completion_takes_150_ms(environment, account, tmp_path, word):
    asked = environment | {"_JET_COMPLETE": "bash_complete", "COMP_WORDS": f"jet trust {word}", "COMP_CWORD": "2"}
    assert best_s(asked, tmp_path) <= 0.150


@pytest.mark.parametrize("command", ["status", "trust"])
def test_what_needs_no_network_takes_400_ms(environment, account, tmp_path, command):
    with Store.open(account / "state" / "romeo@montague.example") as store:
        KeyValues(store).store(OWN_ID, "7")
        KeyValues(store).store(OWN_IDENTITY, f'"{os.urandom(32).hex()}"')
    assert best_s(environment, tmp_path, command) <= 0.400
