"""Rules about the model and its information path, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.model.m201_channel_bottleneck import channel_bottleneck
from traindx.rules.model.m202_token_bottleneck import token_bottleneck
from traindx.rules.model.m203_head_cannot_reach_target import head_cannot_reach_target
from traindx.rules.model.m204_input_ignored import input_ignored
from traindx.rules.model.m204_probed import input_ignored_in_script
from traindx.rules.model.m205_condition_ignored import condition_ignored
from traindx.rules.model.m205_probed import argument_ignored
from traindx.rules.model.m206_probed import time_ignored_in_script
from traindx.rules.model.m206_time_ignored import time_ignored
from traindx.rules.model.m207_dead_parameters import dead_parameters
from traindx.rules.model.m207_observed import parameters_that_stay
from traindx.rules.model.m208_shape_broadcast_silently import shape_broadcast_silently
from traindx.rules.model.m209_frozen_part_still_moves import frozen_part_still_moves
from traindx.rules.model.m209_observed import frozen_statistics_move
from traindx.rules.model.m210_probed import target_finer_than_output
from traindx.rules.model.m210_target_outside_span import target_outside_span
from traindx.rules.model.m211_inputs_symmetric import inputs_symmetric
from traindx.rules.model.m211_probed import arguments_symmetric
from traindx.rules.model.m211_views import views_averaged
from traindx.rules.model.m212_layer_built_in_forward import layer_built_in_forward
from traindx.rules.model.m213_grid_of_other_axes import grid_of_other_axes
from traindx.rules.model.m214_stages_fed_differently import stages_fed_differently
from traindx.rules.model.m215_plain_tensor import plain_tensor_with_gradient
from traindx.rules.model.m215_tensor_outside_state import tensor_outside_state
from traindx.rules.model.m217_mask_hides_nothing import mask_hides_nothing
from traindx.rules.model.m218_model_function_breaks_its_definition import model_function_breaks_its_definition
from traindx.rules.model.m219_future_is_seen import future_is_seen
from traindx.rules.model.m220_units_alike import units_alike
from traindx.rules.model.m221_branch_cut_off_its_own_input import branch_cut_off_its_own_input
from traindx.rules.model.m222_norm_scale_around_zero import norm_scale_around_zero
from traindx.rules.model.m223_dropout_removes_most import dropout_removes_most

RULES: tuple[Rule, ...] = (
    channel_bottleneck,
    token_bottleneck,
    head_cannot_reach_target,
    input_ignored.also(input_ignored_in_script),
    condition_ignored.also(argument_ignored),
    time_ignored.also(time_ignored_in_script),
    dead_parameters.also(parameters_that_stay),
    shape_broadcast_silently,
    frozen_part_still_moves.also(frozen_statistics_move),
    target_outside_span.also(target_finer_than_output),
    inputs_symmetric.also(arguments_symmetric).also(views_averaged),
    layer_built_in_forward,
    grid_of_other_axes,
    stages_fed_differently,
    tensor_outside_state.also(plain_tensor_with_gradient),
    mask_hides_nothing,
    model_function_breaks_its_definition,
    future_is_seen,
    units_alike,
    norm_scale_around_zero,
    dropout_removes_most,
    branch_cut_off_its_own_input,
)
