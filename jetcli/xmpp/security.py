"""What makes the server believable, and the login safe: TLS 1.2 and up, certificate, SASL.

Owns the certificate verifier (PKIX and host name, or an SPKI pin) and the choice of SASL mechanisms with channel
binding. Nothing here switches verification off, and no password leaves before the certificate was judged: aioxmpp
runs `post_handshake` before SASL. It knows nothing of addresses and sockets; see server.py.
"""

import base64
import binascii
import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiosasl
import aiosasl.channel_binding
import aioxmpp.errors
import aioxmpp.nonza
import aioxmpp.sasl
import aioxmpp.security_layer
import OpenSSL.SSL
from aioxmpp import xso
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jetcli.errors import SetupError
from jetcli.protocol.scram import ScramKeys
from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.phases import phase_over
from jetcli.xmpp.scram import Scram

#: RFC 6120 section 13.7.1.4: the address of an XMPP entity in a certificate; RFC 4985: a service of a domain.
_XMPP_ADDR = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")
_SRV_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7")
_SRV_PREFIXES = ("_xmpp-client.", "_xmpps-client.")

#: X509_V_ERR_* of OpenSSL's x509_vfy.h, as a person would say them.
_CHAIN_ERRORS = {
    2: "issuer unknown",
    7: "signature wrong",
    9: "not yet valid",
    10: "expired",
    18: "self-signed",
    19: "issuer unknown",
    20: "issuer unknown",
    21: "issuer unknown",
    23: "revoked",
    26: "not for servers",
}


class CertificateError(aioxmpp.errors.TLSFailure):
    """The certificate of the server is not valid; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def security_layer(settings: AccountSettings, login: "PasswordLogin | None") -> aioxmpp.security_layer.SecurityLayer:
    """Return aioxmpp's security settings; without `login` the stream stops after TLS (XEP-0077).

    Raises SetupError where the pin or the file of authorities cannot be used.
    """
    pin = None if settings.pin is None else parse_pin(settings.pin)
    context = _context(settings.ca_file)  # tried once here, so that a bad file is told before anything is dialled
    del context
    return aioxmpp.security_layer.SecurityLayer(
        lambda: _context(settings.ca_file),
        lambda: Verifier(settings.domain, pin),
        True,
        () if login is None else (login,),
    )


def parse_pin(text: str) -> bytes:
    """Return the 32 bytes of an SPKI SHA-256 pin, in hex or base64; raise SetupError where it is none."""
    plain = text.strip().removeprefix("sha256:").removeprefix("sha256//")
    bare = plain.replace(":", "")
    try:
        pin = bytes.fromhex(bare) if len(bare) == 64 else base64.b64decode(plain, validate=True)
    except (ValueError, binascii.Error):
        pin = b""
    if len(pin) != 32:
        raise SetupError("the pin is not a SHA-256 in hex or base64")
    return pin


def spki_sha256(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the certificate's public key (SubjectPublicKeyInfo, DER)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def _context(ca_file: Path | None) -> OpenSSL.SSL.Context:
    context = OpenSSL.SSL.Context(OpenSSL.SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(OpenSSL.SSL.TLS1_2_VERSION)
    if ca_file is None:
        context.set_default_verify_paths()
        return context
    try:
        ca_file.read_bytes()
        context.load_verify_locations(str(ca_file))
    except OSError as error:
        raise SetupError(f"cannot read '{ca_file}': {(error.strerror or 'no reason given').lower()}") from None
    except OpenSSL.SSL.Error:
        raise SetupError(f"'{ca_file}' holds no certificate in PEM") from None
    return context


class Verifier(aioxmpp.security_layer.CertificateVerifier):
    """Judge the certificate of one TLS connection: a chain to an authority and a name for `domain`, or the pin."""

    def __init__(self, domain: str, pin: bytes | None) -> None:
        super().__init__()
        self._domain = domain
        self._pin = pin
        self._problems: list[tuple[int, int]] = []

    def verify_callback(self, conn: object, x509: object, errno: int, errdepth: int, returncode: int) -> bool:  # noqa: ARG002  # OpenSSL's signature
        """Note a fault of the chain and let the handshake go on: the judgement is `post_handshake`'s."""
        if not returncode:
            self._problems.append((errdepth, errno))
        return True

    async def post_handshake(self, transport: Any) -> None:
        """Raise CertificateError unless the server proved to be the domain's."""
        try:
            leaf = transport.get_extra_info("ssl_object").get_peer_certificate().to_cryptography()
            problem = self._pin_problem(leaf) if self._pin is not None else self._chain_problem(leaf)
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
            problem = "it cannot be read"
        if problem is not None:
            raise CertificateError(problem)

    def _pin_problem(self, leaf: x509.Certificate) -> str | None:
        return None if spki_sha256(leaf) == self._pin else "its key is not the pinned one"

    def _chain_problem(self, leaf: x509.Certificate) -> str | None:
        if self._problems:
            _, errno = min(self._problems)
            return _CHAIN_ERRORS.get(errno, f"X.509 error {errno}")
        return None if names_domain(leaf, self._domain) else "name mismatch"


def names_domain(certificate: x509.Certificate, domain: str) -> bool:
    """Tell whether the certificate is for `domain` (RFC 6120 section 13.7.1.2, RFC 6125): alternative names only.

    A wildcard stands for exactly one label, the leftmost, of a name with at least two others.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        address = ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        return _names_host(names, ascii_domain(domain))
    return address in names.get_values_for_type(x509.IPAddress)


def ascii_domain(domain: str) -> str:
    """Return the domain in its ASCII form (IDNA), in lower case and without a final dot."""
    return domain.encode("idna").decode("ascii").lower().rstrip(".")


def _names_host(names: x509.SubjectAlternativeName, host: str) -> bool:
    # A wildcard is a thing of host names; the XMPP names are compared as they are.
    parent = host.partition(".")[2]
    wildcard = f"*.{parent}" if "." in parent else None
    hosts = {name.lower().rstrip(".") for name in names.get_values_for_type(x509.DNSName)}
    return host in hosts or wildcard in hosts or host in set(_xmpp_names(names))


def _xmpp_names(names: x509.SubjectAlternativeName) -> Iterator[str]:
    for other in names.get_values_for_type(x509.OtherName):
        text = _der_text(other.value)
        if text is None or other.type_id not in {_XMPP_ADDR, _SRV_NAME}:
            continue
        if other.type_id == _SRV_NAME:
            prefix = next((prefix for prefix in _SRV_PREFIXES if text.lower().startswith(prefix)), None)
            if prefix is None:
                continue
            text = text[len(prefix) :]
        try:
            yield ascii_domain(text)
        except UnicodeError:
            continue


def _der_text(der: bytes) -> str | None:
    # UTF8String or IA5String whose length fits into one byte; a longer one names no domain.
    if len(der) < 2 or der[0] not in {0x0C, 0x16} or der[1] > 0x7F or len(der) != 2 + der[1]:
        return None
    try:
        return der[2:].decode()
    except UnicodeDecodeError:
        return None


class _ChannelBinding(xso.XSO):
    TAG = ("urn:xmpp:sasl-cb:0", "channel-binding")
    type_ = xso.Attr("type", default=None)


@aioxmpp.nonza.StreamFeatures.as_feature_class
class _ChannelBindings(xso.XSO):
    # XEP-0440: the channel bindings that the server can check.
    TAG = ("urn:xmpp:sasl-cb:0", "sasl-channel-binding")
    bindings = xso.ChildList([_ChannelBinding])


class _TlsExporter(aiosasl.channel_binding.ChannelBindingProvider):
    """The channel binding of TLS 1.3 (RFC 9266), which aiosasl lacks."""

    cb_name = b"tls-exporter"

    def __init__(self, tls: OpenSSL.SSL.Connection) -> None:
        super().__init__()
        self._tls = tls

    def extract_cb_data(self) -> bytes:
        return self._tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


class PasswordLogin(aioxmpp.security_layer.SASLProvider):
    """Log in by password: SCRAM bound to the channel, else SCRAM, else PLAIN where the user allowed it.

    Kept keys do instead of the password for SCRAM. `mechanism` is the one that succeeded last, `keys` what SCRAM
    succeeded with, or shall begin with; `offered` what the server offered last, `tls` the version that is spoken and
    the end of the certificate's validity. SCRAM once, SCRAM for ever: a server that stops offering it gets no password.
    """

    def __init__(self, settings: AccountSettings) -> None:
        super().__init__()
        self._local = str(settings.address.localpart)
        self._password = settings.password
        self._allow_plain = settings.allow_plain
        self._scram_used = settings.scram_used_before or settings.keys is not None
        self.keys = settings.keys
        self.mechanism: str | None = None
        self.tls: tuple[str, datetime] | None = None
        self.offered: frozenset[str] = frozenset()

    @property
    def plain_barred_by_scram(self) -> bool:
        """Whether PLAIN is out of question because SCRAM has been used."""
        return self._scram_used

    @property
    def kept_keys(self) -> ScramKeys | None:
        """The keys where they are all there is to log in with, and None where there is a password."""
        return None if self._password else self.keys

    async def execute(self, client_jid: object, features: Any, xmlstream: Any, tls_transport: Any) -> bool:  # noqa: ARG002  # aioxmpp's signature
        """Authenticate; return False where no mechanism fits (RFC 6120 section 6)."""
        if tls_transport is None:
            raise aioxmpp.errors.SASLUnavailable("no encryption")
        self.offered = _offered(features)
        tls = tls_transport.get_extra_info("ssl_object")
        self.tls = tls.get_protocol_version_name(), tls.get_peer_certificate().to_cryptography().not_valid_after_utc
        interface = aioxmpp.sasl.SASLXMPPInterface(xmlstream)
        for mechanism in self._mechanisms(features, tls):
            token = mechanism.any_supported(self.offered)
            if token is not None and await self._execute(interface, mechanism, token):
                self.mechanism = str(token)
                if isinstance(mechanism, Scram):
                    self._scram_used = True
                    self.keys = mechanism.used
                phase_over("SASL")
                return True
        return False

    def _mechanisms(self, features: Any, tls: OpenSSL.SSL.Connection) -> Iterable[Any]:
        binding = _channel_binding(features, tls)
        if binding is not None:
            yield Scram(self._local, self._password, self.keys, binding)
        yield Scram(self._local, self._password, self.keys)
        scram_offered = any(name.startswith("SCRAM-") for name in self.offered)
        if self._password and self._allow_plain and not self._scram_used and not scram_offered:
            yield aiosasl.PLAIN(self._plain_credentials)

    async def _plain_credentials(self) -> tuple[str, str]:
        return self._local, self._password


def _offered(features: Any) -> frozenset[str]:
    try:
        return frozenset(features[aioxmpp.security_layer.SASLMechanisms].get_mechanism_list())
    except KeyError:
        raise aioxmpp.errors.SASLUnavailable("no SASL") from None


def _channel_binding(features: Any, tls: OpenSSL.SSL.Connection) -> Any:
    """Return how to bind the login to this TLS connection, or None.

    TLS 1.2 has tls-unique. For 1.3 only tls-exporter is defined, and servers offer -PLUS there with data of their
    own: it is used where the server names it (XEP-0440).
    """
    if tls.get_protocol_version_name() != "TLSv1.3":
        return aiosasl.channel_binding.TLSUnique(tls)
    try:
        named = {binding.type_ for binding in features[_ChannelBindings].bindings}
    except KeyError:
        return None
    return _TlsExporter(tls) if "tls-exporter" in named else None
