"""Rules about diffusion and sampling, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule

RULES: tuple[Rule, ...] = ()
