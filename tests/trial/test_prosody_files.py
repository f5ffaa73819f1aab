import hashlib
import hmac
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetcli.trial.prosody_files import Layout, account, lua, roster


def test_values_become_lua_expressions():
    value = {"ports": (5222, 5223), "on": True, False: {"version": 1}, "none": ()}
    assert lua(value) == (
        '{ ["ports"] = { 5222; 5223; }; ["on"] = true; [false] = { ["version"] = 1; }; ["none"] = {  }; }'
    )


@pytest.mark.skipif(shutil.which("lua5.4") is None, reason="needs Lua to compare with")
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")))
@settings(max_examples=25, deadline=None)
def test_lua_reads_back_any_text(text):
    script = f"io.write({lua(text)})"
    assert subprocess.check_output(["lua5.4", "-"], input=script.encode()) == text.encode()


def test_an_account_holds_keys_and_no_password():
    text = account("pencil", "SHA-1")
    fields = dict(re.findall(r'\["(\w+)"\] = "?(\w+)"?;', text))
    salted = hashlib.pbkdf2_hmac("sha1", b"pencil", fields["salt"].encode(), int(fields["iteration_count"]))
    assert fields["server_key"] == hmac.digest(salted, b"Server Key", "sha1").hex()
    assert "pencil" not in text


def test_a_roster_names_every_contact_with_both_directions():
    assert roster(["juliet@jet.test"]).count('["juliet@jet.test"] = { ["subscription"] = "both";') == 1


def test_stored_paths_are_spelt_as_prosody_spells_them(tmp_path):
    path = Layout(tmp_path).stored("jet.test", "accounts", "o'neill_é")
    assert path == tmp_path / "data" / "jet%2etest" / "accounts" / "o%27neill%5f%c3%a9.dat"
