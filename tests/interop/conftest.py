"""Other people's clients, driven by the scripts of the peers laboratory beside this repository.

`PEERS` names the directory of the scripts; without it, or without the clients, the tests are skipped with the reason.
What each cell of the matrix came to is gathered here, and written down where `JET_INTEROP_REPORT` names a file. Each
worker has a laboratory of its own, with the clients that its tests ask for.
"""

import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import laboratory
import pytest
from _pytest.runner import runtestprotocol

from jetcli.trial.server import throwaway_directory

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items) -> None:
    reason = laboratory.missing()
    for item in items:
        if HERE in item.path.parents and "peers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.interop)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


# What each cell came to. Workers put it into their reports; whoever started them gathers it.

RESULTS: dict[str, dict] = {}


def pytest_runtest_protocol(item, nextitem):
    """Run a case of the matrix a second time where it fails, and say so; `JET_INTEROP_ONCE` forbids it."""
    if item.get_closest_marker("interop") is None or os.environ.get("JET_INTEROP_ONCE"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item.user_properties[:] = [("repeated", True)]
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report) -> None:
    properties = dict(report.user_properties)
    if report.failed and "interop" in report.keywords:  # a client that did not start fails before it has a cell
        properties.setdefault("cell", {"from": "jet", "to": "?", "case": report.nodeid.rpartition("::")[2]})
    if "cell" not in properties or (report.when != "call" and report.passed):
        return
    note = properties.get("note", "")
    if report.failed:
        note = report.longrepr.reprcrash.message.splitlines()[0][:160]
    if "repeated" in properties:
        note = f"{note} (at the second try)".strip()
    result = "works" if report.passed else "skipped" if report.skipped else "fails"
    RESULTS[report.nodeid] = properties["cell"] | {
        "seconds": properties.get("seconds"),
        "note": note,
        "result": result,
        "repeated": "repeated" in properties,
    }


def pytest_sessionfinish(session) -> None:
    path = os.environ.get("JET_INTEROP_REPORT")
    if path and RESULTS and not hasattr(session.config, "workerinput"):
        whole = not (session.config.getoption("lf") or session.config.getoption("keyword"))
        run = {"date": time.strftime("%Y-%m-%d"), "whole": whole, "cells": list(RESULTS.values())}
        Path(path).write_text(json.dumps(run, indent=1) + "\n")


def pytest_terminal_summary(terminalreporter) -> None:
    for each in RESULTS.values():
        if each["repeated"]:
            terminalreporter.write_line(f"repeated: {each['from']} to {each['to']}: {each['case']}: {each['result']}")


@pytest.fixture
def cell(record_property) -> Callable[..., None]:
    """Name the cell of the matrix that a test stands for: `cell("jet", "Dino", "200 kB, direct")`."""

    def name(sender: str, receiver: str, case: str, note: str = "") -> None:
        record_property("cell", {"from": sender, "to": receiver, "case": case})
        if note:
            record_property("note", note)

    return name


@pytest.fixture
def quick(record_property) -> Callable[[float], None]:
    """Check how long a transfer took, the start of jet included, and write it down."""

    def check(seconds: float) -> None:
        record_property("seconds", seconds)
        assert seconds < laboratory.TRANSFER_S

    return check


# The laboratory.


@pytest.fixture(scope="session")
def peers() -> Iterator:
    """The laboratory of this worker: its server runs, no client yet; it stops when the tests have ended."""
    with throwaway_directory("jet-peers-") as directory, ExitStack() as stack:
        lab = laboratory.Peers.planned(directory)
        stack.callback(lab.script, "stop-prosody.sh")
        lab.script("start-prosody.sh")
        yield lab


@pytest.fixture(scope="session")
def dino(peers) -> Iterator[str]:
    """A running Dino: its bare JID."""
    try:
        peers.start_dino()
        yield f"{laboratory.DINO[0]}@{laboratory.DOMAIN}"
    finally:
        peers.script("stop-dino.sh", laboratory.DINO[0])


@pytest.fixture(scope="session")
def libervia(peers) -> Iterator[tuple[str, str]]:
    """A running Libervia with two profiles: the bare JIDs of the one that sends and of the one that receives."""
    try:
        peers.start_libervia()
        yield tuple(f"{name}@{laboratory.DOMAIN}" for name in laboratory.LIBERVIA)
    finally:
        peers.script("stop-libervia.sh")


_FAILURE = pytest.StashKey[str]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "setup":
        item.stash[_FAILURE] = ""
    if report.failed:
        item.stash[_FAILURE] += report.longreprtext


@pytest.fixture(autouse=True)
def _artefact(request) -> Iterator[None]:
    """Keep the server's stanza log and what the clients have logged of a test that failed."""
    if "peers" not in request.fixturenames:
        yield
        return
    lab = request.getfixturevalue("peers")
    began = time.time()
    yield
    if failure := request.node.stash.get(_FAILURE, ""):
        keep_in = Path("build/interop") / re.sub(r"[^\w.-]+", "_", request.node.name)
        keep_in.mkdir(parents=True, exist_ok=True)
        (keep_in / "failure.txt").write_text(failure)
        (keep_in / "stanzas.xml").write_text("\n".join(lab.stanzas(began)))
        for log in (lab.run / "libervia.log", *lab.directory.glob("dino/*/dino.log")):
            if log.exists():
                shutil.copy(log, keep_in)


_serial = itertools.count(1)


@pytest.fixture
def user(peers) -> Iterator[Callable]:
    """Take an account of the laboratory for jet: `user("alice")`; its keys live as long as the laboratory.

    Paths are short: another client's file chooser has them typed.
    """
    with ExitStack() as running:
        number = next(_serial)

        def take(name: str):
            return laboratory.Home.take(peers, name, peers.directory / "f" / str(number) / name, running)

        yield take


@pytest.fixture
def until() -> Callable:
    """Wait for something outside of this process: `until(condition, "what did not come")`."""
    return laboratory.until


@pytest.fixture
def known_to_dino(dino, user):
    """An account of jet that Dino has a session with."""
    grace = user("grace")
    if not (grace.path / "known").exists():
        assert grace.jet("send", grace.file("introduction.bin", 1), dino).code == 0
        (grace.path / "known").touch()
    return grace
