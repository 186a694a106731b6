"""Rules about the loss, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.loss.l301_box_direction import box_term_inverted
from traindx.rules.loss.l301_loss_prefers_worse import loss_prefers_worse
from traindx.rules.loss.l301_probed import loss_prefers_another_sample
from traindx.rules.loss.l302_term_dominates import term_dominates
from traindx.rules.loss.l302_uninformed import uninformed_term_leads
from traindx.rules.loss.l303_cut_off import loss_cut_off
from traindx.rules.loss.l303_observed import constant_added
from traindx.rules.loss.l303_term_without_gradient import term_without_gradient
from traindx.rules.loss.l303_unused import term_reaches_other_weights
from traindx.rules.loss.l304_term_blind import term_blind
from traindx.rules.loss.l305_double_activation import double_activation
from traindx.rules.loss.l306_clamp_blocks_gradient import clamp_blocks_gradient
from traindx.rules.loss.l306_cut_losses import losses_of_samples_cut
from traindx.rules.loss.l307_class_weighting import rarer_class_weighted_down
from traindx.rules.loss.l307_reduction_or_weighting import reduction_or_weighting
from traindx.rules.loss.l308_blind_to_detail import blind_to_detail
from traindx.rules.loss.l309_loss_at_start_off import loss_at_start_off
from traindx.rules.loss.l311_in_loss import swallowed_in_loss, term_saturated
from traindx.rules.loss.l311_term_swallowed import term_swallowed
from traindx.rules.loss.l312_term_not_zero_at_truth import term_not_zero_at_truth
from traindx.rules.loss.l313_terms_contradict import terms_contradict
from traindx.rules.loss.l315_region_term_without_margin import region_term_without_margin
from traindx.rules.loss.l316_frequency_mask_misplaced import frequency_mask_misplaced
from traindx.rules.loss.l317_loss_looks_at_what_was_given import loss_looks_at_what_was_given
from traindx.rules.loss.l318_gradient_norm_axes import gradient_norm_over_some_axes
from traindx.rules.loss.l319_compared_with_itself import compared_with_itself
from traindx.rules.loss.l320_zeros_and_ones_as_index import zeros_and_ones_as_index
from traindx.rules.loss.l321_overlap_is_accuracy import overlap_loss_is_accuracy
from traindx.rules.loss.l322_weights_replaced_by_call import weights_replaced_by_call
from traindx.rules.loss.l323_targets_never_vary import targets_never_vary
from traindx.rules.loss.l331_padding_counts import padding_counts
from traindx.rules.loss.l332_views_of_one_sample import views_of_one_sample
from traindx.rules.loss.l333_prediction_never_read import prediction_never_read
from traindx.rules.loss.l334_loss_breaks_its_definition import loss_breaks_its_definition
from traindx.rules.loss.l335_output_never_asked import output_never_asked
from traindx.rules.loss.l336_asked_for_what_is_given import asked_for_what_is_given
from traindx.rules.loss.l337_padding_is_a_target import padding_is_a_target
from traindx.rules.loss.l338_token_after_the_next import token_after_the_next

RULES: tuple[Rule, ...] = (
    loss_prefers_worse.also(box_term_inverted).also(loss_prefers_another_sample),
    term_dominates.also(uninformed_term_leads),
    term_without_gradient.also(constant_added).also(loss_cut_off).also(term_reaches_other_weights),
    term_blind,
    double_activation,
    clamp_blocks_gradient.also(losses_of_samples_cut),
    reduction_or_weighting.also(rarer_class_weighted_down),
    blind_to_detail,
    loss_at_start_off,
    term_swallowed.also(swallowed_in_loss).also(term_saturated),
    term_not_zero_at_truth,
    terms_contradict,
    region_term_without_margin,
    frequency_mask_misplaced,
    loss_looks_at_what_was_given,
    gradient_norm_over_some_axes,
    compared_with_itself,
    zeros_and_ones_as_index,
    weights_replaced_by_call,
    overlap_loss_is_accuracy,
    targets_never_vary,
    padding_counts,
    views_of_one_sample,
    prediction_never_read,
    loss_breaks_its_definition,
    output_never_asked,
    asked_for_what_is_given,
    padding_is_a_target,
    token_after_the_next,
)
