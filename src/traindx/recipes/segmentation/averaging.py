"""Averaged weights that are evaluated only once they exist.

Lightning's `WeightAveraging` swaps the averaged weights in at every validation, also before the first average was
taken; a callback that starts averaging at step k is then validated, saved and selected with the random weights of
step 0 until k. Here nothing is swapped or saved before there is an average, and the decay warms up so that the first
averages are not dominated by the initial weights.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):  # type: ignore[misc]
    """Exponential moving average of the weights with warm-up.

    Args:
        decay: Final decay.
        start: First optimiser step that is averaged.

    The decay of the n-th average is ``min(decay, (1 + n) / (10 + n))``, as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, decay: float = 0.999, start: int = 100) -> None:
        def average(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
            taken = int(count)
            share = min(decay, (1 + taken) / (10 + taken))
            torch._foreach_lerp_(averaged, current, 1 - share)

        super().__init__(multi_avg_fn=average, use_buffers=True)
        self.decay = decay
        self.start = start

    @property
    def exists(self) -> bool:
        """True once at least one average was taken."""
        return int(self._latest_update_step) > 0

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Average after each optimiser step from :attr:`start` on."""
        return step_idx is not None and step_idx >= self.start

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Swap the averaged weights in, if there are any."""
        if self.exists:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Swap the trained weights back."""
        if self.exists:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the averaged weights in the model, if there are any."""
        if self.exists:
            super().on_train_end(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave them there as well where nothing was left to train: a run that was killed after its last step."""
        self.on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the averaged weights as the model's, and the trained ones beside them, if there are averages."""
        if self.exists and self._average_model is not None:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore both; a checkpoint from before the first average restores the trained weights alone."""
        if "current_model_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
