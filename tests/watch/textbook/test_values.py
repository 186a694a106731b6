"""Arrays under names that say what they are."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from traindx.evidence.probed_definitions import DefinitionTried
from traindx.watch.probes.textbook import is_known, tried
from traindx.watch.probes.textbook.inline import Scope
from traindx.watch.probes.textbook.values import named_values

DIFFUSION = """import torch
class Diffusion(torch.nn.Module):
    def __init__(self, steps, last):
        super().__init__()
        betas = torch.linspace(1e-4, last, steps)
        self.register_buffer("alphas_cumprod", {left})
"""
FALLING = "torch.cumprod(1 - betas, 0)"


@pytest.fixture
def held(tmp_path: Path) -> Callable[..., dict[str, DefinitionTried]]:
    def run(source: str, name: str, make: str) -> dict[str, DefinitionTried]:
        path = tmp_path / "diffusion.py"
        path.write_text(source)
        module = ModuleType("diffusion")
        tree = ast.parse(source)
        exec(compile(tree, str(path), "exec"), vars(module))
        scope = Scope(str(path), tree.body, {name: eval(make, vars(module))}, vars(module))
        return {
            one.key: one
            for one in tried(torch, list(named_values(torch, scope, is_known)))
            if isinstance(one, DefinitionTried)
        }

    return run


def test_a_usual_schedule_holds(held: Callable[..., Any]) -> None:
    found = held(DIFFUSION.format(left=FALLING), "diffusion", "Diffusion(1000, 0.02)")
    assert {key: one.holds for key, one in found.items()} == {"what-steps-leave": True, "last-step-is-noise": True}


def test_too_few_steps_leave_an_image(held: Callable[..., Any]) -> None:
    found = held(DIFFUSION.format(left=FALLING), "diffusion", "Diffusion(100, 0.02)")
    assert found["what-steps-leave"].holds
    assert not found["last-step-is-noise"].holds
    assert not found["last-step-is-noise"].universal
    assert found["last-step-is-noise"].where.line == 6
    assert "0.60 of its amplitude" in found["last-step-is-noise"].got  # (1 - 0.01005) ** 100 = 0.364, by hand
    assert held(DIFFUSION.format(left=FALLING), "diffusion", "Diffusion(100, 0.2)")["last-step-is-noise"].holds


@pytest.mark.parametrize(
    "wrong", ["torch.cumsum(1 - betas, 0)", "torch.cumprod(1 + betas, 0)", "1 - torch.cumprod(1 - betas, 0)"]
)
def test_shares_that_are_none(held: Callable[..., Any], wrong: str) -> None:
    assert not held(DIFFUSION.format(left=wrong), "diffusion", "Diffusion(1000, 0.02)")["what-steps-leave"].holds


@pytest.mark.parametrize(
    ("make", "holds"),
    [
        ("torch.linspace(1e-4, 0.02, 1000)", True),
        ("torch.linspace(1e-4 ** 0.5, 0.02 ** 0.5, 100) ** 2", True),
        ("torch.linspace(0.02, 1e-4, 1000)", False),
        ("1 - torch.linspace(1e-4, 0.02, 1000).numpy()[::-1] * 80", False),
        ("torch.tensor([0.9, 0.999])", None),  # of Adam
    ],
)
def test_variances_in_a_local_name(held: Callable[..., Any], make: str, holds: bool | None) -> None:
    found = held(f"import torch\nbetas = {make}\n", "betas", make).get("step-variances")
    assert (found is None) if holds is None else (found is not None and found.holds is holds)


def test_a_name_that_no_line_gives_is_nobodys(held: Callable[..., Any]) -> None:
    assert not held("import torch\n", "betas", "torch.linspace(0.02, 1e-4, 1000)")
