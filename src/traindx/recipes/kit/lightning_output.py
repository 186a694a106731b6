"""What Lightning prints: a progress bar that can be read, and none of the warnings that no user can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

_NOISE = (
    "LightningCLI's args parameter",
    "Checkpoint directory .* exists and is not empty",
    ".*LeafSpec",
    ".*could not find the monitored key",
)


def silence(*more: str) -> None:
    """Leave out Lightning's notes on its own internals, and further warnings that a recipe expects (patterns)."""
    for message in (*_NOISE, *more):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def progress_bars(arguments: Sequence[str]) -> list[Any]:
    """The callback of a progress bar, unless the arguments switch it off.

    Lightning's default (rich) bar shows an unknown number of epochs as -2.
    """
    from lightning.pytorch.callbacks import TQDMProgressBar

    off = any(item.replace(" ", "=") == "--trainer.enable_progress_bar=false" for item in arguments)
    return [] if off else [TQDMProgressBar()]
