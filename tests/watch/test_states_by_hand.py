"""Collectors that follow states, scores and outputs, told by the test what happened."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from traindx.watch.collectors import ranked_scores
from traindx.watch.collectors.copies import Copies, _Pair
from traindx.watch.collectors.kept_states import KeptStates
from traindx.watch.collectors.loss_states import LossStates, assigned_in_call
from traindx.watch.collectors.networks import Call, CallPlace
from traindx.watch.collectors.no_grad_regions import NoGradRegions
from traindx.watch.collectors.norm_statistics import NormStatistics
from traindx.watch.collectors.plain_tensors import PlainTensors
from traindx.watch.collectors.ranked_scores import RankedScores
from traindx.watch.collectors.sampling_loops import SamplingLoops, _Event
from traindx.watch.collectors.upsampled_outputs import UpsampledOutputs
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import ObservationLevel

SITE = CallSite("train.py", 7, "main")


@pytest.fixture
def watch() -> Any:
    watch = mock.MagicMock(torch=torch, iteration=3, steps=0, grad_enabled=True)
    watch.weak_table = torch.utils.weak.WeakIdKeyDictionary
    watch.would_wait.return_value = False
    watch.shown = lambda site, made=None: site.location() if site else None
    return watch


def used() -> Any:
    return mock.MagicMock()


# -- states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("copies", "moves", "shared"), [(False, True, 4), (True, True, 0), (False, False, 4)])
def test_a_state_that_is_the_live_one(copies: bool, moves: bool, shared: int, watch: Any) -> None:
    kept = KeptStates(watch)
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = dict(network.state_dict())
    with mock.patch("traindx.watch.collectors.kept_states.here", return_value=SITE):
        kept._loads(network, state)  # nobody saw where it was taken
        kept._note(network, [])
        kept._note(network, state)
        if copies:
            state = {name: value.clone() for name, value in state.items()}
            kept._note(network, state)
        watch.steps = 5
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(float(moves))
        kept._loads(network, None)
        kept._loads(nn.Linear(2, 3), {"other": next(iter(state.values()))})  # no name of its own
        kept._loads(network, state)
        kept._loads(network, state)
    (record,) = kept.records()
    assert (record.parameters, record.shared, record.loads, record.steps) == (4, shared, 2, 5)
    assert record.changed is (moves and not copies)


def test_frozen_parts_and_what_has_no_memory_tell_nothing(watch: Any) -> None:
    kept = KeptStates(watch)
    network = nn.Linear(2, 3)
    network.bias.requires_grad_(False)
    state = {**network.state_dict(), "weight": network.weight.detach().to_sparse()}
    kept._note(network, state)
    assert len(kept._taken) == 0
    assert [kept._plain(one) for one in (torch.ones(1), torch.ones(0), torch.ones(2).to_sparse(), 3.0)] == [
        True, False, False, False,
    ]  # fmt: skip


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(2)
        self.register_buffer("total", torch.zeros(2))
        self.other, self.count = torch.tensor(1), torch.ones(2, dtype=torch.int64)

    def forward(self, x: torch.Tensor) -> None:
        self.weight = torch.ones(len(x))
        self.total += 1


def test_tensors_that_a_loss_replaces(watch: Any) -> None:
    states, loss = LossStates(watch, SimpleNamespace(made={})), Weighted()  # type: ignore[arg-type]
    for size in (8, 8, 4):
        x = torch.rand(size)
        states._entered(loss, (x,))
        loss(x)
        states._left(nn.Identity(), (x,), None)  # another one
        states._left(loss, (x,), None)
        states._left(loss, (x,), None)  # twice
    states._entered(nn.MSELoss(), (x,))  # torch's own
    assert states._before is None
    records: dict[str, Any] = {one.attribute: one for one in states.records()}  # type: ignore[attr-defined]
    weight, total = records.pop("weight"), records.pop("total")
    assert not records
    assert (weight.calls, weight.rewritten, weight.as_batch) == (3, 3, 3)
    assert (weight.first_shape, weight.last_shape) == ((2,), (4,))
    assert (total.calls, total.rewritten, total.as_batch, total.last_shape) == (3, 3, 0, (2,))
    assert weight.rewritten_at is not None


def test_the_line_that_assigns_an_attribute_in_a_call() -> None:
    lines = Path(__file__).read_text().splitlines()
    place = assigned_in_call(Weighted, "weight")
    assert place is not None
    assert "torch.ones(len(x))" in lines[place.line - 1]
    place = assigned_in_call(Weighted, "total")
    assert place is not None
    assert "+= 1" in lines[place.line - 1]
    assert assigned_in_call(Weighted, "other") is None  # in the constructor alone


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.scale = torch.ones(2, requires_grad=True)
        self.half = 0.5 * self.layer.weight
        self.constant = torch.ones(2)


@pytest.mark.parametrize("full", [True, False])
def test_attributes_with_a_gradient(full: bool, watch: Any) -> None:
    network = Plain()
    held = {id(one) for one in network.parameters()}
    networks, optimisers = SimpleNamespace(roots={network: SITE}), SimpleNamespace(held=lambda: held)
    plain = PlainTensors(watch, networks, optimisers)  # type: ignore[arg-type]
    watch.level = ObservationLevel.FULL if full else ObservationLevel.OFF
    for iteration in (3, 5):
        watch.iteration = iteration
        network.scale.grad = torch.full((2,), float(iteration == 5))
        plain.end()
    records: dict[str, Any] = {one.name: one for one in plain.records()}  # type: ignore[attr-defined]
    if not full:
        assert not records
        return
    scale, half = records.pop("scale"), records.pop("half")
    assert list(records) == [""]
    assert records[""].modules == 4
    assert (scale.computed, scale.in_optimizer, scale.gradients, scale.iterations, scale.changed) == (
        False, False, 1, 2, False,
    )  # fmt: skip
    assert (half.computed, half.in_optimizer, half.gradients) == (True, True, 0)
    with torch.no_grad():
        network.scale.add_(1)
    plain.end()
    assert {one.name: one.changed for one in plain.records()}["scale"]  # type: ignore[attr-defined]


def test_statistics_of_a_copy_whose_weights_move(watch: Any) -> None:
    copy, live = (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval() for _ in range(2))
    optimizer = torch.optim.SGD(live.parameters(), lr=0.1)
    optimisers = SimpleNamespace(order=[SimpleNamespace(reference=lambda: optimizer)])
    statistics = NormStatistics(watch, used(), used(), optimisers)  # type: ignore[arg-type]
    place = CallPlace("Sequential", None, SITE, False)

    def look(network: nn.Module, *, grad: bool = False) -> None:
        statistics._called(Call(network, SITE, place, grad))

    look(copy.train())
    look(copy.eval(), grad=True)
    look(nn.Sequential(nn.Linear(2, 2)).eval())  # without statistics
    look(live)  # an optimiser moves it
    assert not list(statistics.records())
    look(copy)
    with torch.no_grad():
        copy[0].weight.mul_(1.5)
    with mock.patch("traindx.watch.collectors.norm_statistics.call_site", return_value=SITE):
        statistics._write("mul_", (live[0].weight,), {})
        statistics._write("mul_", (copy[0].weight,), {})
    look(copy)
    (record,) = statistics.records()
    assert (record.looks, record.statistics_moved, record.at_start_values) == (1, False, True)  # type: ignore[attr-defined]
    assert record.weights_moved == pytest.approx(0.5)  # type: ignore[attr-defined]
    assert record.written.line == 7  # type: ignore[attr-defined]
    copy[1].running_mean.add_(1)
    look(copy)
    (record,) = statistics.records()
    assert (record.statistics_moved, record.at_start_values) == (True, False)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("ending", "gone", "share"), [(True, "", 0.25), (False, "", 0.0), (True, "copy", 0.0),
                                                       (True, "source", 0.0)])  # fmt: skip
def test_how_far_a_copy_has_come_is_summed_up_at_the_end(ending: bool, gone: str, share: float, watch: Any) -> None:
    watch.ending = ending
    copies = Copies(watch, used(), used(), used())
    copy, source = nn.Linear(3, 2), nn.Linear(3, 2)
    with torch.no_grad():
        for one, other in zip(copy.parameters(), source.parameters(), strict=True):
            one.copy_(other)
        first = copies._values(copy).clone(), copies._values(source).clone()
        for one, other in zip(copy.parameters(), source.parameters(), strict=True):
            other.add_(1)
            one.add_(0.25)
    alive = {name: (lambda: None) if name == gone else (lambda one=one: one) for name, one in
             (("copy", copy), ("source", source))}  # fmt: skip
    copies._pairs.append(_Pair(alive["copy"], alive["source"], "Linear", None, 1, first))
    (record,) = copies.records()
    assert record.share == pytest.approx(share)  # type: ignore[attr-defined]
    assert (record.source_moved > 0) is (share > 0)  # type: ignore[attr-defined]
    assert record.steps == 2  # type: ignore[attr-defined]


# -- outputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({}, 1),
        ({"mode": "bicubic"}, 0),
        ({"level": ObservationLevel.OFF}, 0),
        ({"grad_enabled": False}, 0),
        ({"stack": []}, 0),
        ({"size": 16}, 0),  # not finer
        ({"detached": True}, 0),
        ({"target_grad": True}, 0),
        ({"other": True}, 0),  # something else is compared
        ({"swapped": True}, 1),
    ],
)
def test_an_output_that_is_an_upsampled_grid(change: dict[str, Any], count: int, watch: Any) -> None:
    known: dict[str, Any] = {"mode": "nearest", "level": ObservationLevel.FULL, "grad_enabled": True,
        "stack": [nn.Linear(1, 1)],
                             "size": 32, "detached": False, "target_grad": False, "other": False, "swapped": False,
                                 **change}  # fmt: skip
    watch.level, watch.grad_enabled = known["level"], known["grad_enabled"]
    seen = UpsampledOutputs(watch, used(), SimpleNamespace(stack=known["stack"]))  # type: ignore[arg-type]
    coarse = torch.rand(1, 1, 16, 16, requires_grad=not known["detached"])
    arguments = {"mode": known["mode"], "size": known["size"]}
    out = nn.functional.interpolate(coarse, **arguments)
    with mock.patch("traindx.watch.collectors.upsampled_outputs.here", return_value=SITE):
        done = seen._interpolates("interpolate", (coarse,), arguments)
        if done is not None:
            done(out)
    target = torch.rand(out.shape, requires_grad=known["target_grad"])
    pair = (2 * out if known["other"] else out, target)
    seen._compares("mse_loss", pair[::-1] if known["swapped"] else pair, {})
    assert watch.sink.event.call_count == count
    if count:
        (record,) = watch.sink.event.call_args.args
        blocks = target.detach().double().unfold(2, 2, 2).unfold(3, 2, 2)
        within = (
            (blocks - blocks.mean((-2, -1), keepdim=True)).square().mean()
        )  # what a grid of half the size leaves out
        assert record.left_out == pytest.approx(float(within), rel=1e-5)
        assert record.coarse == (16, 16)
    seen.begin()
    seen._compares("mse_loss", pair, {})
    assert watch.sink.event.call_count == count


def test_the_step_at_which_a_clamp_changed_most_is_kept(watch: Any) -> None:
    loops = SamplingLoops(*[watch] * len(inspect.signature(SamplingLoops).parameters))
    chain: Any = SimpleNamespace(clamps={})
    x = np.random.default_rng(0).standard_normal((2, 64))
    columns = [x.reshape(-1), np.ones(x.size)]
    for number, bound in enumerate((1.0, 0.5, 2.0, 9.0)):
        clamped = 1.5 * x
        event = _Event(SITE, np.clip(clamped, -bound, bound), clamped)
        loops._clamped(chain, event, columns, None, 0, number)
    first = {(key[1], key[2]): (one.step, one.changed) for key, one in chain.clamps.items()}
    assert first == {
        (-bound, bound): (number, pytest.approx(float((np.abs(1.5 * x) > bound).mean())))
        for number, bound in enumerate((1.0, 0.5, 2.0))  # none is changed by 9
    }
    for number, part in ((10, 0.5), (11, 2.0), (12, 1.0)):  # less, more, less than that
        clamped = part * 1.5 * x
        loops._clamped(chain, _Event(SITE, np.clip(clamped, -0.5, 0.5), clamped), columns, None, 0, number)
    kept = chain.clamps[SITE, -0.5, 0.5]
    assert (kept.step, kept.of_x) == (11, pytest.approx(3.0))


@pytest.mark.parametrize(
    ("predictions", "labels", "samples", "values", "count"),
    [
        (np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1]), 3, (0.0, 1.0), 2),
        (torch.tensor([0.5, 0.25]), torch.tensor([1, 1]), 2, (0.25, 0.5), 1),
        ([0.0, 1.0], [0, 1], 2, (0.0, 1.0), 2),
        (torch.ones(2, device="meta"), torch.ones(2), 0, (), 0),
        (torch.linspace(0, 1, 500), torch.ones(500), 500, (), 1),
    ],
)
def test_what_is_ranked(predictions: Any, labels: Any, samples: int, values: tuple[float, ...], count: int) -> None:
    scores = RankedScores()
    scores.look("auc", predictions, labels, None)
    scores.look("auc", None, labels, SITE)
    scores.look("auc", predictions, None, SITE)
    assert not list(scores.records())
    scores.look("auc", predictions, labels, SITE)
    (record,) = scores.records()
    assert (record.calls, record.samples, record.values, record.labels) == (1, samples, values, count)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("active", "muted"), [(True, False), (False, False), (True, True)])
def test_scores_are_looked_at_in_their_order_of_arguments(active: bool, muted: bool) -> None:
    scores = RankedScores()
    scores.muted = lambda: muted
    if not active:
        scores.stop()
    module: Any = ModuleType("metrics")
    exec("def roc_auc_score(y_true, y_score): return 1\ndef binary_auroc(preds, target): return 2", vars(module))
    looked: list[Any] = []
    with mock.patch.object(
        scores, "look", lambda name, predictions, labels, site: looked.append((predictions, labels))
    ):
        scores.install_sklearn(module)
        scores.install_functions(module)
        assert (module.roc_auc_score("labels", "scores"), module.binary_auroc("scores", "labels")) == (1, 2)
        assert module.roc_auc_score("labels", y_score="scores") == 1
        assert module.binary_auroc(target="labels", preds="scores") == 2
    assert looked == ([("scores", "labels")] * 4 if active and not muted else [])


@pytest.mark.parametrize(
    ("name", "looked"), [("BinaryAUROC", True), ("BinaryPrecisionRecallCurve", None), ("BinaryAccuracy", False)]
)
def test_only_metrics_that_rank_are_looked_at(name: str, looked: bool | None) -> None:
    scores = RankedScores()
    base = type("BinaryPrecisionRecallCurve", (), {"update": lambda self, preds, target: 3})
    module = SimpleNamespace(BinaryPrecisionRecallCurve=base)
    scores.install_classes(module)  # type: ignore[arg-type]
    kind = type(name, (base,), {})
    with mock.patch.object(scores, "look") as look:
        assert kind().update("scores", "labels") == 3
    expected = any(word in name for word in ranked_scores.RANKING) if looked is None else looked
    assert look.called is expected


# -- regions without gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attached", "here", "line", "begins"),
    [(False, True, SITE, True), (True, True, SITE, False), (False, False, SITE, False), (False, True, None, False)],
)
def test_a_look_begins_where_gradients_are_switched_off(
    attached: bool, here: bool, line: CallSite | None, begins: bool, watch: Any
) -> None:
    watch.attached, watch.here_and_now = attached, here
    regions = NoGradRegions(watch)
    with mock.patch("traindx.watch.collectors.no_grad_regions.user_above", return_value=line):
        assert regions._make_enter(lambda context: "entered")("context") == "entered"
    assert watch.begin_burst.called is begins


@pytest.mark.parametrize(
    ("left", "busy", "line", "ends"),
    [(3, False, SITE, True), (0, False, SITE, False), (3, True, SITE, False), (3, False, None, False)],
)
def test_it_ends_where_they_are_switched_on_again(
    left: int, busy: bool, line: CallSite | None, ends: bool, watch: Any
) -> None:
    watch.burst_left, watch.busy = left, busy
    regions = NoGradRegions(watch)
    with mock.patch("traindx.watch.collectors.no_grad_regions.user_above", return_value=line):
        assert regions._make_exit(lambda context, *error: error)("context", 1, 2, 3) == (1, 2, 3)
    assert watch.end_burst.called is ends
