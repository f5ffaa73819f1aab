"""The two ciphers of a byte stream: what goes on the wire for which plaintext, and when a byte may be believed.

Plain (XEP-0391 section 5): one AES-GCM stream, ciphertext and then the 16-byte tag. Nothing of it may be believed
before the tag. Chunked (jet's own, `docs/chunked-cipher.md`): every 262,144 bytes are sealed by themselves, so each
chunk may be believed as soon as it opens.

All methods work on the caller's buffers and allocate nothing per chunk. The `_into` calls of `cryptography` release
the GIL, its other calls mostly do not. Names of files are unknown here: errors say what happened, `jetcli.transfer`
to which file.
"""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jetcli.errors import IntegrityError, InterruptedTransferError, RemoteProtocolError, UnsupportedError
from jetcli.protocol.model import TAG_SIZE, Cipher, TransportSecret
from jetcli.protocol.policy import GCM_LIMIT

#: Plaintext bytes of a chunk; only the last one is shorter.
CHUNK = 262_144

Buffer = bytes | bytearray | memoryview


def stream_key(secret: TransportSecret, transcript: bytes) -> bytes:
    """Derive the 32-byte key of a chunked stream from its secret and `Transcript.digest()`.

    Raises ValueError for a transport key that is not 32 bytes or an IV that is not 12.
    """
    if len(secret.key) != Cipher.CHUNKED.key_size or len(secret.iv) != 12:
        raise ValueError("the chunked cipher takes a transport key of 32 bytes and an IV of 12")
    info = Cipher.CHUNKED.value.encode() + b"\x00" + transcript
    return HKDF(hashes.SHA256(), 32, salt=secret.iv, info=info).derive(secret.key)


class PlainSealer:
    """Encrypt one stream of exactly `size` plaintext bytes under the plain cipher."""

    def __init__(self, secret: TransportSecret, size: int) -> None:
        """Raise UnsupportedError for more bytes than one key may encrypt (NIST SP 800-38D)."""
        if size > GCM_LIMIT:
            raise UnsupportedError(f"{size:,} bytes are more than the peer's cipher can take ({GCM_LIMIT:,})")
        self._gcm = BlockCipher(AES(secret.key), GCM(secret.iv)).encryptor()
        self._missing = size

    def seal_into(self, data: Buffer, out: memoryview, *, final: bool) -> int:
        """Encrypt the next bytes into `out`, the tag behind the `final` ones; return how many bytes `out` then holds.

        `out` has room for 16 bytes more than `data`, and may begin where `data` does. Raises ValueError where the sum
        of all data is not `size`.
        """
        self._missing -= len(data)
        if self._missing < 0 or (final and self._missing):
            raise ValueError("a plain stream was given another number of bytes than its size")
        length = self._gcm.update_into(data, out) if len(data) else 0
        if not final:
            return length
        self._gcm.finalize()
        out[length : length + TAG_SIZE] = self._gcm.tag
        return length + TAG_SIZE


class PlainOpener:
    """Decrypt one stream of `size` plaintext bytes and a tag, taken in any split.

    What `update_into` gives out is *unverified*: it may be written to a part file and nowhere else until `finish` has
    returned. The last 16 bytes are held back as the tag.
    """

    def __init__(self, secret: TransportSecret, size: int) -> None:
        """Raise RemoteProtocolError for more bytes than one key may encrypt."""
        if size > GCM_LIMIT:
            raise RemoteProtocolError(
                f"the peer offered {size:,} bytes under a cipher that takes {GCM_LIMIT:,}", condition="media-error"
            )
        self._gcm = BlockCipher(AES(secret.key), GCM(secret.iv, min_tag_length=TAG_SIZE)).decryptor()
        self._ciphertext = size
        self._tag = bytearray()

    @property
    def missing(self) -> int:
        """Bytes of the stream, tag included, that have not come yet."""
        return self._ciphertext + TAG_SIZE - len(self._tag)

    def update_into(self, data: memoryview, out: memoryview) -> int:
        """Take the next bytes of the stream; return how many bytes of unverified plaintext were put into `out`.

        `out` has room for `len(data)` bytes. Raises RemoteProtocolError for a byte behind the tag.
        """
        if len(data) > self.missing:
            raise RemoteProtocolError("the peer sent more than it announced", condition="media-error")
        cut = min(len(data), self._ciphertext)
        self._ciphertext -= cut
        self._tag += data[cut:]
        return self._gcm.update_into(data[:cut], out) if cut else 0

    def finish(self) -> None:
        """Check the tag: afterwards every byte given out is verified.

        Raises InterruptedTransferError for a stream that is not complete, IntegrityError for a wrong tag.
        """
        if self.missing:
            raise InterruptedTransferError("the stream ended before its authentication tag")
        try:
            self._gcm.finalize_with_tag(bytes(self._tag))
        except InvalidTag:
            raise IntegrityError("the stream was altered on the way") from None


def _nonce(index: int, *, final: bool) -> bytes:
    return struct.pack(">3xQ?", index, final)


class ChunkedSealer:
    """Encrypt one stream under the chunked cipher. A key serves one sealer: chunk numbers start at 0."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._index = 0
        self._finished = False

    def seal_into(self, data: Buffer, out: memoryview, *, final: bool) -> int:
        """Seal the next chunk into `out`; return how many bytes `out` then holds, 16 more than `data`.

        `out` may begin where `data` does. Raises ValueError for a chunk behind the final one, or one of a wrong length
        (only the final one is shorter).
        """
        if self._finished or len(data) > CHUNK or (len(data) < CHUNK and not final):
            raise ValueError("not a chunk of this stream")
        sealed = self._aead.encrypt_into(_nonce(self._index, final=final), data, None, out[: len(data) + TAG_SIZE])
        self._index += 1
        self._finished = final
        return sealed


class ChunkedOpener:
    """Decrypt one stream under the chunked cipher; what `open_into` gives out is verified."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._index = 0
        self._finished = False

    @property
    def finished(self) -> bool:
        """Whether the final chunk has been opened."""
        return self._finished

    def open_into(self, data: Buffer, out: memoryview, *, final: bool | None) -> int:
        """Open the next chunk into `out`; return the number of plaintext bytes, 16 less than `data`.

        `final` says whether it must be the last one; None, for a stream of unknown length, lets the chunk itself tell.
        Where it is known, `out` may begin where `data` does; what is there after an error is of no use to anyone.
        Raises IntegrityError for a chunk that does not open, RemoteProtocolError for one behind the final one.
        """
        if self._finished:
            raise RemoteProtocolError("the peer sent more than it announced", condition="media-error")
        length = len(data) - TAG_SIZE
        for last in (False, True) if final is None else (final,):
            fits = 0 <= length <= CHUNK if last else length == CHUNK
            if fits and self._opens(data, out[:length], final=last):
                self._index += 1
                self._finished = last
                return length
        raise IntegrityError("a chunk was altered on the way")

    def _opens(self, data: Buffer, out: memoryview, *, final: bool) -> bool:
        try:
            self._aead.decrypt_into(_nonce(self._index, final=final), data, None, out)
        except InvalidTag:
            return False
        return True
