"""Rules about the loss, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.loss.l301_loss_prefers_worse import loss_prefers_worse
from traindx.rules.loss.l303_term_without_gradient import term_without_gradient
from traindx.rules.loss.l306_clamp_blocks_gradient import clamp_blocks_gradient
from traindx.rules.loss.l312_term_not_zero_at_truth import term_not_zero_at_truth

RULES: tuple[Rule, ...] = (
    loss_prefers_worse,
    term_without_gradient,
    clamp_blocks_gradient,
    term_not_zero_at_truth,
)
