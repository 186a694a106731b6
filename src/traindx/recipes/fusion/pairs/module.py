"""Training on pairs by Lightning, without targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from traindx.recipes.fusion import pictures
from traindx.recipes.fusion.pairs import figures, objective
from traindx.recipes.fusion.pairs.network import PairFuser, contract_of
from traindx.recipes.kit.contract import CONTRACT_KEY, check
from traindx.recipes.kit.red_flags import RedFlags, not_finite
from traindx.recipes.kit.schedule import WarmupCosine, adamw, stepped

_PICTURED = 4  # rows of the panel of a validation
_SHOWN = ("loss", "val_selection", "val_Qabf", "val_VIF", "val_SSIM", "val_beyond_maximum")


class PairFusion(L.LightningModule):  # type: ignore[misc]
    """The network and its objective; see :mod:`~traindx.recipes.fusion.pairs.objective`.

    Args:
        channels: Channels of the network at its finest level.
        levels: Levels of its U-Net.
        intensity: Weight of the distance to the brighter image.
        edges: Weight of Qabf.
        information: Weight of VIF.
        structure: Weight of SSIM.
        learning_rate: Peak learning rate of AdamW.
        seed: Seed of the weights.
    """

    def __init__(
        self,
        channels: int = 16,
        levels: int = 2,
        intensity: float = 0.05,
        edges: float = 1.0,
        information: float = 1.0,
        structure: float = 2.0,
        learning_rate: float = 2e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network_options = {"channels": channels, "levels": levels}
        self.weights = objective.Weights(intensity, edges, information, structure)
        self.learning_rate, self.seed = learning_rate, seed
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = PairFuser(**self.network_options)
        self.pictures: Path | None = None
        self._rows: list[dict[str, float]] = []
        self._panels: list[dict[str, Any]] = []

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay over the whole run."""
        steps = int(self.trainer.max_steps)
        return stepped(adamw(self.network.parameters(), self.learning_rate), WarmupCosine(steps).factor)

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Loss of a batch of windows."""
        fused = self.network(batch["a"], batch["b"])
        found = objective.terms(fused, batch["a"], batch["b"], self.weights)
        self.log_dict({f"loss_{name}": value for name, value in found.items()})
        total = torch.stack(list(found.values())).sum()
        self.log("loss", total, prog_bar=True, on_step=True, on_epoch=False)
        self.log("step", float(self.global_step))
        return total

    def on_validation_epoch_start(self) -> None:
        """Forget the validation before."""
        self._rows, self._panels = [], []

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """The figures that a checkpoint is chosen by, of whole pairs, and the distance to the maximum of both."""
        a, b = batch["a"], batch["b"]
        fused = self.network(a, b).clamp(0, 1)
        row = figures.quick_figures(a.cpu(), b.cpu(), fused.cpu())
        beyond = float((fused - torch.maximum(a, b)).abs().mean())
        self._rows.append({**row, "selection": figures.selection(row), "beyond_maximum": beyond})
        if len(self._panels) < _PICTURED:
            self._panels.append({"id": batch["name"], "A": a[0].cpu(), "B": b[0].cpu(), "fused": fused[0].cpu()})

    def on_validation_epoch_end(self) -> None:
        """Log the mean of every figure, and draw a panel."""
        means = {name: sum(row[name] for row in self._rows) / len(self._rows) for name in self._rows[0]}
        self.log_dict({f"val_{name}": value for name, value in means.items()})
        shapes = {tuple(row["A"].shape) for row in self._panels}
        if self.pictures is not None and not self.trainer.sanity_checking and len(shapes) == 1:
            pictures.panels(self.pictures / f"epoch_{self.current_epoch:03d}.png", self._panels, ("A", "B", "fused"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the contract and the patients beside the weights."""
        checkpoint[CONTRACT_KEY] = contract_of(self.network_options)
        split = self.trainer.datamodule.found.split
        checkpoint["patients"] = {"train": list(split.train), "val": list(split.val)}
        checkpoint["patient_pattern"] = self.trainer.datamodule.patient

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of another contract."""
        check(checkpoint, contract_of(self.network_options))


def red_flags(path: Path) -> RedFlags:
    """Figures of each validation, and a flag where the network does nothing that the maximum does not."""

    def judge(found: Any, _module: Any, epoch: int) -> list[str]:
        flags = not_finite(found)
        if epoch and found.get("val_beyond_maximum", 1.0) < 0.5 / 255:
            flags.append("fused images are the maximum of both within half a grey level: the network adds nothing")
        return flags

    return RedFlags(path, _SHOWN, judge)
