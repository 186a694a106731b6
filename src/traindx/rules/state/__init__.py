"""Rules about checkpoints, modes and state, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.state.c1102_loaded import weights_did_not_arrive
from traindx.rules.state.c1102_partial_load import partial_load
from traindx.rules.state.c1102_undone import loaded_weights_are_written_over
from traindx.rules.state.c1102_used_as_drawn import used_as_drawn
from traindx.rules.state.c1103_batch import normalised_by_the_batch
from traindx.rules.state.c1103_mode_wrong import mode_wrong
from traindx.rules.state.c1103_probed import draws_in_evaluation
from traindx.rules.state.c1104_resume_not_continuous import resume_not_continuous
from traindx.rules.state.c1105_drawn import split_differs_between_processes
from traindx.rules.state.c1105_rng_not_seeded import rng_not_seeded
from traindx.rules.state.c1106_ddp_bypassed import ddp_bypassed
from traindx.rules.state.c1106_wrapper_bypassed import wrapper_bypassed
from traindx.rules.state.c1107_acting import another_number_acts
from traindx.rules.state.c1107_config_key_never_read import config_key_never_read
from traindx.rules.state.c1107_declared import declared_setting_never_read
from traindx.rules.state.c1107_settings import settings_never_read
from traindx.rules.state.c1108_loaded_tensors_coverage import loaded_tensors_coverage
from traindx.rules.state.c1109_evidence_suppressed import evidence_suppressed
from traindx.rules.state.c1109_monitor import monitor_is_blind
from traindx.rules.state.c1110_restored_state_is_the_live_one import restored_state_is_the_live_one
from traindx.rules.state.c1111_result_thrown_away import result_thrown_away
from traindx.rules.state.c1112_spectral_norm_not_settled import spectral_norm_not_settled
from traindx.rules.state.c1113_option_ignored import option_ignored
from traindx.rules.state.c1114_statement_without_effect import statement_without_effect
from traindx.rules.state.c1115_library_given_something_else import library_given_something_else
from traindx.rules.state.c1116_names_crossed import names_crossed
from traindx.rules.state.c1117_copy_not_adapted import copy_not_adapted
from traindx.rules.state.c1118_value_not_used import value_not_used
from traindx.rules.state.c1119_one_object_for_many import one_object_for_many
from traindx.rules.state.c1120_python_reads_it_otherwise import python_reads_it_otherwise
from traindx.rules.state.c1121_arithmetic_slip import arithmetic_slip
from traindx.rules.state.c1122_best_not_kept import best_not_kept
from traindx.rules.state.c1123_one_of_two_reordered import one_of_two_reordered

RULES: tuple[Rule, ...] = (
    partial_load.also(weights_did_not_arrive).also(loaded_weights_are_written_over).also(used_as_drawn),
    mode_wrong.also(draws_in_evaluation).also(normalised_by_the_batch),
    resume_not_continuous,
    rng_not_seeded.also(split_differs_between_processes),
    ddp_bypassed.also(wrapper_bypassed),
    config_key_never_read.also(settings_never_read).also(declared_setting_never_read).also(another_number_acts),
    loaded_tensors_coverage,
    evidence_suppressed.also(monitor_is_blind),
    restored_state_is_the_live_one,
    result_thrown_away,
    option_ignored,
    spectral_norm_not_settled,
    statement_without_effect,
    library_given_something_else,
    names_crossed,
    copy_not_adapted,
    value_not_used,
    one_object_for_many,
    python_reads_it_otherwise,
    arithmetic_slip,
    best_not_kept,
    one_of_two_reordered,
)
