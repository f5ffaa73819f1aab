"""Modules that libraries import for every start and jet seldom or never uses: executed when first asked for something.

aioxmpp imports formatters of dates in all languages, a parser of certificates and a name resolver, omemo a printer of
messages: 15 % of the CPU seconds of a start. What the libraries get is an empty module, filled on the first look into
it.
"""

import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
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


class _Loader(Loader):
    """Makes a module as another loader would, and leaves the execution for later."""

    def __init__(self, usual: Loader) -> None:
        self._usual = usual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._usual
        module.__class__ = _Later


class _Finder(MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def import_later(*names: str) -> None:
    """Have these modules executed on their first use instead of their import. What is imported already stays so."""
    sys.meta_path.insert(0, _Finder(names))
