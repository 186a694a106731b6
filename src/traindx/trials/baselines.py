"""Trivial baselines under the metric of a trial, so that no figure stands alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from traindx.core.batches import to_device
from traindx.core.randomness import seeded
from traindx.diagnosis import Baseline
from traindx.trials.scoring_metric import ScoringMetric, training_truths, validation_batches
from traindx.trials.training import own_generators

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Case

MOST_NEIGHBOURS = 64


def trivial_baselines(case: Case, scoring_metric: ScoringMetric, name: str) -> tuple[Baseline, ...]:
    """What needs no model: zeros, the mean training image, another sample, the nearest neighbour.

    The nearest neighbour is the target of the training sample whose inputs are closest (mean square, over the case's
    conditions, or over every tensor of the batch that is not the target); it is left out where there are none.

    Returns:
        Baselines, worst first.
    """
    with case.open(), torch.no_grad():
        batches = validation_batches(case)
        truths = [scoring_metric.truth(case, batch) for batch in batches]
        known = training_truths(scoring_metric, case, MOST_NEIGHBOURS)
        made: dict[str, list[Tensor]] = {}
        for batch, truth in zip(batches, truths, strict=True):
            assert case.target is not None
            predictions = {"zeros": scoring_metric.shown(case, torch.zeros_like(case.target(batch)))}
            if known.shape[1:] == truth.shape[1:]:
                predictions["mean image"] = known.mean(dim=0, keepdim=True).to(truth).expand_as(truth)
                # the validation batch may be the training batch, so another sample is taken from the other end
                order = torch.arange(len(truth), device=truth.device)
                predictions["another sample"] = known[(len(known) - 1 - order) % len(known)].to(truth)
                neighbours = nearest(case, batch, len(known))
                if neighbours is not None:
                    predictions["nearest neighbour"] = known[neighbours].to(truth)
            for key, value in predictions.items():
                made.setdefault(key, []).append(value)
    figures = [
        Baseline(name=key, value=scoring_metric.measure(name, values, truths))
        for key, values in made.items()
        if len(values) == len(truths)
    ]
    return tuple(
        sorted(figures, key=lambda item: item.value, reverse=not scoring_metric.metrics[name].higher_is_better)
    )


def nearest(case: Case, batch: Any, most: int = MOST_NEIGHBOURS) -> Tensor | None:
    """Index among the first ``most`` training samples of the closest inputs, by sample; None without inputs.

    Training samples that are the sample itself (distance 0) do not count, as they do where there is no validation set.
    """
    keys = _input_keys(case, batch)
    if not keys:
        return None
    wanted = _features(batch, keys)
    known: list[Tensor] = []
    with seeded("training truths"), own_generators(case.train):
        for other in case.batches("train"):
            known.append(_features(to_device(other, case.device), keys))
            if sum(len(item) for item in known) >= most:
                break
    table = torch.cat(known)[:most]
    if table.shape[1] != wanted.shape[1]:
        return None
    distance = torch.cdist(wanted.double(), table.double())
    distance[distance <= 1e-6 * wanted.double().norm(dim=1, keepdim=True).clamp_min(1e-12)] = float("inf")
    return None if bool(torch.isinf(distance).all(dim=1).any()) else distance.argmin(dim=1)


def _input_keys(case: Case, batch: Any) -> list[str]:
    if not isinstance(batch, Mapping):
        return []
    assert case.target is not None
    target = case.target(batch)

    def usable(value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.is_floating_point() and len(value.shape) >= 1

    if case.conditions:
        return [key for key in case.conditions if usable(batch.get(key))]
    return [
        key
        for key, value in batch.items()
        if usable(value)
        and len(value) == len(target)
        and value.untyped_storage().data_ptr() != target.untyped_storage().data_ptr()
        and not (value.shape == target.shape and torch.equal(value, target))
    ]


def _features(batch: Any, keys: list[str]) -> Tensor:
    return torch.cat([batch[key].flatten(1) for key in keys], dim=1)
