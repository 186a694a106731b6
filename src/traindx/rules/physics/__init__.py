"""Rules about physics and projection, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.physics.p601_not_beer_lambert import not_beer_lambert
from traindx.rules.physics.p602_per_sample_normalised import per_sample_normalised
from traindx.rules.physics.p603_angle_ignored import angle_ignored
from traindx.rules.physics.p604_axis_or_flip_wrong import axis_or_flip_wrong
from traindx.rules.physics.p605_no_gradient_to_volume import no_gradient_to_volume
from traindx.rules.physics.p606_unit_wrong import unit_wrong

RULES: tuple[Rule, ...] = (
    not_beer_lambert,
    per_sample_normalised,
    angle_ignored,
    axis_or_flip_wrong,
    no_gradient_to_volume,
    unit_wrong,
)
