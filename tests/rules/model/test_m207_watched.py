"""M207 in a watched script: cut off or merely unused, gone optimisers, and one finding a cause."""

from __future__ import annotations

import pytest

from traindx.finding import Standing

HEAD = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self, how=""):
            super().__init__()
            self.how = how
            self.first = nn.Linear(4, 16)
            self.second = nn.Linear(16, 16)
            self.third = nn.Linear(16, 16)
            self.head = nn.Linear(16, 1)
            self.spare = nn.Linear(16, 16)
            self.beside = nn.Linear(16, 16)

        def forward(self, x):
            h = self.third(torch.tanh(self.second(torch.tanh(self.first(x)))))
            if self.how == "pooled":
                self.pooled = torch.tanh(self.spare(h))
            if self.how == "ignored":
                aligned = self.beside(h)  # IGNORED
            if self.how == "kept":
                other = self.second(self.third(h))
                self.kept = other
            if self.how == "detached":
                h = h.detach()  # HERE
            if self.how in ("hidden", "dropped"):  # the graph is whole, a factor is zero
                keep = 0.0 if self.how == "hidden" or torch.rand(()) < 0.7 else 1.0
                return self.head(torch.tanh(self.first(x)) + keep * h)
            if self.how == "picked":
                h = torch.nn.functional.one_hot(h.argmax(1), 16).float()  # THERE
            return self.head(h)

    def train(net, opt, steps=16):
        for _ in range(steps):
            x = torch.randn(8, 4)
            opt.zero_grad()
            loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            opt.step()
"""


@pytest.mark.parametrize(("how", "line"), [("detached", "# HERE"), ("picked", "# THERE")])
def test_layers_that_are_cut_off_are_one_finding_at_the_cut(script, how, line):
    seen = script(HEAD + f'\n    net = Net("{how}")\n    train(net, torch.optim.Adam(net.parameters(), lr=1e-3))\n')
    (finding,) = seen.found("M207")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == seen.line(line)
    assert finding.numbers["tensors"] == 6  # three layers


def test_a_factor_of_zero_is_no_end_of_the_graph(script):
    seen = script(HEAD + '\n    net = Net("hidden")\n    train(net, torch.optim.Adam(net.parameters(), lr=1e-3))\n')
    (finding,) = seen.found("M207")
    assert (finding.variant, finding.standing) == ("zero-gradient", Standing.SUSPECTED)
    assert finding.numbers["tensors"] == 4  # the second and the third layer
    assert "ends at" not in finding.message


def test_a_branch_that_is_dropped_now_and_then_trains(script):
    text = '\n    net = Net("dropped")\n    train(net, torch.optim.Adam(net.parameters(), lr=1e-3), 60)\n'
    assert script(HEAD + text).found("M207") == []


def test_a_layer_whose_output_nothing_uses_is_left_alone(script):
    seen = script(HEAD + '\n    net = Net("pooled")\n    train(net, torch.optim.Adam(net.parameters(), lr=1e-3))\n')
    assert seen.found("M207") == []
    assert seen.diagnosis.errors == ()


def test_a_part_whose_result_nothing_reads_is_named_at_the_call(script):
    """As a spatial transformer whose resampled image is not what the classifier gets."""
    seen = script(HEAD + '\n    net = Net("ignored")\n    train(net, torch.optim.Adam(net.parameters(), lr=1e-3))\n')
    (finding,) = seen.found("M207")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == seen.line("# IGNORED")
    assert finding.numbers == {"parameters": 16 * 17, "tensors": 2}


def test_a_result_that_is_read_for_something_else_is_left_alone(script):
    seen = script(HEAD + '\n    net = Net("kept")\n    train(net, torch.optim.Adam(net.parameters(), lr=1e-3))\n')
    assert seen.found("M207") == []


def test_an_optimiser_of_an_earlier_stage_may_be_gone(script):
    tail = """
    first, second = Net(), Net()
    opt = torch.optim.Adam(first.parameters(), lr=1e-3)
    train(first, opt)
    both = nn.Sequential(first, nn.Linear(1, 4), second)
    opt = torch.optim.Adam([*both[1].parameters(), *second.parameters()], lr=1e-3)
    train(both, opt)
    """
    seen = script(HEAD + tail)
    assert seen.found("M207") == []


def test_what_the_script_updates_itself_is_not_forgotten(script):
    tail = """
    net, scale = Net(), nn.Linear(4, 64)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(16):
        x = torch.randn(8, 4)
        opt.zero_grad()
        scale.zero_grad()
        loss = (net(x) + scale(x).mean(1, keepdim=True) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for p in scale.parameters():
                p -= 0.01 * p.grad
    """
    assert script(HEAD + tail).found("M207") == []


def test_layers_that_no_optimiser_holds_are_demonstrated(script):
    tail = """
    net = Net()
    train(net, torch.optim.Adam([*net.second.parameters(), *net.third.parameters(), *net.head.parameters()], lr=1e-3))
    """
    (finding,) = script(HEAD + tail).found("M207")
    assert finding.standing is Standing.DEMONSTRATED
    assert "no optimiser" in finding.message
