import asyncio
import socket

import aioopenssl
import aioxmpp.errors
import aioxmpp.structs
import aioxmpp.xml
import lxml.etree
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jetcli.xmpp.aioxmpp_fixes import mend, quiet

# test_connection.py shows what the other mends are for.

mend()

REFUSAL = aioxmpp.errors.XMPPCancelError(aioxmpp.errors.ErrorCondition.ITEM_NOT_FOUND)


def test_mending_twice_mends_once():
    mended = aioopenssl.STARTTLSTransport.write
    mend()
    assert aioopenssl.STARTTLSTransport.write is mended


async def test_what_is_written_to_a_transport_that_was_just_lost_is_dropped():
    near, far = socket.socketpair()
    with near, far:
        transport, _ = await aioopenssl.create_starttls_connection(
            asyncio.get_running_loop(), asyncio.Protocol, sock=near, use_starttls=True
        )
        transport.abort()
        transport.write(b"too late")
        await asyncio.sleep(0)
        assert far.recv(16) == b""


@example("\ud800")
@example("\ufffe")
@given(st.text(st.characters(codec=None), max_size=20))
def test_text_passes_exactly_when_xml_can_carry_it(text):
    try:
        lxml.etree.Element("a").text = text
        carried = True
    except ValueError:
        carried = False
    assert aioxmpp.xml.is_valid_cdata_str(text) is carried


@pytest.fixture
def heard():
    """A loop that is quiet, and what it still reports."""
    loop = asyncio.new_event_loop()
    reports = []
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    quiet(loop)
    yield loop, reports
    loop.close()


@pytest.mark.parametrize("error", [ConnectionError("gone"), REFUSAL])
def test_an_unread_failure_of_a_lost_stream_is_dropped(heard, error):
    loop, reports = heard
    context = {"message": "Future exception was never retrieved", "exception": error, "future": loop.create_future()}
    loop.call_exception_handler(context)
    assert reports == []


@pytest.mark.parametrize(
    "context",
    [
        {"message": "Future exception was never retrieved", "exception": ValueError("a bug")},
        {"message": "Exception in callback", "exception": ConnectionError("gone")},
        {"message": "Task was destroyed but it is pending!"},
    ],
)
def test_anything_else_is_still_reported(heard, context):
    loop, reports = heard
    loop.call_exception_handler(context)
    assert reports == [context]


def test_a_task_of_ours_that_failed_unread_is_still_reported(heard):
    loop, reports = heard

    async def fail():
        raise ConnectionError("a bug")

    task = loop.create_task(fail())
    loop.run_until_complete(asyncio.wait([task]))
    del task
    assert [report["message"] for report in reports] == ["Task exception was never retrieved"]


def test_being_quiet_twice_hides_no_handler(heard):
    loop, _ = heard
    handler = loop.get_exception_handler()
    quiet(loop)
    assert loop.get_exception_handler() is handler


def test_an_address_is_prepared_as_ever_but_only_once():
    text = "Romeo@MONTAGUE.example/Orchard"
    first = aioxmpp.structs.JID.fromstr(text)
    known = aioxmpp.structs.nodeprep.cache_info().hits
    assert aioxmpp.structs.JID.fromstr(text) == first == aioxmpp.structs.JID("romeo", "montague.example", "Orchard")
    assert aioxmpp.structs.nodeprep.cache_info().hits > known
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid"):
            aioxmpp.structs.JID.fromstr("ro meo@montague.example")
