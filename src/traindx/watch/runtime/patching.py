"""Replace attributes of modules and classes by watching ones, and put them back."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import MethodType, ModuleType
from typing import Any

from traindx.watch.runtime.calling import passing

Wrapper = Callable[..., Any]
_MISSING = object()


class Patches:
    """What was replaced, so that it can be undone in reverse order."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._handles: list[Any] = []
        self._at_home: set[tuple[str, str]] = set()

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Wrapper], *, passes: bool = True) -> None:
        """Replace ``owner.name`` by ``make(original)``; nothing happens where the attribute does not exist.

        Args:
            owner: A module or class.
            name: Attribute; for a class it must be defined on that very class to be undone cleanly.
            make: Receives the original and returns its replacement, which keeps name, docstring and ``__wrapped__``.
            passes: Call the original in the name of the wrapper's caller, to which its warnings belong.
        """
        original = getattr(owner, name, None)
        if original is None:
            return
        if isinstance(owner, ModuleType) and (owner.__name__, name) in self._at_home:
            self._at_home.discard((owner.__name__, name))  # it was wrapped with the other name of the same function
            return
        own = vars(owner).get(name, _MISSING)
        if isinstance(own, staticmethod | classmethod):
            return
        wrapper = make(passing(original) if passes else original)
        functools.update_wrapper(wrapper, original)
        if inspect.ismethod(original) and not isinstance(owner, type):  # ``random.seed`` is one, and stays one
            bound = original.__self__
            wrapper = MethodType(_without_self(wrapper, original.__func__), bound)
        setattr(owner, name, wrapper)
        self._undo.append((owner, name, own, wrapper))
        self._wrap_at_home(owner, original, wrapper)

    def _wrap_at_home(self, owner: Any, original: Any, wrapper: Any) -> None:
        """Put the same wrapper where a function is defined, too: what is pickled by its name must be found there."""
        name, module = getattr(original, "__name__", ""), str(getattr(original, "__module__", ""))
        home = sys.modules.get(module)
        if isinstance(owner, type) or home is None or home is owner or module.startswith("_"):
            return
        if vars(home).get(name) is original:
            setattr(home, name, wrapper)
            self._undo.append((home, name, original, wrapper))
            self._at_home.add((module, name))

    def keep(self, handle: Any) -> None:
        """Take a registered hook away too when everything is put back."""
        self._handles.append(handle)

    def undo(self) -> None:
        """Put everything back but what somebody has wrapped since: that wrapper stays, over ours, which is idle then.

        A wrapper must therefore be a plain pass-through once the watching is over.
        """
        while self._handles:
            self._handles.pop().remove()
        while self._undo:
            owner, name, own, wrapper = self._undo.pop()
            if vars(owner).get(name) is not wrapper:
                continue
            if own is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def _without_self(wrapper: Wrapper, function: Any) -> Wrapper:
    """A wrapper of a bound method as a function of its instance."""

    def method(_: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(*args, **kwargs)

    return functools.update_wrapper(method, function)
