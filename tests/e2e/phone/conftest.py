"""A scripted client that speaks the standard cipher only, as a contact of a jet."""

import contextlib
import importlib.util
from pathlib import Path

import pytest

from jetcli.xmpp.account import AccountSettings

SCRIPT = Path(__file__).parents[2] / "interop" / "conversations.py"


@pytest.fixture(scope="session")
def script():
    spec = importlib.util.spec_from_file_location("conversations", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def phone(script, home, tmp_path):
    """Start a Conversations on an account that is a contact of `romeo`; it may say that it is another client."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(romeo, version=(2, 13), **kwargs):
            juliet = home("juliet", contacts=[romeo], enrolled=False)
            server = juliet.server
            settings = AccountSettings(juliet.jid, juliet.password, (server.host, server.port), ca_file=server.ca_file)
            return await script.Conversations.start(stack, settings, tmp_path / "phone", version, **kwargs)

        yield start
