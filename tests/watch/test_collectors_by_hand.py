"""Collectors that are told what happened by the test: calls, batches and losses at the edge of what they note."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from traindx.watch.collectors.acting_settings import _hands_on
from traindx.watch.collectors.backwards import Backward
from traindx.watch.collectors.batch_classes import BatchesOfClasses
from traindx.watch.collectors.cut_losses import CutLosses
from traindx.watch.collectors.dropped_outputs import DroppedOutputs
from traindx.watch.collectors.elsewhere import Elsewhere, runs_python
from traindx.watch.collectors.given_masks import ends_of
from traindx.watch.collectors.loaders import Loader
from traindx.watch.collectors.merged_views import MergedViews
from traindx.watch.collectors.networks import Call, CallPlace
from traindx.watch.collectors.peaks import Peaks
from traindx.watch.collectors.reading_order import ReadingOrders, drops_labels
from traindx.watch.collectors.repeated_calls import RepeatedCalls
from traindx.watch.collectors.resampled_tensors import ResampledTensors
from traindx.watch.collectors.seeds import SeedCalls, Seeds
from traindx.watch.collectors.set_fields import _differs
from traindx.watch.collectors.shared_items import SharedItemsSeen
from traindx.watch.collectors.stage_inputs import StagesSeen, given_at
from traindx.watch.collectors.weighted_samplers import WeightedSamplers
from traindx.watch.probes.captured import _inside
from traindx.watch.probes.targets import _before_activation
from traindx.watch.runtime.call_sites import CallSite

SITE = CallSite("train.py", 7, "main")
HERE = CallSite("train.py", 9, "main")


@pytest.fixture
def watch() -> Any:
    class Table(dict):  # type: ignore[type-arg]  # by identity
        def get(self, key: Any, default: Any = None) -> Any:
            return super().get(id(key), default)

        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(id(key), value)

    watch = mock.MagicMock(torch=torch, iteration=3, grad_enabled=False, weak_table=Table)
    watch.would_wait.return_value = False
    watch.shown = lambda site, made=None: site.location() if site else None
    return watch


def used() -> Any:
    return mock.MagicMock()


def loader(name: str, **fields: Any) -> Loader:
    return Loader(CallSite("train.py", len(name), "main"), name, None, 9, 8, False, False, 0, **fields)


def call(network: nn.Module, output: Any, *args: Any, grad: bool = False, **kwargs: Any) -> Call:
    place = CallPlace(type(network).__name__, None, SITE, grad)
    return Call(network, SITE, place, grad, args, kwargs, output)


@pytest.mark.parametrize(("args", "count"), [((1,), 1), ((), 0), ((None,), 0)])
def test_only_a_seed_that_is_given_is_one(args: tuple[Any, ...], count: int) -> None:
    seeds = SeedCalls()
    seed = seeds._make("python")(lambda *args, **kwargs: "done")
    with mock.patch("traindx.watch.collectors.seeds.here", return_value=SITE):
        assert seed(*args) == "done"
        assert len(seeds.seeded["python"]) == count
        seed(a=1)
        seeds.active = False
        seed(2)
    assert len(seeds.seeded["python"]) == count + 1


def test_a_loss_that_is_a_leaf_is_cut_off_once_networks_were_called(watch: Any) -> None:
    networks, provenance = SimpleNamespace(places={}), SimpleNamespace(last_cut=(HERE, "item"))
    cuts = CutLosses(watch, used(), networks, provenance)  # type: ignore[arg-type]
    leaf, weight = torch.ones(1, requires_grad=True), nn.Parameter(torch.ones(1))
    cuts._look(Backward(leaf, SITE, 1.0))
    networks.places["a"] = 1
    for root in (weight, 2 * leaf):
        cuts._look(Backward(root, SITE, 1.0))
    assert list(cuts.records()) == []
    cuts._look(Backward(leaf, SITE, 1.0))
    provenance.last_cut = (None, "")
    cuts._look(Backward(leaf, SITE, 1.0))
    (record,) = cuts.records()
    assert (record.passes, record.how, record.cut.line) == (2, "item", 9)  # type: ignore[attr-defined]


def test_classes_are_whole_numbers_one_an_item(watch: Any) -> None:
    seen = BatchesOfClasses(watch, used())
    images = torch.rand(40, 3)
    mine = loader("mine", trains=True)
    for labels in (
        torch.zeros(40, dtype=torch.int64),
        torch.tensor([1] * 38 + [0] * 2),  # 95 %
        torch.tensor([1] * 37 + [0] * 3),
    ):
        seen._batch(mine, [images, labels])
    for other in (
        [torch.zeros(40, dtype=torch.int64)],  # labels alone
        [images, torch.zeros(40)],
        [images, torch.zeros(40, 1, dtype=torch.int64)],
        [images[:5], torch.zeros(5, dtype=torch.int64)],
        [images, torch.full((40,), 200)],
        [images, torch.full((40,), -1)],
        [images, torch.zeros(40, dtype=torch.int64), torch.zeros(40, dtype=torch.int64)],
    ):
        seen._batch(loader("other"), other)
    seen._batch(loader("other"), [images[:6], torch.full((6,), 199)])
    first, second = seen.records()
    assert (first.batches, first.pure, first.classes, first.leading) == (3, 2, 2, 2)  # type: ignore[attr-defined]
    assert (second.batches, second.pure, second.classes) == (1, 1, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["python", "a.py"], True), ("python3.11 -u a.py --x 1", True), (["/usr/bin/python", "a.py"], True),
        (["python", "-c", "1"], False), (["bash", "a.py"], False), (["a.py"], False), ([], False), (None, False),
    ],
)  # fmt: skip
def test_what_runs_a_program_of_python(command: Any, program: bool) -> None:
    assert runs_python(command) is program


def test_a_figure_in_decibels_needs_a_peak_and_an_error(watch: Any) -> None:
    peaks = Peaks(watch, used())
    image = torch.rand(1, 1, 32, 32)
    with mock.patch("traindx.watch.collectors.peaks.here", return_value=SITE):
        peak, error = image.max(), image.square().mean()
        for ask in (
            lambda: peaks._largest("max", (image, 1), {}),
            lambda: peaks._largest("max", (image,), {"dim": 1}),
            lambda: peaks._largest("max", (image[0, 0, 0],), {}),
            lambda: peaks._reduced("mean", (image, 1), {}),
            lambda: peaks._reduced("mean", (), {}),
            lambda: peaks._reduced("sum", (image,), {"dim": 1}),
        ):
            assert ask() is None
        assert peaks._reduced("mse_loss", (image, image), {}) is not None
        peaks._largest("max", (image,), {})(peak)
        peaks._logged("log10", (peak,), {})
        peaks._reduced("mean", (image,), {})(error)
        peaks._logged("log10", (error,), {})
        assert list(peaks.records()) == []
        assert peaks._passed_on("div", (torch.ones(1), 2), {}) is None
        ratio = peak / error
        peaks._passed_on("div", (peak, error), {})(ratio)
        peaks._logged("log10", (ratio,), {})
        watch.grad_enabled = True
        peaks._logged("log10", (ratio,), {})
    first, second = peaks.records()
    assert [one.phase for one in (first, second)] == ["validation", "training"]  # type: ignore[attr-defined]
    assert first.peaks == (float(peak),)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("views", "axis", "count"),
    [(2, 1, 1), (2, (1,), 1), (2, -2, 1), (2, 2, 0), (2, None, 0), (2, (1, 2), 0), (4, 1, 1), (5, 1, 0), (1, 1, 0)],
)
def test_views_are_merged_where_they_are_folded_encoded_unfolded_and_reduced(
    views: int, axis: Any, count: int, watch: Any
) -> None:
    networks = SimpleNamespace(stack=[], has_parameters=lambda module: isinstance(module, nn.Linear))
    merged = MergedViews(watch, used(), networks)  # type: ignore[arg-type]
    source, encoder = torch.rand(3, views, 1, 8), nn.Linear(8, 4)
    folded = source.reshape(3 * views, 1, 8)
    merged._folds("reshape", (source,), {})(folded)
    encoded = encoder(folded)[:, 0]
    with mock.patch("traindx.watch.collectors.merged_views.here", return_value=SITE):
        early = encoded.reshape(3, views, 4)
        merged._folds("reshape", (encoded,), {})(early)
        merged._reduces("mean", (early, 1), {})  # nobody encoded it
        merged._encoded(nn.ReLU(), (folded,), {}, encoded)
        merged._encoded(encoder, (folded, folded), {}, encoded)
        late = encoded.reshape(3, views, 4)
        merged._folds("reshape", (encoded,), {})(late)
        merged._reduces("mean", (late, 1), {})
        assert list(merged.records()) == []
        merged._encoded(encoder, (folded,), {}, encoded)
        merged._folds("reshape", (encoded,), {})(late)
        merged._reduces("mean", (late,) if axis is None else (late, axis), {})
    records = list(merged.records())
    assert [(one.views, one.image, one.training) for one in records] == [(views, (1, 8), False)] * count  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("labels", "natural", "drawn", "classes"),
    [
        ([0, 0, 0, 1], 0.25, 0.625, 2),  # weights 1, 1, 1, 5
        ([1, 0, 0, 0], 0.25, 0.125, 2),
        ([0, 0, 0, 0], -1.0, -1.0, 1),
        ([0.0, 0.0, 0.0, 1.0], -1.0, -1.0, 0),
        ([0, 0, 0, -1], -1.0, -1.0, 0),
        ([0, 0, 1], -1.0, -1.0, 0),
    ],
)
def test_what_a_sampler_does_to_the_rarest_class(
    labels: list[Any], natural: float, drawn: float, classes: int, watch: Any
) -> None:
    seen = WeightedSamplers(watch)
    data: Any = TensorDataset(torch.rand(4, 2))
    data.labels = torch.tensor(labels)
    sampler = WeightedRandomSampler([1.0, 1.0, 1.0, 5.0], 4)
    loaders = DataLoader(data, sampler=sampler), DataLoader(data)
    seen._look(loaders[0])  # made where nobody looked
    seen._made[sampler] = SITE
    for one in loaders:
        seen._look(one)
    (record,) = seen.records()
    assert (record.items, record.weights) == (4, 4)  # type: ignore[attr-defined]
    assert (record.natural, record.drawn, record.classes) == (natural, drawn, classes)  # type: ignore[attr-defined]


def test_labels_are_kept_in_lists_arrays_or_the_last_of_the_tensors(watch: Any) -> None:
    sampler = WeightedRandomSampler([1.0, 1.0, 1.0, 5.0], 4)
    seen = WeightedSamplers(watch)
    seen._made[sampler] = None
    data: list[Any] = [TensorDataset(torch.rand(4, 2)) for _ in range(4)]
    data[0].targets = [0, 0, 0, 1]
    data[1].y = np.array([0, 0, 0, 1])
    data[2].labels = [0, 0, 0.5, 1]
    data[3].labels = "0001"
    data.append(TensorDataset(torch.rand(4, 2), torch.tensor([0, 0, 0, 1])))
    for one in data:
        seen._look(DataLoader(one, sampler=sampler))
    records: list[Any] = list(seen.records())
    assert [one.classes for one in records] == [2, 2, 0, 0, 2]
    assert records[0].where is None


@pytest.mark.parametrize(("count", "which", "steps", "alone"), [(4, [3], 1, 1), (4, [0, 3], 1, 0), (4, [0], 1, 0),
                                                              (3, [2], 0, 0), (4, [], 0, 0)])  # fmt: skip
def test_a_step_learns_from_the_last_of_many_calls(
    count: int, which: list[int], steps: int, alone: int, watch: Any
) -> None:
    dropped = DroppedOutputs(watch, used(), used(), used(), used())
    network = nn.Linear(2, 1)
    place = CallPlace("Linear", None, SITE, True)
    outputs = [network(torch.rand(4, 2)) for _ in range(count)]
    sums = [output.sum() for output in outputs]
    for output, value in zip(outputs, sums, strict=True):
        dropped._called(Call(network, SITE, place, True, (), {}, output))
        dropped._scalar(torch.sum, (output,), {}, value)
    dropped._called(Call(network, SITE, place, False, (), {}, network(torch.rand(4, 2))))
    if which:
        dropped._before(Backward(torch.stack([sums[one] for one in which]).sum(), HERE, 1.0))
    dropped._stepped(0.1)
    dropped._stepped(0.1)  # nothing was called in between
    records: list[Any] = list(dropped.records())
    assert sum(one.steps for one in records) == steps
    assert [(one.calls, one.learned, one.last_alone) for one in records] == [(count, len(which), alone)] * steps
    assert [one.where.line for one in records] == [9] * steps


def test_a_network_in_evaluation_is_not_learned_from(watch: Any) -> None:
    dropped = DroppedOutputs(watch, used(), used(), used(), used())
    network = nn.Linear(2, 1).eval()
    for _ in range(4):
        dropped._called(call(network, network(torch.rand(4, 2)), grad=True))
    assert not dropped._lines


@pytest.mark.parametrize(
    ("second", "output", "pairs", "same"),
    [
        ({"scale": 2.0}, 0.0, 1, 1),
        ({"scale": 2.0}, 1.0, 1, 0),
        ({"scale": 1.0}, 0.0, 0, 0),  # nothing differs
        ({"scale": 2.0, "x": torch.ones(4)}, 0.0, 0, 0),  # both do
        ({"scale": None}, 0.0, 0, 0),
        ({"scale": True}, 0.0, 0, 0),
        ({"other": 2.0}, 0.0, 0, 0),
    ],
)
def test_two_calls_that_differ_in_one_argument(
    second: dict[str, Any], output: float, pairs: int, same: int, watch: Any
) -> None:
    repeated = RepeatedCalls(watch, used())
    network = nn.Linear(1, 1)
    x = torch.linspace(0, 1, 4)
    rest = {} if "other" in second else {"scale": 1.0}
    repeated._called(call(network, torch.zeros(4), grad=True, x=x, scale=5.0))  # not looked at
    repeated._called(call(network, torch.zeros(4), x=x, scale=1.0))
    repeated._called(call(network, torch.full((4,), output), **{"x": x, **rest, **second}))
    records: list[Any] = list(repeated.records())
    assert [(one.argument, one.pairs, one.same, one.values) for one in records] == (
        [("scale", 1, same, ("1.0", "2.0"))] if pairs else []
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("for x, _ in loader:\n    out.append(net(x))", (True, True)),
        ("for x, _ in loader:\n    net(x)", (True, False)),
        ("for x, y in loader:\n    out.append(net(x))", (False, True)),
        ("for _ in loader:\n    out.append(1)", (False, True)),
        ("for _, y in loader:\n    out.append(1)", (False, True)),
        ("out = torch.cat([net(x) for x, _ in loader])", (True, True)),
        ("out = [net(x) for x, _ in loader]", (True, False)),
        ("if 1:\n    out = cat([net(x) for x, y in loader])", (False, False)),
        ("out = 1", (False, False)),
    ],
)
def test_what_a_loop_does_with_labels(text: str, expected: tuple[bool, bool], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(text)
    assert drops_labels(CallSite(str(tmp_path / "train.py"), 1, "<module>")) == expected


def test_only_shuffled_loaders_and_the_first_batches_tell_an_order(watch: Any) -> None:
    orders = ReadingOrders(watch, used())
    shuffled, plain_ = loader("shuffled"), loader("plain")
    shuffled.shuffled = True
    with mock.patch("traindx.watch.collectors.reading_order.here", side_effect=[SITE, None, SITE, SITE]):
        orders._read(plain_, None)
        orders._read(shuffled, None)
        orders._read(shuffled, None)  # nobody's line
        orders._read(shuffled, None)
        shuffled.in_pass = 3
        orders._read(shuffled, None)
    (record,) = orders.records()
    assert (record.dataset, record.read, record.where.line) == ("shuffled", 2, 8)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("seeded", "generator", "expected"), [([], None, False), ([SITE], None, True),
                                                              ([], torch.Generator(), True)])  # fmt: skip
@pytest.mark.parametrize("site", [SITE, None])
def test_a_random_split_is_seeded_by_its_generator_or_globally(
    seeded: list[Any], generator: Any, expected: bool, site: Any, watch: Any
) -> None:
    calls = SeedCalls()
    calls.seeded["torch"] = seeded
    seeds = Seeds(watch, calls, SimpleNamespace(used=True))  # type: ignore[arg-type]
    split = seeds._make_split(lambda data, lengths, *args, **kwargs: [data[:3], data[3:]])
    with mock.patch.multiple("traindx.watch.collectors.seeds", here=lambda: site, users=lambda file: True):
        split(range(5), [3, 2], generator=generator)
        split(range(5), [3, 2], generator)
    with mock.patch.multiple("traindx.watch.collectors.seeds", here=lambda: SITE, users=lambda file: False):
        split(range(5), [3, 2], generator=generator)
    watch.here_and_now = False
    split(range(5), [3, 2], generator)
    first, *records = seeds.records()
    assert first.torch is bool(seeded)  # type: ignore[attr-defined]
    assert [(one.lengths, one.seeded) for one in records] == [((3, 2), expected)] * (2 if site else 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = a\nx = b\nnet(x)\nx = c", 2),
        ("x = a\nnet(y, x)", None),
        ("x = a\nnet(1)", None),
        ("x = a\ndef f():\n    x = b\n    net(x)\nx = c", 3),
        ("def f():\n    x = b\ndef g(x):\n    net(x)", None),
        ("def f():\n    x = b\n    def g():\n        x = c\n        net(x)", 4),
        ("y = x = a\nprint(y)\nnet(x)", 1),
        ("x.a = 1\nnet(x)", None),
    ],
)
def test_where_the_argument_of_a_call_gets_its_value(text: str, line: int | None, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(text)
    number = next(number for number, one in enumerate(text.split("\n"), 1) if "net(" in one)
    place = given_at(CallSite(str(tmp_path / "train.py"), number, "f"))
    assert (place.line if place is not None else None) == line
    assert given_at(CallSite(str(tmp_path / "gone.py"), number, "f")) is None
    assert given_at(CallSite("", number, "f")) is None


@pytest.mark.parametrize(("process", "over", "moved", "said"), [(True, False, False, True), (False, False, False,
    False),
                                                               (True, True, False, False), (True, False, True,
                                                                   False)])  # fmt: skip
def test_backward_passes_in_another_thread(process: bool, over: bool, moved: bool, said: bool, watch: Any) -> None:
    watch.pid, watch.over = os.getpid() if process else -1, over
    watch.move_to_this_thread.return_value = moved
    seen = Elsewhere(watch, used(), used())
    seen._backward_elsewhere()
    assert watch.not_examined.called is said
    seen._started("a process", None)
    assert watch.not_examined.call_count == said
    seen._started("a process", SITE)
    assert watch.not_examined.call_count == said + 1


def test_the_statement_is_the_one_at_the_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("a = cat([1 for x, _ in loader])\nb = 2\nfor x, _ in loader:\n    pass\n")
    site = CallSite(str(tmp_path / "train.py"), 2, "<module>")
    assert drops_labels(site) == (False, False)
    assert drops_labels(site._replace(line=3)) == (True, False)
    assert drops_labels(site._replace(line=4)) == (False, False)


@pytest.mark.parametrize(
    ("args", "kwargs", "looked"),
    [
        ((), {"mode": "bilinear"}, True),
        ((), {}, False),
        ((), {"mode": "nearest-exact"}, False),
        ((None, None, "bilinear"), {}, False),
    ],
)
def test_label_maps_are_looked_at_where_they_are_interpolated(
    args: tuple[Any, ...], kwargs: dict[str, Any], looked: bool, watch: Any
) -> None:
    networks, resampling = SimpleNamespace(depth=0), used()
    seen = ResampledTensors(watch, used(), networks, resampling)  # type: ignore[arg-type]
    image = torch.zeros(1, 1, 4, 4)
    done = seen._interpolates("interpolate", (image, *args), {"size": 8, **kwargs})
    assert (done is not None) is looked
    if done is not None:
        done(torch.zeros(1, 1, 8, 8))
        again = resampling.look.call_args.args[4]
        assert again().shape == (1, 1, 8, 8)
        assert seen._interpolates("interpolate", (image.clone().requires_grad_(),), {"size": 8, **kwargs}) is None
        networks.depth = 1
        assert seen._interpolates("interpolate", (image,), {"size": 8, **kwargs}) is None


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [(1e-3, 1e-4, True), (1e-3, 1e-3, False), (1, True, False), (1e-3, None, False), (None, 1e-3, False),
     ((0.9, 0.99), (0.5, 0.9), True), ([1], [2], False)],
)  # fmt: skip
def test_plain_values_that_differ(one: Any, other: Any, differs: bool) -> None:
    assert _differs(one, other) is differs


@pytest.mark.parametrize(
    ("rows", "padded"),
    [
        ([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]], True),
        ([[1, 2, 3, 0, 0], [4, 5, 6, 0, 0]], False),  # all of one length
        ([[1, 2, 3, 0, 0], [4, 5, 9, 9, 9]], False),  # two marks
        ([[1, 2, 3, 4, 0], [4, 5, 0, 0, 0]], False),  # one may be the mark of an end
        ([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [0, 0, 0, 0, 0]], False),
        ([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [1, 2, 3, 4, 5]], True),
    ],
)
def test_sequences_that_end_alike(rows: list[list[int]], padded: bool) -> None:
    ids = torch.tensor(rows)
    assert ends_of(torch, ids) is padded
    assert ends_of(torch, ids[..., None].float().expand(-1, -1, 3)) is padded


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{'alpha': 1,\n 'gamma': 2}", 1),
        ("Focal(alpha=1,\n gamma=2)", 1),
        ("dict(\nalpha=1, gamma=2)", 2),
        ("{'alpha': 1}", 0),  # too little to tell
        ("{'alpha': 1, 'gamma': 2, 'weight': 3}", 0),  # handed on
        ("{'alpha': 1, 'gamma': 2, **more}", 0),
        ("Focal(alpha=1, gamma=2, **more)", 0),
        ("Other(alpha=1, gamma=2)", 0),
        ("{1: 1, 2: 2}", 0),
        ("alpha + gamma", 0),
    ],
)
def test_where_a_setting_is_not_handed_on(text: str, line: int) -> None:
    node = ast.parse(text, mode="eval").body
    assert _hands_on(node, "Focal", "weight", {"alpha", "gamma"}) == line


def test_items_of_two_loaders(watch: Any) -> None:
    shared = SharedItemsSeen(watch, SimpleNamespace(on_read=None, reading=None))  # type: ignore[arg-type]
    items = torch.rand(6, 8, 8, generator=torch.Generator().manual_seed(0))
    training, validation = loader("train", trains=True), loader("validation")
    shared._read(validation, [items[:2]])  # before any training: nothing to be shared with
    assert list(shared.records()) == []
    shared._read(training, [items[:4]])
    for batch in ([items[3:]], [torch.zeros(2, 8, 8)], [items[:2, 0, :]], [torch.full((2, 8, 8), torch.nan)]):
        shared._read(validation, batch)
    (record,) = shared.records()
    assert (record.contents, record.training, record.shared) == (5, 4, 3)  # type: ignore[attr-defined]
    assert record.where.line == len("validation")  # type: ignore[attr-defined]
    shared._read(training, [items[4:]])  # the training goes on
    shared._read(validation, [items[:0]])
    (record,) = shared.records()
    assert (record.training, record.shared) == (6, 5)  # type: ignore[attr-defined]


def test_stages_are_images_of_enough_values(watch: Any) -> None:
    networks: Any = SimpleNamespace(phase=lambda place: "training")
    stages, network = StagesSeen(watch, networks), nn.Linear(1, 1)
    noise = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    rows = (noise - noise.mean((1, 2, 3), keepdim=True)) / noise.std((1, 2, 3), keepdim=True, unbiased=False)
    rows[0] *= 1.2
    for other in (rows[:, 0, 0], rows.long(), rows[..., :15], rows[:0]):
        stages._called(call(network, None, other))
    assert list(stages.records()) == []
    computed = StagesSeen(watch, networks)  # what one call of a line is given was made by a network: all of it is
    with mock.patch("traindx.watch.collectors.stage_inputs.given_at", return_value=None):
        for other in (rows, rows.clone().requires_grad_()):
            computed._called(call(network, None, other))
        assert list(computed.records()) == []
    with mock.patch("traindx.watch.collectors.stage_inputs.given_at", return_value=None):
        stages._called(call(network, None, rows))
        stages._called(call(network, None, x=rows))
        (record,) = stages.records()
    assert (record.samples, record.again, record.off) == (8, 4, 0.25)  # type: ignore[attr-defined]
    assert record.most_spread == pytest.approx(1.2)  # type: ignore[attr-defined]
    assert record.largest_off == pytest.approx(0.2, abs=1e-5)  # type: ignore[attr-defined]


def test_tensors_inside_of_arguments_are_put_back_changed() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    given = {"a": one, "b": [one, 3], "c": (two,), "d": {"x": two, "y": 1}, "e": [one] * 9, "f": 7}
    found = {name: rebuild(torch.full((1,), 5.0)) for key, value in given.items()
             for name, _, rebuild in _inside(torch, key, value)}  # fmt: skip
    assert found == {"a": 5, "b[0]": [5, 3], "c[0]": (5,), "d['x']": {"x": 5, "y": 1}}


@pytest.mark.parametrize(
    ("name", "apply", "values"),
    [
        ("", lambda x: x, (-3.0, 2.0)),
        ("sigmoid", torch.sigmoid, (0.1, 0.9)),
        ("tanh", torch.tanh, (-0.9, 0.9)),
        ("sigmoid", None, (-0.1, 0.9)),
        ("sigmoid", None, (0.1, 1.1)),
        ("tanh", None, (-1.1, 0.0)),
        ("tanh", None, (0.0, 1.1)),
        ("softmax", None, (0.0, 1.1)),
    ],
)
def test_the_output_before_an_activation(name: str, apply: Any, values: tuple[float, float]) -> None:
    operand = torch.tensor(values)
    before = _before_activation(torch, name, operand)
    assert (before is None) is (apply is None)
    if apply is not None:
        assert torch.allclose(apply(before), operand, atol=1e-5)
