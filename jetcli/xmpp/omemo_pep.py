"""OMEMO on the wire: device lists and bundles in PEP, and the messages that carry ratchet steps.

Owns the stanzas and what their errors mean. Summon `OmemoPep` before the client starts, so that no message is missed:
what arrives waits in `inbox`. Refuses to know keys and sessions; never imports the OMEMO libraries.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import aioxmpp
import aioxmpp.carbons.xso
import aioxmpp.disco
import aioxmpp.errors
import aioxmpp.forms
import aioxmpp.service

from jetcli.errors import JetError, NetworkError, RemoteProtocolError, UnavailableError, UnsupportedError
from jetcli.protocol.model import Envelope
from jetcli.protocol.policy import shown
from jetcli.xmpp.omemo_payloads import NODE_DEVICES, Bundle, DeviceList, Encrypted, PublicBundle, bundle_node

Result = TypeVar("Result")

#: A flood beyond this is dropped: the ratchet skips what it never saw, up to its own limit.
MAX_WAITING = 1000
REQUEST_S = 30.0

_ITEM = "current"
_PUBLISH_OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"
_ACCESS_MODEL = "pubsub#access_model"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """An OMEMO message: `sender` is the JID that it came from, bare where a carbon told of our own account."""

    sender: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class OwnDevices:
    """The device list of our own account has changed to `ids`."""

    ids: tuple[int, ...]


class OmemoPep(aioxmpp.service.Service):
    """The OMEMO stanzas of one client."""

    ORDER_AFTER = (aioxmpp.PubSubClient, aioxmpp.DiscoServer)

    # PEPClient cannot claim this node: it drops items whose namespace is not the node's name.
    notify = aioxmpp.disco.register_feature(f"{NODE_DEVICES}+notify")

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._pubsub = self.dependencies[aioxmpp.PubSubClient]
        self._tasks: set[asyncio.Task[None]] = set()
        self.inbox: asyncio.Queue[Received | OwnDevices] = asyncio.Queue(MAX_WAITING)

    async def device_list(self, bare_jid: str) -> tuple[int, ...]:
        """Return the ids that an account publishes, empty where it publishes no list.

        Raises UnsupportedError where the list is kept from us or malformed, UnavailableError where nobody answers,
        NetworkError when the stream is gone.
        """
        element = await self._item(bare_jid, NODE_DEVICES)
        if element is None:
            return ()
        if not isinstance(element, DeviceList):
            raise UnsupportedError(f"the OMEMO device list of {shown(bare_jid)} is malformed")
        try:
            return element.ids()
        except RemoteProtocolError as error:
            raise UnsupportedError(f"the OMEMO device list of {shown(bare_jid)} is malformed") from error

    async def bundle(self, bare_jid: str, device_id: int) -> PublicBundle | None:
        """Return a device's public keys, None where they are not published, not readable or malformed.

        Raises UnavailableError and NetworkError as `device_list` does.
        """
        try:
            element = await self._item(bare_jid, bundle_node(device_id))
            return element.keys() if isinstance(element, Bundle) else None
        except (UnsupportedError, RemoteProtocolError) as error:
            _log.info("no bundle of device %d: %s", device_id, error)
            return None

    async def publish_device_list(self, ids: Iterable[int]) -> None:
        """Publish our account's device list for everyone to read; raises as `device_list` does."""
        await self._publish(NODE_DEVICES, DeviceList.from_ids(ids))

    async def publish_bundle(self, device_id: int, keys: PublicBundle) -> None:
        """Publish our device's bundle for everyone to read; raises as `device_list` does."""
        await self._publish(bundle_node(device_id), Bundle.from_keys(keys))

    async def send(self, to: str, envelope: Envelope) -> None:
        """Send a message that holds nothing but `envelope`; raises NetworkError when the stream is gone."""
        message = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=aioxmpp.JID.fromstr(to))
        message.xep0384_encrypted = Encrypted.from_envelope(envelope)
        await _answered(to, self.client.send(message))

    async def _item(self, bare_jid: str, node: str) -> object:
        """Return the payload of a node's last item, None where there is no node or item."""
        try:
            request = await _answered(
                bare_jid, self._pubsub.get_items(aioxmpp.JID.fromstr(bare_jid), node, max_items=1)
            )
        except UnsupportedError as error:
            if _condition(error) == aioxmpp.ErrorCondition.ITEM_NOT_FOUND:
                return None
            raise
        items = [] if request is None or request.payload is None else request.payload.items
        return items[-1].registered_payload if items else None

    async def _publish(self, node: str, payload: Any) -> None:
        own = str(self.client.local_jid.bare())
        options = aioxmpp.forms.Data(aioxmpp.forms.DataType.SUBMIT)
        options.fields.append(_field("FORM_TYPE", _PUBLISH_OPTIONS, aioxmpp.forms.FieldType.HIDDEN))
        options.fields.append(_field(_ACCESS_MODEL, "open"))
        options.fields.append(_field("pubsub#persist_items", "true"))
        try:
            await _answered(own, self._pubsub.publish(None, node, payload, id_=_ITEM, publish_options=options))
        except RuntimeError:
            # aioxmpp's word for a server without publish-options: the node is made with the default model.
            await _answered(own, self._pubsub.publish(None, node, payload, id_=_ITEM))
            await self._open_node(own, node)
        except UnsupportedError as error:
            if _condition(error) != aioxmpp.ErrorCondition.CONFLICT:
                raise
            # Another client made the node with another access model, and the options are a precondition.
            await self._open_node(own, node)
            await _answered(own, self._pubsub.publish(None, node, payload, id_=_ITEM))

    async def _open_node(self, own: str, node: str) -> None:
        form = await _answered(own, self._pubsub.get_node_config(None, node))
        form.type_ = aioxmpp.forms.DataType.SUBMIT
        for field in form.fields:
            if field.var == _ACCESS_MODEL:
                field.values[:] = ["open"]
        await _answered(own, self._pubsub.set_node_config(None, form, node))

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

    @aioxmpp.service.depsignal(aioxmpp.Client, "on_stream_established")
    def _established(self) -> None:
        task = asyncio.get_running_loop().create_task(self._enable_carbons())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enable_carbons(self) -> None:
        """Ask for copies of what other clients of the account receive (XEP-0280); not every server has them."""
        request = aioxmpp.IQ(type_=aioxmpp.IQType.SET, payload=aioxmpp.carbons.xso.Enable())
        try:
            await _answered(str(self.client.local_jid.bare()), self.client.send(request))
        except JetError as error:
            _log.info("no message carbons: %s", error)


_CONVERSATION = {aioxmpp.MessageType.CHAT, aioxmpp.MessageType.NORMAL, aioxmpp.MessageType.HEADLINE}

#: Errors that may be gone the next time.
_PASSING = {
    aioxmpp.ErrorCondition.REMOTE_SERVER_NOT_FOUND,
    aioxmpp.ErrorCondition.REMOTE_SERVER_TIMEOUT,
    aioxmpp.ErrorCondition.RESOURCE_CONSTRAINT,
    aioxmpp.ErrorCondition.INTERNAL_SERVER_ERROR,
}


async def _answered(jid: str, request: Awaitable[Result]) -> Result:
    """Wait for the answer to a request about `jid`, and tell its failures as jet's."""
    try:
        async with asyncio.timeout(REQUEST_S):
            return await request
    except TimeoutError:
        raise UnavailableError(f"no answer about the OMEMO devices of {shown(jid)}") from None
    except aioxmpp.errors.StanzaError as error:
        condition = getattr(error, "condition", None)
        kind = UnavailableError if condition in _PASSING else UnsupportedError
        reason = "malformed answer" if condition is None else condition.value[1]
        raise kind(f"the server refused a request about the OMEMO devices of {shown(jid)}: {reason}") from error
    except ConnectionError as error:
        raise NetworkError("the connection to the server was lost") from error


def _condition(error: JetError) -> Any:
    return getattr(error.__cause__, "condition", None)


def _field(name: str, value: str, type_: Any = None) -> Any:
    return aioxmpp.forms.Field(type_=type_ or aioxmpp.forms.FieldType.TEXT_SINGLE, var=name, values=[value])
