"""The text of Prosody's files: its configuration, an account and a roster, written in Lua.

Owns their syntax and nothing else: no path, no process. Formats are those of Prosody 0.12 (mod_storage_internal,
mod_auth_internal_hashed).
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

#: What Prosody itself uses by default.
ITERATIONS = 10_000

#: No `limits`: it would throttle in-band transfers to 10 kB/s. No `register_limits`: tests make accounts quickly.
_MODULES = (
    *("blocklist", "carbons", "disco", "jet_trial", "offline", "pep", "ping", "posix", "register_ibr", "roster"),
    *("saslauth", "smacks", "time", "tls", "user_account_management", "vcard4", "vcard_legacy", "version"),
)
_BETWEEN_SERVERS = ("dialback", "s2s", "s2s_auth_certs", "s2s_bidi")

#: A Lua value as far as these files need it; a mapping becomes a table.
Lua = str | int | float | bool | Path | Mapping[str | bool, "Lua"] | tuple["Lua", ...]


class Ports(Struct, frozen=True):
    """The loopback ports of one server; `server` is for other servers, None where it talks to none."""

    client: int
    direct_tls: int
    proxy: int
    server: int | None = None

    def opened(self) -> set[int]:
        """Return all ports that the server has to open."""
        return {self.client, self.direct_tls, self.proxy} | ({self.server} if self.server else set())


class Layout(Struct, frozen=True):
    """Where the files of one server lie."""

    directory: Path

    @property
    def configuration(self) -> Path:
        """Return the path of the configuration."""
        return self.directory / "prosody.cfg.lua"

    @property
    def ca_file(self) -> Path:
        """Return the path of the authority's certificate."""
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        """Return the path of the server's certificate."""
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        """Return the path of the server's key."""
        return self.directory / "server.key"

    @property
    def plugins(self) -> Path:
        """Return the directory of our own module."""
        return self.directory / "plugins"

    @property
    def log(self) -> Path:
        """Return the path of the server's own log."""
        return self.directory / "prosody.log"

    @property
    def stanzas(self) -> Path:
        """Return the path of the stanza log."""
        return self.directory / "stanzas.log"

    def stored(self, domain: str, store: str, local: str) -> Path:
        """Return the path of what Prosody keeps about one account in `store`."""
        return self.directory / "data" / _encoded(domain) / store / f"{_encoded(local)}.dat"


def configuration(
    layout: Layout,
    domains: Iterable[str],
    ports: Ports,
    *,
    host: str,
    password_hash: str,
    dns_port: int | None,
    log_stanzas: bool,
    settings: str,
) -> str:
    """Return the configuration of a server; `settings` are lines that go last among the global ones."""
    domains = tuple(domains)
    certificate: dict[str | bool, Lua] = {"key": layout.key, "certificate": layout.certificate}
    options: dict[str, Lua] = {
        "data_path": layout.directory / "data",
        "plugin_paths": (layout.plugins,),
        "log": ({"levels": {"min": "info"}, "to": "file", "filename": layout.log},),
        # Without it Prosody looks for certificates where its own configuration would be.
        "certificates": layout.directory,
        "interfaces": (host,),
        "use_ipv6": False,
        "c2s_ports": (ports.client,),
        "c2s_direct_tls_ports": (ports.direct_tls,),
        "s2s_ports": (ports.server,) if ports.server else (),
        "proxy65_ports": (ports.proxy,),
        "http_ports": (),
        "https_ports": (),
        # With Nagle's algorithm, Prosody's own default, a round trip takes 46 ms.
        "network_settings": {"nagle": False, "read_size": 131_072},
        "modules_enabled": _MODULES + (_BETWEEN_SERVERS if ports.server else ()),
        "modules_disabled": () if ports.server else ("s2s",),
        "allow_registration": True,
        "c2s_require_encryption": True,
        "s2s_require_encryption": True,
        "s2s_secure_auth": True,
        "authentication": "internal_hashed",
        "password_hash": password_hash,
        "storage": "internal",
        "smacks_hibernation_time": 60,
        "ssl": {**certificate, "cafile": layout.ca_file, "capath": False},
    }
    if dns_port:
        options["unbound"] = _resolver(f"{host}@{dns_port}")
    if log_stanzas:
        options["jet_trial_log"] = layout.stanzas
    lines = [f"{name} = {lua(value)}" for name, value in options.items()]
    hosts = (_virtual_host(domain, domains, certificate, host) for domain in domains)
    return "\n".join([*lines, settings, *hosts, ""])


def account(password: str, password_hash: str) -> str:
    """Return an account file: the SCRAM keys of `password` (RFC 5802 section 3)."""
    algorithm = password_hash.replace("-", "").lower()
    salt = secrets.token_hex(16)
    salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), salt.encode(), ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    return "return " + lua(
        {
            "iteration_count": ITERATIONS,
            "salt": salt,
            "stored_key": hashlib.new(algorithm, client_key).hexdigest(),
            "server_key": hmac.digest(salted, b"Server Key", algorithm).hex(),
        }
    )


def roster(contacts: Iterable[str]) -> str:
    """Return a roster file in which each of `contacts` has the subscription both (RFC 6121 section 2.1.2.5)."""
    entries: dict[str | bool, Lua] = {jid: {"subscription": "both", "groups": {}} for jid in contacts}
    return "return " + lua({False: {"version": 1}, **entries})


def lua(value: Lua) -> str:
    """Return `value` as a Lua expression."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{ " + " ".join(f"[{lua(key)}] = {lua(item)};" for key, item in value.items()) + " }"
    if isinstance(value, tuple):
        return "{ " + " ".join(f"{lua(item)};" for item in value) + " }"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _virtual_host(domain: str, domains: tuple[str, ...], certificate: Lua, host: str) -> str:
    return "\n".join(
        [
            f"VirtualHost {lua(domain)}",
            f"  ssl = {lua(certificate)}",
            f'Component {lua(f"proxy.{domain}")} "proxy65"',
            f"  proxy65_address = {lua(host)}",
            f"  proxy65_acl = {lua(domains)}",
        ]
    )


def _resolver(server: str) -> Lua:
    # Left alone, libunbound answers .test itself (RFC 6761) and validates what comes from `server`.
    options: Lua = {"local-zone:": "test. transparent", "module-config:": "iterator"}
    return {"resolvconf": False, "hoststxt": False, "forward": (server,), "options": options}


def _encoded(name: str) -> str:
    """Return `name` as Prosody spells it in its data directory: all but ASCII letters and digits as %xx."""
    kept = (chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02x}" for byte in name.encode())
    return "".join(kept)
