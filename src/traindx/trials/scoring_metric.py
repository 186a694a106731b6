"""The scoring metric of a trial: one way of scoring for all arms, and a test that it did not move.

A treatment may change the normalisation, the window or the target itself. Then the same network values mean other raw
values, and a difference between two arms may be the scoring metric's and not the model's. So all arms are scored by the
*control's* metrics: in raw units where metric and case allow it, else in the control's network units through both
normalisers; and where neither is possible fixed predictors, which know nothing of the model, are scored under both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from traindx.case import Metric
from traindx.core.batches import to_device
from traindx.core.randomness import seeded
from traindx.errors import CaseError
from traindx.trials.training import attempt, own_generators

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Case

# Validation batches that a trial scores at most: an endless loader must end, and sampling a diffusion model is dear.
MOST_BATCHES = 16


class Units(StrEnum):
    """In which units the arms of a trial are compared."""

    RAW = "raw units"
    CONTROL = "the control's network units"
    NETWORK = "network units"


@dataclass(frozen=True)
class ScoringMetric:
    """The control's metrics and units, for all arms alike.

    Attributes:
        control: The untreated case.
        metrics: Its metrics by name.
        units: Units of the comparison.
    """

    control: Case
    metrics: Mapping[str, Metric]
    units: Units

    @classmethod
    def of(cls, control: Case, arms: Sequence[Case] = ()) -> ScoringMetric:
        """The scoring metric for a control and its arms.

        Raises:
            CaseError: The case has no metrics or no target.
        """
        control.metric()
        if control.target is None:
            raise CaseError(f"case {control.name!r} has no target", expected="target=batch -> Tensor")
        metrics = {name: control.metric(name)[1] for name in control.metrics}
        _, judge = control.metric()
        changed = any(arm.normaliser is not control.normaliser for arm in arms)
        if control.normaliser is not None and judge.raw is not None:
            units = Units.RAW
        elif changed and all(arm.normaliser is not None for arm in (control, *arms)):
            units = Units.CONTROL
        else:
            units = Units.NETWORK
        return cls(control, metrics, units)

    def truth(self, case: Case, batch: Any) -> Tensor:
        """The truth of a batch of ``case`` in the units of the comparison."""
        assert case.target is not None
        if self.units is Units.NETWORK or case.normaliser is None:
            return case.target(batch).detach()
        raw = case.normaliser.raw(batch) if case.normaliser.raw else case.normaliser.decode(case.target(batch))
        return raw.detach() if self.units is Units.RAW else self._encode(raw)

    def shown(self, case: Case, prediction: Tensor) -> Tensor:
        """A prediction of ``case`` in network units, in the units of the comparison."""
        if self.units is Units.NETWORK or case.normaliser is None:
            return prediction
        raw = case.normaliser.decode(prediction)
        return raw if self.units is Units.RAW else self._encode(raw)

    def _encode(self, raw: Tensor) -> Tensor:
        assert self.control.normaliser is not None
        return self.control.normaliser.encode(raw).detach()

    def measure(self, name: str, predictions: Sequence[Tensor], truths: Sequence[Tensor]) -> float:
        """One metric over all batches: on all samples at once where shapes allow, else the mean weighted by size.

        Raises:
            CaseError: The metric raised.
        """
        metric = self.metrics[name]
        use_raw = self.units is Units.RAW and metric.raw is not None
        function = metric.raw if use_raw and metric.raw is not None else metric.function

        def figure(prediction: Tensor, truth: Tensor) -> float:
            return float(attempt(f"computing the metric {name}", lambda: function(prediction, truth)))

        same = len({tuple(t.shape[1:]) for t in (*predictions, *truths)}) == 1 and all(t.dim() > 0 for t in truths)
        if same or len(predictions) == 1:
            return figure(torch.cat(list(predictions)), torch.cat(list(truths)))
        sizes = [max(1, t.shape[0] if t.dim() else 1) for t in truths]
        values = [figure(p, t) for p, t in zip(predictions, truths, strict=True)]
        return sum(size * value for size, value in zip(sizes, values, strict=True)) / sum(sizes)


def validation_batches(case: Case, most: int = MOST_BATCHES) -> list[Any]:
    """The first validation batches on the case's device, the same at every call.

    Raises:
        CaseError: There is none, or reading them raises.
    """
    with seeded("validation batches"), own_generators(case.val if case.val is not None else case.train):
        batches = attempt("reading the validation batches", lambda: case.first_batches(most, "val"))
    return [to_device(batch, case.device) for batch in batches]


def training_truths(scoring_metric: ScoringMetric, case: Case, most: int = 64) -> Tensor:
    """Up to ``most`` training truths of equal shape ``(n, ...)``, in the units of the comparison.

    Raises:
        CaseError: There is no training batch.
    """
    found: list[Tensor] = []
    with seeded("training truths"), own_generators(case.train):
        for batch in attempt("reading the training batches", lambda: case.batches("train")):
            found.append(scoring_metric.truth(case, to_device(batch, case.device)))
            if sum(len(item) for item in found) >= most or len(found) >= most:
                break
    if not found:
        raise CaseError(f"the train batches of case {case.name!r} ended before the first one", expected="a batch")
    return torch.cat([item for item in found if item.shape[1:] == found[0].shape[1:]])[:most]


def fixed_predictors(truth: Tensor, typical: Tensor) -> dict[str, Tensor]:
    """Predictions that no model made, for a truth of shape ``(B, ...)``.

    Args:
        truth: The truth.
        typical: Other truths of the same kind, shape ``(n, ...)``.

    Returns:
        ``zeros``, ``constant`` (mean of the typical ones), ``mean image``, ``another sample`` and ``blurred truth``.
    """
    typical = typical.to(truth)
    other = typical[torch.arange(len(truth), device=truth.device).flip(0) % len(typical)]
    made = {
        "zeros": torch.zeros_like(truth),
        "constant": torch.full_like(truth, float(typical.double().mean())),
        "mean image": typical.mean(dim=0, keepdim=True).expand_as(truth),
        "another sample": other,
    }
    if truth.dim() >= 4:
        made["blurred truth"] = blurred(truth)
    return made


def blurred(image: Tensor) -> Tensor:
    """Mean over a window of 3 along every spatial axis, edges repeated; image of shape ``(B, C, ...)``."""
    for axis in range(2, image.dim()):
        moved = image.movedim(axis, -1)
        flat = F.pad(moved.reshape(1, -1, moved.shape[-1]).float(), (1, 1), mode="replicate")
        image = F.avg_pool1d(flat, 3, stride=1).reshape(moved.shape).movedim(-1, axis).to(image.dtype)
    return image


def score_fixed(scoring_metric: ScoringMetric, case: Case, name: str) -> dict[str, float]:
    """The fixed predictors of a case under a scoring metric.

    They are made from the truth in the units of the comparison, as that truth is what the metric compares with.
    """
    batches = validation_batches(case)
    truths = [scoring_metric.truth(case, batch) for batch in batches]
    typical = training_truths(scoring_metric, case)
    alike = all(typical.shape[1:] == truth.shape[1:] for truth in truths)
    made = [fixed_predictors(truth, typical if alike else truth) for truth in truths]
    return {
        predictor: scoring_metric.measure(name, [item[predictor] for item in made], truths)
        for predictor in made[0]
        if all(predictor in item for item in made)
    }


def moved(before: Mapping[str, float], after: Mapping[str, float], negligible: float = 0.0) -> dict[str, float]:
    """By how much fixed predictors moved, after minus before, where that is more than round-off.

    ``zeros`` and ``constant`` move with any change of scale; a scoring metric that moved shows in all of them.
    """
    shifts = {}
    for name in before.keys() & after.keys():
        shift = after[name] - before[name]
        # 1e-4 of the figure: round-off of float32 images, far below any change of range, window or averaging
        if math.isfinite(shift) and abs(shift) > max(negligible, 1e-4 * max(abs(before[name]), 1e-3)):
            shifts[name] = shift
    return dict(sorted(shifts.items()))
