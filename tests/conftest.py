"""Shared fixtures: real data where it is present, one thread so that parallel test workers do not fight."""

from __future__ import annotations

import os
import signal
import sys
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


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """A test leaves torch as it found it, or those that follow in its process fail for what it did."""
    yield
    torch = sys.modules.get("torch")
    if torch is None:
        return
    left = {
        "gradients off": not torch.is_grad_enabled(),
        "a function mode": torch._C._len_torch_function_stack() > 0,
        "a dispatch mode": torch._C._len_torch_dispatch_stack() > 0,
        "another default type": torch.get_default_dtype() is not torch.float32,
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }
    if any(left.values()):
        torch.set_grad_enabled(True)
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
        pytest.fail(f"the test leaves {', '.join(name for name, there in left.items() if there)} behind")


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
