"""What one wants to hear of while a recipe trains: a line a validation, and a flag where something goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L

Judge = Callable[[Mapping[str, float], Any, int], Iterable[str]]
"""``(figures, module, epoch) -> flags``, one sentence each."""


def not_finite(figures: Mapping[str, float]) -> list[str]:
    """A flag for every figure that is not a number or infinite."""
    return [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]


def finite(figures: Mapping[str, float], _module: Any, _epoch: int) -> list[str]:
    """The judge of a recipe that has no flags of its own."""
    return not_finite(figures)


class RedFlags(L.Callback):  # type: ignore[misc]
    """Writes figures and flags after each validation.

    Args:
        path: Text file that lines are appended to.
        shown: Figures to write, in this order.
        judge: Says what is wrong.
        details: Further lines of a validation.
    """

    def __init__(
        self,
        path: Path,
        shown: Sequence[str],
        judge: Judge = finite,
        details: Callable[[Any], Iterable[str]] = lambda _: (),
    ) -> None:
        self.path, self.shown, self.judge, self.details = path, tuple(shown), judge, details
        self.flags: list[str] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the figures of this validation."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        found = list(self.judge(figures, pl_module, trainer.current_epoch))
        self.flags += found
        said = ", ".join(f"{name} {figures[name]:.4f}" for name in self.shown if name in figures)
        lines = [f"epoch {trainer.current_epoch}, step {trainer.global_step}: {said}"]
        lines += [f"  {line}" for line in self.details(pl_module)]
        lines += [f"  RED FLAG: {flag}" for flag in found]
        self.path.parent.mkdir(parents=True, exist_ok=True)
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
