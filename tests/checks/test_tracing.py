"""The count of numbers that get through must never be smaller than what really does, and must see real bottlenecks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from traindx.checks.network.information_path import grid_of, narrowest
from traindx.checks.network.tracing import Holding, effective_rank, numbers, trace


def traced(module, x, full=None):
    full = x.numel() if full is None else full
    return trace(lambda: [module(x)], module, {"x": x}, full)


class Wrap(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def in_place(self, x):
    out = torch.zeros(x.shape)
    out[:, :1] = x[:, :1]
    out[:, 1:].copy_(x[:, 1:])
    return out


def standardised(self, x):
    mean = x.mean((1, 2), keepdim=True)
    return (x - mean) / (x - mean).square().mean((1, 2), keepdim=True).sqrt()


FULL = {
    "chunk and cat": lambda self, x: torch.cat([a * 2 for a in x.chunk(4, 1)], 1),
    "in place": in_place,
    "standardised": standardised,
    "checkpoint": lambda self, x: checkpoint(lambda a: self.net(a.sin()), x, use_reentrant=False),
    "reentrant checkpoint": lambda self, x: checkpoint(lambda a: self.net(a.sin()), x, use_reentrant=True),
    "attention": lambda self, x: self.attend(x, x, x)[0],
    "interleaved": lambda self, x: torch.stack([x[..., ::2], x[..., 1::2]], -1).flatten(2),
    "gate on a summary": lambda self, x: x * torch.sigmoid(x.mean(-1, keepdim=True)),
    "summary added": lambda self, x: x + self.net(x).mean(1, keepdim=True),
    "skip around": lambda self, x: self.wide(self.narrow(x)) + x,
    "einsum": lambda self, x: torch.einsum("bij,kj->bik", x, self.net.weight),
}


def parts():
    return {
        "net": nn.Linear(8, 8),
        "narrow": nn.Linear(8, 2),
        "wide": nn.Linear(2, 8),
        "attend": nn.MultiheadAttention(8, 2, batch_first=True),
    }


@pytest.mark.parametrize("name", FULL)
def test_no_bottleneck_is_invented(name):
    x = torch.randn(1, 4, 8, requires_grad=True)
    trace = traced(Wrap(FULL[name], **parts()), x)
    assert numbers(trace.reached("x")) >= 32
    assert narrowest(trace, "x") is None


NARROW = {
    "squeezed": (lambda self, x: self.wide(self.narrow(x)), 8),
    "squeezed, then normalised": (lambda self, x: standardised(self, self.wide(F.gelu(self.narrow(x)))), 8),
    "pooled": (lambda self, x: x.mean(1, keepdim=True).expand(-1, 4, -1), 8),
    "squeezed twice, same cut": (lambda self, x: torch.cat([self.narrow(x)] * 4, -1), 8),
    "in place": (lambda self, x: torch.zeros(1, 4, 8).mul_(2).add_(self.wide(self.narrow(x))), 8),
}


@pytest.mark.parametrize("name", NARROW)
def test_real_bottlenecks_are_counted(name):
    function, held = NARROW[name]
    x = torch.randn(1, 4, 8)
    trace = traced(Wrap(function, **parts()), x)
    cut = narrowest(trace, "x")
    assert cut is not None
    assert cut.numbers == held
    assert trace.complete


def test_two_different_cuts_add_up():
    x = torch.randn(1, 4, 8)
    module = Wrap(lambda self, x: torch.cat([self.one(x), self.two(x)], -1), one=nn.Linear(8, 2), two=nn.Linear(8, 2))
    assert numbers(traced(module, x).reached("x")) == 16


SMALL = st.integers(1, 12)


@given(inner=SMALL, tokens=st.integers(1, 6), width=SMALL, skip=st.booleans(), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_bound_is_never_below_the_rank_of_the_jacobian(inner, tokens, width, skip, seed):
    """Independent reference: the rank of the derivative, computed by autograd."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(width, inner), nn.Tanh(), nn.Linear(inner, width)).double()
    whole = Wrap(lambda self, x: self.net(x) + (x if skip else 0), net=module)
    x = torch.randn(1, tokens, width, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda a: whole(a).flatten(), x).reshape(tokens * width, -1)
    rank = int(torch.linalg.matrix_rank(jacobian, rtol=1e-10))
    bound = min(x.numel(), numbers(traced(whole, x).reached("x")))
    assert bound >= rank
    assert bound == (tokens * width if skip else tokens * min(inner, width))


def test_what_cannot_be_seen_makes_the_trace_incomplete():
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.from_numpy(x.detach().numpy() * 2)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    x = torch.randn(1, 4, 8, requires_grad=True)
    assert not traced(Wrap(lambda self, x: self.net(Custom.apply(x)), **parts()), x).complete
    assert traced(Wrap(lambda self, x: self.net(x), **parts()), x).complete


def test_holding_a_cut_stops_everything_behind_it_and_nothing_else():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 8)
    for skip, expected in ((0.0, 0.0), (0.3, 0.3)):
        module = Wrap(lambda self, x, skip=skip: self.wide(self.narrow(x)) + skip * x, **parts())
        trace = traced(module, x)
        cut = next(iter(traced(Wrap(lambda self, x: self.wide(self.narrow(x)), **parts()), x).reached("x")))
        cut = next(c for label in trace._labels.values() for c in label.get("x", ()) if c.numbers == cut.numbers)
        other = torch.randn(1, 4, 8)
        with Holding(cut) as holding:
            held = module(other)
        assert holding.held
        assert torch.allclose(held - trace.outputs[0], expected * (other - x), atol=1e-6)


def test_hooks_and_modes_are_gone_afterwards():
    from torch.nn.modules import module as internals

    before = (len(internals._global_forward_hooks), len(internals._global_forward_pre_hooks))
    traced(nn.Linear(8, 8), torch.randn(1, 4, 8))
    assert (len(internals._global_forward_hooks), len(internals._global_forward_pre_hooks)) == before
    from torch.overrides import _get_current_function_mode_stack

    assert not _get_current_function_mode_stack()


def test_a_trace_changes_no_number():
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    x = torch.randn(1, 4, 8)
    assert torch.equal(traced(module, x).outputs[0], module(x))


def test_effective_rank_is_that_of_equal_directions():
    basis = torch.linalg.qr(torch.randn(64, 5, dtype=torch.float64))[0].T
    features = torch.randn(2000, 5, dtype=torch.float64)
    features = torch.linalg.qr(features - features.mean(0))[0] @ basis
    assert effective_rank(features, -1) == pytest.approx(5, rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "spatial", "expected"),
    [
        ((1, 64, 3), (16, 16, 16), ((4, 4, 4), 3)),
        ((1, 3, 64), (16, 16, 16), ((4, 4, 4), 3)),
        ((1, 5, 8, 8), (32, 32), ((8, 8), 5)),
        ((1, 128), (16, 16), ((), 0)),
        ((1, 60, 4), (16, 16, 16), ((), 0)),
        ((1, 32, 2), (16, 32), ((4, 8), 2)),
    ],
)
def test_grids_are_read_from_shapes(shape, spatial, expected):
    assert grid_of(shape, spatial) == expected
