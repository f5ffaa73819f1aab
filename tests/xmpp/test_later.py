import importlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jetcli.xmpp.later import import_later

#: What tells that it is executed, and how often.
COUNTED = "import sys\nsys.executed.append(__name__)\nvalue = 1\n"


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules `single` and `package.part`; the fixture is the list of those that were executed."""
    (tmp_path / "single.py").write_text(COUNTED)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "part.py").write_text(COUNTED + "from package import part\nitself = part\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "executed", [], raising=False)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in ("single", "package", "package.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        # whatever the test imports is forgotten afterwards
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    return sys.executed


def test_a_module_is_executed_when_it_is_first_asked_for_something(executed):
    import_later("single")
    import single

    assert executed == []
    assert single.value == 1
    assert single.value == 1
    assert executed == ["single"]


def test_importing_it_again_does_not_execute_it(executed):
    import_later("package.part")
    for _ in range(2):
        import package.part
    assert executed == []
    assert package.part.itself is package.part
    assert executed == ["package.part"]


def test_what_is_taken_from_it_executes_it(executed):
    import_later("single")
    from single import value

    assert (value, executed) == (1, ["single"])


def test_what_it_does_not_have_is_missing_as_ever(executed):
    import_later("single")
    import single

    with pytest.raises(AttributeError, match="nothing"):
        _ = single.nothing
    assert executed == ["single"]


def test_another_thread_waits_until_it_is_whole(executed, tmp_path):
    (tmp_path / "single.py").write_text("import sys\nsys.begun.set()\nsys.go_on.wait(10)\nvalue = 1\n")
    sys.begun, sys.go_on = threading.Event(), threading.Event()
    import_later("single")
    import single

    seen = []
    threads = [threading.Thread(target=lambda: seen.append(single.value)) for _ in range(2)]
    threads[0].start()
    assert sys.begun.wait(10)
    threads[1].start()
    sys.go_on.set()
    for thread in threads:
        thread.join()
    assert seen == [1, 1]


def test_one_that_is_imported_already_and_one_that_is_not_there_stay_as_they_are(executed):
    import single

    import_later("single", "package.nowhere", "nowhere.part")
    assert sys.modules["single"] is single
    for name in ("package.nowhere", "nowhere.part"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_nothing_is_imported_because_it_may_be_needed_later(executed):
    import_later("package.part")
    assert not {"package", "package.part"} & set(sys.modules)


def test_a_transfer_starts_without_executing_any_of_them():
    code = (
        "import sys, jetcli.transfer.send, jetcli.transfer.receive, jetcli.xmpp.omemo_ratchet\n"
        "import jetcli.xmpp as xmpp\n"
        "print(*sorted(name for name in xmpp.SELDOM_USED if type(sys.modules[name]).__name__ != '_Later'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
