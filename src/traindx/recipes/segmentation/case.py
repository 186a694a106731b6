"""The recipe as a case: small enough to be trained many times over in trials, and in every part the recipe's own code.

Training batches hold label values as they are in the files, unlabelled ones included; validation cases are fully
labelled, so that what was learnt where nobody looked is scored as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from traindx import Authoring, Case, DataRange, Labels, Metric
from traindx.errors import InputError
from traindx.recipes.segmentation.fingerprint import fingerprint
from traindx.recipes.segmentation.labels import IGNORE, LabelMeaning
from traindx.recipes.segmentation.loss import DEFAULT_WEIGHTS, SegmentationLoss
from traindx.recipes.segmentation.model import build_network
from traindx.recipes.segmentation.patches import PatchDataset
from traindx.recipes.segmentation.phantom import PHANTOM_LABELS, phantom_cases
from traindx.recipes.segmentation.planning import Machine, Plan, plan
from traindx.recipes.segmentation.preprocessing import PreparedCase, prepare
from traindx.recipes.segmentation.sliding import predict_probabilities
from traindx.recipes.segmentation.sources import CaseRef, folder_cases

Batch = dict[str, Any]


def make_case(
    *,
    data: str | Path | None = None,
    train_cases: int = 16,
    val_cases: int = 6,
    batches: int = 24,
    steps: int = 60,
    filters: int = 8,
    unlabelled: float = 0.4,
    loss: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Case:
    """The recipe as a case.

    Args:
        data: ``phantom``; or a folder of images and labels; default: the hippocampus folder of ``TRAINDX_DATA`` where
            there is one, else phantoms.
        train_cases: Cases that are trained on.
        val_cases: Other cases, for evaluation.
        batches: Training batches of two patches, drawn once.
        steps: Optimiser steps of a trial.
        filters: Width of the network's first level.
        unlabelled: Share of each training case that is marked as not labelled (slabs along the first axis).
        loss: Weights of the loss terms.
        seed: Seed of cases and patches.

    Raises:
        InputError: The folder cannot be used.
    """
    train_refs, val_refs, meaning, name = _cases(data, train_cases, val_cases, unlabelled, seed)
    facts = fingerprint(train_refs, meaning=meaning)
    shape = plan(facts, meaning, Machine(cores=1), base_filters=filters)
    # three levels are enough for an object of 20 voxels, and cost a third of a step
    shape = shape.model_copy(
        update={
            "kernels": shape.kernels[:3],
            "strides": shape.strides[:3],
            "filters": shape.filters[:3],
            "patch": _at_most(shape.patch, 32, shape.divisor),
            "precision": "32-true",
        }
    )
    train = [prepare(ref, shape) for ref in train_refs]
    val = [prepare(ref, shape) for ref in val_refs]
    patches = PatchDataset(train, shape.patch, seed=seed)
    drawn = [_collate([patches[2 * index], patches[2 * index + 1]], shape) for index in range(batches)]
    criterion = SegmentationLoss(DEFAULT_WEIGHTS if loss is None else loss)

    def predict(model: nn.Module, batch: Batch) -> Tensor:
        return predict_probabilities(model, batch["image"], shape.patch, windows=len(batch["image"]))

    return Case(
        name=f"segmentation ({name})",
        model=lambda: build_network(shape),
        train=drawn,
        val=[_whole(case, shape) for case in val],
        loss=lambda model, batch: criterion(model(batch["image"]), encode(batch["label"], meaning), batch["labelled"]),
        predict=predict,
        target=lambda batch: one_hot(encode(batch["label"], meaning).clamp(min=0), meaning.channels),
        metrics={
            "dice": Metric(mean_dice, negligible=0.01, best=1.0),
            "worst_class_dice": Metric(worst_dice, negligible=0.02, best=1.0),
        },
        conditions=("image",),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=5e-3, weight_decay=1e-2),
        steps=steps,
        parts=(
            DataRange(0.0, 1.0),
            Labels(
                read=lambda batch: batch["label"],
                classes={value: name for name, values in _values(meaning) for value in values},
                ignore=tuple(float(value) for value in meaning.ignore),
            ),
            Authoring(
                treatments={
                    "ignore-value": ignore_value,
                    "reference-prediction": lambda case: case.replace(predict=predict),
                },
                extras={"recipe": "segmentation", "plan": shape, "loss_weights": dict(criterion.weights)},
            ),
        ),
    )


def ignore_value(case: Case, *, value: float) -> Case:
    """Treatment: no gradient reaches the network from voxels of a value, whatever the loss does with them."""

    def loss(model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        hidden = batch["label"] == value

        def detach(_module: nn.Module, _arguments: Any, output: Tensor) -> Tensor:
            return torch.where(hidden, output.detach(), output)

        handle = model.register_forward_hook(detach)
        try:
            return case.loss_terms(model, batch)
        finally:
            handle.remove()

    return case.replace(loss=loss)


def _values(meaning: LabelMeaning) -> list[tuple[str, tuple[int, ...]]]:
    return [("background", meaning.background), *meaning.classes.items()]


def encode(label: Tensor, meaning: LabelMeaning) -> Tensor:
    """Label values of the files to class indices, -1 for *ignore*; a value without a meaning is refused.

    The tensor twin of :meth:`LabelMeaning.encode`: an examination follows tensors, not arrays.
    """
    encoded = torch.full_like(label, -2, dtype=torch.int8)
    groups = [meaning.background, *meaning.classes.values()]
    for index, value in [
        *((i, v) for i, group in enumerate(groups) for v in group),
        *((IGNORE, v) for v in meaning.ignore),
    ]:
        encoded[label == value] = index
    if bool((encoded == -2).any()):
        meaning.encode(label.detach().cpu().numpy())  # raises, and names the values
    return encoded


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Class indices ``(B, 1, D, H, W)`` to ``(B, classes, D, H, W)``; voxels that are not labelled are zero in all."""
    seen = label != IGNORE
    return nn.functional.one_hot(label[:, 0].clamp(min=0).long(), classes).movedim(-1, 1).float() * seen


def dice_table(prediction: Tensor, target: Tensor) -> Tensor:
    """Dice of the likeliest class, by sample and foreground class; NaN where neither has the class.

    Args:
        prediction: Probabilities ``(B, C, ...)``.
        target: One-hot of the same shape; voxels that are zero in all channels are left out.
    """
    seen = target.sum(dim=1, keepdim=True) > 0
    chosen = nn.functional.one_hot(prediction.argmax(dim=1), prediction.shape[1]).movedim(-1, 1).bool() & seen
    truth = (target > 0.5) & seen
    both = (chosen & truth).flatten(2).sum(-1)[:, 1:].double()
    size = chosen.flatten(2).sum(-1)[:, 1:].double() + truth.flatten(2).sum(-1)[:, 1:].double()
    return torch.where(size > 0, 2 * both / size.clamp(min=1), torch.nan)


def mean_dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over samples and classes of :func:`dice_table`, absent classes left out."""
    return dice_table(prediction, target).nanmean()


def worst_dice(prediction: Tensor, target: Tensor) -> Tensor:
    """The class with the lowest mean Dice."""
    by_class = dice_table(prediction, target).nanmean(dim=0)
    return by_class[~by_class.isnan()].min() if bool((~by_class.isnan()).any()) else by_class[0]


def _cases(
    data: str | Path | None, train: int, val: int, unlabelled: float, seed: int
) -> tuple[list[CaseRef], list[CaseRef], LabelMeaning, str]:
    if data is None:
        root = os.environ.get("TRAINDX_DATA")
        data = Path(root) / "hippocampus" if root and (Path(root) / "hippocampus").is_dir() else "phantom"
    if data == "phantom":
        first = 1000 * seed
        return (
            phantom_cases(train, first_seed=first, unlabelled=unlabelled),
            phantom_cases(val, first_seed=first + 500),
            PHANTOM_LABELS,
            "phantoms",
        )
    root_path = Path(data)
    refs, _ = folder_cases(root_path)
    if len(refs) < train + val:
        raise InputError(f"{root_path} has {len(refs)} cases", expected=f"at least {train + val}")
    order = np.random.default_rng(seed).permutation(len(refs))
    chosen = [refs[int(index)] for index in order[: train + val]]
    values = fingerprint(chosen).label_values
    meaning = LabelMeaning.inferred(values)
    hidden = max(values) + 1
    return (
        [_hide(ref, hidden, unlabelled, index) for index, ref in enumerate(chosen[:train])],
        chosen[train:],
        meaning.model_copy(update={"ignore": (hidden,), "declared": True}),
        root_path.name,
    )


def _hide(ref: CaseRef, value: int, share: float, seed: int) -> CaseRef:
    """A case of which a share of slabs along the first axis is marked as not labelled."""
    from dataclasses import replace

    def read() -> Any:
        raw = ref.read()
        assert raw.label is not None
        count = raw.label.shape[0]
        slabs = np.zeros(count, dtype=bool)
        slabs[np.random.default_rng(seed).permutation(count)[: round(share * count)]] = True
        return replace(raw, label=np.where(slabs[:, None, None], value, raw.label).astype(raw.label.dtype))

    return replace(ref, read=read)


def _at_most(patch: Sequence[int], edge: int, divisor: Sequence[int]) -> tuple[int, int, int]:
    a, b, c = (min(p, edge // d * d) for p, d in zip(patch, divisor, strict=True))
    return a, b, c


def _collate(samples: Sequence[dict[str, Tensor]], plan: Plan) -> Batch:
    batch: Batch = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
    batch["label"] = _raw(batch["label"], plan.labels)
    return batch


def _whole(case: PreparedCase, plan: Plan) -> Batch:
    assert case.label is not None
    return {
        "image": torch.from_numpy(case.image)[None],
        "label": _raw(torch.from_numpy(case.label)[None, None], plan.labels),
        "labelled": torch.from_numpy(case.labelled)[None],
    }


def _raw(label: Tensor, meaning: LabelMeaning) -> Tensor:
    """Class indices back to the values of the files: what a loader hands over."""
    values = [meaning.background[0], *(group[0] for group in meaning.classes.values()), (*meaning.ignore, IGNORE)[0]]
    return torch.tensor(values, dtype=torch.int16)[label.long()]
