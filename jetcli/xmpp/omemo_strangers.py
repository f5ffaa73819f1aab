"""Who is close to us and who is a stranger, and the few devices of strangers that are kept.

Anybody may send us OMEMO messages, and each of them makes or changes a session in storage. Owns the bound on that:
the names of the strangers' devices, by last use, and who has to leave. Refuses to know how sessions are made.
"""

import json
from collections.abc import Callable, Collection
from enum import Enum, auto

from jetcli.xmpp.omemo_storage import KeyValueStorage

#: With MAX_SKIPPED_OF_STRANGERS keys in each of two sessions these take 8 MB.
MAX_STRANGE_DEVICES = 50

_STRANGERS = "/jet/strangers"


class Standing(Enum):
    """What a device that writes to us is to the user."""

    #: Of our own account, a contact's, or of somebody who has a verified device.
    CLOSE = auto()
    #: None of that, but its key is on record: a file was sent to it, or its offer was looked at.
    MET = auto()
    STRANGER = auto()


class Strangers:
    """The devices of strangers in `storage`; `spared` says whose stay, `forget` drops all that is known of an account.

    An account leaves as a whole, since the library forgets no single device.
    """

    def __init__(
        self,
        storage: KeyValueStorage,
        *,
        spared: Callable[[str, Collection[int]], bool],
        forget: Callable[[str, Collection[int]], None],
    ) -> None:
        self._storage = storage
        self._spared = spared
        self._forget = forget

    def note(self, bare_jid: str, device_id: int) -> None:
        """Take note that a stranger's device is about to be used; where there are too many, the oldest leave.

        Inside an operation, and before what is stored of the device itself.
        """
        kept: dict[str, list[int]] = json.loads(self._storage.load(_STRANGERS) or "{}")
        ids = kept.pop(bare_jid, [])
        kept[bare_jid] = ids if device_id in ids else [*ids, device_id]
        while sum(map(len, kept.values())) > MAX_STRANGE_DEVICES:
            oldest = next(iter(kept))
            leaving = kept.pop(oldest)
            if not self._spared(oldest, leaving):
                self._forget(oldest, leaving)
            kept.setdefault(bare_jid, [device_id])
        self._storage.store(_STRANGERS, json.dumps(kept))
