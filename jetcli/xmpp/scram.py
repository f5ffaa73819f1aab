"""SCRAM as a mechanism of SASL (RFC 5802, RFC 7677), bound to the channel or not, by password or by kept keys.

The server proves that it knows the login too: without its signature, or with a wrong one, there is none. Nothing here
chooses the channel binding (see security.py) or knows where keys are kept; the arithmetic is protocol/scram.py's.
"""

import base64
import secrets
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import aiosasl
from aiosasl.stringprep import saslprep

from jetcli.protocol.scram import HASHES, Challenge, ScramKeys, signature_in

T = TypeVar("T")

_NONCE_BYTES = 24
_BROKEN = "the server broke the protocol"


class ScramError(aiosasl.SASLFailure):
    """The server does not keep to SCRAM, or is not who it says; `reason` says why in a few words of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(None, text=reason)
        self.reason = reason


class KeptKeysError(ScramError):
    """The server's side of the login has changed, so that the kept keys cannot fit."""


class Scram(aiosasl.SASLMechanism):
    """Log in as `local` by `keys`, or by `password` where that is not empty and the keys are missing or do not fit.

    `binding` gives the channel's data for the -PLUS mechanisms; without it they are left alone. `used` are the keys
    that the login succeeded with.
    """

    def __init__(
        self,
        local: str,
        password: str,
        keys: ScramKeys | None = None,
        binding: Any = None,
        new_nonce: Callable[[], str] = lambda: secrets.token_urlsafe(_NONCE_BYTES),
    ) -> None:
        super().__init__()
        self._local = local
        self._password = password
        self._keys = keys
        self._binding = binding
        self._new_nonce = new_nonce
        self.used: ScramKeys | None = None

    def any_supported(self, mechanisms: Collection[str]) -> str | None:
        """Return the best of the server's `mechanisms` that this one can do, or None."""
        plus = "" if self._binding is None else "-PLUS"
        hashes = HASHES if self._password or self._keys is None else [self._keys.hash_name]
        return next((name for each in hashes if (name := f"SCRAM-{each}{plus}") in mechanisms), None)

    async def authenticate(self, sm: aiosasl.SASLStateMachine, token: str) -> None:
        """Log in by the mechanism `token`; raises ScramError or AuthenticationFailure."""
        header = b"n,," if self._binding is None else b"p=" + self._binding.cb_name + b",,"
        nonce = self._new_nonce()
        first = b"n=" + _user(self._local) + b",r=" + nonce.encode()
        answer = _challenged(*await sm.initiate(token, header + first))
        challenge = _ours(Challenge.parse, answer, nonce)
        keys = self._fitting(token.removeprefix("SCRAM-").removesuffix("-PLUS"), challenge)
        channel = b"" if self._binding is None else self._binding.extract_cb_data()
        last = b"c=" + base64.b64encode(header + channel) + b",r=" + challenge.nonce.encode()
        exchange = b",".join((first, answer, last))
        try:
            answer = _challenged(*await sm.response(last + b",p=" + base64.b64encode(keys.proof(exchange))))
        except aiosasl.SASLFailure as refused:
            if isinstance(refused, ScramError):
                raise
            raise refused.promote_to_authentication_failure() from None
        if answer.startswith(b"e="):
            raise aiosasl.AuthenticationFailure("not-authorized")
        if not keys.signed(exchange, _ours(signature_in, answer)):
            raise ScramError("the signature of the server is wrong")
        if await sm.response(b"") != (aiosasl.SASLState.SUCCESS, None):
            raise ScramError(_BROKEN)
        self.used = keys

    def _fitting(self, hash_name: str, challenge: Challenge) -> ScramKeys:
        keys = self._keys
        ask = (hash_name, challenge.salt, challenge.iterations)
        if keys is not None and (keys.hash_name, keys.salt, keys.iterations) == ask:
            return keys
        if self._password:
            return ScramKeys.derive(hash_name, saslprep(self._password).encode(), *ask[1:])
        raise KeptKeysError("the salt or the number of iterations has changed")


def _user(local: str) -> bytes:
    # RFC 5802 section 5.1.
    prepared: str = saslprep(local, allow_unassigned=True)
    return prepared.replace("=", "=3D").replace(",", "=2C").encode()


def _challenged(state: aiosasl.SASLState, payload: bytes | None) -> bytes:
    """Return the data that the server sent; success without any would be a login that it did not sign."""
    if state != aiosasl.SASLState.CHALLENGE or payload is None:
        raise ScramError("the server did not sign it" if state == aiosasl.SASLState.SUCCESS else _BROKEN)
    return payload


def _ours(read: Callable[..., T], *arguments: object) -> T:
    try:
        return read(*arguments)
    except ValueError as problem:
        # aioxmpp's own errors for a ValueError speak of the password.
        raise ScramError(str(problem)) from None
