from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, WeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader

from traindx.recipes.segmentation.averaging import AveragedWeights


class Counter(L.LightningModule):
    """One weight that becomes 1, 2, 3, ... with every step, and a record of what validation sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[float] = []

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return -self.weight.sum()

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.seen.append(float(self.weight.detach()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(callback: WeightAveraging, steps: int, folder: Path) -> Counter:
    module = Counter()
    loader: Any = DataLoader(torch.zeros(1, 1))
    trainer = L.Trainer(
        max_steps=steps,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        default_root_dir=folder,
    )
    trainer.fit(module, loader, loader)
    return module


def averages(steps: int, start: int, decay: float) -> list[float]:
    """What a validation after each step must see, written out."""
    seen, average, taken = [], 0.0, 0
    for step in range(steps):
        weight = float(step + 1)
        if step >= start:
            share = min(decay, (1 + taken) / (10 + taken))
            average = weight if taken == 0 else share * average + (1 - share) * weight
            taken += 1
        seen.append(average if taken else weight)
    return seen


@pytest.mark.parametrize("start", [0, 3])
def test_validation_sees_the_average_once_it_exists_and_the_weights_before(start: int, tmp_path: Path) -> None:
    module = fit(AveragedWeights(decay=0.5, start=start), 6, tmp_path)
    assert module.seen == pytest.approx(averages(6, start, 0.5))
    assert float(module.weight.detach()) == pytest.approx(averages(6, start, 0.5)[-1])


def test_lightnings_own_callback_validates_initial_weights_which_is_why_ours_exists(tmp_path: Path) -> None:
    module = fit(EMAWeightAveraging(decay=0.5, update_starting_at_step=3), 3, tmp_path)
    assert module.seen == [0.0, 0.0, 0.0]


def test_an_average_that_never_began_leaves_the_trained_weights(tmp_path: Path) -> None:
    module = fit(AveragedWeights(start=100), 4, tmp_path)
    assert float(module.weight.detach()) == 4.0
