"""Workers of data loaders seeded."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="seed-workers",
        does="workers of data loaders seed `random` and `numpy`",
        title=lambda fields: "generators of data loading workers seeded",
        script="seed_workers.script:SeedWorkers",
    ),
)
