"""Servers that cannot be trusted, or reached, as the command meets them: no password ever leaves this machine."""

import asyncio
import ssl
from dataclasses import dataclass, field

import pytest

from jetcli.trial.certificates import Authority
from jetcli.trial.server import free_ports

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='1' "
STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
PLAIN = b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
PASSWORD = "not for anybody's ears"


@dataclass
class Listening:
    """A server for jet.test that offers `features`, and TLS where it has a context; `heard` is all that came."""

    features: bytes
    tls: ssl.SSLContext | None = None
    port: int = 0
    heard: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.heard += data
                if b"<stream:stream" in data:
                    features = b"from='jet.test'><stream:features>" + self.features + b"</stream:features>"
                    writer.write(HEADER + features)
                if b"<starttls" in data and self.tls:
                    writer.write(PROCEED)
                    await writer.start_tls(self.tls)
                    self.features = PLAIN
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def listening(tmp_path):
    """Start a server: `await listening(features, leaf)`."""
    servers = []

    async def start(features: bytes, leaf=None) -> Listening:
        context = None
        if leaf is not None:
            pem = tmp_path / "leaf.pem"
            pem.write_bytes(leaf.certificate + leaf.key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
        new = Listening(features, context)
        server = await asyncio.start_server(new.serve, "127.0.0.1", 0)
        servers.append(server)
        new.port = server.sockets[0].getsockname()[1]
        return new

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def login(jet, home, authority, tmp_path):
    """Run `jet login` of somebody at jet.test on a port; returns the process at its end."""
    somebody = home("somebody", enrolled=False)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.pem)

    async def run(*options: str, jid: str = "somebody@jet.test"):
        def at_its_end():
            return jet(somebody, "login", jid, *options, env={"JET_PASSWORD": PASSWORD}.items()).finished()

        process = await asyncio.to_thread(at_its_end)
        assert not [*somebody.path.rglob("password*"), *somebody.path.rglob("scram*")]
        assert jid not in (somebody.path / "config.toml").read_text()
        return process

    run.ca_file = str(ca_file)
    return run


def refused(process, code: int, line: str) -> None:
    assert process.code == code, process
    errors = [said for said in process.stderr.splitlines() if said.startswith("jet: error: ")]
    assert len(errors) == 1, process
    assert line in errors[0], process
    assert "Traceback" not in process.stderr
    assert PASSWORD not in process.stderr


@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        (lambda authority: authority.issue("jet.test", expired=True), "expired"),
        (lambda authority: authority.issue("other.test"), "name mismatch"),
        (lambda authority: Authority.fresh().issue("jet.test"), ""),
    ],
    ids=["expired", "another-name", "nobody-vouches"],
)
async def test_a_certificate_that_is_not_valid_ends_the_login_before_the_password(
    listening, login, authority, leaf, why
):
    server = await listening(STARTTLS, leaf(authority))
    process = await login("--server", f"127.0.0.1:{server.port}", "--ca-file", login.ca_file, "--allow-plain")
    refused(process, 4, f"the certificate of jet.test is not valid: {why}")
    assert b"<auth" not in server.heard


async def test_a_server_without_encryption_ends_the_login_before_the_password(listening, login):
    server = await listening(PLAIN)
    process = await login("--server", f"127.0.0.1:{server.port}", "--ca-file", login.ca_file, "--allow-plain")
    refused(process, 4, "jet.test offers no encryption; nothing was sent")
    assert b"<auth" not in server.heard


async def test_a_wrong_password_is_told_as_such(login, server):
    jid = server.add_account("forgetful", "another password")
    process = await login("--server", server.address, "--ca-file", str(server.ca_file), jid=jid)
    refused(process, 4, f"the server refused the login for {jid}")


async def test_a_port_where_nobody_listens_is_a_network_error(login):
    process = await login("--server", f"127.0.0.1:{free_ports(1)[0]}")
    refused(process, 5, "cannot reach jet.test: connection refused")


async def test_an_unknown_host_is_a_network_error(login):
    process = await login("--server", "nowhere.invalid:5222")
    refused(process, 5, "cannot reach jet.test: name not found")
