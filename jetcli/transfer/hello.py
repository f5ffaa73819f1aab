"""One visible line to a contact, so that a client like Dino learns of this device and can send files to it.

Some clients seal an offer only for devices that they have exchanged messages with, and nothing invisible counts as one.
So the line is never sent by itself: a person asks for it.
"""

import secrets

from jetcli.protocol.cipher import PlainSealer
from jetcli.protocol.device import Device
from jetcli.protocol.model import IV_SIZE, TAG_SIZE, Cipher, TransportSecret
from jetcli.transfer.account import Online

LINE = "Hello from jet: now your chat client knows this device, too, and can send files to it."


async def say_hello(online: Online, bare_jid: str) -> tuple[Device, ...]:
    """Send the line, end-to-end encrypted, and return the devices that can read it.

    Raises UnsupportedError, TrustError, UnavailableError and NetworkError as sealing for `bare_jid` does.
    """
    text = LINE.encode()
    secret = TransportSecret(secrets.token_bytes(Cipher.AES_128_GCM.key_size), secrets.token_bytes(IV_SIZE))
    sealed = bytearray(len(text) + TAG_SIZE)
    PlainSealer(secret, len(text)).seal_into(text, memoryview(sealed), final=True)
    # An OMEMO message carries the tag beside the key (XEP-0384 version 0.3 section 4.5).
    with_tag = TransportSecret(secret.key + bytes(sealed[-TAG_SIZE:]), secret.iv)
    envelope, devices = await online.omemo.seal(with_tag, bare_jid)
    await online.omemo.say(bare_jid, envelope, bytes(sealed[:-TAG_SIZE]))
    return devices
