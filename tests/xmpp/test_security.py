import base64
import hashlib
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jetcli.errors import AuthError, NetworkError, SetupError
from jetcli.trial.certificates import Authority, Leaf
from jetcli.xmpp.security import names_domain, parse_pin, spki_sha256

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NO_SCRAM = 'disable_sasl_mechanisms = { "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS" }'


def certificate(*names, common_name="jet.test"):
    """Make a self-signed certificate for `names`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()), key


def self_signed(*domains):
    made, key = certificate(*(x509.DNSName(domain) for domain in domains))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Leaf(made.public_bytes(serialization.Encoding.PEM), pem)


def pin_of(leaf):
    return spki_sha256(x509.load_pem_x509_certificate(leaf.certificate)).hex()


def other_name(oid, text, tag=0x0C):
    return x509.OtherName(x509.ObjectIdentifier(oid), bytes([tag, len(text.encode())]) + text.encode())


def xmpp_addr(text):
    return other_name("1.3.6.1.5.5.7.8.5", text)


def srv_name(text):
    return other_name("1.3.6.1.5.5.7.8.7", text, tag=0x16)


@pytest.mark.parametrize(
    ("names", "domain"),
    [
        ([x509.DNSName("jet.test")], "jet.test"),
        ([x509.DNSName("JET.test")], "jet.TEST"),
        ([x509.DNSName("elsewhere.test"), x509.DNSName("jet.test")], "jet.test"),
        ([x509.DNSName("*.jet.test")], "xmpp.jet.test"),
        ([x509.DNSName("xn--bcher-kva.example")], "bücher.example"),
        ([x509.DNSName("*.xn--bcher-kva.example")], "chat.bücher.example"),
        ([xmpp_addr("jet.test")], "jet.test"),
        ([xmpp_addr("bücher.example")], "bücher.example"),
        ([srv_name("_xmpp-client.jet.test")], "jet.test"),
        ([srv_name("_xmpps-client.jet.test")], "jet.test"),
        ([x509.IPAddress(ipaddress.ip_address("::1"))], "[::1]"),
    ],
)
def test_a_certificate_is_for_the_domain_that_it_names(names, domain):
    assert names_domain(certificate(*names)[0], domain)


@pytest.mark.parametrize(
    ("names", "domain"),
    [
        ([], "jet.test"),
        ([x509.DNSName("jet.test.evil.test")], "jet.test"),
        ([x509.DNSName("evil-jet.test")], "jet.test"),
        ([x509.DNSName("*.jet.test")], "jet.test"),
        ([x509.DNSName("*.jet.test")], "a.b.jet.test"),
        ([x509.DNSName("*.test")], "jet.other.test"),
        ([x509.DNSName("*")], "jet.test"),
        ([x509.DNSName("j*.test")], "jet.test"),
        ([x509.DNSName("xmpp.*.test")], "xmpp.jet.test"),
        ([x509.DNSName("jet.test")], "xmpp.jet.test"),
        ([xmpp_addr("romeo@jet.test")], "jet.test"),
        ([xmpp_addr("*.jet.test")], "xmpp.jet.test"),
        ([srv_name("_xmpp-server.jet.test")], "jet.test"),
        ([srv_name("jet.test")], "jet.test"),
        ([other_name("1.2.3.4", "jet.test")], "jet.test"),
        ([x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5"), b"\x0c\x02\xff\xff")], "jet.test"),
        ([x509.DNSName("127.0.0.1")], "127.0.0.1"),
        ([x509.RFC822Name("romeo@jet.test")], "jet.test"),
        ([x509.UniformResourceIdentifier("xmpp:jet.test")], "jet.test"),
    ],
)
def test_a_certificate_is_for_no_other_domain(names, domain):
    assert not names_domain(certificate(*names)[0], domain)


DIGEST = hashlib.sha256(b"key").digest()


@pytest.mark.parametrize(
    "text",
    [
        DIGEST.hex(),
        DIGEST.hex().upper(),
        DIGEST.hex(":"),
        base64.b64encode(DIGEST).decode(),
        f" sha256//{base64.b64encode(DIGEST).decode()}\n",
        f"sha256:{DIGEST.hex()}",
    ],
)
def test_a_pin_may_be_spelt_in_several_ways(text):
    assert parse_pin(text) == DIGEST


@pytest.mark.parametrize("text", ["", "00" * 31, "zz" * 32, base64.b64encode(b"short").decode(), "ä" * 64])
def test_a_pin_that_is_none_is_a_setup_error(text):
    with pytest.raises(SetupError, match="the pin is not a SHA-256"):
        parse_pin(text)


async def test_a_bad_pin_is_told_before_anything_is_dialled(account, online):
    with pytest.raises(SetupError):
        await online(account(), server=("127.0.0.1", 1), pin="nonsense")


async def test_a_missing_file_of_authorities_is_a_setup_error(account, online, tmp_path):
    with pytest.raises(SetupError, match=rf"^cannot read '{tmp_path}/none\.pem': no such file or directory$"):
        await online(account(), server=("127.0.0.1", 1), ca_file=tmp_path / "none.pem")


async def test_a_file_without_certificates_is_a_setup_error(account, online, tmp_path):
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(SetupError, match="holds no certificate in PEM"):
        await online(account(), server=("127.0.0.1", 1), ca_file=tmp_path / "ca.pem")


EXPIRED, WRONG_NAME, SELF_SIGNED, UNKNOWN_ISSUER = "expired", "name mismatch", "self-signed", "issuer unknown"


def leaf_with(fault, authority):
    return {
        EXPIRED: lambda: authority.issue("jet.test", expired=True),
        WRONG_NAME: lambda: authority.issue("elsewhere.test"),
        SELF_SIGNED: lambda: self_signed("jet.test"),
        UNKNOWN_ISSUER: lambda: Authority.fresh("somebody else").issue("jet.test"),
    }[fault]()


FAULTS = [EXPIRED, WRONG_NAME, SELF_SIGNED, UNKNOWN_ISSUER]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_certificate_that_is_not_valid_ends_the_connection(account, another_server, online, authority, fault):
    romeo = account("romeo", on=another_server(leaf=leaf_with(fault, authority)))
    for direct_tls in (False, True):
        with pytest.raises(AuthError) as failure:
            await online(romeo, direct_tls=direct_tls)
        assert str(failure.value) == f"the certificate of jet.test is not valid: {fault}"


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_said_to_a_server_with_a_bad_certificate(account, scripted, online, authority, fault):
    mechanisms = f"<mechanisms xmlns='{SASL}'><mechanism>PLAIN</mechanism></mechanisms>"
    impostor = await scripted(mechanisms, leaf=leaf_with(fault, authority))
    with pytest.raises(AuthError):
        await online(account(), server=("127.0.0.1", impostor.port), direct_tls=True, allow_plain=True)
    assert impostor.heard == b""


async def test_the_pinned_key_is_enough(account, another_server, online):
    leaf = self_signed("somewhere.test")
    romeo = account("romeo", on=another_server(leaf=leaf))
    ours = await online(romeo, pin=pin_of(leaf), ca_file=None)
    assert ours.mechanism == "SCRAM-SHA-256"


async def test_a_key_that_is_not_pinned_is_refused_though_the_certificate_is_valid(account, online):
    with pytest.raises(AuthError, match=r"^the certificate of jet\.test is not valid: its key is not the pinned one$"):
        await online(account(), pin="00" * 32)


async def test_the_systems_authorities_do_not_know_a_throwaway_one(account, online):
    with pytest.raises(AuthError, match=f"not valid: {UNKNOWN_ISSUER}"):
        await online(account(), ca_file=None)


async def test_a_server_without_starttls_hears_nothing_of_us(account, scripted, online):
    mechanisms = f"<mechanisms xmlns='{SASL}'><mechanism>PLAIN</mechanism></mechanisms>"
    stripped = await scripted(mechanisms)
    romeo = account()
    with pytest.raises(AuthError, match=r"^jet\.test offers no encryption; nothing was sent$"):
        await online(romeo, server=("127.0.0.1", stripped.port), allow_plain=True)
    assert b"<auth" not in stripped.heard
    assert romeo.jid.split("@")[0].encode() not in stripped.heard


@pytest.mark.parametrize("answer", ["<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<stream:error/>"])
async def test_a_server_that_takes_its_starttls_back_hears_nothing_more(account, scripted, online, answer):
    offer = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    if "error" in answer:
        inner = "<unsupported-stanza-type xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        answer = f"<stream:error>{inner}</stream:error></stream:stream>"
    stripped = await scripted(offer, **{"<starttls": answer})
    with pytest.raises(AuthError, match=r"^jet\.test offers no encryption; nothing was sent$"):
        await online(account(), server=("127.0.0.1", stripped.port))
    assert b"<auth" not in stripped.heard


async def test_a_prosody_without_tls_is_told_like_that(account, another_server, online):
    open_server = another_server(settings='c2s_require_encryption = false\nmodules_disabled = { "tls", "s2s" }')
    with pytest.raises(AuthError, match=r"^jet\.test offers no encryption; nothing was sent$"):
        await online(account(on=open_server))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_old_versions_of_tls_are_refused(account, scripted, online, authority):
    def only_tls_1_1(context) -> None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")

    old = await scripted("", leaf=authority.issue("jet.test"), tls=only_tls_1_1)
    with pytest.raises((AuthError, NetworkError)):
        await online(account(), server=("127.0.0.1", old.port), direct_tls=True)
    assert old.heard == b""


async def test_a_server_that_speaks_no_tls_where_it_should_is_told_like_that(account, online):
    romeo = account()
    with pytest.raises(AuthError, match=r"^no secure connection to jet\.test: wrong version number$"):
        await online(romeo, server=romeo.address, direct_tls=True)


@pytest.mark.parametrize("direct_tls", [False, True])
async def test_a_wrong_password_is_told_with_the_address(account, online, direct_tls):
    romeo = account("romeo")
    with pytest.raises(AuthError) as failure:
        await online(romeo, direct_tls=direct_tls, password="wrong")
    assert str(failure.value) == f"the server refused the login for {romeo.jid}"
    assert failure.value.hint == f"jet login {romeo.jid}"


async def test_a_password_that_xmpp_cannot_carry_is_told_without_showing_it(account, online):
    with pytest.raises(AuthError, match="has a character that XMPP does not allow") as failure:
        await online(account(), password="secret\x07")
    assert "0007" not in str(failure.value)
    assert failure.value.__suppress_context__ or failure.value.__context__ is None


async def test_a_name_with_signs_of_scram_itself_logs_in(account, online):
    assert (await online(account("a=b,c"))).mechanism == "SCRAM-SHA-256"


async def test_tls_1_2_binds_the_login_to_the_channel(account, another_server, online):
    older = another_server(settings='c2s_ssl = { protocol = "tlsv1_2" }')
    assert (await online(account(on=older))).mechanism == "SCRAM-SHA-256-PLUS"


async def test_a_server_with_sha_1_keys_gets_scram_sha_1(account, another_server, online):
    older = another_server(password_hash="SHA-1")
    assert (await online(account(on=older))).mechanism == "SCRAM-SHA-1"


async def test_tls_1_3_binds_the_channel_where_the_server_names_the_exporter(account, scripted, online, authority):
    names = "".join(f"<mechanism>{name}</mechanism>" for name in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"))
    features = (
        f"<mechanisms xmlns='{SASL}'>{names}</mechanisms>"
        "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>"
    )
    refusal = f"<failure xmlns='{SASL}'><not-authorized/></failure>"
    server = await scripted(features, leaf=authority.issue("jet.test"), **{"<auth": refusal})
    with pytest.raises(AuthError):
        await online(account(), server=("127.0.0.1", server.port), direct_tls=True)
    text = server.heard.decode()
    assert 'mechanism="SCRAM-SHA-256-PLUS"' in text
    first = text.split("<auth")[1].split(">")[1].split("<")[0]
    assert base64.b64decode(first).startswith(b"p=tls-exporter,,n=")


async def test_tls_1_3_does_not_bind_to_what_the_server_does_not_name(account, scripted, online, authority):
    names = "".join(f"<mechanism>{name}</mechanism>" for name in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"))
    refusal = f"<failure xmlns='{SASL}'><not-authorized/></failure>"
    features = f"<mechanisms xmlns='{SASL}'>{names}</mechanisms>"
    server = await scripted(features, leaf=authority.issue("jet.test"), **{"<auth": refusal})
    with pytest.raises(AuthError):
        await online(account(), server=("127.0.0.1", server.port), direct_tls=True)
    assert b'mechanism="SCRAM-SHA-256"' in server.heard


async def test_the_password_itself_is_sent_only_by_leave(account, another_server, online):
    plain = another_server(settings=NO_SCRAM)
    romeo = account(on=plain)
    with pytest.raises(AuthError, match=r"^jet\.test wants the password itself \(PLAIN\); it was not sent$") as failure:
        await online(romeo)
    assert failure.value.hint == f"jet login {romeo.jid} --allow-plain"
    assert (await online(romeo, allow_plain=True)).mechanism == "PLAIN"


async def test_the_password_itself_is_never_sent_after_scram_was_used(account, another_server, online):
    plain = another_server(settings=NO_SCRAM)
    with pytest.raises(AuthError, match=r"no longer offers SCRAM, as it did before; the password was not sent$"):
        await online(account(on=plain), allow_plain=True, scram_used_before=True)


@pytest.mark.parametrize("scram", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_the_password_itself_is_not_sent_where_scram_is_offered(account, scripted, online, authority, scram):
    names = "".join(f"<mechanism>{name}</mechanism>" for name in (scram, "PLAIN"))
    refusal = f"<failure xmlns='{SASL}'><invalid-mechanism/></failure>"
    features = f"<mechanisms xmlns='{SASL}'>{names}</mechanisms>"
    server = await scripted(features, leaf=authority.issue("jet.test"), **{"<auth": refusal})
    with pytest.raises(AuthError, match=r"^jet\.test offers no login that jet knows: "):
        await online(account(), server=("127.0.0.1", server.port), direct_tls=True, allow_plain=True)
    assert b'mechanism="PLAIN"' not in server.heard


async def test_a_server_that_offers_no_login_is_told_like_that(account, scripted, online, authority):
    server = await scripted("", leaf=authority.issue("jet.test"))
    with pytest.raises(AuthError, match=r"^jet\.test offers no login that jet knows: none at all$"):
        await online(account(), server=("127.0.0.1", server.port), direct_tls=True)
