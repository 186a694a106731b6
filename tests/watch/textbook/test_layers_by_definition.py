"""Layers that are written by hand: normalisation within a sample, and the dropping of whole paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., dict[str, Any]]

NORM = """
class {name}(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(dim)), nn.Parameter(torch.rand(dim))

    def forward(self, x):
        u = x.mean({axes}, keepdim=True)
        s = (x - u).pow(2).mean({axes}, keepdim=True)
        x = (x - u) / {divisor}
        return self.weight[:, None, None] * x + self.bias[:, None, None]
"""
IMAGES = "(torch.randn(4, 6, 5, 5))"
ROOT = "torch.sqrt(s + 1e-6)"


@pytest.mark.parametrize("name", ["LayerNorm2d", "ChannelNorm", "InstanceNorm"])
@pytest.mark.parametrize(
    ("axes", "divisor", "scale", "apart"),
    [
        ("1", ROOT, True, True),
        ("(1, 2, 3)", ROOT, True, True),
        ("1", "(s + 1e-6)", False, True),
        ("1", "1.0", False, True),
        ("(0, 2, 3)", ROOT, True, False),
        ("0", ROOT, True, False),
    ],
)
def test_norms(define: Define, name: str, axes: str, divisor: str, scale: bool, apart: bool) -> None:
    found = define(NORM.format(name=name, axes=axes, divisor=divisor), f"{name}(6)" + IMAGES)
    assert found["norm-ignores-the-scale"].holds is scale
    assert found["norm-keeps-samples-apart"].holds is apart


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.g)", True),
        ("F.normalize(x, dim=-1) * self.g * x.shape[-1] ** 0.5", True),
        ("x / (x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.g", False),
    ],
)
def test_root_mean_squares(define: Define, body: str, holds: bool) -> None:
    source = "class RMSNorm(nn.Module):\n    def __init__(self, d):\n        super().__init__()\n"
    source += f"        self.g = nn.Parameter(torch.ones(d))\n    def forward(self, x):\n        return {body}"
    found = define(source, "RMSNorm(16)(torch.randn(3, 7, 16))")
    assert found["norm-ignores-the-scale"].holds is holds
    assert found["norm-keeps-samples-apart"].holds


@pytest.mark.parametrize("name", ["PreNorm", "LayerNormConv", "BatchNorm2d"])
def test_other_layers_of_the_kind(define: Define, name: str) -> None:
    source = NORM.format(name=name, axes="0", divisor="1.0")
    assert not define(source, f"{name}(6)" + IMAGES)


PATH = """
class DropPath(nn.Module):
    def __init__(self, p=0.4):
        super().__init__()
        self.p = p

    def forward(self, x):
        if {skips}:
            return x
        keep = 1 - self.p
        mask = (torch.rand({shape}) < keep).float()
        return x * mask / keep

def drop_path(x, p=0.4, training=False):
    if not training:
        return x
    return x * (torch.rand({shape}) < 1 - p).float() / (1 - p)
"""
WHOLE = "(len(x),) + (1,) * (x.dim() - 1)"


@pytest.mark.parametrize(
    ("call", "skips", "shape", "holds"),
    [
        ("DropPath()", "not self.training", WHOLE, True),
        ("DropPath()", "self.p == 0", WHOLE, False),
        ("DropPath()", "not self.training", "x.shape", False),
        ("drop_path", "", WHOLE, True),
        ("drop_path", "", "x.shape", False),
    ],
)
def test_paths(define: Define, call: str, skips: str, shape: str, holds: bool) -> None:
    rest = "(torch.randn(4, 3, 8), training=True)" if call == "drop_path" else "(torch.randn(4, 3, 8))"
    found = define(PATH.format(skips=skips or "not self.training", shape=shape), call + rest)
    assert found["dropped-paths-are-whole"].holds is holds
