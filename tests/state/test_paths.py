from pathlib import Path

import pytest

from jetcli.errors import UsageError
from jetcli.state.paths import Paths


def test_jet_home_holds_configuration_and_state(tmp_path: Path) -> None:
    paths = Paths.from_environment({"JET_HOME": str(tmp_path)})
    assert paths.config == tmp_path / "config.toml"
    assert paths.account("romeo@montague.example") == tmp_path / "state" / "romeo@montague.example"
    assert paths.password("romeo@montague.example") == tmp_path / "state" / "romeo@montague.example" / "password"
    assert paths.scram_keys("romeo@montague.example") == tmp_path / "state" / "romeo@montague.example" / "scram.json"


def test_a_relative_jet_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Paths.from_environment({"JET_HOME": "here"}).state == tmp_path / "here" / "state"


@pytest.mark.parametrize("environment", [{}, {"JET_HOME": ""}])
def test_without_jet_home_the_platform_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "conf"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    paths = Paths.from_environment(environment)
    assert paths.config == tmp_path / "conf" / "jet" / "config.toml"
    assert paths.account("a@b") == tmp_path / "data" / "jet" / "a@b"


@pytest.mark.parametrize("jid", ["", ".", "..", "../../etc", "a@b/c", "/etc", "a\0b", "a@" + "b" * 254])
def test_an_address_that_leads_elsewhere_is_refused(tmp_path: Path, jid: str) -> None:
    with pytest.raises(UsageError, match="not a valid address"):
        Paths.from_environment({"JET_HOME": str(tmp_path)}).account(jid)
