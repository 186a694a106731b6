"""What one wants to hear of while a fusion trains: ranges and figures of every epoch, and a flag where one goes wrong.

The thresholds are those of the post-mortem's own list, where it has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

RANGE_FACTOR = 4.0
"""Widest over narrowest range of the two conditions; z-scored beside [-1, 1] has about 3."""

_SHOWN = ("loss_epoch", "val_fusion_score", "val_psnr", "val_brain_ssim", "val_bone_ssim", "val_bone_psnr", "val_Qabf")
_BOUND_SHARE = 0.02
_PATIENCE = 1


def ranges(named: Mapping[str, Tensor]) -> dict[str, tuple[float, float, float]]:
    """Minimum, maximum and standard deviation of every tensor."""
    return {
        name: (float(values.min()), float(values.max()), float(values.float().std())) for name, values in named.items()
    }


def judge(figures: Mapping[str, float], seen: Mapping[str, tuple[float, float, float]], epoch: int) -> list[str]:
    """Flags for the figures and ranges of one validation.

    Args:
        figures: ``val_*`` and losses.
        seen: Ranges of ``ct``, ``mr``, ``target`` and ``fused``, as :func:`ranges` gives them.
        epoch: Flags about quality are raised from the second epoch on: every run starts badly.
    """
    found = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
    spans = {name: seen[name][1] - seen[name][0] for name in ("ct", "mr") if name in seen}
    if len(spans) == 2 and min(spans.values()) > 0 and max(spans.values()) / min(spans.values()) > RANGE_FACTOR:
        found.append(f"CT spans {spans['ct']:.2f} and MR {spans['mr']:.2f}: one condition is far weaker")
    if "fused" in seen and seen["fused"][2] < 0.1 * seen["target"][2]:
        found.append(
            f"fused images vary by {seen['fused'][2]:.4f}, targets by {seen['target'][2]:.4f}: constant output"
        )
    if figures.get("val_share_at_bounds", 0.0) > _BOUND_SHARE:
        found.append(f"{100 * figures['val_share_at_bounds']:.0f} % of tissue sits exactly on a bound: a clamp")
    if figures.get("val_uncertainty", 1.0) == 0.0:
        found.append("repeated samples are identical: the uncertainty is exactly 0")
    if epoch < _PATIENCE:
        return found
    if figures.get("val_bone_psnr", math.inf) < 5:
        found.append(f"bone PSNR is {figures['val_bone_psnr']:.1f} dB: CT is not used")
    if figures.get("val_brain_ssim", math.inf) < 0.05:
        found.append(f"SSIM to MR in soft tissue is {figures['val_brain_ssim']:.3f}: no structure is learned")
    return found


class RedFlags(L.Callback):  # type: ignore[misc]
    """Writes ranges, figures and flags after each validation.

    Args:
        path: Text file that lines are appended to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flags: list[str] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge this validation."""
        if trainer.sanity_checking:
            return
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seen = pl_module.ranges
        # a patient without bone or lesion in view has no such figure: that is not a failure
        absent = {name for name in figures if name.startswith(("val_bone", "val_lesion")) and math.isnan(figures[name])}
        found = judge(
            {name: value for name, value in figures.items() if name not in absent}, seen, trainer.current_epoch
        )
        self.flags += found
        lines = [f"epoch {trainer.current_epoch}, step {trainer.global_step}: "]
        lines[0] += ", ".join(f"{name.removeprefix('val_')} {figures[name]:.4f}" for name in _SHOWN if name in figures)
        lines += [f"  {name}: {low:.3f} to {high:.3f}, sd {sd:.3f}" for name, (low, high, sd) in seen.items()]
        lines += [f"  RED FLAG: {flag}" for flag in found]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        for flag in found:
            print(f"RED FLAG at epoch {trainer.current_epoch}: {flag}", flush=True)

    def state_dict(self) -> dict[str, Any]:
        """Flags so far."""
        return {"flags": self.flags}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the flags of the run before."""
        self.flags = list(state_dict["flags"])
