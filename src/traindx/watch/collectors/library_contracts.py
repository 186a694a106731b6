"""Calls of libraries other than torch, held against the catalogue of contracts from the script's first line on."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any

from traindx.evidence.base import Record
from traindx.watch.contracts.base import IN_ORDER, Broken, Tally
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.patching import Patches

OFF = frozenset({"false", "f", "no", "n", "off", "0", "none", "disable", "disabled"})


class LibraryContracts:
    """Wraps functions of argparse and of array libraries.

    In processes that were forked (workers of a loader) nothing is noted: what they see never comes back.
    """

    def __init__(self) -> None:
        self.patches = Patches()
        self.tally = Tally()
        self.active = True
        self.muted: Callable[[], bool] = lambda: False  # our own code runs
        self._added: weakref.WeakKeyDictionary[Any, CallSite] = weakref.WeakKeyDictionary()

    def install_argparse(self, module: ModuleType) -> None:
        """``argparse``: options whose type is ``bool``, and what they are given."""

        def make_add(original: Any) -> Any:
            def add_argument(container: Any, *args: Any, **kwargs: Any) -> Any:
                action = original(container, *args, **kwargs)
                if kwargs.get("type") is bool and self.active:
                    site = here()
                    with suppress(TypeError):
                        if site is not None:
                            self._added[action] = site
                return action

            return add_argument

        def make_value(original: Any) -> Any:
            def get_value(parser: Any, action: Any, text: Any) -> Any:
                if self.active and action.type is bool and isinstance(text, str):
                    self._read(action, text)
                return original(parser, action, text)

            return get_value

        self.patches.wrap(module._ActionsContainer, "add_argument", make_add)
        self.patches.wrap(module.ArgumentParser, "_get_value", make_value)

    def _read(self, action: Any, text: str) -> None:
        with suppress(Exception):  # whatever it is, it is not the script's concern
            site = self._added.get(action)
            name = next(iter(action.option_strings), action.dest)
            if site is not None:
                off = text.strip().lower() in OFF
                said = Broken(f"{text!r} for {name}, which becomes True") if off else IN_ORDER
                self.tally.add("text-as-bool", "bool", site, said)

    def stop(self) -> None:
        """The watching is over; a wrapper that somebody holds passes everything through."""
        self.active = False

    def records(self) -> Iterable[Record]:
        """One record a contract and line."""
        yield from self.tally.records()
