"""What functions do by definition, one file a subject: importing one enters its properties into the textbook."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from traindx.watch.probes.textbook.base import ENTRIES, any_figure, any_relevant, is_known, tried

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["ENTRIES", "any_figure", "any_relevant", "is_known", "tried"]
