"""Shared fixtures: real data where it is present, one thread so that parallel test workers do not fight."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data (``TRAINDX_DATA``, default ``../shared/data`` beside the checkout); skips without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("TRAINDX_DATA", default))
    if not (root / "README.md").exists():
        pytest.skip(f"real data not found at {root}; set TRAINDX_DATA")
    return root
