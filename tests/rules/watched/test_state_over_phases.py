"""State over the phases of a training: copies, frozen parts, optimisers, schedules and samplers, as they run."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from traindx.evidence.base import Evidence
from traindx.evidence.observed import Ending, ScriptRun
from traindx.evidence.observed_state import CopySeen
from traindx.finding import Standing
from watch.inside import found, watched


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head(self.body(x))


def step(net, opt, shift=0.0):
    x = torch.randn(16, 4) + shift
    opt.zero_grad()
    F.mse_loss(net(x), x.sum(1, keepdim=True)).backward()
    opt.step()


def judge(net):
    net.eval()
    with torch.no_grad():
        net(torch.randn(16, 4))
    net.train()


# -- copies ------------------------------------------------------------------------------------------------------


def averaged(rate, steps=90, *, judged="copy", every=1):
    """A training with a copy that takes over ``rate`` of the network at every step."""

    def script():
        torch.manual_seed(0)
        net = Net()
        opt = torch.optim.SGD(net.parameters(), lr=0.05)
        average = copy.deepcopy(net).requires_grad_(False)
        for number in range(steps):
            step(net, opt)
            with torch.no_grad():
                for mine, its in zip(average.parameters(), net.parameters(), strict=True):
                    mine.lerp_(its, rate if number % every == 0 else 0.0)
                for mine, its in zip(average.buffers(), net.buffers(), strict=True):
                    mine.copy_(its)
            if number % 10 == 0 and judged:
                judge(net if judged == "network" else average)

    return script


def finished(evidence):
    evidence.add(ScriptRun(target="train.py", ending=Ending.FINISHED))
    return evidence


@pytest.mark.parametrize("rate", [0.5, 0.05])
def test_the_share_that_is_taken_over_is_measured(rate, tmp_path):
    (record,) = watched(averaged(rate), tmp_path).of(CopySeen)
    assert record.late == pytest.approx(rate, rel=1e-3)
    assert record.misfit < 1e-3
    assert record.judged
    assert not record.source_judged


@pytest.mark.parametrize(("rate", "said"), [(0.5, "2.0 steps"), (0.99, "no average")])
def test_an_average_that_averages_nothing(rate, said, tmp_path):
    (finding,) = found("O410", watched(averaged(rate), tmp_path))
    assert finding.standing is Standing.SUSPECTED
    assert said in finding.message
    assert finding.location.symbol.endswith("script")


def test_an_average_that_the_run_is_too_short_for(tmp_path):
    (finding,) = found("O410", finished(watched(averaged(0.001), tmp_path)))
    assert "of the way" in finding.message


@pytest.mark.parametrize(
    ("rate", "options"),
    [
        (0.1, {}),
        (0.001, {"judged": ""}),  # it only helps: a momentum encoder
        (1.0, {"every": 10}),  # a target that is synchronised now and then
        (0.0, {"judged": "network"}),  # a reference that is kept
    ],
)
def test_copies_in_step_are_left_alone(rate, options, tmp_path):
    assert found("O410", finished(watched(averaged(rate, **options), tmp_path))) == []


def test_a_copy_that_is_judged_and_never_updated(tmp_path):
    (finding,) = found("O410", watched(averaged(0.0), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert "does not reach" in finding.message


def test_networks_that_were_drawn_each_by_itself_are_no_copies(tmp_path):
    def script():
        net, other = Net(), Net()
        opt = torch.optim.SGD(net.parameters(), lr=0.05)
        for _ in range(30):
            step(net, opt)
            judge(other)

    assert watched(script, tmp_path).of(CopySeen) == []


# -- frozen parts ------------------------------------------------------------------------------------------------


def second_head(*, evaluates=False, fresh=False, thaws=False):
    """A trained body is frozen and gets a new head, on data that lie elsewhere."""

    def script():
        torch.manual_seed(0)
        net = Net()
        opt = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(0 if fresh else 20):
            step(net, opt)
        net.body.requires_grad_(False)  # HERE
        net.head = nn.Linear(16, 1)
        opt = torch.optim.Adam(net.head.parameters(), lr=1e-2)
        for number in range(40):
            net.train()
            if evaluates:
                net.body.eval()
            net.body.requires_grad_(thaws and number % 2 == 1)
            step(net, opt, shift=3.0)

    return script


def test_a_frozen_body_whose_statistics_follow_the_new_data(tmp_path):
    (finding,) = found("M209", watched(second_head(), tmp_path))
    assert finding.standing is Standing.SUSPECTED
    assert "body of Net is frozen" in finding.message


@pytest.mark.parametrize("options", [{"evaluates": True}, {"fresh": True}, {"thaws": True}])
def test_bodies_in_evaluation_random_ones_and_those_that_thaw_are_left_alone(options, tmp_path):
    assert found("M209", watched(second_head(**options), tmp_path)) == []


# -- optimisers and schedules ------------------------------------------------------------------------------------


def loop(order, *, inner=1, steps=24):
    """Backward, clear and step in an order; several backward passes a step."""

    def script():
        net = Net()
        opt = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(steps):
            for _ in range(inner):
                x = torch.randn(16, 4)
                loss = net(x).square().mean()
                for what in order:
                    (loss.backward if what == "backward" else getattr(opt, what))()
            if "step" not in order:
                opt.step()

    return script


def test_gradients_that_are_cleared_before_the_step(tmp_path):
    evidence = watched(loop(["backward", "zero_grad", "step"]), tmp_path)
    (finding,) = found("O416", evidence)
    assert finding.standing is Standing.DEMONSTRATED
    assert "nothing to use" in finding.message
    assert found("M207", evidence) == []  # the consequence


def test_a_step_outside_the_loop(tmp_path):
    (finding,) = found("O416", watched(loop(["zero_grad", "backward"], inner=5), tmp_path))
    assert finding.numbers["wasted"] == pytest.approx(4 / 5 * finding.numbers["passes"], abs=2)


@pytest.mark.parametrize("order", [["zero_grad", "backward", "step"], ["backward", "step", "zero_grad"]])
def test_the_usual_orders_and_accumulation_are_left_alone(order, tmp_path):
    assert found("O416", watched(loop(order), tmp_path)) == []


def test_an_attack_is_left_alone(tmp_path):
    """A near miss: gradients of the weights that an attack on the input leaves behind are cleared."""

    def script():
        net = Net()
        opt = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(24):
            x = torch.randn(16, 4, requires_grad=True)
            net(x).square().mean().backward()
            opt.zero_grad()
            net((x + 0.1 * x.grad.sign()).detach()).square().mean().backward()
            opt.step()

    assert found("O416", watched(script, tmp_path)) == []


def test_a_closure_that_is_evaluated_many_times_is_left_alone(tmp_path):
    def script():
        net = Net()
        opt = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=6)
        for _ in range(12):
            x = torch.randn(16, 4)

            def closure(x=x):
                opt.zero_grad()
                loss = net(x).square().mean()
                loss.backward()
                return loss

            opt.step(closure)

    assert found("O416", watched(script, tmp_path)) == []


def test_a_schedule_of_an_optimiser_that_rests(tmp_path):
    def script(again=True):
        net = Net()
        opt = torch.optim.Adam(net.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 6)
        for _ in range(6):
            if again:
                opt = torch.optim.Adam(net.parameters(), lr=1e-3)
            for _ in range(4):
                step(net, opt)
            schedule.step()

    evidence = watched(script, tmp_path / "faulty")
    (finding,) = found("O407", evidence)
    assert "takes no steps" in finding.message
    (anew,) = found("O417", evidence)
    assert anew.numbers["optimisers"] == 6
    healthy = watched(lambda: script(again=False), tmp_path / "healthy")
    assert found("O407", healthy) == []
    assert found("O417", healthy) == []


def test_optimisers_that_take_turns_are_left_alone(tmp_path):
    def script():
        one, other = Net(), Net()
        opts = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (one, other)]
        schedules = [torch.optim.lr_scheduler.StepLR(opt, 40) for opt in opts]
        for number in range(30):
            step(one, opts[0])
            if number % 5 == 0:  # as a generator rests while its critic learns
                step(other, opts[1])
            for schedule in schedules:
                schedule.step()

    evidence = watched(script, tmp_path)
    assert found("O407", evidence) == []
    assert found("O417", evidence) == []


# -- parameters that nobody holds, and samplers ------------------------------------------------------------------


class Balanced(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, z, y):
        error = F.mse_loss(z, y)
        return ((-self.log_variance).exp() * error + self.log_variance).sum()


@pytest.mark.parametrize("held", [False, True])
def test_learned_weights_of_a_loss_that_no_optimiser_holds(held, tmp_path):
    def script():
        net, loss = Net(), Balanced()
        opt = torch.optim.Adam(chain(net.parameters(), loss.parameters() if held else ()), lr=1e-3)
        for _ in range(12):
            x = torch.randn(16, 4)
            opt.zero_grad()
            loss(net(x), x.sum(1, keepdim=True)).backward()
            opt.step()

    findings = found("M207", watched(script, tmp_path))
    assert [one.numbers["parameters"] for one in findings] == ([] if held else [2])


LABELS = torch.tensor([0] * 80 + [1] * 16 + [2] * 4)


def sampled(weights):
    def script():
        data = TensorDataset(torch.randn(100, 4), LABELS)
        DataLoader(data, 10, sampler=WeightedRandomSampler(weights, 100))

    return script


def test_a_sampler_with_one_weight_a_class(tmp_path):
    counts = torch.bincount(LABELS)
    (finding,) = found("D139", watched(sampled(1.0 / counts), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers == {"weights": 3, "items": 100}


def test_a_sampler_that_makes_the_rare_class_rarer(tmp_path):
    counts = torch.bincount(LABELS).float()
    (finding,) = found("D139", watched(sampled(counts[LABELS]), tmp_path))
    assert finding.standing is Standing.SUSPECTED
    assert finding.numbers["natural"] == pytest.approx(0.04)
    assert finding.numbers["drawn"] == pytest.approx(4 * 4 / (80**2 + 16**2 + 4**2))


@pytest.mark.parametrize("power", [0.0, -0.5, -1.0])
def test_samplers_that_balance_are_left_alone(power, tmp_path):
    counts = torch.bincount(LABELS).float()
    evidence = watched(sampled(counts[LABELS] ** power), tmp_path)
    assert isinstance(evidence, Evidence)
    assert found("D139", evidence) == []


# -- batches and arguments ---------------------------------------------------------------------------------------


def read(labels, *, shuffle=False, trains=True):
    def script():
        net = nn.Linear(4, 3)
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
        loader = DataLoader(TensorDataset(torch.randn(len(labels), 4), labels), 10, shuffle=shuffle)
        for _ in range(4):
            for x, y in loader:
                loss = F.cross_entropy(net(x), y)
                if trains:
                    opt.zero_grad()
                    loss.backward()
                    opt.step()

    return script


def test_training_on_items_that_lie_class_by_class(tmp_path):
    labels = torch.arange(3).repeat_interleave(33)
    (finding,) = found("D140", watched(read(labels), tmp_path))
    assert finding.numbers["classes"] == 3
    assert finding.standing is Standing.SUSPECTED


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (torch.arange(3).repeat_interleave(33), {"shuffle": True}),
        (torch.arange(3).repeat_interleave(33), {"trains": False}),
        (torch.arange(3).repeat(33), {}),
        (torch.zeros(99).long(), {}),
    ],
)
def test_mixed_batches_and_loaders_that_only_judge_are_left_alone(labels, options, tmp_path):
    assert found("D140", watched(read(labels, **options), tmp_path)) == []


class Guided(nn.Module):
    def __init__(self, *, heeds):
        super().__init__()
        self.heeds = heeds
        self.layer = nn.Linear(4, 4)

    def forward(self, x, kind, drop=0.0):
        keep = torch.full((len(x), 1), float(drop < 0.5)) if self.heeds else 1.0
        return self.layer(x + keep * kind)


class Dropping(nn.Module):
    """Draws which conditions to drop, and may forget to drop them."""

    def __init__(self, heeds):
        super().__init__()
        self.heeds = heeds
        self.layer = nn.Linear(4, 4)

    def forward(self, x, kind, drop):
        keep = (torch.rand(len(x), 1) >= drop).float()
        return self.layer(x + (keep * kind if self.heeds else kind))


def guided(net, given):
    def script():
        kind = torch.randn(8, 4)
        with torch.no_grad():
            for _ in range(6):
                x = torch.randn(8, 4)
                net(x, kind, **given[0])
                net(x, kind, **given[1])

    return script


def test_an_argument_that_makes_no_difference(tmp_path):
    evidence = watched(guided(Guided(heeds=False), ({"drop": 1.0}, {"drop": 0.0})), tmp_path)
    (finding,) = found("S509", evidence)
    assert finding.standing is Standing.DEMONSTRATED
    assert "differ in drop alone" in finding.message
    assert "(1.0 and 0.0)" in finding.message


@pytest.mark.parametrize("heeds", [False, True])
def test_a_share_that_training_is_told(heeds, tmp_path):
    def script():
        torch.manual_seed(0)
        net = Dropping(heeds)
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(40):
            x, kind = torch.randn(8, 4), torch.randn(8, 4)
            opt.zero_grad()
            F.mse_loss(net(x, kind, 0.2), x).backward()
            opt.step()

    findings = found("S509", watched(script, tmp_path))
    assert [one.numbers["argument"] for one in findings] == ([] if heeds else ["drop"])


def test_an_argument_that_does_and_a_call_that_is_repeated_are_left_alone(tmp_path):
    for number, given in enumerate([({"drop": 1.0}, {"drop": 0.0}), ({"drop": 0.0}, {"drop": 0.0})]):
        evidence = watched(guided(Guided(heeds=True), given), tmp_path / str(number))
        assert found("S509", evidence) == []


class Wrapping(torch.optim.Optimizer):
    """An optimiser that steps for another one, whose groups it shares, as launchers make it."""

    def __init__(self, inner):
        self.inner = inner
        super().__init__([torch.zeros(1, requires_grad=True)], {})

    param_groups = property(lambda self: self.inner.param_groups, lambda self, groups: None)
    state = property(lambda self: self.inner.state, lambda self, state: None)

    def add_param_group(self, group):
        pass

    def step(self, closure=None):
        with torch.no_grad():
            for group in self.inner.param_groups:
                for parameter in group["params"]:
                    parameter.sub_(group["lr"] * parameter.grad)


def test_a_schedule_of_an_optimiser_that_another_one_steps_for_is_left_alone(tmp_path):
    def script():
        net = Net()
        inner = torch.optim.SGD(net.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(inner, 6)
        opt = Wrapping(inner)
        for _ in range(6):
            for _ in range(4):
                step(net, opt)
            schedule.step()

    assert found("O407", watched(script, tmp_path)) == []
