"""Rules about the loss, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.loss.l303_term_without_gradient import term_without_gradient
from traindx.rules.loss.l306_clamp_blocks_gradient import clamp_blocks_gradient

RULES: tuple[Rule, ...] = (
    term_without_gradient,
    clamp_blocks_gradient,
)
