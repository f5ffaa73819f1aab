"""Modules that libraries import for every start and jet seldom or never uses: executed when first asked for something.

aioxmpp imports formatters of dates in all languages, a parser of certificates and a name resolver, omemo a printer of
messages: 15 % of the CPU seconds of a start. What the libraries get is an empty module, filled on the first look into
it.
"""

import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType

_lock = threading.RLock()


class _Later(ModuleType):
    """A module that has not been executed yet.

    importlib's LazyLoader is no help: until Python 3.12 its modules are executed when they are imported a second time.
    """

    __spec__: ModuleSpec

    def __getattr__(self, name: str) -> object:
        # Called for what is missing, so not for `__spec__` and `__path__`, which every import looks at.
        with _lock:
            if type(self) is _Later:
                self.__class__ = _Filling
                assert self.__spec__.loader is not None
                self.__spec__.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]
        return ModuleType.__getattribute__(self, name)


class _Filling(_Later):
    """A module that is being executed; what other threads ask of it meanwhile has to wait."""


def import_later(*names: str) -> None:
    """Have these modules executed on their first use. One that is imported already, or is not there, stays as it is."""
    for name in names:
        if name in sys.modules or (spec := _found(name)) is None:
            continue
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _Later
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def _found(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:  # not even its package
        return None
