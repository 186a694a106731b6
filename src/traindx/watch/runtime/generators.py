"""Sources of random numbers of Python, numpy and torch: which objects are one, and how their state is put back."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable
from typing import Any


def is_generator(value: Any) -> bool:
    """True for a generator of random numbers; libraries that the script did not import are not imported."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    kinds: list[type] = [random.Random]
    if numpy is not None:
        kinds += [numpy.random.Generator, numpy.random.RandomState]
    if torch is not None:
        kinds.append(torch.Generator)
    return isinstance(value, tuple(kinds)) and not isinstance(value, random.SystemRandom)


def putting_back(generator: Any) -> Callable[[], None]:
    """What gives a generator the state again that it has now, as often as it is called."""
    if isinstance(generator, random.Random):
        state = generator.getstate()
        return lambda: generator.setstate(state)
    if hasattr(generator, "bit_generator"):
        bits = copy.deepcopy(generator.bit_generator.state)
        return lambda: setattr(generator.bit_generator, "state", copy.deepcopy(bits))
    kept = generator.get_state()

    def back() -> None:
        generator.set_state(kept)

    return back
