"""Why a connection failed, in one line for the person at the terminal.

Turns what the operating system, the DNS, TLS, SASL and aioxmpp raise into AuthError or NetworkError (rows 9 to 12 of
the table in SECURITY.md). Nothing of these libraries' exceptions gets past this module: their texts may hold a
password's characters or the server's words.
"""

import os
import socket
from collections.abc import Collection

import aiosasl
import aioxmpp
import aioxmpp.errors

from jetcli.errors import AuthError, JetError, NetworkError, UnavailableError
from jetcli.protocol.policy import shown
from jetcli.protocol.scram import ScramKeys
from jetcli.xmpp.account import CONNECT_S, AccountSettings
from jetcli.xmpp.scram import KeptKeysError, ScramError
from jetcli.xmpp.security import CertificateError, PasswordLogin
from jetcli.xmpp.server import HandshakeError

#: Conditions of SASL that speak of the secret, and not of the account (RFC 6120 section 6.5).
_WRONG_SECRET = ("not-authorized", "credentials-expired")


class SessionLimitError(UnavailableError):
    """The server has as many sessions of the account as it allows (RFC 6120 section 7.6.2.1)."""


def explain(error: BaseException, settings: AccountSettings, login: PasswordLogin | None = None) -> JetError:
    """Return the failure to connect or log in as an error of ours."""
    if isinstance(error, JetError):
        return error
    if isinstance(error, aioxmpp.errors.MultiOSError):
        return _most_telling([explain(each, settings, login) for each in error.exceptions])
    if isinstance(error, aiosasl.SASLError | aioxmpp.errors.SASLUnavailable):
        return _login_failure(error, settings, login)
    return _tls_failure(error, settings) or _stream_failure(error, settings) or _out_of_reach(error, settings)


def _most_telling(errors: list[JetError]) -> JetError:
    # A host that was reached says more than one that was not.
    return next((error for error in errors if isinstance(error, AuthError)), errors[-1])


def _login_failure(error: BaseException, settings: AccountSettings, login: PasswordLogin | None) -> JetError:
    again = f"jet login {settings.jid}"
    if login is not None and login.kept_keys is not None and (cause := _unfit(error, login.kept_keys, login.offered)):
        return AuthError(f"the server no longer accepts the keys kept for {settings.jid}: {cause}", hint=again)
    if isinstance(error, aiosasl.AuthenticationFailure):
        return AuthError(f"the server refused the login for {settings.jid}", hint=again)
    if isinstance(error, aiosasl.SASLError):
        return AuthError(f"the login for {settings.jid} went wrong: {_said(error)}", hint=again)
    if login is not None and "PLAIN" in login.offered and not any(name.startswith("SCRAM-") for name in login.offered):
        if login.plain_barred_by_scram:
            return AuthError(f"{settings.domain} no longer offers SCRAM, as it did before; the password was not sent")
        return AuthError(
            f"{settings.domain} wants the password itself (PLAIN); it was not sent", hint=f"{again} --allow-plain"
        )
    offered = ", ".join(sorted(login.offered)) if login is not None else ""
    return AuthError(f"{settings.domain} offers no login that jet knows: {shown(offered) or 'none at all'}")


def _unfit(error: BaseException, keys: ScramKeys, offered: Collection[str]) -> str | None:
    """Return why kept keys do not open the account where it is for them; None where the reason is another."""
    if isinstance(error, KeptKeysError):
        return error.reason
    if isinstance(error, aiosasl.AuthenticationFailure) and error.opaque_error in _WRONG_SECRET:
        return "it refused the login"
    scram = {name.removesuffix("-PLUS") for name in offered if name.startswith("SCRAM-")}
    if isinstance(error, aioxmpp.errors.SASLUnavailable) and scram and f"SCRAM-{keys.hash_name}" not in scram:
        return f"it offers no SCRAM-{keys.hash_name}"
    return None


def _said(error: aiosasl.SASLError) -> str:
    if isinstance(error, ScramError):
        return error.reason
    return shown(str(error.opaque_error or "the server broke the protocol"))


def _tls_failure(error: BaseException, settings: AccountSettings) -> JetError | None:
    domain = settings.domain
    if isinstance(error, CertificateError):
        return AuthError(
            f"the certificate of {domain} is not valid: {error.reason}",
            hint="--ca-file FILE or --pin SHA256 names the authority or key that it should have",
        )
    if isinstance(error, aioxmpp.errors.TLSUnavailable):
        return AuthError(f"{domain} offers no encryption; nothing was sent")
    if isinstance(error, HandshakeError | aioxmpp.errors.TLSFailure):
        return AuthError(f"no secure connection to {domain}: {shown(str(error))}")
    return None


def _stream_failure(error: BaseException, settings: AccountSettings) -> JetError | None:
    if isinstance(error, aioxmpp.errors.StreamError):
        condition = error.condition.value[1]
        if condition == "conflict":
            return NetworkError(f"another client of {settings.jid} took this one's place")
        return NetworkError(f"{settings.domain} ended the connection: {condition}")
    if isinstance(error, aioxmpp.errors.StreamNegotiationFailure):
        cause = error.__cause__ or error.__context__
        full = aioxmpp.ErrorCondition.RESOURCE_CONSTRAINT
        if isinstance(cause, aioxmpp.errors.XMPPError) and cause.condition == full:
            return SessionLimitError(f"{settings.domain} takes no more sessions of {settings.jid}")
        if isinstance(cause, ValueError):
            # Only SASLprep raises it; its text shows a character of the password.
            return AuthError(f"the password for {settings.jid} has a character that XMPP does not allow")
        return NetworkError(f"{settings.domain} refused the session")
    return None


def _out_of_reach(error: BaseException, settings: AccountSettings) -> JetError:
    tried = "tried {}:{}, and nothing else".format(*settings.server) if settings.server else ""
    return NetworkError(f"cannot reach {settings.domain}: {_cause(error)}", hint=tried)


def _cause(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    if isinstance(error, socket.gaierror):
        return "name not found"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionError):
        return shown(str(error)) or "connection lost"
    return "name service fails" if type(error).__module__.startswith("dns.") else "unexpected answer"
