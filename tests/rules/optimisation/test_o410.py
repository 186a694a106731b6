"""O410 from the check to the rule: are the weights that predict those that were trained?"""

from __future__ import annotations

import copy

import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.network.deployed_weights import deployed_weights
from traindx.finding import Standing


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x)


class WithAverage(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.average = copy.deepcopy(self.net).requires_grad_(False)

    def forward(self, x):
        return self.net(x)


def batch():
    return {"x": torch.randn(5, 4, generator=torch.Generator().manual_seed(0))}


def case(predict, model=WithAverage):
    return dx.Case(model=model, train=[batch()], predict=predict)


def trained(made, seed=0):
    torch.manual_seed(seed)
    model = made.model()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    return model


def found(made, model):
    return findings(run_check(made, deployed_weights, trained=model), "O410")


def test_an_average_that_never_began_is_demonstrated():
    made = case(lambda m, b: m.average(b["x"]))
    (finding,) = found(made, trained(made))
    assert finding.standing is Standing.DEMONSTRATED
    assert "bit-identical to a fresh model's" in finding.message


def test_an_average_that_was_taken_is_not_called_untrained():
    """A near miss: predictions are made with the average, as they should be."""
    made = case(lambda m, b: m.average(b["x"]))
    model = trained(made)
    model.average.load_state_dict(model.net.state_dict())
    assert all(finding.standing is Standing.SUSPECTED for finding in found(made, model))


def test_the_trained_weights_are_left_alone():
    made = case(lambda m, b: m(b["x"]))
    assert found(made, trained(made)) == []


def test_a_frozen_encoder_under_a_trained_head_is_left_alone():
    """A near miss: most weights do not move, but the prediction follows those that do."""

    class Frozen(Net):
        def __init__(self):
            super().__init__()
            self.layers[0].requires_grad_(False)

    made = case(lambda m, b: m(b["x"]), model=Frozen)
    assert found(made, trained(made)) == []


def test_without_any_training_there_is_nothing_to_say():
    made = case(lambda m, b: m.average(b["x"]))
    torch.manual_seed(0)
    assert found(made, made.model()) == []


def test_weights_are_given_back_exactly():
    made = case(lambda m, b: m(b["x"]))
    model = trained(made)
    before = copy.deepcopy(model.state_dict())
    found(made, model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
