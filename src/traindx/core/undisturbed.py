"""Looking without leaving a trace: random state, training mode, and parameters that start at zero on purpose."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def undisturbed(seed: int = 0) -> Iterator[None]:
    """Seed torch, numpy and ``random``, and leave all three as they were found."""
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a model in training or evaluation mode and give every submodule its own mode back afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def reinit_zero_initialized(model: nn.Module) -> int:
    """Draw again, in place, every parameter that starts at (almost) zero on purpose; returns how many there were.

    Ordinary zero biases stay. Weights get the usual variance 1/fan-in; gates and learned gains are of order one half.
    "Almost" is a root mean square below 2 % of 1/sqrt(fan-in), which covers the gains of 1e-5 that some codebases use
    instead of zero.
    """
    import torch

    woken = 0
    with torch.no_grad():
        for module in model.modules():
            is_norm = "norm" in type(module).__name__.lower()
            own = dict(module.named_parameters(recurse=False))
            for name, parameter in own.items():
                if not parameter.is_floating_point() or parameter.numel() == 0:
                    continue
                sizes = [size for size in parameter.shape if size > 1]
                level = float(parameter.float().square().mean().sqrt())
                if len(sizes) >= 2:
                    fan_in = max(1, parameter[0].numel())
                    if level < 0.02 * fan_in**-0.5:
                        parameter.normal_(0, fan_in**-0.5)
                        woken += 1
                elif "bias" in name.lower():
                    continue
                elif is_norm:
                    if level == 0:  # zero-gamma of a residual branch
                        parameter.fill_(1.0)
                        woken += 1
                elif level < 0.02:  # ReZero, LayerScale, learned gains of a skip
                    parameter.copy_(0.5 + 0.25 * torch.rand_like(parameter))
                    woken += 1
    return woken
