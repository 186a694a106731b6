"""The ranges of the images that a network is conditioned on, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.evidence.model_in_use import ConditionRange

BATCHES = 4
_MOST = 200_000  # values that percentiles are taken of


@check("condition-ranges", "the ranges of the conditions, side by side", needs=("conditions",), gives=(ConditionRange,))
def condition_ranges(ctx: CheckContext) -> None:
    """Percentiles of every condition that is an image, over some training batches."""
    batches = [batch for batch in ctx.batches(BATCHES) if isinstance(batch, Mapping)]
    for name in ctx.case.conditions:
        values = _values(batches, name)
        if values is None:
            continue
        low, high = (float(edge) for edge in torch.quantile(values, torch.tensor([0.01, 0.99]).to(values)))
        distinct = min(17, len(set(values.tolist())))
        ctx.record(ConditionRange(condition=name, low=low, high=high, distinct=distinct))


def _values(batches: list[Mapping[str, Any]], name: str) -> torch.Tensor | None:
    found = [batch[name] for batch in batches if isinstance(batch.get(name), torch.Tensor) and batch[name].dim() >= 4]
    if not found:
        return None
    flat = torch.cat([image.detach().float().flatten() for image in found])
    return flat[:: 1 + len(flat) // _MOST]
