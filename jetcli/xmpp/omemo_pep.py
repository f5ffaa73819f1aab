"""OMEMO on the wire: device lists and bundles in PEP, and the messages that carry ratchet steps.

Owns the stanzas and what their errors mean. Summon `OmemoPep` before the client starts, so that no message is missed:
what arrives waits in `inbox`. Refuses to know keys and sessions; never imports the OMEMO libraries.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import aioxmpp
import aioxmpp.carbons.xso
import aioxmpp.disco
import aioxmpp.forms
import aioxmpp.pubsub.xso as pubsub
import aioxmpp.service
from msgspec import Struct

from jetcli.errors import NetworkError, RemoteProtocolError, UnavailableError, UnsupportedError
from jetcli.protocol.model import Envelope
from jetcli.protocol.policy import shown
from jetcli.xmpp.account import parsed_jid
from jetcli.xmpp.ask import StanzaError, ask
from jetcli.xmpp.omemo_payloads import NODE_DEVICES, Bundle, DeviceList, Encrypted, PublicBundle, bundle_node

#: A flood beyond this is dropped: the ratchet skips what it never saw, up to its own limit.
MAX_WAITING = 1000

_ITEM = "current"
_PUBLISH_OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"
_ACCESS_MODEL = "pubsub#access_model"
_CONVERSATION = {aioxmpp.MessageType.CHAT, aioxmpp.MessageType.NORMAL, aioxmpp.MessageType.HEADLINE}

#: Errors that may be gone the next time (RFC 6120 section 8.3.3); all others mean that we may not read.
_PASSING = {
    "internal-server-error",
    "remote-server-not-found",
    "remote-server-timeout",
    "resource-constraint",
    "recipient-unavailable",
}

_log = logging.getLogger(__name__)


class Received(Struct, frozen=True):
    """An OMEMO message: `sender` is the JID that it came from, bare where a carbon told of our own account."""

    sender: str
    envelope: Envelope


class OwnDevices(Struct, frozen=True):
    """The device list of our own account has changed to `ids`."""

    ids: tuple[int, ...]


class OmemoPep(aioxmpp.service.Service):
    """The OMEMO stanzas of one client."""

    ORDER_AFTER = (aioxmpp.PubSubClient, aioxmpp.DiscoServer)

    # PEPClient cannot claim this node: it drops items whose namespace is not the node's name.
    notify = aioxmpp.disco.register_feature(f"{NODE_DEVICES}+notify")

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.inbox: asyncio.Queue[Received | OwnDevices] = asyncio.Queue(MAX_WAITING)

    async def device_list(self, bare_jid: str) -> tuple[int, ...]:
        """Return the ids that an account publishes, empty where it publishes no list.

        Raises UnsupportedError where the list is kept from us or malformed, UnavailableError where nobody answers,
        NetworkError when the stream is gone.
        """
        try:
            element = await self._item(bare_jid, NODE_DEVICES)
            if element is not None and not isinstance(element, DeviceList):
                raise RemoteProtocolError("another element")
            return () if element is None else element.ids()
        except RemoteProtocolError as error:
            raise UnsupportedError(f"the OMEMO device list of {shown(bare_jid)} is malformed") from error
        except StanzaError as error:
            if error.condition in _PASSING:
                raise
            # Servers do not tell strangers a node that is closed to them from one that is not there.
            raise UnsupportedError(
                f"{shown(bare_jid)} has published no OMEMO device", hint=f"or none that we may see: {error.condition}"
            ) from error

    async def bundle(self, bare_jid: str, device_id: int) -> PublicBundle | None:
        """Return a device's public keys, None where they cannot be had or are malformed; raises NetworkError."""
        try:
            element = await self._item(bare_jid, bundle_node(device_id))
            return element.keys() if isinstance(element, Bundle) else None
        except (UnavailableError, RemoteProtocolError) as error:
            _log.info("no bundle of device %d: %s", device_id, error)
            return None

    async def publish_device_list(self, ids: Iterable[int]) -> None:
        """Publish our account's device list for everyone to read; raises UnavailableError or NetworkError."""
        await self._publish(NODE_DEVICES, DeviceList.from_ids(ids))

    async def publish_bundle(self, device_id: int, keys: PublicBundle) -> None:
        """Publish our device's bundle for everyone to read; raises as `publish_device_list` does."""
        await self._publish(bundle_node(device_id), Bundle.from_keys(keys))

    async def delete_bundle(self, device_id: int) -> None:
        """Delete the node of a device's bundle, which need not exist; raises UnavailableError or NetworkError."""
        try:
            await ask(self.client, pubsub.OwnerRequest(pubsub.OwnerDelete(bundle_node(device_id))), None, kind="set")
        except StanzaError as error:
            if error.condition != "item-not-found":
                raise

    async def send(self, to: str, envelope: Envelope, *, visible: bool = False) -> None:
        """Send a message that holds nothing but `envelope`, if `visible` with a text for those who cannot open it.

        Raises NetworkError when the stream is gone.
        """
        message = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=parsed_jid(to))
        message.xep0384_encrypted = Encrypted.from_envelope(envelope)
        if visible:
            message.body[None] = "This message is encrypted with OMEMO, which your client cannot read."
        try:
            await self.client.send(message)
        except (OSError, RuntimeError):
            raise NetworkError("connection lost before an OMEMO message went out") from None

    async def _item(self, bare_jid: str, node: str) -> object:
        """Return the payload of a node's last item, None where there is no node or item."""
        try:
            answer = await ask(self.client, pubsub.Request(pubsub.Items(node, max_items=1)), bare_jid)
        except StanzaError as error:
            if error.condition == "item-not-found":
                return None
            raise
        if not isinstance(answer, pubsub.Request) or not isinstance(answer.payload, pubsub.Items):
            raise RemoteProtocolError(f"{shown(bare_jid)} answered with something else than items")
        items = answer.payload.items
        return items[-1].registered_payload if items else None

    async def _publish(self, node: str, payload: Any) -> None:
        """Publish the only item of a node that is open to all.

        The options are a precondition: where another client made the node with another access model, the server
        answers `conflict`, and the node is changed first (XEP-0060 section 7.1.5).
        """
        try:
            await self._publish_item(node, payload, _options())
        except StanzaError as error:
            if error.condition != "conflict":
                raise
            await self._open_node(node)
            await self._publish_item(node, payload, None)

    async def _publish_item(self, node: str, payload: Any, options: Any) -> None:
        publish = pubsub.Publish()
        publish.node = node
        publish.item = pubsub.Item(id_=_ITEM)
        publish.item.registered_payload = payload
        request = pubsub.Request(publish)
        if options is not None:
            request.publish_options = pubsub.PublishOptions()
            request.publish_options.data = options
        await ask(self.client, request, None, kind="set")

    async def _open_node(self, node: str) -> None:
        answer = await ask(self.client, pubsub.OwnerRequest(pubsub.OwnerConfigure(node=node)), None)
        form = answer.payload.data
        form.type_ = aioxmpp.forms.DataType.SUBMIT
        for field in form.fields:
            if field.var == _ACCESS_MODEL:
                field.values[:] = ["open"]
        request = pubsub.OwnerRequest(pubsub.OwnerConfigure(node=node))
        request.payload.data = form
        await ask(self.client, request, None, kind="set")

    # What arrives

    @aioxmpp.service.inbound_message_filter
    def _watch(self, message: Any) -> Any:
        """Copy OMEMO messages into the inbox; every message goes on to the others unchanged."""
        sender, inner = self._unwrap(message)
        encrypted = None if inner is None else inner.xep0384_encrypted
        if encrypted is not None and inner.type_ in _CONVERSATION:
            try:
                self._put(Received(str(sender), encrypted.envelope()))
            except RemoteProtocolError as error:
                _log.info("dropped an OMEMO message: %s", error)
        return message

    def _unwrap(self, message: Any) -> tuple[Any, Any]:
        """Return who a message is from and the message itself, taken out of a carbon that our own server made."""
        own = self.client.local_jid.bare()
        sender = message.from_ or own
        carbons = [carbon for carbon in (message.xep0280_received, message.xep0280_sent) if carbon is not None]
        if not carbons:
            return sender, message
        inner = carbons[0].stanza
        if sender != own or not isinstance(inner, aioxmpp.Message) or inner.from_ is None:
            return sender, None
        return inner.from_, inner

    @aioxmpp.service.depsignal(aioxmpp.PubSubClient, "on_item_published")
    def _published(self, jid: Any, node: str, item: Any, *, message: Any = None) -> None:
        del message
        if node != NODE_DEVICES or jid != self.client.local_jid.bare():
            return
        if not isinstance(item.registered_payload, DeviceList):
            return
        try:
            self._put(OwnDevices(item.registered_payload.ids()))
        except RemoteProtocolError as error:
            _log.info("ignored a device list: %s", error)

    def _put(self, arrival: Received | OwnDevices) -> None:
        try:
            self.inbox.put_nowait(arrival)
        except asyncio.QueueFull:
            _log.warning("dropped an OMEMO message: %d are waiting", MAX_WAITING)


def _options() -> Any:
    form = aioxmpp.forms.Data(aioxmpp.forms.DataType.SUBMIT)
    form.fields.append(_field("FORM_TYPE", _PUBLISH_OPTIONS, aioxmpp.forms.FieldType.HIDDEN))
    form.fields.append(_field(_ACCESS_MODEL, "open"))
    form.fields.append(_field("pubsub#persist_items", "true"))
    return form


def _field(name: str, value: str, type_: Any = None) -> Any:
    return aioxmpp.forms.Field(type_=type_ or aioxmpp.forms.FieldType.TEXT_SINGLE, var=name, values=[value])
