"""Exams: small experiments with a known right answer. One file an exam, registered by the explicit list below."""

from __future__ import annotations

from traindx.exams.base import Exam, ExamRoom, exam

__all__ = ["Exam", "ExamRoom", "catalogue", "exam"]


def catalogue() -> tuple[Exam, ...]:
    """Every exam that ships, in the order in which they are run."""
    from traindx.exams.baselines import baselines, model_score
    from traindx.exams.blind_terms import blind_terms
    from traindx.exams.bookkeeping import bookkeeping
    from traindx.exams.condition_ranges import condition_ranges
    from traindx.exams.conditions import input_effects, trained_input_effects
    from traindx.exams.data_path import data_path
    from traindx.exams.deployed_weights import deployed_weights
    from traindx.exams.first_steps import first_steps
    from traindx.exams.frozen_parts import frozen_parts
    from traindx.exams.gradients import gradients
    from traindx.exams.guidance import guidance, uncertainty
    from traindx.exams.hardened_metric import hardened_metric
    from traindx.exams.information_path import information_path
    from traindx.exams.label_values import label_values
    from traindx.exams.learned import learned
    from traindx.exams.loss_operations import loss_operations
    from traindx.exams.loss_order import loss_order
    from traindx.exams.metric_probe import metric_probe
    from traindx.exams.model_swap import model_swap
    from traindx.exams.one_step import one_step
    from traindx.exams.outputs import outputs
    from traindx.exams.overfit import one_frozen_batch, one_frozen_batch_longer
    from traindx.exams.own_run import own_run, recorded_run
    from traindx.exams.prediction_type import prediction_type
    from traindx.exams.projection import projection
    from traindx.exams.rate_probe import rate_probe
    from traindx.exams.regions import box_regions, class_weighting
    from traindx.exams.repeat_selection import repeat_selection
    from traindx.exams.repeat_validation import repeat_validation, trained_repeat_validation
    from traindx.exams.sampler import sampler
    from traindx.exams.schedule import schedule
    from traindx.exams.shared_samples import shared_samples
    from traindx.exams.time_input import time_input
    from traindx.exams.training_input import training_input
    from traindx.exams.training_step import trained_step, training_step
    from traindx.exams.update_budget import update_budget
    from traindx.exams.upkeep import prototype_spread, upkeep
    from traindx.exams.view_match import view_match
    from traindx.exams.window import window

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
        upkeep,
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
        own_run,
    )
