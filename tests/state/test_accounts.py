import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetcli.errors import SetupError
from jetcli.state.accounts import write_account
from jetcli.state.config import Account, Config

HOME = Account("home", "romeo@montague.example")
FULL = Account(
    "the office",
    "romeo@office.example",
    server=("::1", 5222),
    direct_tls=True,
    ca_file=Path("/etc/ca.pem"),
    pin="ab12",
    allow_plain=True,
    password_command=("pass", "show", 'a "quoted"\n\x7f'),
)
USERS = """\
# my settings
[receive]
dir = "/in"  # where they go

# the account at work
[accounts.work]
# a comment of its own
jid = "old@work.example"
password_command = [
    "pass",
    "work",
]

# short names
[aliases]
juliet = "juliet@capulet.example"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "conf" / "config.toml"


def test_the_first_account_makes_the_file_and_is_the_default(file: Path) -> None:
    write_account(file, HOME)
    assert Config.load(file).account() == HOME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_every_field_of_an_account_comes_back(file: Path) -> None:
    write_account(file, HOME)
    write_account(file, FULL)
    config = Config.load(file)
    assert config.accounts == {"home": HOME, "the office": FULL}
    assert config.default == "home"


def test_a_later_account_becomes_the_default_when_that_is_asked(file: Path) -> None:
    write_account(file, HOME)
    write_account(file, FULL, default=True)
    assert Config.load(file).default == "the office"


def test_an_account_is_replaced_where_it_stands_and_all_else_is_kept(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(USERS)
    write_account(file, Account("work", "new@work.example"))
    assert file.read_text() == USERS.replace(
        '# a comment of its own\njid = "old@work.example"\npassword_command = [\n    "pass",\n    "work",\n]\n',
        'jid = "new@work.example"\n',
    )


def test_an_account_is_added_at_the_end_and_all_else_is_kept(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(USERS.rstrip("\n"))
    write_account(file, HOME)
    assert file.read_text() == USERS + '\n[accounts.home]\njid = "romeo@montague.example"\n'


@pytest.mark.parametrize(
    "text",
    [
        "[accounts]\nhome = {jid = 'a@b'}\nwork = {jid = 'c@d'}\n",
        "accounts = {home = {jid = 'a@b'}, work = {jid = 'c@d'}}\n",
    ],
)
def test_a_layout_that_jet_cannot_edit_is_left_alone(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(SetupError, match="as it is laid out") as caught:
        write_account(file, HOME)
    assert caught.value.hint == f"edit '{file}' by hand"
    assert file.read_text() == text


def test_a_configuration_with_a_mistake_is_not_written_over(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("colour = 1\n")
    with pytest.raises(SetupError, match="unknown key"):
        write_account(file, HOME)
    assert file.read_text() == "colour = 1\n"


def test_a_crash_before_the_rename_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_account(file, HOME)
    before = file.read_bytes()

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(SetupError, match="no space left"):
        write_account(file, FULL)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_linked_configuration_stays_linked(file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.toml"
    kept.write_text(USERS)
    file.parent.mkdir()
    file.symlink_to(kept)
    write_account(file, HOME)
    assert file.is_symlink()
    assert Config.load(kept).accounts["home"] == HOME


@given(name=st.text(min_size=1, max_size=12), command=st.lists(st.text(max_size=12), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_any_name_and_command_come_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, command: list[str]
) -> None:
    file = tmp_path_factory.mktemp("any") / "config.toml"
    file.write_text(USERS)
    account = Account(name, "a@b.example", password_command=tuple(command))
    write_account(file, account)
    write_account(file, account, default=True)
    assert Config.load(file).account() == account
    assert Config.load(file).aliases == {"juliet": "juliet@capulet.example"}
