import pytest

from jetcli.errors import AuthError, NetworkError, RemoteProtocolError, UnsupportedError
from jetcli.xmpp import server as server_module
from jetcli.xmpp.registration import register_account

REGISTER = "jabber:iq:register"


@pytest.fixture
def new_account(account, settings_of):
    """Settings of an account that does not exist, on the server that tests share or another."""

    def make(name="mercutio", **changes):
        known = account(name, **({"on": changes.pop("on")} if "on" in changes else {}))
        return settings_of(known, jid=known.jid.replace("@", "new@"), **changes)

    return make


@pytest.mark.parametrize("direct_tls", [False, True])
async def test_an_account_that_was_made_can_log_in(noise, online, new_account, direct_tls):
    settings = new_account(direct_tls=direct_tls)
    await register_account(settings)
    assert (await online(settings)).mechanism == "SCRAM-SHA-256"


async def test_a_name_that_is_taken_is_told(noise, new_account):
    settings = new_account()
    await register_account(settings)
    with pytest.raises(AuthError) as failure:
        await register_account(settings)
    assert str(failure.value).startswith(f"jet.test did not make the account {settings.jid}: the name is taken")


async def test_a_server_that_makes_no_accounts_is_told(noise, another_server, new_account):
    closed = another_server(settings='modules_disabled = { "register_ibr", "s2s" }')
    with pytest.raises(AuthError, match="it makes no accounts for clients"):
        await register_account(new_account(on=closed))


async def test_what_the_server_wants_besides_name_and_password_is_told(noise, another_server, new_account):
    curious = another_server(settings='additional_registration_fields = { "email" }')
    with pytest.raises(UnsupportedError, match="wants more for a new account than jet can give: email"):
        await register_account(new_account(on=curious))


@pytest.mark.parametrize(
    ("form", "hint"),
    [
        ("<x xmlns='jabber:x:data' type='form'/><instructions>Read the picture</instructions>", "Read the picture"),
        ("<x xmlns='jabber:x:oob'><url>https://jet.test/new</url></x>", "https://jet.test/new"),
        ("<instructions>&#x202e;evil</instructions>", r"\u202eevil"),
        ("", "make the account with a chat client, then: jet login "),
    ],
)
async def test_a_form_or_a_web_page_is_told_and_no_password_sent(noise, new_account, scripted, authority, form, hint):
    answer = f"<iq type='result' id='none'><query xmlns='{REGISTER}'>{form}</query></iq>"
    server = await scripted("", leaf=authority.issue("jet.test"), **{"<iq": answer, "</stream": "</stream:stream>"})
    settings = new_account(server=("127.0.0.1", server.port), direct_tls=True)
    with pytest.raises(UnsupportedError, match="a form or a CAPTCHA") as failure:
        await register_account(settings)
    assert failure.value.hint.startswith(hint)
    assert b"password" not in server.heard


def field(var, *, label="", kind="text-single", value="", required=True):
    inside = f"<value>{value}</value>" if value else ""
    return f"<field var='{var}' label='{label}' type='{kind}'>{'<required/>' if required else ''}{inside}</field>"


PLAIN = "<username/><password/>"
NAME, WORD = field("username", label="Username"), field("password", label="Password", kind="text-private")
CAPTCHA = (
    field("FORM_TYPE", kind="hidden", value="urn:xmpp:captcha", required=False)
    + field("captcha-fallback-url", value="https://jet.test/captcha/1")
    + field("ocr", label="Enter the text you see")
)


@pytest.mark.parametrize(
    ("plain", "form", "wanted", "hint"),
    [
        ("", NAME + WORD + field("email", label="Your e-mail"), "Your e-mail", "Sign here"),
        ("", NAME + WORD + CAPTCHA, "a CAPTCHA", "https://jet.test/captcha/1"),
        (PLAIN, NAME + WORD + CAPTCHA, "a CAPTCHA", "https://jet.test/captcha/1"),
        ("", field("age&#x202e;", label=""), r"age\u202e", "Sign here"),
        ("", NAME + WORD, "a form or a CAPTCHA", "Sign here"),
    ],
    ids=["a field", "a CAPTCHA", "a CAPTCHA behind a plain form", "a field without a label", "a form only"],
)
async def test_the_fields_of_a_servers_own_form_are_told_and_no_password_sent(
    noise, new_account, scripted, authority, plain, form, wanted, hint
):
    form = f"<x xmlns='jabber:x:data' type='form'><title>New</title><instructions>Sign here</instructions>{form}</x>"
    answer = f"<iq type='result' id='none'><query xmlns='{REGISTER}'>{plain}{form}</query></iq>"
    server = await scripted("", leaf=authority.issue("jet.test"), **{"<iq": answer, "</stream": "</stream:stream>"})
    settings = new_account(server=("127.0.0.1", server.port), direct_tls=True)
    with pytest.raises(UnsupportedError) as failure:
        await register_account(settings)
    assert failure.value.message.endswith(f"wants more for a new account than jet can give: {wanted}")
    assert failure.value.hint == hint
    assert settings.password.encode() not in server.heard


async def test_a_form_that_wants_no_more_than_the_plain_one_does_no_harm(noise, new_account, scripted, authority):
    form = f"<x xmlns='jabber:x:data' type='form'>{NAME}{WORD}{field('email', required=False)}</x>"
    answer = f"<iq type='result' id='none'><query xmlns='{REGISTER}'>{PLAIN}{form}</query></iq>"
    says = {'type="get"': answer, 'type="set"': "<iq type='result' id='y'/>", "</stream": "</stream:stream>"}
    server = await scripted("", leaf=authority.issue("jet.test"), **says)
    await register_account(new_account(server=("127.0.0.1", server.port), direct_tls=True))


async def test_an_answer_without_a_form_is_a_protocol_error(noise, new_account, scripted, authority):
    server = await scripted(
        "", leaf=authority.issue("jet.test"), **{"<iq": "<iq type='result' id='x'/>", "</stream": "</stream:stream>"}
    )
    with pytest.raises(RemoteProtocolError):
        await register_account(new_account(server=("127.0.0.1", server.port), direct_tls=True))


async def test_a_server_that_is_out_of_reach_is_told_as_at_login(noise, new_account):
    with pytest.raises(NetworkError, match=r"^cannot reach jet\.test: connection refused$"):
        await register_account(new_account(server=("127.0.0.1", 1)))


async def test_a_server_that_cannot_be_believed_gets_no_password(noise, new_account):
    with pytest.raises(AuthError, match=r"^the certificate of jet\.test is not valid: issuer unknown$"):
        await register_account(new_account(ca_file=None))


async def test_a_server_that_says_nothing_is_given_up(noise, new_account, scripted, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECT_S", 0.2)
    silent = await scripted("")
    silent.script.clear()
    with pytest.raises(NetworkError, match="no answer within"):
        await register_account(new_account(server=("127.0.0.1", silent.port)))
