"""Rules about evaluation and metrics, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.evaluation.e801_metric_fails_reference_predictors import metric_fails_reference_predictors
from traindx.rules.evaluation.e802_data_range_wrong import data_range_wrong
from traindx.rules.evaluation.e802_observed import peak_of_each_image
from traindx.rules.evaluation.e805_figure_constant import selecting_figure_is_constant
from traindx.rules.evaluation.e805_selection_key_missing import selection_key_missing
from traindx.rules.evaluation.e806_evaluated_on_training_data import evaluated_on_training_data
from traindx.rules.evaluation.e807_beaten_by_trivial_baseline import beaten_by_trivial_baseline
from traindx.rules.evaluation.e808_selecting_figure import selecting_figure_is_redrawn
from traindx.rules.evaluation.e808_selection_on_noise import selection_on_noise
from traindx.rules.evaluation.e809_best_checkpoint_shared import best_checkpoint_shared
from traindx.rules.evaluation.e810_output_independent_of_model import output_independent_of_model
from traindx.rules.evaluation.e811_overlap_of_unthresholded_values import overlap_of_unthresholded_values
from traindx.rules.evaluation.e812_other_batches import held_against_other_batches
from traindx.rules.evaluation.e812_predictions_out_of_order import predictions_out_of_order
from traindx.rules.evaluation.e815_worse_is_kept import worse_is_kept
from traindx.rules.evaluation.e821_figure_not_what_it_is_named import figure_not_what_it_is_named
from traindx.rules.evaluation.e821_scores import score_not_what_it_is_named
from traindx.rules.evaluation.e822_output_unused import evaluation_output_unused
from traindx.rules.evaluation.e823_figure_of_a_corner import figure_of_a_small_part
from traindx.rules.evaluation.e824_ranking_of_decisions import ranking_of_decisions
from traindx.rules.evaluation.e825_figure_never_reset import figure_never_reset
from traindx.rules.evaluation.e826_figure_breaks_its_definition import figure_breaks_its_definition
from traindx.rules.evaluation.e827_threshold_on_logits import threshold_on_logits
from traindx.rules.evaluation.e828_evaluation_items_change import evaluation_items_change
from traindx.rules.evaluation.e829_batches_left_out import batches_left_out
from traindx.rules.evaluation.e829_dropped_by_the_loader import dropped_by_the_loader
from traindx.rules.evaluation.e830_figure_out_of_range import figure_out_of_range
from traindx.rules.evaluation.e832_reading_changes import reading_changes
from traindx.rules.evaluation.e833_batches_weigh_alike import batches_weigh_alike

RULES: tuple[Rule, ...] = (
    metric_fails_reference_predictors,
    data_range_wrong.also(peak_of_each_image),
    selection_key_missing.also(selecting_figure_is_constant),
    evaluated_on_training_data,
    beaten_by_trivial_baseline,
    selection_on_noise.also(selecting_figure_is_redrawn),
    best_checkpoint_shared,
    output_independent_of_model,
    overlap_of_unthresholded_values,
    predictions_out_of_order.also(held_against_other_batches),
    worse_is_kept,
    figure_not_what_it_is_named.also(score_not_what_it_is_named),
    evaluation_output_unused,
    figure_of_a_small_part,
    ranking_of_decisions,
    figure_never_reset,
    figure_breaks_its_definition,
    threshold_on_logits,
    evaluation_items_change,
    batches_left_out.also(dropped_by_the_loader),
    reading_changes,
    figure_out_of_range,
    batches_weigh_alike,
)
