"""Logging in by the keys that an earlier login left, to real servers and to one that follows a script."""

import pytest

from jetcli.errors import AuthError
from jetcli.protocol.scram import ScramKeys
from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.failures import explain
from jetcli.xmpp.scram import ScramError

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NO_SCRAM = 'disable_sasl_mechanisms = { "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS" }'
KEYS = ScramKeys.derive("SHA-256", b"pencil", b"salt", 4096)


def mechanisms(*names):
    return f"<mechanisms xmlns='{SASL}'>{''.join(f'<mechanism>{name}</mechanism>' for name in names)}</mechanisms>"


async def test_the_keys_of_a_login_do_for_the_next(account, online):
    romeo = account()
    keys = (await online(romeo)).keys
    again = await online(romeo, password="", keys=keys)
    assert (again.mechanism, again.keys) == ("SCRAM-SHA-256", keys)


async def test_the_keys_of_a_login_are_bound_to_the_channel_too(account, another_server, online):
    romeo = account(on=another_server(settings='c2s_ssl = { protocol = "tlsv1_2" }', password_hash="SHA-1"))
    keys = (await online(romeo)).keys
    assert (await online(romeo, password="", keys=keys)).mechanism == "SCRAM-SHA-1-PLUS"


async def test_a_login_by_the_password_itself_leaves_no_keys(account, another_server, online):
    assert (await online(account(on=another_server(settings=NO_SCRAM)), allow_plain=True)).keys is None


async def refusal(online, romeo, **changes):
    with pytest.raises(AuthError) as failure:
        await online(romeo, password="", **changes)
    assert failure.value.hint == f"jet login {romeo.jid}"
    beginning = f"the server no longer accepts the keys kept for {romeo.jid}: "
    assert str(failure.value).startswith(beginning)
    return str(failure.value).removeprefix(beginning)


async def test_keys_of_an_old_password_are_told_from_a_wrong_one(account, online):
    romeo = account()
    keys = (await online(romeo)).keys
    romeo.server.add_account(romeo.jid.partition("@")[0], "another password")
    assert await refusal(online, romeo, keys=keys) == "the salt or the number of iterations has changed"


async def test_keys_that_the_server_refuses_are_told(account, scripted, online, authority):
    said = f"<failure xmlns='{SASL}'><not-authorized/></failure>"
    server = await scripted(mechanisms("SCRAM-SHA-256"), leaf=authority.issue("jet.test"), **{"<auth": said})
    there = {"server": ("127.0.0.1", server.port), "direct_tls": True, "keys": KEYS}
    assert await refusal(online, account(), **there) == "it refused the login"


async def test_an_account_that_is_closed_is_not_a_matter_of_keys(account, scripted, online, authority):
    said = f"<failure xmlns='{SASL}'><account-disabled/></failure>"
    server = await scripted(mechanisms("SCRAM-SHA-256"), leaf=authority.issue("jet.test"), **{"<auth": said})
    romeo = account()
    with pytest.raises(AuthError, match=r"^the server refused the login for"):
        await online(romeo, server=("127.0.0.1", server.port), direct_tls=True, password="", keys=KEYS)


async def test_keys_of_a_hash_that_the_server_no_longer_offers_are_told(account, scripted, online, authority):
    server = await scripted(mechanisms("SCRAM-SHA-1", "PLAIN"), leaf=authority.issue("jet.test"))
    there = {"server": ("127.0.0.1", server.port), "direct_tls": True, "keys": KEYS, "allow_plain": True}
    assert await refusal(online, account(), **there) == "it offers no SCRAM-SHA-256"
    assert b"<auth" not in server.heard


async def test_keys_do_not_open_a_server_that_wants_the_password_itself(account, scripted, online, authority):
    server = await scripted(mechanisms("PLAIN"), leaf=authority.issue("jet.test"))
    there = {"server": ("127.0.0.1", server.port), "direct_tls": True, "allow_plain": True}
    with pytest.raises(AuthError, match=r"no longer offers SCRAM, as it did before; the password was not sent$"):
        await online(account(), password="", keys=KEYS, **there)
    assert b"<auth" not in server.heard


def test_a_server_that_does_not_prove_itself_is_told_in_words_of_ours():
    error = explain(ScramError("the signature of the server is wrong"), AccountSettings("a@jet.test", "secret"))
    assert isinstance(error, AuthError)
    assert str(error) == "the login for a@jet.test went wrong: the signature of the server is wrong"


def test_settings_do_not_show_the_keys():
    shown = repr(AccountSettings("a@jet.test", "", keys=KEYS))
    assert repr(KEYS.client_key) not in shown
    assert repr(KEYS.server_key) not in shown
