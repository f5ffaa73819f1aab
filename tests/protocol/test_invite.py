"""Invitations as addresses."""

import pytest

from jetcli.protocol.invite import Invite, parse_invite


@pytest.mark.parametrize(
    ("uri", "invite"),
    [
        ("xmpp:jet.test?register;preauth=T0k", Invite("register", "jet.test", "T0k", registers=True)),
        ("xmpp:ro@jet.test?register;preauth=a%2Bb", Invite("register", "ro@jet.test", "a+b", registers=True)),
        ("xmpp:ju@jet.test?roster;preauth=T;ibr=y", Invite("roster", "ju@jet.test", "T", registers=True)),
        ("xmpp:ju@jet.test?roster;preauth=T;name=Ju", Invite("roster", "ju@jet.test", "T", registers=False)),
    ],
)
def test_an_invitation_is_read(uri, invite):
    assert parse_invite(f" {uri}\n") == invite


def test_an_invitation_tells_server_and_name():
    invite = parse_invite("xmpp:ro@jet.test?register;preauth=T")
    assert (invite.local, invite.domain) == ("ro", "jet.test")
    assert parse_invite("xmpp:jet.test?register;preauth=T").local is None


@pytest.mark.parametrize(
    "uri",
    [
        "", "xmpp:jet.test", "xmpp:jet.test?register", "xmpp:jet.test?register;preauth=", "xmpp:?register;preauth=T",
        "https://jet.test/invite", "xmpp:jet.test?message;preauth=T", "xmpp:jet.test?roster;preauth=T",
        "xmpp:a@b@c?register;preauth=T",
    ],
)  # fmt: skip
def test_what_invites_to_nothing_is_refused(uri):
    with pytest.raises(ValueError, match=r"."):
        parse_invite(uri)
