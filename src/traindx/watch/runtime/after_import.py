"""Do something right after a module was imported, whoever imports it, without importing it first.

A script may set ``OMP_NUM_THREADS`` and its like before it imports torch; importing torch for it would change its
results. So nothing heavy is imported here, and the watching begins when the script's own import has ended.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _NotifyingLoader(Loader):
    """A loader that runs another one and then the callback; everything else is the other one's."""

    def __init__(self, loader: Any, callback: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._callback = callback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._callback(module)


def _both(one: Callable[[ModuleType], None], other: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    """Two callbacks as one."""

    def call(module: ModuleType) -> None:
        one(module)
        other(module)

    return call


class AfterImport(MetaPathFinder):
    """Calls back once for each awaited module, whoever awaits it; installed at the front of ``sys.meta_path``."""

    def __init__(self) -> None:
        self._awaited: dict[str, Callable[[ModuleType], None]] = {}
        self._searching: set[str] = set()

    def when(self, name: str, callback: Callable[[ModuleType], None]) -> None:
        """Call ``callback(module)`` after ``name`` was imported, or now if it already is."""
        if name in sys.modules:
            callback(sys.modules[name])
            return
        before = self._awaited.get(name)
        self._awaited[name] = callback if before is None else _both(before, callback)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as the others would, and have its loader tell us."""
        if fullname not in self._awaited or fullname in self._searching:
            return None
        self._searching.add(fullname)
        try:
            for finder in list(sys.meta_path):
                if finder is self:
                    continue
                spec = finder.find_spec(fullname, path, target)
                if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _NotifyingLoader(spec.loader, self._awaited.pop(fullname))
                    return spec
        finally:
            self._searching.discard(fullname)
        return None
