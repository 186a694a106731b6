"""Checks: small experiments with a known right answer. One file a check, registered by the explicit list below."""

from __future__ import annotations

from traindx.checks.base import Check, CheckContext, check

__all__ = ["Check", "CheckContext", "catalogue", "check"]


def catalogue() -> tuple[Check, ...]:
    """Every check that ships, in the order in which they are run."""
    from traindx.checks.data.condition_ranges import condition_ranges
    from traindx.checks.data.data_path import data_path
    from traindx.checks.data.label_values import label_values
    from traindx.checks.data.shared_samples import shared_samples
    from traindx.checks.data.window import window
    from traindx.checks.diffusion.guidance import guidance, uncertainty
    from traindx.checks.diffusion.one_step import one_step
    from traindx.checks.diffusion.prediction_type import prediction_type
    from traindx.checks.diffusion.sampler import sampler
    from traindx.checks.diffusion.schedule import schedule
    from traindx.checks.diffusion.time_input import time_input
    from traindx.checks.diffusion.training_input import training_input
    from traindx.checks.loss.gradients import gradients
    from traindx.checks.loss.operations import loss_operations
    from traindx.checks.loss.order import loss_order
    from traindx.checks.loss.regions import box_regions, class_weighting
    from traindx.checks.loss.spatially_invariant_terms import blind_terms
    from traindx.checks.metrics.baselines import baselines, model_score
    from traindx.checks.metrics.hardened_metric import hardened_metric
    from traindx.checks.metrics.reference_predictions import metric_probe
    from traindx.checks.metrics.repeat_selection import repeat_selection
    from traindx.checks.metrics.repeat_validation import repeat_validation, trained_repeat_validation
    from traindx.checks.network.conditions import input_effects, trained_input_effects
    from traindx.checks.network.deployed_weights import deployed_weights
    from traindx.checks.network.frozen_parts import frozen_parts
    from traindx.checks.network.information_path import information_path
    from traindx.checks.network.model_swap import model_swap
    from traindx.checks.network.outputs import outputs
    from traindx.checks.projection.phantoms import projection
    from traindx.checks.projection.view_match import view_match
    from traindx.checks.training.bookkeeping import bookkeeping
    from traindx.checks.training.first_steps import first_steps
    from traindx.checks.training.full_run import full_run, recorded_run
    from traindx.checks.training.learned import learned
    from traindx.checks.training.learning_rates import rate_probe
    from traindx.checks.training.overfit import one_frozen_batch, one_frozen_batch_longer
    from traindx.checks.training.training_state import prototype_spread, training_state
    from traindx.checks.training.training_step import trained_step, training_step
    from traindx.checks.training.update_budget import update_budget

    return (
        schedule,
        training_input,
        prediction_type,
        sampler,
        time_input,
        one_step,
        information_path,
        projection,
        view_match,
        window,
        input_effects,
        trained_input_effects,
        label_values,
        data_path,
        box_regions,
        class_weighting,
        prototype_spread,
        training_state,
        condition_ranges,
        guidance,
        uncertainty,
        bookkeeping,
        update_budget,
        training_step,
        trained_step,
        gradients,
        frozen_parts,
        first_steps,
        rate_probe,
        loss_order,
        blind_terms,
        loss_operations,
        metric_probe,
        model_swap,
        repeat_validation,
        repeat_selection,
        shared_samples,
        baselines,
        recorded_run,
        model_score,
        one_frozen_batch,
        learned,
        outputs,
        deployed_weights,
        hardened_metric,
        trained_repeat_validation,
        one_frozen_batch_longer,
        full_run,
    )
