"""Shared fixtures: real data where it is present, one thread so that parallel test workers do not fight."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from forked import Seen, Zygote, examined

pytest_plugins = ["rule_coverage"]

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """Ctrl-C counts, also where the tests run in the background of a shell that makes its children ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data (``TRAINDX_DATA``, default ``../shared/data`` beside the checkout); skips without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("TRAINDX_DATA", default))
    if not (root / "README.md").exists():
        pytest.skip(f"real data not found at {root}; set TRAINDX_DATA")
    return root


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A process with torch in it, in whose forks scripts are watched."""
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def script(zygote: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """``script(source, *arguments)``: run it watched, and judge it with all rules."""
    monkeypatch.chdir(tmp_path)

    def run(source: str, *arguments: str, **settings: object) -> Seen:
        return examined(zygote, tmp_path, source, *arguments, **settings)

    return run
