"""Replace attributes of modules and classes by watching ones, and put them back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Wrapper = Callable[..., Any]
_MISSING = object()


class Patches:
    """What was replaced, so that it can be undone in reverse order."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []
        self._handles: list[Any] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Wrapper]) -> None:
        """Replace ``owner.name`` by ``make(original)``; nothing happens where the attribute does not exist.

        Args:
            owner: A module or class.
            name: Attribute; for a class it must be defined on that very class to be undone cleanly.
            make: Receives the original and returns its replacement, which keeps name, docstring and ``__wrapped__``.
        """
        original = getattr(owner, name, None)
        if original is None:
            return
        own = vars(owner).get(name, _MISSING)
        if isinstance(own, staticmethod | classmethod):
            return
        wrapper = make(original)
        functools.update_wrapper(wrapper, original)
        setattr(owner, name, wrapper)
        self._undo.append((owner, name, own))

    def keep(self, handle: Any) -> None:
        """Take a registered hook away too when everything is put back."""
        self._handles.append(handle)

    def undo(self) -> None:
        """Put everything back."""
        while self._handles:
            self._handles.pop().remove()
        while self._undo:
            owner, name, own = self._undo.pop()
            if own is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
