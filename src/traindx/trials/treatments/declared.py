"""What a treatment is called and does, and where its two sides are: one declaration for cases, scripts and the docs.

A treatment is a folder with a ``TREATMENTS`` tuple of declarations, and up to two sides: ``case.py`` returns a changed
copy of a described case, ``script.py`` acts in the process of a running script, so it imports nothing but
:mod:`traindx.watch`, :mod:`traindx.core` and the standard library.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

Fields = Mapping[str, Any]


def place_of(fields: Fields) -> str:
    """``train.py:12``, or empty where the fields name no line."""
    return f"{os.path.basename(str(fields.get('file', '')))}:{fields['line']}" if fields.get("line") else ""


def at(fields: Fields) -> str:
    """`` at train.py:12``, or empty."""
    place = place_of(fields)
    return f" at {place}" if place else ""


def by_place(fields: Fields) -> str:
    """Treatments of one line are alternatives."""
    return place_of(fields)


@dataclass(frozen=True)
class Declared:
    """One treatment.

    Attributes:
        name: As rules propose it.
        does: What it does, as one line of the docs.
        title: What it does in a trial, in a few words, from its parameters and place; None where its only side says it.
        case: ``module:function`` that makes the treatment of a case, relative to this package; empty if there is none.
        script: ``module:class`` that acts in a running script; empty if there is none.
        fields: ``module:function`` that works out what a script's process is told, where that is more than the
            parameters and the place.
        placed: It is for one line of a script and cannot be tried where that is not known.
        family: What it shares with its alternatives, of which only one is in place at a time.
        not_in_scripts: Why it cannot be given to a script.
        internal: Not for a trial of a finding.
    """

    name: str
    does: str
    title: Callable[[Fields], str] | None = None
    case: str = ""
    script: str = ""
    fields: str = ""
    placed: bool = True
    family: Callable[[Fields], str] = by_place
    not_in_scripts: str = ""
    internal: bool = False

    def load(self, side: str) -> Any:
        """What ``case`` or ``fields`` names."""
        return loaded(self.path(side))

    def path(self, side: str) -> str:
        """``module:name`` of a side in full."""
        return f"{__package__}.{getattr(self, side)}"

    def family_of(self, fields: Fields) -> str:
        """Treatments of one family are alternatives."""
        return f"{self.name} {self.family(fields)}".strip() if self.family is by_place else self.family(fields)


def loaded(path: str) -> Any:
    """The object that ``module:name`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
