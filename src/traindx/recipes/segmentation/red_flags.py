"""What one wants to hear of while a segmentation trains: one line an epoch, and a flag where it goes wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L


class RedFlags(L.Callback):  # type: ignore[misc]
    """Writes a line after each validation, with a flag where the output has collapsed or a figure is not finite.

    Args:
        path: Text file that lines are appended to.
        min_spread: p(foreground) that varies less within a case counts as constant.
        min_ratio_sd: Foreground ratios that differ less between cases count as identical.
        patience: Flags about collapse are raised only from this epoch on: every run starts collapsed.
    """

    def __init__(self, path: Path, *, min_spread: float = 0.02, min_ratio_sd: float = 1e-4, patience: int = 2) -> None:
        self.path = path
        self.min_spread, self.min_ratio_sd, self.patience = min_spread, min_ratio_sd, patience
        self.flags: list[str] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the metrics of this validation."""
        if trainer.sanity_checking:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        found = self.judge(values, trainer.current_epoch)
        self.flags += found
        shown = ("loss_epoch", "val_dice", "foreground_ratio", "foreground_ratio_sd", "output_spread")
        line = ", ".join(f"{name} {values[name]:.4f}" for name in shown if name in values)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"epoch {trainer.current_epoch}, step {trainer.global_step}: {line}\n")
            for flag in found:
                file.write(f"  RED FLAG: {flag}\n")
                print(f"RED FLAG at epoch {trainer.current_epoch}: {flag}", flush=True)

    def judge(self, values: dict[str, float], epoch: int) -> list[str]:
        """Flags for the metrics of one validation."""
        found = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if epoch < self.patience:
            return found
        if values.get("output_spread", 1.0) < self.min_spread:
            found.append(f"p(foreground) varies by {values['output_spread']:.4f} within a case: a constant output")
        if values.get("foreground_ratio_sd", 1.0) < self.min_ratio_sd:
            found.append(f"every case has the foreground ratio {values['foreground_ratio']:.4f}")
        return found

    def state_dict(self) -> dict[str, Any]:
        """Flags so far."""
        return {"flags": self.flags}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the flags of the run before."""
        self.flags = list(state_dict["flags"])
