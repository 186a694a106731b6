"""Rules about representation and prototypes, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.representation.r1001_prototypes_collapsed import prototypes_collapsed

RULES: tuple[Rule, ...] = (prototypes_collapsed,)
