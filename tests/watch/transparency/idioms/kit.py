"""What the idioms share: small networks and batches, and how a result is printed so that a difference shows.

``python FILE NAME`` runs one idiom, alone, as anybody's script is run.
"""

from __future__ import annotations

import hashlib
import random
import sys
from typing import Any

import numpy as np
import torch
from torch import nn


def net(inputs: int = 6, outputs: int = 3) -> nn.Sequential:
    """A small network with what is delicate: running statistics and dropout."""
    return nn.Sequential(nn.Linear(inputs, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, outputs))


def batch(count: int = 8, inputs: int = 6, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and class labels."""
    return torch.randn(count, inputs), torch.randint(0, classes, (count,))


def seed(value: int = 7) -> None:
    """Seed all three generators."""
    torch.manual_seed(value)
    random.seed(value)
    np.random.seed(value)


def describe(value: Any) -> str:
    """Exact type and exact content."""
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if isinstance(value, torch.Tensor):
        return f"{name} {value.dtype} {tuple(value.shape)} requires_grad={value.requires_grad} {bits(value)}"
    if isinstance(value, nn.Module):
        state = [f"{key} {describe(item)}" for key, item in value.state_dict().items()]
        return f"{name} of {len(state)} tensors {hashlib.sha256(chr(10).join(state).encode()).hexdigest()[:16]}"
    if isinstance(value, np.ndarray):
        return f"{name} {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
    if isinstance(value, dict):
        return name + "{" + ", ".join(f"{key!r}: {describe(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return name + "[" + ", ".join(describe(item) for item in value) + "]"
    if isinstance(value, int | float | str | bytes | bool | None):
        return f"{name} {value!r}"
    return name


def bits(tensor: torch.Tensor) -> str:
    """Digest of a tensor's bytes."""
    with torch.no_grad(), torch._C.DisableTorchFunctionSubclass():
        plain = tensor.detach()
        if plain.is_quantized:
            plain = plain.int_repr()
        if plain.layout is not torch.strided:
            plain = plain.to_dense()
        if plain.device.type == "meta":
            return "meta"
        data = plain.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def show(*values: Any, **named: Any) -> None:
    """Print values with their exact types and digests of their content."""
    for value in values:
        print(describe(value))
    for name, value in named.items():
        print(f"{name}: {describe(value)}")


def main() -> None:
    """Run the idiom that the command line names, and print the states of the generators after it."""
    name = sys.argv[1]
    seed()
    getattr(sys.modules["__main__"], name)()
    show(torch_state=torch.get_rng_state(), numpy_state=np.random.get_state()[1], python_state=hash(random.getstate()))
