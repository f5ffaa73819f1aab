"""The bridge from the OMEMO library's storage to the key-values that jet hands in.

Owns what the library may assume about storage, and the proof that nothing in it ever waits. Refuses to know what the
values mean.
"""

import json
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import omemo

Result = TypeVar("Result")


class KeyValueStorage(Protocol):
    """What holds the keys of one account: JSON texts by name."""

    def load(self, key: str) -> str | None:
        """Return the text stored under `key`, or None."""

    def store(self, key: str, json_text: str) -> None:
        """Store a text under `key`."""

    def delete(self, key: str) -> None:
        """Forget `key`; nothing happens where it is unknown."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return a context whose changes are kept together, when it is left."""


class LibraryStorage(omemo.Storage):
    """The library's view of the storage, without its cache: another process may change what is stored."""

    def __init__(self, storage: KeyValueStorage, prefix: str = "") -> None:
        super().__init__(disable_cache=True)
        self._storage = storage
        self._prefix = prefix

    async def _load(self, key: str) -> omemo.Maybe[omemo.JSONType]:
        text = self._storage.load(self._prefix + key)
        return omemo.Nothing() if text is None else omemo.Just(json.loads(text))

    async def _store(self, key: str, value: omemo.JSONType) -> None:
        self._storage.store(self._prefix + key, json.dumps(value))

    async def _delete(self, key: str) -> None:
        self._storage.delete(self._prefix + key)


def at_once(steps: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine of the library to its end, here and now.

    The library is asynchronous for the sake of storage and network; its backend has no network and our storage does
    not wait, so that it never suspends and an operation cannot be interrupted half-way.
    """
    try:
        steps.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    steps.close()
    raise RuntimeError("the OMEMO library waited for something")
