"""What a run keeps of a folder while it reads, so that the next one can go on: a file that says nothing by itself.

Names of files and headers identify patients, and what they say can be masked only once all headers are known. Until
then the facts lie sealed in the folder of the report; the key lies in the user's own cache folder
(``$XDG_CACHE_HOME/traindx/keys``, 0600) and is removed with the file. Whoever gets the report of a run that was killed
cannot read it; whoever can read the user's home could read the data as well.

A record is encrypted by XOR with SHAKE-256 of the key and a nonce that is used once, and authenticated by BLAKE2b of
nonce and ciphertext under a second key (encrypt, then authenticate).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from traindx.private import make_private

_MAGIC = b"traindx sealed 1 "
_NAME = 32  # hex digits
_NONCE = _TAG = 16
_LENGTH = 8
_LARGEST = 1 << 30


class Journal:
    """Records of one run, appended while it goes on.

    Args:
        path: The file. One that a killed run of the same signature left is gone on from, any other is replaced.
        signature: What the records depend on.

    Attributes:
        resumed: True if a killed run left records.
        since: When it wrote the last of them, in seconds since the epoch.
    """

    def __init__(self, path: Path, signature: str) -> None:
        self.path = path
        self.resumed, self.since = False, 0.0
        self._stream: IO[bytes] | None = None
        self._key: Path | None = None
        self._secret = b""
        if self._open(signature):
            return
        self.remove()
        self._begin(signature)

    def _open(self, signature: str) -> bool:
        """Go on from what is there, if it can be read and is of this signature."""
        if self.path.is_symlink() or not self.path.is_file():
            return False
        try:
            stream = self.path.open("r+b")
        except OSError:
            return False
        head = stream.read(len(_MAGIC) + _NAME + 1)
        name = head[len(_MAGIC) : -1].decode("ascii", "replace")
        key = _keys() / name
        if not head.startswith(_MAGIC) or not name.isalnum() or not key.is_file():
            stream.close()
            return False
        self._key, self._secret, self._stream = key, key.read_bytes(), stream
        if self._next() != signature:
            return False
        self.since = self.path.stat().st_mtime
        self.resumed = True
        return True

    def _begin(self, signature: str) -> None:
        """A new file under a new key; without a place for the key there is none, and nothing to go on from."""
        name, secret = secrets.token_hex(_NAME // 2), secrets.token_bytes(64)
        key = _keys() / name
        try:
            make_private(key.parent)
            _write(key, secret)
        except OSError:
            return
        self._key, self._secret = key, secret
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._stream = os.fdopen(descriptor, "r+b")
        self._stream.write(_MAGIC + name.encode() + b"\n")
        self.append(signature)

    def records(self) -> Iterator[Any]:
        """What the killed run wrote, up to the first record that is not whole; the next one is written there."""
        if self._stream is None:
            return
        while True:
            at = self._stream.tell()
            found = self._next()
            if found is None:
                self._stream.seek(at)
                self._stream.truncate()
                return
            yield found

    def append(self, value: Any) -> None:
        """Write one record of JSON-like data (bytes allowed).

        Raises:
            OSError: There is no room.
        """
        if self._stream is None:
            return
        plain = json.dumps(value, ensure_ascii=False, default=_of_bytes).encode("utf-8", "surrogatepass")
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._crossed(nonce, plain)
        self._stream.write(len(sealed).to_bytes(_LENGTH, "big") + nonce + self._tag(nonce, sealed) + sealed)
        self._stream.flush()

    def _next(self) -> Any:
        """The record that begins here; None where there is none that is whole and ours."""
        assert self._stream is not None
        head = self._stream.read(_LENGTH + _NONCE + _TAG)
        length = int.from_bytes(head[:_LENGTH], "big")
        if len(head) < _LENGTH + _NONCE + _TAG or length > _LARGEST:
            return None
        nonce, tag = head[_LENGTH : _LENGTH + _NONCE], head[_LENGTH + _NONCE :]
        sealed = self._stream.read(length)
        if len(sealed) < length or not hmac.compare_digest(tag, self._tag(nonce, sealed)):
            return None
        return json.loads(self._crossed(nonce, sealed).decode("utf-8", "surrogatepass"), object_hook=_to_bytes)

    def _crossed(self, nonce: bytes, data: bytes) -> bytes:
        stream = hashlib.shake_256(self._secret[:32] + nonce).digest(len(data))
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")

    def _tag(self, nonce: bytes, sealed: bytes) -> bytes:
        return hashlib.blake2b(nonce + sealed, key=self._secret[32:], digest_size=_TAG).digest()

    def close(self) -> None:
        """Leave everything to the next run."""
        if self._stream is not None:
            with suppress(OSError):  # a full disk: what was written before stays
                self._stream.close()
            self._stream = None

    def remove(self) -> None:
        """Remove the file and its key."""
        self.close()
        self.path.unlink(missing_ok=True)
        if self._key is not None:
            self._key.unlink(missing_ok=True)
            self._key = None


def _keys() -> Path:
    """Where keys lie (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "traindx" / "keys"


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)


def _of_bytes(value: Any) -> dict[str, str]:
    return {"bytes": bytes(value).decode("latin-1")}


def _to_bytes(value: dict[str, Any]) -> Any:
    return value["bytes"].encode("latin-1") if value.keys() == {"bytes"} else value
