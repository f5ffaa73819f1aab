import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import process_exists

from jetcli.errors import SetupError
from jetcli.trial import server as module
from jetcli.trial.server import Prosody, free_ports, throwaway_directory


def test_every_port_of_a_started_server_takes_connections(server):
    for port in (server.port, server.direct_tls_port, server.proxy_port):
        socket.create_connection((server.host, port), timeout=5).close()


def test_a_client_that_trusts_the_authority_gets_a_verified_connection(server):
    context = ssl.create_default_context(cafile=str(server.ca_file))
    context.set_alpn_protocols(["xmpp-client"])
    with (
        socket.create_connection((server.host, server.direct_tls_port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="other.test") as secured,
    ):
        assert secured.version() == "TLSv1.3"


def test_the_server_never_runs_as_root(server):
    owner = Path(f"/proc/{server.pid}")
    if not owner.exists():
        pytest.skip("no /proc on this system")
    assert owner.stat().st_uid != 0


def test_nothing_is_left_of_a_server_that_was_stopped():
    with throwaway_directory("jet-test-") as directory:
        with Prosody(directory / "prosody") as running:
            pid, port = running.pid, running.port
        assert not process_exists(pid)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((running.host, port), timeout=5)
    assert not directory.exists()


def test_a_server_that_ignores_sigterm_is_killed():
    with throwaway_directory("jet-test-") as directory:
        running = Prosody(directory / "prosody")
        running.start()
        pid = running.pid
        os.kill(pid, signal.SIGSTOP)
        running.stop(patience_s=0.1)
        assert not process_exists(pid)


def test_the_server_ends_when_the_process_that_started_it_is_killed():
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from jetcli.trial.server import Prosody\n"
        "running = Prosody(Path(sys.argv[1]))\n"
        "running.start()\n"
        "print(running.port, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with throwaway_directory("jet-test-") as directory:
        command = [sys.executable, "-c", program, str(directory / "prosody")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
            port = int(starter.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
                starter.kill()
                with suppress(ConnectionResetError):
                    while stream.recv(4096):
                        pass


def test_a_missing_prosody_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(SetupError, match="prosody, the XMPP server for trials, is not installed") as caught:
        module.find_prosody()
    assert "install prosody" in caught.value.hint


def test_a_prosody_that_does_not_start_is_told_with_its_last_words(monkeypatch):
    monkeypatch.setattr(module, "find_prosody", lambda: "/bin/false")
    with throwaway_directory("jet-test-") as directory, pytest.raises(SetupError, match="prosody did not start"):
        Prosody(directory / "prosody").start()


def test_a_port_that_was_lost_to_another_process_is_replaced(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as lost, throwaway_directory("jet-test-") as directory:
        offers = [[lost.getsockname()[1], *free_ports(2)], free_ports(3)]
        monkeypatch.setattr(module, "free_ports", lambda count: offers.pop(0))
        with Prosody(directory / "prosody") as running:
            assert running.port != lost.getsockname()[1]
        assert not offers
