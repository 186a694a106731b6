"""Reproducible faults: each turns a healthy case into a documented broken one, from outside.

One folder a recipe, one file a group; every recipe's folder lists its faults as ``FAULTS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from traindx.extras import require
from traindx.faults.base import Fault, catalogued, together

__all__ = ["Fault", "registry", "together"]


@cache
def registry() -> Mapping[str, Fault]:
    """Every fault that ships, by name, recipe after recipe.

    Raises:
        MissingExtraError: The recipes that faults are applied to are not installed.
    """
    require("recipes", "the catalogue of faults")
    from traindx.faults import concepts, fusion, segmentation, xray2ct

    return catalogued((*xray2ct.FAULTS, *segmentation.FAULTS, *concepts.FAULTS, *fusion.FAULTS))
