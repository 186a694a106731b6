"""Rules about the outputs of a trained model, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.outputs.y701_collapsed_output import collapsed_output
from traindx.rules.outputs.y702_predicts_the_prior import predicts_the_prior
from traindx.rules.outputs.y704_saturated_at_bounds import saturated_at_bounds
from traindx.rules.outputs.y705_blurred import blurred
from traindx.rules.outputs.y706_noise_left import noise_left
from traindx.rules.outputs.y707_range_off import range_off
from traindx.rules.outputs.y708_uncertainty_is_zero import uncertainty_is_zero

RULES: tuple[Rule, ...] = (
    collapsed_output,
    predicts_the_prior,
    saturated_at_bounds,
    blurred,
    noise_left,
    range_off,
    uncertainty_is_zero,
)
