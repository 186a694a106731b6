"""A tiny run of all three stages on phantoms, made once."""

from __future__ import annotations

import pytest

from traindx.recipes.concepts.phantom import phantom
from traindx.recipes.concepts.settings import settings_of
from traindx.recipes.concepts.train import fit, prepare

VALUES = {
    "source": "phantom",
    "images": 80,
    "architecture": {"size": 64, "widths": [8, 16, 24], "strides": [2, 2, 1], "prototypes": 2, "embedding": 12},
    "stages": {
        "concepts": {"epochs": 6, "rates": {"encoder": 0.004, "head": 0.008}},
        "prototypes": {"epochs": 2, "rates": {"prototypes": 0.003}},
        "task": {"epochs": 2, "rates": {"task": 0.01}},
    },
}


def tiny(**changes):
    return settings_of({**VALUES, **changes})


@pytest.fixture(scope="session")
def radiographs():
    return phantom(80, size=64, seed=0)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, radiographs):
    """Folder, run and path of the model file."""
    folder = tmp_path_factory.mktemp("run")
    run = prepare(tiny(), folder, radiographs)
    return folder, run, fit(run)
