from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from jetcli.trial.certificates import Authority


def verify(leaf, domain, authority):
    certificate = x509.load_pem_x509_certificate(leaf.certificate)
    verifier = PolicyBuilder().store(Store([authority.certificate])).build_server_verifier(x509.DNSName(domain))
    verifier.verify(certificate, [])


@pytest.mark.parametrize("domain", ["jet.test", "proxy.jet.test", "other.test"])
def test_a_leaf_is_valid_for_its_domains_and_hosts_below_them(domain):
    authority = Authority.fresh()
    verify(authority.issue("jet.test", "other.test"), domain, authority)


def test_a_leaf_is_not_valid_for_another_domain():
    authority = Authority.fresh()
    with pytest.raises(VerificationError, match="subjectAltName"):
        verify(authority.issue("wrong.test"), "jet.test", authority)


def test_a_leaf_means_nothing_to_who_trusts_another_authority():
    authority = Authority.fresh()
    with pytest.raises(VerificationError):
        verify(authority.issue("jet.test"), "jet.test", Authority.fresh())


def test_an_expired_leaf_ended_before_now():
    authority = Authority.fresh()
    leaf = authority.issue("jet.test", expired=True)
    assert x509.load_pem_x509_certificate(leaf.certificate).not_valid_after_utc < datetime.now(UTC)
    with pytest.raises(VerificationError):
        verify(leaf, "jet.test", authority)


def test_keys_do_not_print():
    authority = Authority.fresh()
    assert "PRIVATE" not in repr(authority.issue("jet.test"))
