"""The training loop as a LightningModule: loss, optimiser, cosine schedule, whole-case validation, contract.

The precision of the plan is applied here and not by the trainer, so that an examination computes what training does.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor

from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.schedule import stepped, warmup_cosine
from traindx.recipes.kit.split import Split
from traindx.recipes.segmentation.contract import InferenceSettings, check, contract_of, read
from traindx.recipes.segmentation.labels import IGNORE
from traindx.recipes.segmentation.loss import SegmentationLoss
from traindx.recipes.segmentation.model import Architecture, build_network
from traindx.recipes.segmentation.planning import Plan
from traindx.recipes.segmentation.sliding import predict_probabilities
from traindx.recipes.segmentation.threshold import OverlapCounts


class SegmentationModule(L.LightningModule):  # type: ignore[misc]
    """Trains one network for a plan.

    Args:
        plan: What training and inference must agree on, or its JSON form; the command line links it from the data.
        architecture: `dynunet`, `residual` or `unet`; see `build_network`.
        deep_supervision: Number of coarser outputs that are trained as well; 0 for `unet`.
        loss: Weight of each loss term; see `TERMS`.
        optimizer: `adamw` or `sgd` (Nesterov momentum .99, as nnU-Net).
        lr: Peak learning rate.
        weight_decay: Decoupled for AdamW.
        warmup: Steps of linear warm-up, inside the schedule.
        min_lr: Share of the peak learning rate at the end of the cosine.
        flips: Axes mirrored at validation and prediction; must be among those that training mirrors.
        dropout: Dropout of feature maps.
        gradient_clip: Largest gradient norm; 0 for none.
    """

    def __init__(
        self,
        plan: Plan | dict[str, Any],
        *,
        architecture: Architecture = "dynunet",
        deep_supervision: int = 0,
        loss: dict[str, float] | None = None,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        warmup: int = 100,
        min_lr: float = 0.01,
        flips: tuple[int, ...] = (),
        dropout: float = 0.0,
        gradient_clip: float = 12.0,
    ) -> None:
        super().__init__()
        plan = Plan.model_validate(plan)
        self.plan = plan
        self.architecture: Architecture = architecture
        self.network = build_network(
            plan, architecture=architecture, deep_supervision=deep_supervision, dropout=dropout
        )
        self.criterion = SegmentationLoss(loss)
        self.optimizer_name, self.lr, self.weight_decay = optimizer, lr, weight_decay
        self.warmup, self.min_lr, self.flips, self.gradient_clip = warmup, min_lr, flips, gradient_clip
        self.deep_supervision, self.dropout = deep_supervision, dropout
        self.settings = InferenceSettings(flips=flips)
        self.split: Split | None = None
        self._counts = OverlapCounts(plan.labels.channels)

    @property
    def bf16(self) -> bool:
        """True if the plan computes in bfloat16."""
        return self.plan.precision.startswith("bf16")

    def forward(self, image: Tensor) -> Tensor:
        """Logits of a batch of patches, computed in the precision of the plan."""
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.network(image.contiguous(memory_format=torch.channels_last_3d))
        return logits

    def loss_terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weighted loss terms of a batch."""
        terms: dict[str, Tensor] = self.criterion(self(batch["image"]), batch["label"], batch["labelled"])
        return terms

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """One step; logs the sum and every term as it is weighted."""
        terms = self.loss_terms(batch)
        total = torch.stack(list(terms.values())).sum()
        size = batch["image"].shape[0]
        self.log("loss", total.detach(), prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        for name, value in terms.items():
            self.log(f"loss/{name}", value.detach(), on_step=False, on_epoch=True, batch_size=size)
        return total

    def configure_gradient_clipping(self, optimizer: Any, **_: Any) -> None:
        """Clip after the gradients were unscaled, which Lightning does before it calls this."""
        if self.gradient_clip > 0:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.gradient_clip)
            self.log("gradient_norm", norm, on_step=False, on_epoch=True)

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the last validation."""
        self._counts = OverlapCounts(self.plan.labels.channels)
        self._ratios: list[float] = []
        self._spreads: list[float] = []

    def validation_step(self, batch: dict[str, Any], batch_index: int) -> None:
        """Predict a whole case the way `predict` does and count overlaps at every candidate threshold."""
        p = predict_probabilities(self.network, batch["image"], self.plan.patch, flips=self.flips, bf16=self.bf16)
        label = batch["label"][0, 0]
        self._counts.add(p[0], label, batch["labelled"][0])
        foreground = 1 - p[0, 0][label != IGNORE]
        if foreground.numel():
            self._ratios.append(float((foreground >= 0.5).float().mean()))
            self._spreads.append(float(foreground.std(correction=0)))

    def on_validation_epoch_end(self) -> None:
        """Log Dice of the likeliest class, foreground ratio and output spread."""
        self.log("val_dice", self._counts.mean(None), prog_bar=True)
        for name, value in zip(self.plan.labels.names, self._counts.dice(None), strict=True):
            if math.isfinite(value):
                self.log(f"val_dice/{name}", value)
        if self._ratios:
            self.log("foreground_ratio", float(np.mean(self._ratios)))
            self.log("foreground_ratio_sd", float(np.std(self._ratios)))
            self.log("output_spread", float(np.mean(self._spreads)))

    def configure_optimizers(self) -> Any:
        """AdamW or SGD with warm-up and one cosine over all steps of the run, stepped with the optimiser."""
        decayed = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        free = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]  # norms and biases
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": free, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer
        if self.optimizer_name == "adamw":
            optimizer = torch.optim.AdamW(groups, lr=self.lr)
        else:
            optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=0.99, nesterov=True)
        total = max(int(self.trainer.estimated_stepping_batches), 1)
        warmup = min(self.warmup, total // 10)
        return stepped(optimizer, lambda step: warmup_cosine(step, total, warmup, self.min_lr))

    def contract(self) -> dict[str, Any]:
        """What a checkpoint of this module promises."""
        network = {
            "architecture": self.architecture,
            "deep_supervision": self.deep_supervision,
            "dropout": self.dropout,
        }
        return contract_of(self.plan, network, self.settings, self.split)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the contract: plan, network, split and inference settings."""
        checkpoint[CONTRACT_KEY] = self.contract()
        checkpoint["total_steps"] = int(self.trainer.estimated_stepping_batches)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint made under another contract."""
        check(checkpoint, self.contract())
        self.settings = InferenceSettings.model_validate(checkpoint[CONTRACT_KEY]["inference"])


def module_from(path: Path) -> SegmentationModule:
    """The module of a checkpoint, with its weights (the averaged ones where there are), in evaluation mode.

    Raises:
        InputError: The checkpoint cannot be used.
    """
    checkpoint = read(path)
    contract = checkpoint[CONTRACT_KEY]
    settings = InferenceSettings.model_validate(contract["inference"])
    module = SegmentationModule(Plan.model_validate(contract["plan"]), flips=settings.flips, **contract["network"])
    module.load_state_dict(checkpoint["state_dict"])
    module.settings = settings
    module.split = Split.model_validate(contract["split"]) if contract["split"] else None
    module.eval()
    return module
