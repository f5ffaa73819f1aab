"""What a log of stanzas leaves out."""

import logging

import pytest

from jetcli.xmpp.trace import without_secrets


@pytest.mark.parametrize(
    ("xml", "kept", "dropped"),
    [
        ("<message><body>I love you</body></message>", "<body>[10 characters]</body>", "love"),
        ("<m><ns0:body xmlns:ns0='x'>secret\nline</ns0:body></m>", "[11 characters]", "secret"),
        ("<iq><query><password>hunter2</password></query></iq>", "[7 characters]", "hunter2"),
        ('<presence><preauth token="T0ken"/></presence>', 'token="[secret]"', "T0ken"),
        ("<presence><preauth token='T0ken'/></presence>", 'token="[secret]"', "T0ken"),
        ("<m><key rid='7'>MwohBQ==</key></m>", "<key rid='7'>[8 characters]</key>", "MwohBQ"),
        (f"<iq><data>{'QUJD' * 100}</data></iq>", "<data>[400 characters]</data>", "QUJDQUJD"),
    ],
)
def test_secrets_and_bulk_are_left_out(xml, kept, dropped):
    told = without_secrets(xml)
    assert kept in told
    assert dropped not in told


def test_all_else_stays_as_it_is():
    xml = "<iq id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    assert without_secrets(xml) == xml


async def test_stanzas_are_told_and_the_login_is_not(online, account, settings_of, caplog):
    caplog.set_level(logging.DEBUG, logger="jetcli.xml")
    settings = settings_of(account("romeo"))
    connection = await online(settings)
    told = caplog.text
    caplog.set_level(logging.WARNING, logger="jetcli.xml")
    caplog.clear()  # `online` takes every record for a complaint
    assert ">> <presence" in told
    assert "<<" in told
    assert connection.jid.rpartition("/")[2] in told
    assert "SCRAM" not in told
    assert settings.password not in told


async def test_nobody_reads_so_nothing_is_written(online, account, settings_of, monkeypatch):
    told = []
    monkeypatch.setattr("jetcli.xmpp.trace._tell", lambda *words: told.append(words))
    await online(settings_of(account("romeo")))
    assert not told
