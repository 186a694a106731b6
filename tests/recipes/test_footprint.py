"""Memory and arithmetic of a step: against closed forms, autograd's own hooks, and the allocator's record."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from traindx.errors import UsageError
from traindx.recipes.kit.footprint import Workload, footprint


class Convolutions(nn.Module):
    """A small network with a skip connection, normalisation and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)

    def forward(self, x):
        h = F.silu(self.a(x))
        h = F.relu(self.norm(self.b(h))) + h
        tokens = h.flatten(2).transpose(1, 2)[:, None]
        return F.scaled_dot_product_attention(tokens, tokens, tokens).mean()


def adamw(parameters):
    return torch.optim.AdamW(parameters, 1e-3)


def workload(module, shape, precision="32-true"):
    return Workload("small", "", module, lambda net: net(torch.zeros(shape)), adamw, 1, precision)


def chain(width, layers):
    """Linear layers without bias, a sum at the end."""

    class Chain(nn.Sequential):
        def forward(self, x):
            return super().forward(x).sum()

    return lambda: Chain(*(nn.Linear(width, width, bias=False) for _ in range(layers)))


def test_a_chain_of_linear_layers_takes_what_can_be_counted_by_hand():
    width, layers, rows = 64, 3, 128
    found = footprint(workload(chain(width, layers), (rows, width)))
    weights = 4 * width * width * layers
    assert (found.trained, found.weights, found.gradients) == (width * width * layers, weights, weights)
    assert found.optimizer == 2 * weights + 4 * layers  # two moments, and the number of steps of each matrix
    # the inputs of the layers, and the sum; the last output is not needed for the gradient of a sum
    assert found.activations == pytest.approx(4 * rows * width * layers, abs=64)
    # 2 n m k a product: forward, gradient of the weights, gradient of the input (not of the first layer)
    product = 2 * rows * width * width
    assert found.flops == product * (3 * layers - 1)


def test_what_is_kept_for_the_backward_pass_is_what_autograd_says_it_saves():
    shape, kept = (2, 3, 24, 24), {}
    torch.manual_seed(0)
    network = Convolutions()
    own = {one.untyped_storage().data_ptr() for one in (*network.parameters(), *network.buffers())}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.zeros(shape)).backward()
    saved = sum(size for pointer, (size, _) in kept.items() if pointer not in own)
    assert footprint(workload(Convolutions, shape)).activations == pytest.approx(saved, rel=0.02)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_peak_is_what_the_allocator_records(precision, tmp_path):
    """The profiler's record of every allocation of a real step, largest total minus what was there before."""
    shape, sample = (4, 3, 32, 32), workload(Convolutions, (4, 3, 32, 32), precision)
    network = Convolutions()
    optimizer = adamw(network.parameters())

    def step():
        with sample.autocast():
            loss = network(torch.zeros(shape))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    seen.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    memory = sorted((one for one in events if one["name"] == "[memory]"), key=lambda one: one["ts"])
    alive = peak = 0
    for one in memory:
        alive += one["args"]["Bytes"]
        peak = max(peak, alive)
    found = footprint(sample)
    persistent = found.weights + found.optimizer
    assert found.peak - persistent == pytest.approx(peak, rel=0.1)


def test_tensors_without_memory_cost_what_real_ones_do():
    sample = workload(Convolutions, (2, 3, 16, 16), "bf16-mixed")
    predicted, taken = footprint(sample), footprint(sample, memory=True)
    assert predicted.flops == taken.flops
    assert (predicted.weights, predicted.optimizer) == (taken.weights, taken.optimizer)
    assert predicted.activations == pytest.approx(taken.activations, rel=0.01)
    assert predicted.peak == pytest.approx(taken.peak, rel=0.01)


def test_attention_is_counted_like_its_two_products():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            x = x * self.scale
            return F.scaled_dot_product_attention(x, x, x).sum()

    found = footprint(workload(Attention, (2, 4, 50, 16)))
    forward = 2 * (2 * 2 * 4 * 50 * 50 * 16)
    assert found.flops == pytest.approx(forward * 3.5)


def test_a_precision_that_nothing_is_known_of_is_refused():
    with pytest.raises(UsageError, match="64-true"):
        footprint(workload(chain(4, 1), (1, 4), "64-true"))
