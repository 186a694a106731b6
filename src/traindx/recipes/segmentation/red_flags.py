"""What one wants to hear of while a segmentation trains: an output that has collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from traindx.recipes.kit.red_flags import RedFlags, not_finite

MIN_SPREAD = 0.02
"""p(foreground) that varies less within a case counts as constant."""
MIN_RATIO_SD = 1e-4
"""Foreground ratios that differ less between cases count as identical."""
PATIENCE = 2
"""Flags about collapse are raised only from this epoch on: every run starts collapsed."""

_SHOWN = ("loss_epoch", "val_dice", "foreground_ratio", "foreground_ratio_sd", "output_spread")


def red_flags(path: Path) -> RedFlags:
    """The callback that writes figures and flags after each validation."""
    return RedFlags(path, _SHOWN, lambda figures, _, epoch: judge(figures, epoch))


def judge(figures: Mapping[str, float], epoch: int) -> list[str]:
    """Flags for the figures of one validation."""
    found = not_finite(figures)
    if epoch < PATIENCE:
        return found
    if figures.get("output_spread", 1.0) < MIN_SPREAD:
        found.append(f"p(foreground) varies by {figures['output_spread']:.4f} within a case: a constant output")
    if figures.get("foreground_ratio_sd", 1.0) < MIN_RATIO_SD:
        found.append(f"every case has the foreground ratio {figures['foreground_ratio']:.4f}")
    return found
