"""How many presences are kept: those of contacts, and of everybody else the last few.

aioxmpp's PresenceClient (0.13.3) keeps the last presence of whoever sends one, errors as well, and never forgets an
address, so that a server that makes up senders fills our memory. This looks at presences on their way there and lets
go of what is too much. No longer needed when the test of strangers in tests/xmpp/test_presences.py passes without it.
"""

from collections import OrderedDict
from typing import Any

import aioxmpp

#: Of a stranger jet wants to know only which software it is, while it offers something; few do at the same time.
MOST_STRANGERS = 64
#: More clients than anyone has online, the ghosts of those that were killed included.
MOST_CLIENTS = 64

_KEPT = frozenset({aioxmpp.PresenceType.AVAILABLE, aioxmpp.PresenceType.ERROR})


class KeptPresences:
    """Bounds what the PresenceClient of `client` keeps, from now on."""

    def __init__(self, client: aioxmpp.Client) -> None:
        self._client = client
        self._roster = client.summon(aioxmpp.RosterClient)
        kept = client.summon(aioxmpp.PresenceClient)._presences  # noqa: SLF001  # there is no other way to forget
        self._by_address: dict[aioxmpp.JID, dict[str | None, Any]] = kept
        self._strangers: OrderedDict[aioxmpp.JID, None] = OrderedDict()
        client.stream.app_inbound_presence_filter.register(self._pass)

    def _pass(self, stanza: Any) -> Any:
        """Make room for a presence, or return None for one that is not to be kept."""
        sender = stanza.from_
        if sender is None or stanza.type_ not in _KEPT:
            return stanza
        if stanza.type_ is aioxmpp.PresenceType.ERROR:
            sender = sender.bare()  # which it is kept under
        if self._is_known(sender):
            clients = self._by_address.get(sender.bare(), {})
            return stanza if len(clients) < MOST_CLIENTS or sender.resource in clients else None
        self._strangers[sender] = None
        self._strangers.move_to_end(sender)
        if len(self._strangers) > MOST_STRANGERS:
            self._forget(self._strangers.popitem(last=False)[0])
        return stanza

    def _is_known(self, sender: aioxmpp.JID) -> bool:
        return sender.bare() in self._roster.items or sender.bare() == self._client.local_jid.bare()

    def _forget(self, sender: aioxmpp.JID) -> None:
        """Forget a presence, unless it has become that of a contact."""
        clients = self._by_address.get(sender.bare())
        if clients is None or self._is_known(sender):
            return
        clients.pop(sender.resource, None)
        if not clients:
            del self._by_address[sender.bare()]
