"""Which values do the label maps hold, and does the loss leave alone what nobody labelled?

The second question has an exact answer: the gradient of the loss with respect to the network's output must be zero in
every voxel whose value means "not labelled".
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import network_of
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence import NotExamined
from traindx.evidence.labels import BatchLabels, UnlabelledGradient, ValueShare

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case_parts import Labels

BATCHES = 8
SHOWN = 32  # values kept in the record


@check(
    "label-values",
    "the values of the label maps, and what the loss does where nobody labelled",
    needs=("labels",),
    gives=(BatchLabels, UnlabelledGradient),
)
def label_values(ctx: CheckContext) -> None:
    """Record the values of some training batches, and the gradient at unlabelled voxels of one of them."""
    labels = ctx.case.labels
    assert labels is not None
    batches = ctx.batches(BATCHES, "train")
    maps = [labels.read(batch).detach().double().cpu() for batch in batches]
    counts: Counter[float] = Counter()
    fractional = total = 0
    odd: set[float] = set()
    for one in maps:
        values, times = torch.unique(one, return_counts=True)
        for value, count in zip(values.tolist(), times.tolist(), strict=True):
            total += count
            if value == round(value):
                counts[value] += count
            else:
                fractional += count
                odd.add(value)
    ctx.record(
        BatchLabels(
            where=defined_at(labels.read),
            maps=sum(len(one) for one in maps),
            values=tuple(ValueShare(value=v, share=n / total) for v, n in sorted(counts.most_common(SHOWN))),
            declared=tuple(float(value) for value in labels.classes),
            ignored=tuple(float(value) for value in labels.ignore),
            fractional=fractional / total,
            fractional_examples=tuple(sorted(odd)[:5]),
        )
    )
    if labels.ignore and ctx.case.loss is not None:
        _gradient(ctx, labels, batches, maps)


def _gradient(ctx: CheckContext, labels: Labels, batches: list[Any], maps: list[Tensor]) -> None:
    """Gradient at the output of a fresh network, for the first batch that has both kinds of voxels."""
    hidden = [torch.stack([one == value for value in labels.ignore]).any(dim=0) for one in maps]
    usable = [index for index, mask in enumerate(hidden) if 0 < int(mask.sum()) < mask.numel()]
    if not usable:
        ctx.record(NotExamined(subject="the gradient at unlabelled voxels", reason="no batch holds an ignored value"))
        return
    batch, mask = batches[usable[0]], hidden[usable[0]]
    outputs, terms = _outputs_and_terms(ctx, batch)
    spatial = tuple(mask.shape[2:]) if mask.ndim > 3 else tuple(mask.shape[1:])
    found = [one for one in outputs if tuple(one.shape[-len(spatial) :]) == spatial and len(one) == len(mask)]
    if not found:
        reason = f"the network's outputs {[tuple(one.shape) for one in outputs]} have no voxel for each label"
        ctx.record(NotExamined(subject="the gradient at unlabelled voxels", reason=reason))
        return
    for name, value in terms.items():
        if not value.requires_grad:
            continue
        gradients = torch.autograd.grad(value, found, retain_graph=True, allow_unused=True)
        flat = [
            gradient.detach().double().cpu().reshape(len(mask), -1, *spatial)
            for gradient in gradients
            if gradient is not None
        ]
        if flat:
            place = defined_at(ctx.case.loss)
            ctx.record(
                _measured(name, torch.cat(flat, 1), mask.reshape(-1, *spatial)).model_copy(update={"where": place})
            )


def _outputs_and_terms(ctx: CheckContext, batch: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
    model = ctx.fresh_model()
    outputs: list[Tensor] = []

    def listen(_module: Any, _arguments: Any, output: Any) -> None:
        parts = (
            output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else [output]
        )
        outputs.extend(part for part in parts if isinstance(part, torch.Tensor) and part.requires_grad)

    handle = network_of(ctx.case, model).register_forward_hook(listen)
    try:
        with undisturbed(ctx.seed), in_mode(model, training=True), torch.enable_grad():
            terms = ctx.case.loss_terms(model, batch)
    finally:
        handle.remove()
    if len(terms) > 1:
        terms = {**terms, "total": torch.stack([value.reshape(()) for value in terms.values()]).sum()}
    return outputs, terms


def _measured(term: str, gradient: Tensor, hidden: Tensor) -> UnlabelledGradient:
    """What a gradient ``(B, C, ...)`` does in the voxels of ``hidden`` ``(B, ...)`` and in the others."""
    size = gradient.abs().mean(dim=1)
    here = gradient.movedim(1, -1)[hidden]
    if gradient.shape[1] == 1:
        lowered = float((here[:, 0] > 0).double().mean())
        channel, agreement = (-1, lowered) if lowered > 0.5 else (0, 1 - lowered)
    else:
        raised = here.argmin(dim=1)  # a step downhill raises what has the most negative gradient
        channel = int(raised.mode().values)
        agreement = float((raised == channel).double().mean())
    return UnlabelledGradient(
        term=term,
        share=float(hidden.double().mean()),
        unlabelled=float(size[hidden].mean()),
        labelled=float(size[~hidden].mean()),
        channel=channel,
        agreement=agreement,
        channels=gradient.shape[1],
    )
