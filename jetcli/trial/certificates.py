"""A certificate authority that lives as long as one trial, and the leaves it issues.

Owns X.509 only: nothing here opens a socket or knows which server uses a leaf. Nothing is trusted beyond the process
that is told to trust `Authority.pem`; its key never leaves memory.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Long enough for any trial, short enough that a forgotten certificate is soon worthless.
LIFETIME = timedelta(days=2)
#: Clocks of two machines disagree a little.
BACKDATED = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server's certificate and its key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """A throwaway certificate authority; `pem` is what a client has to trust."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def fresh(cls, common_name: str = "jet throwaway CA") -> Self:
        """Make an authority that nobody trusts yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name)
        certificate = (
            _builder(name, name, key.public_key(), _from_now())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_may_only_sign(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *domains: str, expired: bool = False) -> Leaf:
        """Issue a leaf for `domains` and every host directly below them; `expired` makes it end an hour ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        validity = _ended() if expired else _from_now()
        names = [x509.DNSName(name) for domain in domains for name in (domain, f"*.{domain}")]
        # Between servers the same leaf authenticates the side that dials, hence client authentication.
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(_name(domains[0]), self.certificate.subject, key.public_key(), validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(usage, critical=False)
            .add_extension(issuer_key_id, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Leaf(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


_Validity = tuple[datetime, datetime]


def _from_now() -> _Validity:
    now = datetime.now(UTC)
    return now - BACKDATED, now + LIFETIME


def _ended() -> _Validity:
    now = datetime.now(UTC)
    return now - LIFETIME, now - BACKDATED


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: _Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
    )


def _may_only_sign() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
