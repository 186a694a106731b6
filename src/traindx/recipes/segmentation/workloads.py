"""What a segmentation training takes, for ``--plan``: network and patches as they are planned for a stated data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.kit.footprint import Workload
from traindx.recipes.segmentation.data import SegmentationData
from traindx.recipes.segmentation.fingerprint import CaseFacts, Fingerprint
from traindx.recipes.segmentation.labels import IGNORE, LabelMeaning
from traindx.recipes.segmentation.module import SegmentationModule
from traindx.recipes.segmentation.planning import Machine, Plan, plan

EXAMPLE = "CT of the abdomen, 300 x 400 x 500 mm, 0.8 x 0.8 x 1.5 mm, 13 organs"
"""What is planned for where no data are given: the size of BTCV and AMOS."""
_CLASSES = 13


def counted_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Dice and cross-entropy of every head, as the default loss has them where every class was looked for.

    Written out: MONAI's Dice and the look at what was labelled ask for numbers, which tensors without memory do not
    have. Other terms of the loss are not counted.
    """
    heads = logits.unbind(1) if logits.ndim == 6 else (logits,)
    return torch.stack([_of_a_head(head.float(), label) for head in heads]).sum()


def _of_a_head(logits: Tensor, label: Tensor) -> Tensor:
    seen = label != IGNORE
    truth = nn.functional.one_hot(label[:, 0].clamp(min=0).long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    log_p, truth = torch.log_softmax(logits, dim=1), truth * seen
    p = log_p.exp() * seen
    both, sizes = (one.flatten(2).sum(-1) for one in (p[:, 1:] * truth[:, 1:], p[:, 1:] + truth[:, 1:]))
    ce = -(truth * log_p.clamp(min=-100)).sum() / seen.sum().clamp(min=1)
    return 1 - ((2 * both + 1e-5) / (sizes + 1e-5)).mean() + ce


def example() -> tuple[Fingerprint, LabelMeaning]:
    """Facts of a data set like :data:`EXAMPLE`."""
    facts = CaseFacts(
        name="a", shape=(333, 375, 500), spacing=(1.5, 0.8, 0.8), axes="SAR", channels=1,
        intensity=((-1000.0, 1500.0, -1000.0, 0.0, 400.0),), foreground_intensity=((-900.0, 300.0, 60.0, 80.0),),
    )  # fmt: skip
    return Fingerprint(cases=(facts,)), LabelMeaning(classes={f"organ {k}": (k,) for k in range(1, 1 + _CLASSES)})


def planned(data: SegmentationData) -> Plan:
    """The plan for :func:`example` under the settings of a data module, on a device that computes in bfloat16."""
    facts, meaning = example()
    machine = Machine(gpu_gib=data.memory or Machine.here().gpu_gib, bf16=True)
    batch = {} if data.batch is None else {"batch": data.batch}
    made = plan(facts, meaning, machine, base_filters=data.base_filters, **batch)
    return made if data.patch is None else made.model_copy(update={"patch": tuple(data.patch)})


def workloads(values: Mapping[str, Any]) -> list[Workload]:
    """One workload.

    Args:
        values: Settings of a preset, see :func:`traindx.recipes.kit.cost.settings`.
    """
    data = SegmentationData(**{"root": ".", **values["data"]})
    made = planned(data)
    flips = tuple(values["data"].get("flips", ()))

    def module() -> nn.Module:
        return SegmentationModule(made, **{**values["model"], "flips": flips})

    def loss(module: nn.Module) -> Tensor:
        assert isinstance(module, SegmentationModule)
        image = torch.randn(made.batch, made.channels, *made.patch)
        label = torch.zeros(made.batch, 1, *made.patch, dtype=torch.int16)
        return counted_loss(module(image), label)

    sgd = values["model"].get("optimizer") == "sgd"
    return [
        Workload(
            "segmentation",
            f"{made.batch} x {' x '.join(map(str, made.patch))}, {made.filters[0]} to {made.filters[-1]} channels",
            module,
            loss,
            lambda p: torch.optim.SGD(p, 1e-2, momentum=0.99) if sgd else torch.optim.AdamW(p, 1e-3),
            (data.samples_per_epoch or 1000) // made.batch,
            made.precision,
        )
    ]
