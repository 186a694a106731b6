"""All treatments, by the name under which rules propose them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from traindx.trials.treatments.declared import Declared


def _every() -> dict[str, Declared]:
    import traindx.trials.treatments as package

    found: dict[str, Declared] = {}
    for folder in sorted(item.name for item in iter_modules(package.__path__) if item.ispkg):
        for one in import_module(f"{package.__name__}.{folder}").TREATMENTS:
            if one.name in found:
                raise ValueError(f"two treatments are called {one.name}")
            found[one.name] = one
    return found


EVERY: Mapping[str, Declared] = _every()


def with_script_side(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a script's process is told of a treatment, with the place of the code that acts there."""
    return {**fields, "script": EVERY[str(fields["treatment"])].path("script")}
