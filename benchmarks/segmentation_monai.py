"""Networks of MONAI, trained the way their tutorials do, on the patches of ``segmentation_hippocampus.py``.

* ``monai-unet``: the residual U-Net of MONAI's 3D segmentation tutorial, with its loss, optimiser and transforms.
* ``monai-segresnet``: SegResNet with the blocks, filters and cosine schedule of MONAI's brain tumour tutorial. Its
  learning rate is 1e-3 and not 1e-4, because a thousand steps and not a hundred thousand fit in here, and its patches
  are augmented as those of the recipe are: the tutorial's mirroring would swap front and back.
* ``monai-dynunet``: DynUNet as MONAI's pipeline for it trains (deep supervision, SGD with Nesterov momentum .99,
  polynomial decay, mirrored views), with 16 to 128 filters and 2 patches a step in place of 32 to 256 and 9.
* ``nnunet-plan``: what nnU-Net v2 plans for these data (patch 40x56x40, batch 9, 32 to 256 channels), in DynUNet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from traindx.recipes.segmentation.augmentation import Augmentation
from traindx.recipes.segmentation.data import SegmentationData
from traindx.recipes.segmentation.model import build_network
from traindx.recipes.segmentation.patches import PatchDataset, SampleNumbers
from traindx.recipes.segmentation.planning import Plan

PROBE = 6


@dataclass
class Spent:
    """What a training cost."""

    steps: int
    wall_minutes: float
    cpu_minutes: float
    step_seconds: float


def clock(kind: str) -> Callable[[], float]:
    """Seconds of wall or processor time of this process."""
    return time.process_time if kind == "cpu" else time.perf_counter


def steps_for(step: Callable[[], None], seconds: float, kind: str) -> tuple[int, float]:
    """Number of steps that fit into seconds of the clock, after two warm-up steps."""
    now = clock(kind)
    for number in range(PROBE + 2):
        if number == 2:
            started = now()
        step()
    each = (now() - started) / PROBE
    return max(1, int(seconds / each)), each


@dataclass(frozen=True)
class Peer:
    """How a network is built and trained.

    Attributes:
        build: Makes the network for a plan.
        batch: Patches a step.
        schedule: How the learning rate goes to 0 over the run, or ``constant``.
        sgd: SGD with Nesterov momentum .99, else Adam.
        lr: Learning rate at the start.
        weight_decay: Weight decay of the optimiser.
        foreground: Share of patches centred on a class.
        augmentation: Options of the recipe's augmentation.
        batch_dice: Dice over the patches of a step together.
        clip: Largest gradient norm; 0 for none.
        flips: Axes mirrored at prediction.
    """

    build: Callable[[Plan], nn.Module]
    batch: int
    schedule: Literal["constant", "polynomial", "cosine"]
    sgd: bool = False
    lr: float = 1e-3
    weight_decay: float = 0.0
    foreground: float = 0.5
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    batch_dice: bool = False
    clip: float = 0.0
    flips: tuple[int, ...] = ()

    def optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimiser."""
        if self.sgd:
            return torch.optim.SGD(parameters, lr=self.lr, momentum=0.99, nesterov=True, weight_decay=self.weight_decay)
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule over the steps of a run."""
        if self.schedule == "polynomial":
            return torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, power=0.9)
        if self.schedule == "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def _dynunet(filters: tuple[int, ...]) -> Callable[[Plan], nn.Module]:
    """DynUNet on the patches of nnU-Net's plan, with deep supervision."""

    def build(plan: Plan) -> nn.Module:
        wide = plan.model_copy(update={"filters": filters, "patch": (40, 56, 40)})
        return build_network(wide, deep_supervision=2).to(memory_format=torch.contiguous_format)

    return build


def _residual_unet(plan: Plan) -> nn.Module:
    """The network of the tutorial."""
    from monai.networks.nets import UNet

    return UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=plan.labels.channels,
        channels=(16, 32, 64, 128),
        strides=(2, 2, 2),
        num_res_units=2,
        norm="batch",
    )


def _segresnet(plan: Plan) -> nn.Module:
    """The network of the tutorial."""
    from monai.networks.nets import SegResNet

    return SegResNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=plan.labels.channels,
        init_filters=16,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
        dropout_prob=0.2,
    )


_STRONG = {"rotation": 30, "scale": (0.7, 1.4), "flips": (0, 1, 2), "probability": 0.36}
"""Movements of nnU-Net."""

_NNUNET = {
    "schedule": "polynomial",
    "sgd": True,
    "lr": 1e-2,
    "weight_decay": 3e-5,
    "foreground": 0.33,
    "augmentation": _STRONG,
    "batch_dice": True,
    "clip": 12.0,
    "flips": (0, 1, 2),
}

PEERS: Mapping[str, Peer] = {
    "monai-unet": Peer(
        _residual_unet,
        batch=4,  # two volumes with 4 patches each, halved for memory
        schedule="constant",
        augmentation={"probability": 0.0, "strength": 0.0},
    ),
    "monai-segresnet": Peer(_segresnet, batch=4, schedule="cosine", weight_decay=1e-5),
    "monai-dynunet": Peer(
        _dynunet((16, 32, 64, 128)),
        batch=2,
        **{**_NNUNET, "augmentation": {**_STRONG, "rotation": 0, "scale": (0.9, 1.2), "probability": 0.15}},
    ),
    "nnunet-plan": Peer(_dynunet((32, 64, 128, 256)), batch=9, **_NNUNET),
}


def train_peer(
    data: SegmentationData, method: str, *, seconds: float, kind: str, seed: int
) -> tuple[nn.Module, Plan, Spent]:
    """Train on the training and validation patients of the recipe's split.

    Args:
        data: Cases, split and plan of the recipe.
        method: One of :data:`PEERS`.
        seconds: Budget.
        kind: Clock of the budget, ``cpu`` or ``wall``.
        seed: Seed of weights and patches.
    """
    from monai.losses import DiceCELoss

    torch.manual_seed(seed)
    peer, plan = PEERS[method], data.plan
    net = peer.build(plan)
    cases = [*data.dataset("train"), *data.dataset("val")]
    patches = PatchDataset(
        cases, plan.patch, augmentation=Augmentation(**peer.augmentation), foreground=peer.foreground, seed=seed
    )
    numbers: Iterator[int] = iter(SampleNumbers(len(cases), 10**9, seed))
    criterion = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=peer.batch_dice)
    parameters = list(net.parameters())
    optimizer = peer.optimizer(parameters)

    def step() -> None:
        net.train()
        drawn = [patches[next(numbers)] for _ in range(peer.batch)]
        image = torch.stack([one["image"] for one in drawn])
        label = torch.stack([one["label"] for one in drawn]).clamp(min=0)  # none of them knows of unlabelled voxels
        output: Tensor = net(image)
        heads = list(output.unbind(1)) if output.ndim == 6 else [output]
        shares = [2.0**-k for k in range(len(heads))]
        loss = sum(w * criterion(head, label) for w, head in zip(shares, heads, strict=True)) / sum(shares)
        optimizer.zero_grad()
        loss.backward()
        if peer.clip:
            nn.utils.clip_grad_norm_(parameters, peer.clip)
        optimizer.step()

    started, used = time.perf_counter(), time.process_time()
    steps, each = steps_for(step, seconds, kind)
    print(f"{method}: {each:.2f} s a step by the {kind} clock: {steps} steps", flush=True)
    schedule = peer.scheduler(optimizer, steps)
    for number in range(max(0, steps - PROBE - 2)):
        step()
        schedule.step()
        if number % 50 == 0:
            print(f"{method}: step {number}", flush=True)
    spent = Spent(steps, (time.perf_counter() - started) / 60, (time.process_time() - used) / 60, each)
    return net, plan, spent
