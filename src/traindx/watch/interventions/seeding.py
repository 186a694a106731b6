"""The same random numbers in every arm of a pair, and other ones in the next pair.

The first pair runs with the seeds that the script sets itself. Later pairs shift what the script gives to the *global*
generators of ``random``, ``numpy`` and torch; generators of the script's own (which often make or divide the data) stay
as they are. A seed that differs from run to run (the time, the process number) is replaced by that of the control.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from traindx.watch.runtime.call_sites import here
from traindx.watch.runtime.patching import Patches

BASE = 20011
SHIFT = 7919  # a prime, so that shifted seeds of a script that counts 0, 1, 2 do not coincide with its own
MODULUS = 2**32


class Seeding:
    """Seeds the generators as they arrive, and shifts and records the script's own seeds.

    Args:
        pair: Number of the pair; 0 leaves the script's seeds as they are.
        control: Seeds that the control of this pair used, by place; they are used again.
    """

    def __init__(self, pair: int, control: Mapping[str, Sequence[int]] | None = None) -> None:
        self.pair = pair
        self.control = dict(control or {})
        self.used: dict[str, list[int]] = {}
        self.patches = Patches()
        self._inside = False

    def seed_of(self, value: int) -> int:
        """What a seed of the script becomes in this pair."""
        return value if not self.pair else (value + SHIFT * self.pair) % MODULUS

    def python(self) -> None:
        """``random``, now."""
        import random

        random.seed(self.seed_of(BASE))
        self.patches.wrap(random, "seed", self._make("random"))

    def numpy(self, numpy: ModuleType) -> None:
        """``numpy.random``, when numpy was imported."""
        numpy.random.seed(self.seed_of(BASE))
        self.patches.wrap(numpy.random, "seed", self._make("numpy"))
        self.patches.wrap(numpy.random, "default_rng", self._make_unseeded)

    def torch(self, torch: Any) -> None:
        """``torch``, when it was imported."""
        torch.manual_seed(self.seed_of(BASE))
        make = self._make("torch")
        self.patches.wrap(torch.random, "manual_seed", make)
        torch.manual_seed = torch.random.manual_seed
        self.patches.wrap(torch, "seed", lambda original: lambda: torch.manual_seed(self._again("torch", BASE)))

    def _make(self, which: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def seed(*args: Any, **kwargs: Any) -> Any:
                value = args[0] if args else next(iter(kwargs.values()), None)
                if self._inside or not (value is None or hasattr(value, "__index__")):
                    return original(*args, **kwargs)
                self._inside = True
                try:
                    return original(self.seed_of(self._again(which, BASE if value is None else int(value))))
                finally:
                    self._inside = False

            return seed

        return make

    def _make_unseeded(self, original: Any) -> Any:
        def default_rng(seed: Any = None) -> Any:
            """Without a seed it would be another generator in every arm."""
            return original(self.seed_of(self._again("numpy generator", BASE)) if seed is None else seed)

        return default_rng

    def _again(self, which: str, value: int) -> int:
        """The script's seed, or that of the control where they differ."""
        site = here()
        place = f"{which} {site.line if site is not None else 0}"
        used = self.used.setdefault(place, [])
        known = self.control.get(place, ())
        chosen = int(known[len(used)]) if len(used) < len(known) else value
        if len(used) < 4096:
            used.append(chosen)
        return chosen
