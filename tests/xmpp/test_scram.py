import base64
import hashlib
import hmac

import aiosasl
import pytest

from jetcli.protocol.scram import ScramKeys
from jetcli.xmpp.scram import KeptKeysError, Scram, ScramError

SALT = b"0123456789abcdef"
SUCCESS, CHALLENGE = aiosasl.SASLState.SUCCESS, aiosasl.SASLState.CHALLENGE


class Server(aiosasl.SASLInterface):
    """The other side of SCRAM, written down from RFC 5802 section 3; what it says can be changed."""

    def __init__(self, password="pencil", hash_name="SHA-256", *, channel=b"n,,", iterations=4096, salt=SALT):
        self.hash = {"SHA-256": "sha256", "SHA-1": "sha1"}[hash_name]
        self.channel, self.iterations, self.salt = channel, iterations, salt
        salted = hashlib.pbkdf2_hmac(self.hash, password.encode(), salt, iterations)
        self.stored_key = hashlib.new(self.hash, hmac.digest(salted, b"Client Key", self.hash)).digest()
        self.server_key = hmac.digest(salted, b"Server Key", self.hash)
        self.heard = []
        self.challenge = lambda text: text
        self.final = lambda signature: (SUCCESS, b"v=" + base64.b64encode(signature))

    async def initiate(self, mechanism, payload=None):
        self.mechanism = mechanism
        self.heard.append(payload)
        self.first = payload.split(b",,", 1)[1]
        self.nonce = self.first.split(b",r=")[1] + b"theirs"
        salt = base64.b64encode(self.salt)
        self.answer = self.challenge(b"r=" + self.nonce + b",s=" + salt + b",i=%d" % self.iterations)
        return CHALLENGE, self.answer

    async def respond(self, payload):
        self.heard.append(payload)
        if payload == b"":
            return SUCCESS, None
        bare, _, proof = payload.partition(b",p=")
        exchange = b",".join((self.first, self.answer, bare))
        assert bare == b"c=" + base64.b64encode(self.channel) + b",r=" + self.nonce
        signature = hmac.digest(self.stored_key, exchange, self.hash)
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.new(self.hash, key).digest() != self.stored_key:
            raise aiosasl.SASLFailure("not-authorized")
        return self.final(hmac.digest(self.server_key, exchange, self.hash))

    async def abort(self):
        raise AssertionError("a login that went wrong ends the stream")


class Binding:
    cb_name = b"tls-exporter"

    def extract_cb_data(self):
        return b"of this channel"


async def log_in(server, *arguments, offered=("SCRAM-SHA-1", "SCRAM-SHA-256"), **options):
    mechanism = Scram("user", *arguments, **options)
    await mechanism.authenticate(aiosasl.SASLStateMachine(server), mechanism.any_supported(offered))
    return mechanism.used


@pytest.mark.parametrize("hash_name", ["SHA-1", "SHA-256"])
async def test_a_password_leaves_keys_that_open_the_account_too(hash_name):
    offered = [f"SCRAM-{hash_name}"]
    keys = await log_in(Server(hash_name=hash_name), "pencil", offered=offered)
    assert keys == ScramKeys.derive(hash_name, b"pencil", SALT, 4096)
    assert await log_in(Server(hash_name=hash_name), "", keys, offered=offered) is keys


async def test_the_proof_by_keys_is_the_one_by_password():
    said = []
    for secret in (("pencil",), ("", ScramKeys.derive("SHA-256", b"pencil", SALT, 4096))):
        server = Server()
        await log_in(server, *secret, new_nonce=lambda: "ours")
        said.append(server.heard)
    assert said[0] == said[1]


async def test_the_login_is_bound_to_the_channel():
    server = Server(channel=b"p=tls-exporter,,of this channel")
    await log_in(server, "pencil", binding=Binding(), offered=["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
    assert server.mechanism == "SCRAM-SHA-256-PLUS"


@pytest.mark.parametrize(
    ("offered", "keys", "binding", "chosen"),
    [
        (("SCRAM-SHA-1", "SCRAM-SHA-256"), None, None, "SCRAM-SHA-256"),
        (("SCRAM-SHA-1", "SCRAM-SHA-512"), None, None, "SCRAM-SHA-1"),
        (("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"), None, Binding(), "SCRAM-SHA-1-PLUS"),
        (("SCRAM-SHA-256-PLUS", "PLAIN"), None, None, None),
        (("SCRAM-SHA-256",), None, Binding(), None),
        (("SCRAM-SHA-1", "SCRAM-SHA-256"), "SHA-1", None, "SCRAM-SHA-1"),
        (("SCRAM-SHA-256",), "SHA-1", None, None),
    ],
)
def test_the_best_mechanism_is_chosen_that_the_secret_can_do(offered, keys, binding, chosen):
    kept = ScramKeys.derive(keys, b"pencil", SALT, 4096) if keys else None
    assert Scram("user", "" if kept else "pencil", kept, binding).any_supported(offered) == chosen


def test_every_login_has_a_nonce_of_its_own():
    nonces = {Scram("user", "pencil")._new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(nonce) >= 24 and "," not in nonce for nonce in nonces)


async def test_names_are_escaped():
    server = Server()
    mechanism = Scram("a=b,c", "pencil")
    await mechanism.authenticate(aiosasl.SASLStateMachine(server), "SCRAM-SHA-256")
    assert server.heard[0].startswith(b"n,,n=a=3Db=2Cc,r=")


@pytest.mark.parametrize(
    "final",
    [
        lambda signature: (SUCCESS, b"v=" + base64.b64encode(bytes(len(signature)))),
        lambda signature: (CHALLENGE, b"v=" + base64.b64encode(bytes(len(signature)))),
        lambda signature: (SUCCESS, b"v=" + base64.b64encode(signature[:-1])),
        lambda _signature: (SUCCESS, b"v="),
        lambda _signature: (SUCCESS, b""),
        lambda _signature: (SUCCESS, None),
        lambda _signature: (CHALLENGE, None),
        lambda _signature: (CHALLENGE, b"r=more"),
    ],
)
async def test_a_server_that_does_not_prove_itself_is_refused(final):
    server = Server()
    server.final = final
    for secret in (("pencil",), ("", ScramKeys.derive("SHA-256", b"pencil", SALT, 4096))):
        with pytest.raises(ScramError, match=r"signature|sign|broke the protocol"):
            await log_in(server, *secret)


async def test_a_success_at_once_is_refused():
    class Hasty(Server):
        async def initiate(self, mechanism, payload=None):
            return SUCCESS, None

    with pytest.raises(ScramError, match="the server did not sign it"):
        await log_in(Hasty(), "pencil")


async def test_a_signature_may_come_before_the_success():
    server = Server()
    server.final = lambda signature: (CHALLENGE, b"v=" + base64.b64encode(signature))
    assert await log_in(server, "pencil")
    assert server.heard[-1] == b""


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        (lambda text: text.replace(b"r=", b"r=x"), "nonce"),
        (lambda text: text.replace(b"i=4096", b"i=4095"), "too few iterations"),
        (lambda text: text.replace(b"i=4096", b"i=999999999"), "too many iterations"),
        (lambda _text: b"\xff", "broke the protocol"),
    ],
)
async def test_no_proof_is_given_to_a_challenge_that_is_not_right(challenge, reason):
    server = Server()
    server.challenge = challenge
    with pytest.raises(ScramError, match=reason):
        await log_in(server, "pencil")
    assert len(server.heard) == 1


@pytest.mark.parametrize("changed", [{"salt": b"another"}, {"iterations": 5000}])
async def test_keys_give_no_proof_to_a_server_that_has_changed(changed):
    keys = ScramKeys.derive("SHA-256", b"pencil", SALT, 4096)
    server = Server(**changed)
    with pytest.raises(KeptKeysError):
        await log_in(server, "", keys)
    assert len(server.heard) == 1
    assert await log_in(Server(**changed), "pencil", keys) != keys


@pytest.mark.parametrize("secret", ["other", ""])
async def test_the_wrong_secret_is_an_authentication_failure(secret):
    keys = ScramKeys.derive("SHA-256", b"other", SALT, 4096)
    with pytest.raises(aiosasl.AuthenticationFailure):
        await log_in(Server(), secret, None if secret else keys)


async def test_an_error_in_the_servers_last_message_is_an_authentication_failure():
    server = Server()
    server.final = lambda _signature: (SUCCESS, b"e=invalid-proof")
    with pytest.raises(aiosasl.AuthenticationFailure):
        await log_in(server, "pencil")
