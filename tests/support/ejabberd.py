"""An ejabberd on loopback, with the methods of `jetcli.trial.server.Prosody` that homes need."""

import glob
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from waiting import until

from jetcli.trial.certificates import Authority
from jetcli.trial.server import free_ports

#: Where Debian and the maker's own packages put it.
_PLACES = ("/usr/lib/*/ejabberd-*/ebin", "/opt/ejabberd-*/lib/*/ebin")
START_S = 30.0
STOP_S = 10.0

# Nobody but this machine reaches the interface for accounts. Without `shaper` no stream is slowed down.
_CONFIGURATION = """
hosts: [{domain}]
loglevel: warning
certfiles: ["{directory}/leaf.pem"]
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha256
api_permissions:
  tests: {{from: mod_http_api, who: all, what: "*"}}
listen:
  - {{port: {client}, ip: 127.0.0.1, module: ejabberd_c2s, starttls_required: true, max_stanza_size: 262144}}
  - {{port: {http}, ip: 127.0.0.1, module: ejabberd_http, request_handlers: {{/api: mod_http_api}}}}
modules:
  mod_admin_extra: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_http_api: {{}}
  mod_offline: {{}}
  mod_proxy65: {{host: proxy.{domain}, hostname: 127.0.0.1, ip: 127.0.0.1, port: {proxy}}}
  mod_pubsub: {{access_createnode: all, plugins: [flat, pep]}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
"""


def missing() -> str:
    """Say why no ejabberd can be started, or return an empty text."""
    return "" if shutil.which("erl") and _code() else "ejabberd is not installed"


def _code() -> list[str]:
    return [path for place in _PLACES for path in sorted(glob.glob(place))]


class Ejabberd:
    """A server of one domain while it is entered; `directory` is made, and belongs to the caller."""

    def __init__(self, directory: Path, domain: str = "jet.test", *, authority: Authority | None = None) -> None:
        self.domain = domain
        self.host = "127.0.0.1"
        self.authority = authority or Authority.fresh()
        self.port = 0
        self._http = 0
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port as `jet login --server` takes them."""
        return f"{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that a client has to trust."""
        return self._directory / "ca.pem"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def __enter__(self) -> Self:
        self._configure()
        self._spawn()
        try:
            until(self._answers, "it answers nobody", limit_s=START_S)
        except AssertionError as error:
            self.stop()
            said = self._log().read_text(errors="replace")[-2000:]
            raise RuntimeError(f"ejabberd did not start: {error}: {said}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; does nothing when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def add_account(self, local: str, password: str, _domain: str | None = None) -> str:
        """Make an account and return its bare JID."""
        self._do("register", user=local, host=self.domain, password=password)
        return f"{local}@{self.domain}"

    def make_contacts(self, one: str, other: str) -> None:
        """Make two bare JIDs each other's contacts (subscription both)."""
        for mine, theirs in ((one, other), (other, one)):
            (local, _, host), (user, _, domain) = mine.partition("@"), theirs.partition("@")
            names = {"localuser": local, "localhost": host, "user": user, "host": domain}
            self._do("add_rosteritem", **names, nick="", group="", subs="both")

    def _configure(self) -> None:
        self._directory.mkdir()
        leaf = self.authority.issue(self.domain, f"proxy.{self.domain}")
        (self._directory / "leaf.pem").write_bytes(leaf.certificate + leaf.key)
        self.ca_file.write_bytes(self.authority.pem)
        self.port, self._http, proxy = free_ports(3)
        text = _CONFIGURATION.format(
            domain=self.domain, directory=self._directory, client=self.port, http=self._http, proxy=proxy
        )
        (self._directory / "ejabberd.yml").write_text(text)

    def _spawn(self) -> None:
        # Without a node name: so there is no epmd that would stay behind, and nobody else can connect to it.
        words = ["erl", "-noinput", "-pa", *_code(), "-mnesia", "dir", f'"{self._directory / "mnesia"}"']
        environment = {
            "EJABBERD_CONFIG_PATH": str(self._directory / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self._log()),
            "HOME": str(self._directory),
        }
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [*words, "-s", "ejabberd"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=os.environ | environment,
            )

    def _log(self) -> Path:
        return self._directory / "ejabberd.log"

    def _answers(self) -> bool:
        try:
            self._do("status")
        except (urllib.error.URLError, OSError):
            assert self._process is not None
            assert self._process.poll() is None, "it ended"
            return False
        return True

    def _do(self, command: str, **arguments: str) -> None:
        request = urllib.request.Request(
            f"http://{self.host}:{self._http}/api/{command}",
            json.dumps(arguments).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            answer.read()
