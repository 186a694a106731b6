"""Which random generators were seeded, and which data sets were divided at random without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import SeedsSeen, SplitSeen
from traindx.watch.collectors.checkpoints import Checkpoints
from traindx.watch.runtime.call_sites import CallSite, here, users
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.watch import Collector, Watch


@dataclass
class _Split:
    site: CallSite
    function: str
    lengths: tuple[int, ...]
    seeded: bool


class SeedCalls:
    """Patches the seed functions of ``random`` and ``numpy`` at once and those of torch when it is there."""

    def __init__(self) -> None:
        self.patches = Patches()
        self.seeded: dict[str, list[CallSite]] = {"torch": [], "numpy": [], "python": []}
        self.active = True

    def install_python(self) -> None:
        """``random.seed``."""
        import random

        self.patches.wrap(random, "seed", self._make("python"))

    def install_numpy(self, numpy: ModuleType) -> None:
        """``numpy.random.seed``."""
        self.patches.wrap(numpy.random, "seed", self._make("numpy"))

    def install_torch(self, torch: Any) -> None:
        """``torch.manual_seed`` and its like."""
        self.patches.wrap(torch, "manual_seed", self._make("torch"))
        self.patches.wrap(torch.random, "manual_seed", self._make("torch"))

    def _make(self, which: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def seed(*args: Any, **kwargs: Any) -> Any:
                if self.active and (args or kwargs) and (args[0] if args else 0) is not None:
                    site = here()
                    if site is not None:
                        self.seeded[which].append(site)
                return original(*args, **kwargs)

            return seed

        return make


class Seeds(Collector):
    """Random divisions of data sets, and the record of all seeds."""

    subject = "seeds"

    def __init__(self, watch: Watch, calls: SeedCalls, checkpoints: Checkpoints) -> None:
        super().__init__(watch)
        self.calls = calls
        self.checkpoints = checkpoints
        self._splits: list[_Split] = []

    def install(self) -> None:
        """Patch ``random_split`` and the permutations that users divide by."""
        torch = self.watch.torch
        for owner in (torch.utils.data, torch.utils.data.dataset):
            self.watch.patches.wrap(owner, "random_split", self._make_split)

    def _make_split(self, original: Any) -> Any:
        watch = self.watch

        def random_split(dataset: Any, lengths: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(dataset, lengths, *args, **kwargs)
            if watch.here_and_now:
                with watch.ours(self):
                    generator = args[0] if args else kwargs.get("generator")
                    seeded = generator is not None or bool(self.calls.seeded["torch"])
                    site = here()
                    if site is not None and users(site.file):
                        self._splits.append(_Split(site, "random_split", tuple(len(part) for part in result), seeded))
            return result

        return random_split

    def records(self) -> Iterable[Record]:
        """Seeds and splits."""
        seeded = self.calls.seeded
        places = [site for sites in seeded.values() for site in sites]
        yield SeedsSeen(
            torch=bool(seeded["torch"]),
            numpy=bool(seeded["numpy"]),
            python=bool(seeded["python"]),
            places=tuple(site.location() for site in list(dict.fromkeys(places))[:8]),
            step=self.watch.iteration,
        )
        for split in self._splits:
            yield SplitSeen(
                function=split.function,
                where=split.site.location(),
                lengths=split.lengths,
                seeded=split.seeded,
                checkpoints=self.checkpoints.used,
                step=self.watch.iteration,
            )
