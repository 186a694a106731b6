"""Recorded calls of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def recorded_outputs(network: nn.Module) -> Iterator[list[Any]]:
    """The outputs of every call of a network, in order of the calls."""
    recorded: list[Any] = []
    handle = network.register_forward_hook(lambda module, args, output: recorded.append(output))
    try:
        yield recorded
    finally:
        handle.remove()
