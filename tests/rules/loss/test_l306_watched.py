"""L306 and L305 in watched scripts: activations that are bounded by design, and weights of items."""

from __future__ import annotations

import pytest

from traindx.finding import Standing

HEAD = """
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)

    class Hard(nn.Module):
        def __init__(self, bound):
            super().__init__()
            self.first, self.second = nn.Linear(4, 32), nn.Linear(32, 4)
            self.bound = bound
            with torch.no_grad():
                self.first.weight.mul_(40)

        def forward(self, x):
            return self.second(self.bound(self.first(x)))

    def train(net, loss):
        opt = torch.optim.Adam(net.parameters(), lr=1e-4)
        for step in range(20):
            x = torch.randn(16, 4)
            opt.zero_grad()
            loss(net(x), x).backward()
            opt.step()
"""


def test_a_clamp_of_what_the_loss_judges_is_demonstrated(script):
    tail = """
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 4))
    train(net, lambda y, x: F.mse_loss((5 + y).clamp(-1, 1), x))  # HERE
    """
    seen = script(HEAD + tail)
    (finding,) = seen.found("L306")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == seen.line("# HERE")


@pytest.mark.parametrize("bound", ["nn.ReLU6()", "nn.Hardtanh(-0.1, 0.1)", "lambda h: F.hardtanh(h, -0.1, 0.1)"])
def test_activations_that_are_bounded_by_design_are_left_alone(script, bound):
    seen = script(HEAD + f"\n    train(Hard({bound}), lambda y, x: F.mse_loss(y, x))\n")
    assert seen.diagnosis.errors == ()
    assert seen.found("L306") == []


def test_a_clamp_between_layers_is_suspected_at_most(script):
    seen = script(HEAD + "\n    train(Hard(lambda h: h.clamp(-0.01, 0.01)), lambda y, x: F.mse_loss(y, x))\n")
    assert all(finding.standing is Standing.SUSPECTED for finding in seen.found("L306"))


POOLING = """
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.score, self.out = nn.Linear(8, 16), nn.Linear(16, 1), nn.Linear(16, 1)

        def forward(self, x):
            h = torch.relu(self.features(x))
            a = self.score(h)
            WEIGHTS
            return self.out(pooled)

    net = Bag()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for step in range(12):
        x = torch.randn(3 + SIZE, 8)
        loss = F.binary_cross_entropy_with_logits(net(x), torch.full((1, 1), float(step % 2)))
        opt.zero_grad()
        loss.backward()
        opt.step()
"""


def test_weights_over_the_wrong_axis_want_the_other_axis_and_no_sigmoid(script):
    wrong = "a = torch.softmax(a, dim=1)  # HERE\n            pooled = a.t() @ h"
    seen = script(POOLING.replace("WEIGHTS", wrong).replace("SIZE", "step"))
    (finding,) = seen.found("L305")
    assert finding.location.line == seen.line("# HERE")
    assert "dim=0" in finding.remedy
    assert "sigmoid" not in finding.remedy


@pytest.mark.parametrize("size", ["step", "step - 2 if step < 2 else 3"], ids=["always several", "once a single one"])
def test_weights_over_the_items_are_right(script, size):
    right = "a = torch.softmax(a.t(), dim=1)\n            pooled = a @ h"
    seen = script(POOLING.replace("WEIGHTS", right).replace("SIZE", f"({size})"))
    assert seen.diagnosis.errors == ()
    assert seen.found("L305") == []


def test_a_single_class_wants_a_sigmoid(script):
    tail = """
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    train(net, lambda y, x: F.mse_loss(y.softmax(1), (x[:, :1] > 0).float()) + 0 * y.mean())  # HERE
    """
    (finding,) = script(HEAD + tail).found("L305")
    assert "sigmoid" in finding.remedy


RARE = """
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for step in range(24):
        x = torch.randn(128, 4)
        y = x[:, :1] + SIZE * (torch.arange(128)[:, None] % 10 == 0)
        squared = (net(x) - y).square()
        loss = CLAMP
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


@pytest.mark.parametrize("clamp", ["squared.clamp(max=4.0).mean()", "squared.clamp(0, 4).sum() / 128"])
def test_losses_of_rare_samples_that_are_cut(script, clamp):
    seen = script(RARE.replace("SIZE", "8").replace("CLAMP", clamp))
    (finding,) = seen.found("L306")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location.line == seen.line("loss = ")
    assert 0.05 < finding.numbers["share"] < 0.15  # every tenth


@pytest.mark.parametrize(
    ("size", "clamp"),
    [
        ("8", "squared.mean()"),
        ("0", "squared.clamp(max=4.0).mean()"),  # hardly ever reached
        ("8", "squared.clamp(max=400.0).mean()"),
        ("8", "squared.clamp(min=1e-6).mean()"),
        ("8", "nn.functional.smooth_l1_loss(net(x), y)"),
    ],
)
def test_losses_of_all_samples_that_count(script, size, clamp):
    assert script(RARE.replace("SIZE", size).replace("CLAMP", clamp)).found("L306") == []
