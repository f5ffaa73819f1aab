import subprocess
import sys

import pytest

JET = f"{sys.executable} -m jetcli"


def shell(line):
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("stream", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_standard_stream_that_is_closed_changes_nothing(stream):
    ran = shell(f"{JET} completion bash {stream}")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_an_error_keeps_its_code_where_nobody_can_hear_it():
    assert shell(f"{JET} --nonsense 2>&-").returncode == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is of Linux")
@pytest.mark.parametrize("command", ["completion bash", "--json --nonsense"])
def test_a_full_disk_behind_standard_output_is_told_once_and_is_exit_13(command):
    ran = shell(f"{JET} {command} >/dev/full")
    assert ran.stderr.count("jet: error: cannot write to standard output: No space left on device\n") == 1
    assert ran.returncode == 13
    assert "Traceback" not in ran.stderr
