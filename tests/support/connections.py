"""Contacts who watch, and the stanzas that pass."""

import aioxmpp

from jetcli.xmpp.ask import ask


class Mailbox:
    """The bodies of the messages that a client received."""

    def __init__(self) -> None:
        self.bodies = []

    def setup(self, client) -> None:
        dispatcher = client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(None, None, self._received)

    def _received(self, message) -> None:
        if message.body:
            self.bodies.append(message.body.any())
        elif message.xep0280_sent:
            self.bodies.append(f"copy of {message.xep0280_sent.stanza.body.any()}")


def message(to, text):
    stanza = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=aioxmpp.JID.fromstr(to))
    stanza.body[None] = text
    return stanza


def presences(client):
    """Collect what others show the client; its own presence comes back too and is left out."""
    seen = []

    def show(jid, stanza) -> None:
        if jid.bare() != client.local_jid.bare():
            seen.append(stanza)

    client.summon(aioxmpp.PresenceClient).on_available.connect(show)
    client.summon(aioxmpp.PresenceClient).on_unavailable.connect(show)
    return seen


def disco(client, to="jet.test"):
    return ask(client, aioxmpp.disco.xso.InfoQuery(), to, 10.0)
