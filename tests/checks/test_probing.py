"""What checks share: the room stays quiet, zero-initialised parts are woken and nothing else, batches are cut right."""

from __future__ import annotations

import random
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from patients.denoisers import denoising_case
from patients.zoo import SmallUNet
from traindx.checks import CheckContext
from traindx.checks.probing import awake_model, modest_batch, network_probe
from traindx.core.batches import part_of, rows_of, tensors_in, with_part
from traindx.core.undisturbed import in_mode, reinit_zero_initialized, undisturbed
from traindx.evidence import Evidence


def test_all_random_states_are_given_back():
    def draws():
        return torch.rand(1).item(), np.random.rand(), random.random()

    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = draws()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    with undisturbed(5):
        first = draws()
    with pytest.raises(ZeroDivisionError):
        _fail_inside()
    with undisturbed(5):
        assert draws() == first
    assert draws() == expected


def _fail_inside():
    with undisturbed(9):
        torch.rand(3)
        raise ZeroDivisionError


def test_every_module_gets_its_own_mode_back():
    model = nn.Sequential(nn.BatchNorm2d(1).eval(), nn.Dropout()).train()
    model[0].eval()
    with in_mode(model, training=False):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, False, True]


def test_what_starts_at_zero_is_woken_and_nothing_else():
    model = SmallUNet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert reinit_zero_initialized(model) == 1
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["out.weight"]
    assert 0.05 < float(model.out.weight.detach().std()) < 0.5  # 16 numbers of standard deviation 1/4


class Quiet(nn.Module):
    def __init__(self):
        super().__init__()
        self.rezero = nn.Parameter(torch.zeros(1))
        self.scale = nn.Parameter(torch.full((8,), 1e-6))
        self.norm = nn.BatchNorm1d(8)
        nn.init.zeros_(self.norm.weight)
        self.tiny = nn.Linear(8, 8)
        nn.init.xavier_uniform_(self.tiny.weight, gain=1e-5)
        self.usual = nn.Linear(8, 8)
        nn.init.zeros_(self.usual.bias)
        self.position = nn.Parameter(torch.randn(1, 4, 8) * 0.02)


def test_gates_gains_norms_and_tiny_layers_are_woken_and_biases_and_embeddings_are_not():
    model = Quiet()
    reinit_zero_initialized(model)
    assert float(model.rezero.detach().abs().min()) > 0.1
    assert float(model.scale.detach().min()) > 0.1
    assert torch.all(model.norm.weight == 1)
    assert float(model.tiny.weight.detach().std()) > 0.1
    assert torch.all(model.usual.bias == 0)
    assert torch.all(model.norm.bias == 0)
    assert float(model.position.detach().std()) < 0.05


def test_the_awake_model_is_made_once_from_the_rooms_seed_and_the_fresh_one_is_as_built():
    ctx = CheckContext(denoising_case(), Evidence())
    assert awake_model(ctx) is awake_model(ctx)
    assert torch.all(ctx.fresh_model().out.weight == 0)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    awake_model(CheckContext(denoising_case(), Evidence()))
    assert torch.equal(torch.get_rng_state(), state)


Pair = namedtuple("Pair", "image label")


def test_batches_of_any_form_are_cut():
    batch = {"x": torch.arange(6).view(3, 2), "meta": ["a", "b", "c"], "spacing": torch.ones(2), "n": 3}
    cut = rows_of(batch, slice(1, 2), 3)
    assert cut["x"].tolist() == [[2, 3]]
    assert cut["meta"] == ["b"]
    assert cut["spacing"].shape == (2,)
    pair = rows_of(Pair(torch.zeros(3, 1), torch.ones(3)), slice(0, 1), 3)
    assert isinstance(pair, Pair)
    assert pair.label.shape == (1,)
    assert part_of(Pair(1, 2), "label") == 2 or part_of(Pair(1, 2), "1") == 2
    assert with_part((1, 2), "1", 5) == (1, 5)
    assert with_part({"a": 1}, "a", 2) == {"a": 2}
    assert len(tensors_in({"a": [torch.zeros(1)], "b": (torch.zeros(1), torch.zeros(1, dtype=torch.long))})) == 2


def test_a_modest_batch_has_two_samples_of_what_is_large_and_all_of_what_is_small():
    big = denoising_case(size=32, count=8, batch_size=6)
    assert len(modest_batch(CheckContext(big, Evidence()))["ct"]) == 2
    small = denoising_case(size=8, count=8, batch_size=6)
    assert len(modest_batch(CheckContext(small, Evidence()))["ct"]) == 6


def test_the_probe_calls_the_denoiser_at_a_middle_time():
    case = denoising_case()
    probe = network_probe(CheckContext(case, Evidence()))
    alpha = case.diffusion.alphas_cumprod[probe.t]
    assert float((alpha - 0.5).abs()) < 0.02
    assert torch.allclose(probe.x_t, alpha.sqrt() * probe.batch["ct"] + (1 - alpha).sqrt() * probe.noise)
    assert not torch.equal(probe.other["ct"], probe.batch["ct"])
