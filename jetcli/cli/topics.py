"""What `jet help TOPIC` says: the exit codes, the JSON events, the configuration; read off the program where it can."""

import json
from importlib import resources
from typing import Any

from jetcli.errors import UsageError
from jetcli.protocol.policy import shown

TOPICS = ("exit-codes", "json", "config")

CONFIG = """The configuration is TOML, in $XDG_CONFIG_HOME/jet/config.toml, or $JET_HOME/config.toml. An unknown key is
an error. Options beat the environment (JET_SEND_PATH, JET_RECEIVE_DIR, ...), which beats the configuration.

    default = "home"                             the account that is used without --account

    [accounts.home]
    jid = "romeo@montague.example"
    password_command = ["pass", "show", "xmpp/romeo"]
    server = "xmpp.montague.example:5222"        instead of asking the DNS
    direct_tls = false                           whether that speaks TLS from the first byte
    ca_file = "~/ca.pem"                         authorities for this server only
    pin = "9f86d081..."                          the SHA-256 of its key (SPKI), instead of a certificate
    allow_plain = false                          send the password itself, where the server knows nothing better

    [receive]
    dir = "~/Downloads"
    on_exist = "rename"                          ask, rename, overwrite, skip, fail
    max_size = "4G"
    allow_hidden = false
    keep_partial = false

    [trust]
    policy = "btbv"                              or verified: send to and take from verified keys only

    [network]
    path = "auto"                                auto, direct, relay, ibb
    listen = 5281                                a fixed port for direct connections ...
    advertise = "203.0.113.7:5281"               ... and how it is reached from outside
    timeout = "10m"                              how long an offer may wait
    idle = "60s"                                 how long a stream may be silent
    loopback = false                             also offer and dial this very machine (for tests)

    [aliases]
    juliet = "juliet@capulet.example"
"""


def help_text(topic: str | None) -> str:
    """Return the help on a topic (`jet help`); raise UsageError for an unknown one."""
    if topic not in TOPICS:
        raise UsageError(f"no help on '{shown(topic or '')}'", hint=f"jet help {' | '.join(TOPICS)}")
    match topic:
        case "exit-codes":
            return exit_codes_text()
        case "json":
            return json_text()
        case _:
            return CONFIG


def exit_codes_text() -> str:
    """Return the exit codes with their meaning, one a line."""
    from jetcli.cli.manual import exit_codes

    return "".join(f"{code:>4}  {meaning}\n" for code, meaning in exit_codes().items())


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `--json` prints."""
    text = (resources.files("jetcli.cli") / "events.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def json_text() -> str:
    """Return the events of `--json` with their fields, read off the schema."""
    schema = event_schema()
    lines = [f"{schema['description']}\n", f"Every event has: {', '.join(schema['required'])}\n"]
    for name, event in schema["$defs"].items():
        lines.append(f"{name:<10} {event['description']}")
        lines += [f"{'':11}{field}: {said.get('description', '')}" for field, said in event["properties"].items()]
    return "\n".join(lines) + "\n"
