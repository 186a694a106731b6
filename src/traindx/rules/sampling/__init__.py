"""Rules about diffusion and sampling, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.sampling.s501_sampler_does_not_invert import sampler_does_not_invert
from traindx.rules.sampling.s502_sampler_wrong_distribution import sampler_wrong_distribution
from traindx.rules.sampling.s503_schedule_inconsistent import schedule_inconsistent
from traindx.rules.sampling.s504_prediction_type_mismatch import prediction_type_mismatch
from traindx.rules.sampling.s505_observed import time_differs_between_phases
from traindx.rules.sampling.s505_time_scaling_differs import time_scaling_differs
from traindx.rules.sampling.s506_clip_does_not_match_data import clip_does_not_match_data
from traindx.rules.sampling.s507_training_input_not_unit_variance import training_input_not_unit_variance
from traindx.rules.sampling.s508_one_step_vs_sampled_gap import one_step_vs_sampled_gap
from traindx.rules.sampling.s509_guidance_without_effect import guidance_without_effect
from traindx.rules.sampling.s509_repeated import argument_without_effect
from traindx.rules.sampling.s510_guidance_runs_away import guidance_runs_away
from traindx.rules.sampling.s511_noise_function_breaks_its_definition import noise_function_breaks_its_definition

RULES: tuple[Rule, ...] = (
    sampler_does_not_invert,
    sampler_wrong_distribution,
    schedule_inconsistent,
    prediction_type_mismatch,
    time_scaling_differs.also(time_differs_between_phases),
    clip_does_not_match_data,
    training_input_not_unit_variance,
    one_step_vs_sampled_gap,
    guidance_without_effect.also(argument_without_effect),
    guidance_runs_away,
    noise_function_breaks_its_definition,
)
