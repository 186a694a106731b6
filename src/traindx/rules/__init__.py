"""The rule catalogue: one folder a family, one file a rule, registered by the explicit list below."""

from __future__ import annotations

from functools import cache

from traindx.rules.base import FAMILIES, Found, Limits, Registry, Rule, Threshold, rule

__all__ = ["FAMILIES", "Found", "Limits", "Registry", "Rule", "Threshold", "catalogue", "rule"]


@cache
def catalogue() -> Registry:
    """Every rule that ships, by code."""
    from traindx.rules import (
        data,
        dynamics,
        evaluation,
        loss,
        model,
        optimisation,
        outputs,
        physics,
        representation,
        sampling,
        state,
    )

    families = (
        data,
        model,
        loss,
        optimisation,
        sampling,
        physics,
        outputs,
        evaluation,
        dynamics,
        representation,
        state,
    )
    return Registry(item for family in families for item in family.RULES)
