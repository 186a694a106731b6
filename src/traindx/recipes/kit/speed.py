"""How the network is computed, by configuration: ``--speed.compile true``, ``--speed.channels_last true``.

Precision is the trainer's (``--trainer.precision bf16-mixed``), as are several processes (``--trainer.devices 2
--trainer.strategy ddp``). Both of these here are applied in place when a training begins, so that the names of weights
in checkpoints are the same with and without.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import nn


class Speed(L.Callback):  # type: ignore[misc]
    """Compile the network that learns, and lay it out as convolutions want it.

    Args:
        compile: Compile it (``torch.compile``): the first steps take minutes, later ones less; shapes must stay.
        channels_last: Lay weights of convolutions out with channels last; inputs follow them.
        backend: What compiles.
    """

    def __init__(self, compile: bool = False, channels_last: bool = False, backend: str = "inductor") -> None:
        self.compile, self.channels_last, self.backend = compile, channels_last, backend

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Apply both, to every part that a module names in ``learning_parts()``, or to its ``network``.

        Before processes share out the gradients, which would otherwise be laid out in another way than the weights.
        """
        if stage != "fit" or not (self.compile or self.channels_last):
            return
        pl_module.configure_model()  # some networks are built there; it does nothing the second time
        parts = pl_module.learning_parts() if hasattr(pl_module, "learning_parts") else [pl_module.network]
        for part in parts:
            if self.channels_last:
                lay_out(part)
            if self.compile:
                part.compile(backend=self.backend)


def lay_out(module: nn.Module) -> None:
    """Channels last for weights of four and of five dimensions; ``module.to`` does one of the two only."""
    for weight in module.parameters():
        if weight.ndim in (4, 5):
            kind = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
            weight.data = weight.data.contiguous(memory_format=kind)


def add_arguments(parser: Any) -> None:
    """Add ``--speed.*`` to a parser of Lightning's."""
    parser.add_lightning_class_args(Speed, "speed")
