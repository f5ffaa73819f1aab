"""Every exit code of the manual is the end of some command; those that no other page shows are shown here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jetcli.cli.manual import exit_codes

pytestmark = pytest.mark.matrix

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("words", ["help json", "completion bash", "help exit-codes", "trust", "status --json"])
def test_nobody_reads_any_more(jet, home, words):
    romeo = home("romeo")
    assert jet(romeo, "doctor").finished().code == 0
    env = {"JET_HOME": str(romeo.path), "PATH": "/usr/bin:/bin"}
    # The reader is gone before jet has loaded.
    line = f"( sleep 0.01; {sys.executable} -m jetcli {words}; echo $? >&2 ) | true"
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr.splitlines()[-1] == "141"
    assert "Traceback" not in done.stderr


def test_a_pipeline_notices(home):
    romeo = home("romeo")
    env = {"JET_HOME": str(romeo.path), "PATH": "/usr/bin:/bin"}
    line = f"set -o pipefail; ( sleep 0.01; {sys.executable} -m jetcli help json ) | true"
    assert subprocess.run(["bash", "-c", line], env=env, timeout=30, check=False).returncode == 141


CHEAP = [
    (["status"], 0),
    (["sned"], 2),
    (["-a", "nobody", "trust"], 3),
    (["caps", "nobody@jet.test/x"], 6),
    (["send", "missing", "a@b.org"], 13),
]

#: Where the codes that take a server, a peer or a broken line are shown.
ELSEWHERE = {
    1: "test_a_bug_is_one_line_and_its_traceback_is_for_those_who_ask",
    4: "test_a_wrong_password_is_found",
    5: "test_a_server_out_of_reach_is_found",
    7: "test_a_client_without_jet_is_exit_7_with_what_is_missing",
    8: "test_a_new_device_after_verification_stops_everything_until_it_is_decided",
    9: "test_a_person_says_no_and_waits_on_for_another_file",
    10: "test_a_limit_on_the_size_of_files_at_the_receiver_is_exit_13_there",
    11: "test_a_source_with_other_bytes_under_the_same_time_is_found_out",
    12: "test_envelopes_of_two_offers_cannot_be_exchanged_between_jets",
    14: "test_an_interruption_ends_only_its_own_file_of_several",
    15: "test_an_unsafe_name_is_refused_and_shown_escaped",
    130: "test_a_signal_ends_with_exactly_one_result",
    141: "test_nobody_reads_any_more",
    143: "test_a_signal_ends_with_exactly_one_result",
}


@pytest.mark.parametrize(("words", "code"), CHEAP)
def test_codes_that_are_had_for_nothing(jet, home, words, code):
    assert jet(home("romeo"), *words).finished().code == code


def test_every_code_of_the_manual_is_shown():
    assert {code for _words, code in CHEAP} | set(ELSEWHERE) == set(exit_codes())


@pytest.mark.parametrize(("code", "name"), ELSEWHERE.items())
def test_a_code_is_shown_where_the_list_says(code, name):
    head = f"def {name}("
    [text] = [text for text in map(_read, TESTS.rglob("test_*.py")) if head in text]
    above, _, below = text.partition(head)
    shown = above.rpartition("\n\n\n")[2] + re.split(r"\n(?:async )?def ", below)[0]
    constants = re.findall(rf"^([A-Z_]+) = {code}$", text, re.MULTILINE)
    assert re.search(rf"(?:code|ended|\[-1\]).*\b(?:{'|'.join([str(code), *constants])})\b", shown)


def _read(file):
    return file.read_text(encoding="utf-8")
