"""``seed-workers``: every worker of a data loader seeds ``random`` and ``numpy`` from its own torch seed."""

from __future__ import annotations

from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment


def seed_worker(number: int) -> None:
    """The recipe of the PyTorch notes on reproducibility."""
    import random

    import numpy
    import torch

    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    numpy.random.seed(seed)


class SeedWorkers(RuntimeTreatment):
    """Acts on loaders with workers and without a ``worker_init_fn`` of their own."""

    def install(self) -> None:
        """Patch the loader's constructor."""

        def make(original: Any) -> Any:
            def init(loader: Any, *args: Any, **kwargs: Any) -> None:
                original(loader, *args, **kwargs)
                if self.arm.ours and loader.num_workers and loader.worker_init_fn is None:
                    loader.worker_init_fn = seed_worker
                    self.hits += 1

            return init

        self.arm.patches.wrap(self.arm.torch.utils.data.DataLoader, "__init__", make)
