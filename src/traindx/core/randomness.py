"""Random streams that keep two runs paired even if one of them draws more numbers than the other.

A treatment may change how many random numbers a model, a loss or a sampler draws. If both arms simply started from
one seed, their data order and noise would drift apart from there on, and the comparison would carry that noise.
So weights, data and every single step draw from a stream of their own.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class RandomState:
    """The state of every global generator: torch (CPU and CUDA), numpy and python."""

    cpu: torch.Tensor
    cuda: tuple[torch.Tensor, ...]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> RandomState:
        """The state at this moment."""
        used = torch.cuda.is_available() and torch.cuda.device_count() > 0
        cuda = tuple(torch.cuda.get_rng_state_all()) if used else ()
        return cls(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())

    def restore(self) -> None:
        """Put the global generators back into this state."""
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))
        np.random.set_state(self.numpy)
        random.setstate(self.python)


def seed_of(*parts: int | str) -> int:
    """A seed of 63 bits that depends on all parts and on nothing else (python's own ``hash`` differs by process)."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def preserved() -> Iterator[None]:
    """Leave the global random state as it was found."""
    before = RandomState.now()
    try:
        yield
    finally:
        before.restore()


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Run a block from a seed of its own and leave the global random state as it was found."""
    with preserved():
        seed_everything(seed_of(*parts))
        yield


class Stream:
    """A random stream that goes on where it stopped, whatever was drawn outside it in the meantime."""

    def __init__(self, *parts: int | str) -> None:
        with seeded(*parts):
            self._state = RandomState.now()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Draw from this stream in the block."""
        with preserved():
            self._state.restore()
            try:
                yield
            finally:
                self._state = RandomState.now()
