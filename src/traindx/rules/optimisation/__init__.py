"""Rules about optimisation, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.optimisation.o401_longer_steps import longer_steps_do_more
from traindx.rules.optimisation.o401_rate_probe import rates_reach_nowhere
from traindx.rules.optimisation.o401_step_too_small import step_too_small
from traindx.rules.optimisation.o401_whole_stage import whole_stage_goes_nowhere
from traindx.rules.optimisation.o402_probed import step_raises_own_loss
from traindx.rules.optimisation.o402_step_too_large import step_too_large
from traindx.rules.optimisation.o403_gradient_vanishing import gradient_vanishing
from traindx.rules.optimisation.o404_gradient_exploding import gradient_exploding
from traindx.rules.optimisation.o405_clip_always_active import clip_always_active
from traindx.rules.optimisation.o406_gradients_never_zeroed import gradients_never_zeroed
from traindx.rules.optimisation.o407_first_steps import rate_is_put_back
from traindx.rules.optimisation.o407_planned import schedule_against_plan
from traindx.rules.optimisation.o407_scheduler_misused import scheduler_misused
from traindx.rules.optimisation.o408_group_rate_off import group_rate_off
from traindx.rules.optimisation.o409_amp_skips_steps import amp_skips_steps
from traindx.rules.optimisation.o410_copies import copy_out_of_step
from traindx.rules.optimisation.o410_ema_evaluated_too_early import ema_evaluated_too_early
from traindx.rules.optimisation.o410_statistics import statistics_left_behind
from traindx.rules.optimisation.o411_clip_before_unscale import clip_before_unscale
from traindx.rules.optimisation.o412_accumulation_remainder import too_few_updates
from traindx.rules.optimisation.o412_budget import update_budget_is_starved
from traindx.rules.optimisation.o413_clip_has_no_effect import clip_has_no_effect
from traindx.rules.optimisation.o414_never_stepped import never_stepped
from traindx.rules.optimisation.o414_step_changes_nothing import step_changes_nothing
from traindx.rules.optimisation.o414_without_gradients import steps_without_gradients
from traindx.rules.optimisation.o415_plateau_direction import plateau_waits_the_wrong_way
from traindx.rules.optimisation.o416_gradients_cleared_unused import gradients_cleared_unused
from traindx.rules.optimisation.o417_optimiser_made_anew import optimiser_made_anew
from traindx.rules.optimisation.o418_update_function_breaks_its_definition import update_function_breaks_its_definition
from traindx.rules.optimisation.o419_last_batch_alone import last_batch_alone
from traindx.rules.optimisation.o420_decay_outweighs_loss import decay_outweighs_loss
from traindx.rules.optimisation.o421_accumulated_sum import accumulated_sum

RULES: tuple[Rule, ...] = (
    step_too_small.also(rates_reach_nowhere).also(whole_stage_goes_nowhere).also(longer_steps_do_more),
    step_too_large.also(step_raises_own_loss),
    gradient_vanishing,
    gradient_exploding,
    clip_always_active,
    gradients_never_zeroed,
    scheduler_misused.also(rate_is_put_back).also(schedule_against_plan),
    group_rate_off,
    amp_skips_steps,
    ema_evaluated_too_early.also(statistics_left_behind).also(copy_out_of_step),
    clip_before_unscale,
    too_few_updates.also(update_budget_is_starved),
    clip_has_no_effect,
    step_changes_nothing.also(never_stepped).also(steps_without_gradients),
    plateau_waits_the_wrong_way,
    gradients_cleared_unused,
    optimiser_made_anew,
    update_function_breaks_its_definition,
    last_batch_alone,
    decay_outweighs_loss,
    accumulated_sum,
)
