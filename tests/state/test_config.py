from pathlib import Path

import pytest

from jetcli.errors import SetupError
from jetcli.state.config import Account, Config, NetworkSettings, ReceiveSettings

WHOLE = """\
default = "home"

[accounts.home]
jid = "romeo@montague.example"
password_command = ["pass", "show", "xmpp/romeo"]
[accounts."the office"]
jid = "Romeo@Office.example"
server = "[::1]:5222"
direct_tls = true
ca_file = "ca.pem"
pin = "ab12"
allow_plain = true

[receive]
dir = "~/Downloads"
on_exist = "rename"
max_size = "4G"
allow_hidden = true
keep_partial = true
[trust]
policy = "verified"
[network]
path = "relay"
loopback = true
listen = 5000
advertise = "jet.example:5001"
timeout = "1h"
idle = 2.5
[aliases]
juliet = "juliet@capulet.example"
password = "mother@capulet.example"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refusal(file: Path, text: str) -> SetupError:
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(SetupError) as caught:
        Config.load(file)
    assert str(file) in caught.value.message
    assert caught.value.exit_code == 3
    return caught.value


def test_every_key_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/romeo")
    file.write_text(WHOLE)
    config = Config.load(file)
    assert config == Config(
        file,
        default="home",
        accounts={
            "home": Account("home", "romeo@montague.example", password_command=("pass", "show", "xmpp/romeo")),
            "the office": Account(
                "the office",
                "romeo@office.example",
                server=("::1", 5222),
                direct_tls=True,
                ca_file=file.parent / "ca.pem",
                pin="ab12",
                allow_plain=True,
            ),
        },
        receive=ReceiveSettings(
            Path("/home/romeo/Downloads"), "rename", 4 * 2**30, allow_hidden=True, keep_partial=True
        ),
        trust="verified",
        network=NetworkSettings("relay", True, 5000, ("jet.example", 5001), 3600.0, 2.5),
        aliases={"juliet": "juliet@capulet.example", "password": "mother@capulet.example"},
    )


def test_without_a_file_everything_is_default(file: Path) -> None:
    assert Config.load(file) == Config(file)
    assert Config.load(file).trust == "btbv"


def test_a_file_that_was_asked_for_must_be_there(file: Path) -> None:
    with pytest.raises(SetupError, match="no such file"):
        Config.load(file, required=True)


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("colour = 1", 1, "unknown key 'colour'", ""),
        ("# a\n\n[receive]\non_exists = 'fail'", 4, "unknown key 'on_exists' in [receive]", "did you mean on_exist?"),
        ("[trust]\npolicy = 'btbv'\nxyz = 1", 3, "unknown key 'xyz' in [trust]", "known are policy"),
        ("[accounts.a]\njid = 'a@b'\n[accounts.b]\njid='c@d'\nserve='x:1'", 5, "'serve' in [accounts.b]", "server"),
        ("[a]\nb=1\n[receive]", 1, "unknown key 'a'", ""),
        ("accounts.a.jid = 'a@b'\naccounts.a.nick = 'x'", 2, "'nick' in [accounts.a]", ""),
        ("accounts.a = {jid = 'a@b', nick = 'x'}", 1, "'nick' in [accounts.a]", ""),
        ("[accounts.a]\njid='a@b'\npassword_command=[\n 'x',\n 3\n]", 3, "password_command: not a list of texts", ""),
        ("[accounts.a]\njid='a@b'\npassword_command=[]", 3, "password_command: not a list of texts", ""),
        ("[accounts.a]\njid='a@b'\npassword_command='pass'", 3, "password_command: not a list of texts", ""),
        ("[accounts.a]\njid='a@b/phone'", 2, "has no resource", ""),
        ("[accounts.a]\njid='not a jid'", 2, "jid: ", ""),
        ("[accounts.a]\njid=3", 2, "jid: not a text", ""),
        ("[accounts.a]\nallow_plain=true", 1, "account 'a' has no jid", ""),
        ("[accounts]\na = 1", 2, "'a' is not a table", ""),
        ("receive = 1", 1, "'receive' is not a table", ""),
        ("default='b'\n[accounts.a]\njid='a@b'", 1, "there is no account 'b'", ""),
        ("default=[1]\n[accounts.a]\njid='a@b'", 1, "there is no account [1]", ""),
        ("[receive]\non_exist='delete'", 2, "on_exist: not one of ask, rename", ""),
        ("[receive]\non_exist=[]", 2, "on_exist: not one of ask, rename", ""),
        ("[receive]\nmax_size='4X'", 2, "max_size: '4X' is not a size", ""),
        ("[receive]\nmax_size=-1", 2, "max_size: not a text", ""),
        ("[receive]\nallow_hidden=1", 2, "allow_hidden: neither true nor false", ""),
        ("[network]\nlisten=0", 2, "listen: not a port number", ""),
        ("[network]\nlisten=true", 2, "listen: not a port number", ""),
        ("[network]\nlisten=65536", 2, "listen: not a port number", ""),
        ("[network]\nadvertise='host'", 2, "advertise: 'host' is not HOST:PORT", ""),
        ("[network]\nidle=inf", 2, "idle: not a text", ""),
        ("[network]\nidle='soon'", 2, "idle: 'soon' is not a duration", ""),
        ("[aliases]\nx='@'", 2, "x: ", ""),
        ('x = "\u2028"\n"\\u001b[2J" = 1', 1, "unknown key 'x'", ""),
        ('"\\u001b[2J" = 1', 1, "unknown key '\\x1b[2J'", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_line(file: Path, text: str, line: int, message: str, hint: str) -> None:
    error = refusal(file, text)
    assert f"' line {line}: " in error.message
    assert message in error.message
    assert hint in error.hint


def test_what_is_no_toml_is_told_with_its_line(file: Path) -> None:
    assert "line 2" in refusal(file, "[receive]\ndir = ~/Downloads\n").message


def test_what_is_no_text_is_told(file: Path) -> None:
    file.write_bytes(b"\xff")
    with pytest.raises(SetupError, match="is not UTF-8 text"):
        Config.load(file)


@pytest.mark.parametrize("key", ["password", "Password", "pass", "passwd", "secret", "token"])
@pytest.mark.parametrize("table", ["", "[accounts.home]\njid = 'a@b'\n", "[network]\n"])
def test_a_password_in_the_configuration_is_refused_and_not_repeated(file: Path, table: str, key: str) -> None:
    error = refusal(file, f"{table}{key} = 'hunter2'\n")
    assert "a password has no place in the configuration" in error.message
    assert f"line {table.count(chr(10)) + 1}:" in error.message
    assert "jet login" in error.hint
    assert "hunter2" not in repr(error)


def test_a_password_that_others_can_read_is_told_first(file: Path) -> None:
    file.write_text("[accounts.home]\njid = 'a@b'\npassword = 'hunter2'\n")
    file.chmod(0o644)
    with pytest.raises(SetupError, match=r"config\.toml' can be read by others") as caught:
        Config.load(file)
    assert caught.value.hint == f"chmod 600 '{file}'"


def test_a_configuration_without_a_password_may_be_read_by_others(file: Path) -> None:
    file.write_text(WHOLE)
    file.chmod(0o644)
    assert Config.load(file).default == "home"


# Which account


def test_the_default_account_is_taken_unless_another_is_named(file: Path) -> None:
    file.write_text(WHOLE)
    config = Config.load(file)
    assert config.account().name == "home"
    assert config.account("the office").jid == "romeo@office.example"
    assert config.account("romeo@office.example").name == "the office"


def test_the_only_account_needs_no_default(file: Path) -> None:
    file.write_text("[accounts.a]\njid='a@b'")
    assert Config.load(file).account().jid == "a@b"


def test_several_accounts_without_a_default_are_a_question_to_the_user(file: Path) -> None:
    file.write_text("[accounts.b]\njid='a@b'\n[accounts.a]\njid='c@d'")
    with pytest.raises(SetupError, match="several accounts") as caught:
        Config.load(file).account()
    assert caught.value.hint == "--account a | b"


@pytest.mark.parametrize("selector", [None, "nobody"])
def test_no_account_leads_to_login(file: Path, selector: str | None) -> None:
    with pytest.raises(SetupError, match="there is no account") as caught:
        Config.load(file).account(selector)
    assert caught.value.hint == "jet login JID"


def test_an_alias_stands_for_its_address(file: Path) -> None:
    file.write_text(WHOLE)
    config = Config.load(file)
    assert config.address("juliet") == "juliet@capulet.example"
    assert config.address("nurse@capulet.example") == "nurse@capulet.example"
