"""C1115, call by call: what each contract says of a faulty call, of a right one, and of one that only looks alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from traindx.evidence.contracts import CONTRACTS
from traindx.watch.collectors.contracts import FUNCTIONS, MODULES
from traindx.watch.contracts import arrays, attention, losses, sequences, training, values
from traindx.watch.contracts.base import IN_ORDER, Broken, Given, Look, Said


def said(look: Look, **fields: Any) -> str:
    """``broken``, ``order`` or ``nothing``."""
    extra = {
        name: fields.pop(name)
        for name in ("module", "out", "items", "mixed", "grad", "depth", "notes")
        if name in fields
    }
    given = Given(torch=torch, function=fields.pop("function", "f"), named=fields, **extra)
    answer: Said = look(given)
    return "broken" if isinstance(answer, Broken) else "order" if answer == IN_ORDER else "nothing"


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LOGITS = draw(6, 4, 5)
SHARES = LOGITS.softmax(1)
LOGS = LOGITS.log_softmax(1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (SHARES, "broken"),
        (LOGITS.softmax(2), "broken"),
        (LOGITS.softmax(1).half(), "broken"),
        (LOGS, "order"),
        (LOGITS.log_softmax(0), "order"),
        (torch.zeros(3, 4), "order"),  # the logarithm of one
        (LOGITS, "nothing"),
        (0.5 * SHARES, "nothing"),
    ],
)
def test_kl_input(given: torch.Tensor, expected: str) -> None:
    assert said(losses.kl_input, input=given, target=SHARES) == expected


@pytest.mark.parametrize(
    ("target", "log_target", "expected"),
    [(SHARES, False, "order"), (LOGS, False, "broken"), (LOGS, True, "order"), (SHARES, True, "broken")],
)
def test_kl_target(target: torch.Tensor, log_target: bool, expected: str) -> None:
    assert said(losses.kl_target, input=LOGS, target=target, log_target=log_target) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 1, 1, 0], "broken"), ([0, 0], "broken"), ([1, -1, 1], "order"), ([1, 0, -1], "order"), ([1, 1], "nothing"),
     ([0.3, 0.7], "nothing")],
)  # fmt: skip
def test_signs(labels: list[float], expected: str) -> None:
    assert said(losses.signs, target=torch.tensor(labels, dtype=torch.float32)) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (SHARES, "order"),
        (2 * SHARES, "broken"),
        ((SHARES > 0.1).float(), "broken"),
        (SHARES * torch.tensor([1.0, 0, 0, 0, 0, 0]).reshape(6, 1, 1), "order"),  # the other samples are left out
        (SHARES.argmax(1), "nothing"),
        (0.9 * SHARES + 0.1 / 4, "order"),
    ],
)
def test_soft_targets(target: torch.Tensor, expected: str) -> None:
    assert said(losses.soft_targets, input=LOGITS, target=target) == expected


@pytest.mark.parametrize(
    ("activation", "log_input", "expected"),
    [(F.softplus, True, "broken"), (torch.exp, True, "broken"), (torch.relu, True, "broken"),
     (F.softplus, False, "order"), (torch.tanh, True, "order"), (lambda x: x + 10, True, "order")],
)  # fmt: skip
def test_rates(activation: Any, log_input: bool, expected: str) -> None:
    rate = activation(draw(8, 3).requires_grad_())
    assert said(losses.log_rate, input=rate, log_input=log_input) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"reduce": "none"}, "broken"),
        ({"reduce": "sum"}, "broken"),
        ({"reduce": "mean"}, "nothing"),
        ({"reduce": False}, "nothing"),
        ({"reduction": "none"}, "order"),
        ({}, "order"),
    ],
)
@pytest.mark.filterwarnings("ignore:size_average and reduce args")
def test_the_flag_of_old(options: dict[str, Any], expected: str) -> None:
    target = torch.rand(6, 4, 5)
    each = F.binary_cross_entropy_with_logits(LOGITS, target, reduction="none")
    got = F.binary_cross_entropy_with_logits(LOGITS, target, **options)
    asked = options.get("reduce", options.get("reduction", "mean"))
    meant = {"none": each, False: each, "sum": each.sum(), "mean": each.mean()}[asked]
    assert (got.shape == meant.shape and torch.allclose(got, meant)) is (expected != "broken")
    assert said(losses.reduce_flag, input=LOGITS, target=target, **options) == expected


@pytest.mark.parametrize(
    ("options", "given", "expected"),
    [
        ({}, LOGITS, "broken"),
        ({}, SHARES, "order"),
        ({"sigmoid": True}, LOGITS, "order"),
        ({"other_act": torch.tanh}, LOGITS, "order"),
        ({"softmax": True}, LOGITS, "order"),
    ],
)
def test_overlap_of_logits(options: dict[str, Any], given: torch.Tensor, expected: str) -> None:
    loss = SimpleNamespace(**{"sigmoid": False, "softmax": False, "other_act": None, **options})
    assert said(losses.activated, module=loss, input=given) == expected


@pytest.mark.parametrize(
    ("to_onehot", "target", "expected"),
    [(False, [0, 1, 2, 3], "broken"), (True, [0, 1, 2, 3], "order"), (False, [0, 1, 1, 0], "order"),
     (False, [0.2, 0.9, 0.5, 0], "order"), (False, [0.2, 1.9, 0.5, 0], "nothing")],
)  # fmt: skip
def test_overlap_of_class_numbers(to_onehot: bool, target: list[float], expected: str) -> None:
    loss = SimpleNamespace(to_onehot_y=to_onehot)
    assert said(losses.one_hot, module=loss, target=torch.tensor([[target]])) == expected


def test_ctc() -> None:
    scores = draw(9, 3, 5)
    assert said(losses.ctc_scores, log_probs=scores) == "broken"
    assert said(losses.ctc_scores, log_probs=scores.log_softmax(2)) == "order"
    padded = torch.tensor([[1, 2, 0], [3, 4, 1], [2, 0, 0]])
    lengths = torch.tensor([2, 3, 1])
    assert said(losses.ctc_blank, targets=padded, target_lengths=lengths) == "order"
    assert said(losses.ctc_blank, targets=padded, target_lengths=(3, 3, 1)) == "broken"
    assert said(losses.ctc_blank, targets=padded, target_lengths=(3, 3, 1), blank=7) == "order"
    assert said(losses.ctc_blank, targets=torch.tensor([1, 0, 2]), target_lengths=lengths) == "broken"


ENCODER = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 1, enable_nested_tensor=False)
ENCODER_FIRST = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 1)


@pytest.mark.parametrize(
    ("module", "shape", "items", "expected"),
    [
        (ENCODER, (6, 10, 8), 6, "broken"),
        (ENCODER, (10, 6, 8), 6, "order"),
        (ENCODER, (6, 6, 8), 6, "order"),  # a batch as long as the sequence
        (ENCODER, (10, 12, 8), 6, "nothing"),  # patches of several samples
        (ENCODER, (6, 10, 8), 0, "nothing"),  # nobody knows what is a batch here
        (ENCODER, (6, 1, 8), 6, "nothing"),  # samples are related to one another on purpose, in training
        (ENCODER, (30, 1, 8), 1, "nothing"),  # a bag
        (ENCODER_FIRST, (6, 10, 8), 6, "order"),
        (ENCODER_FIRST, (10, 6, 8), 6, "broken"),
        (nn.MultiheadAttention(8, 2), (6, 10, 8), 6, "broken"),
        (nn.LSTM(8, 4), (6, 10, 8), 6, "broken"),
        (nn.LSTM(8, 4, batch_first=True), (6, 10, 8), 6, "order"),
    ],
)
def test_batch_axis(module: nn.Module, shape: tuple[int, ...], items: int, expected: str) -> None:
    assert said(sequences.batch_axis, module=module, src=draw(*shape), items=items) == expected


@pytest.mark.parametrize("first", [True, False])
def test_last_step(first: bool) -> None:
    layer, notes, given = nn.GRU(8, 4, batch_first=first), {}, draw(6, 10, 8)
    out = layer(given)
    said(sequences.remember, module=layer, input=given, out=out, notes=notes)
    assert said(sequences.last_step, self=out[0], index=-1, notes=notes) == ("broken" if first else "order")
    every = slice(None)
    assert said(sequences.last_step, self=out[0], index=(every, -1), notes=notes) == ("order" if first else "broken")
    assert said(sequences.last_step, self=out[0], index=(every, 3), notes=notes) == "nothing"
    assert said(sequences.last_step, self=out[0] + 1, index=-1, notes=notes) == "nothing"
    one: dict[Any, Any] = {}
    single = draw(1, 10, 8) if first else draw(10, 1, 8)
    out = layer(single)
    said(sequences.remember, module=layer, input=single, out=out, notes=one)
    assert said(sequences.last_step, self=out[0], index=-1, notes=one) == "nothing"


def test_hidden_state() -> None:
    layer, notes, given = nn.LSTM(8, 4, bidirectional=True, batch_first=True), {}, draw(6, 10, 8)
    out = layer(given)
    said(sequences.remember, module=layer, input=given, out=out, notes=notes)
    hidden = out[1][0]
    for shape, expected in (((6, -1), "broken"), ((1, 2, 6, 4), "order"), ((2, -1), "order")):
        assert said(sequences.hidden_view, self=hidden, out=hidden.reshape(*shape), notes=notes) == expected
    moved = hidden.transpose(0, 1)
    assert said(sequences.hidden_view, self=moved, out=moved.reshape(6, -1), notes=notes) == "nothing"


@pytest.mark.parametrize(
    ("shape", "axis", "items", "depth", "expected"),
    [
        ((6, 10), 0, 6, 1, "broken"),
        ((6, 10), 1, 6, 1, "order"),
        ((6, 10, 3), None, 6, 1, "broken"),  # softmax without an axis takes the first of three
        ((6, 10), None, 6, 1, "order"),
        ((6, 6), 0, 6, 1, "nothing"),  # pairs of samples
        ((30, 1), 0, 1, 1, "nothing"),  # instances of a bag
        ((6, 10), 0, 6, 0, "nothing"),  # in a loss
        ((6,), 0, 6, 1, "nothing"),
    ],
)
def test_over_batch(shape: tuple[int, ...], axis: int | None, items: int, depth: int, expected: str) -> None:
    look = sequences.over_batch
    assert said(look, function="softmax", input=draw(*shape), dim=axis, items=items, depth=depth) == expected


@pytest.mark.parametrize(
    ("shape", "view", "expected"),
    [
        ((6, 3, 5), (6, 5, 3), "broken"),
        ((6, 3, 5), (3, 6, 5), "broken"),
        ((6, 1, 5), (1, 6, 5), "nothing"),
        ((6, 3, 4), (6, 4, 3), "broken"),
        ((6, 4, 4), (6, 4, 4), "nothing"),
        ((8, 4, 5), (2, 16, 5), "order"),  # groups of a sample
        ((6, 12), (12, 6), "broken"),
    ],
)
def test_views(shape: tuple[int, ...], view: tuple[int, ...], expected: str) -> None:
    tensor = draw(*shape)
    assert said(sequences.exchanged_axes, self=tensor, out=tensor.view(view)) == expected
    weight = nn.Parameter(tensor)
    assert said(sequences.exchanged_axes, self=weight, out=weight.view(view)) == "nothing"


def test_a_batch_in_order_may_be_a_sequence() -> None:
    slices = draw(6, 1, 8)
    for mixed, expected in ((True, "broken"), (False, "nothing")):
        assert said(sequences.batch_axis, module=nn.GRU(8, 4), input=slices, items=6, mixed=mixed) == expected


def test_weights_are_no_samples() -> None:
    weight = nn.Parameter(draw(10, 6))
    for tensor in (weight, weight.t()):
        assert said(sequences.over_batch, function="normalize", input=tensor, dim=0, items=len(tensor), depth=1) == (
            "nothing"
        )


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (torch.ones(5, 5).tril(), "broken"),
        (torch.ones(5, 5).tril().bool(), "order"),
        (nn.Transformer.generate_square_subsequent_mask(5), "order"),
        (torch.ones(5, 5), "nothing"),  # of a sequence without padding
        (draw(5, 5), "order"),  # a bias
    ],
)
def test_added_masks(mask: torch.Tensor, expected: str) -> None:
    assert said(sequences.added, attn_mask=mask) == expected


PAST = torch.ones(5, 5, dtype=torch.bool).tril()


@pytest.mark.parametrize(
    ("function", "mask", "expected"),
    [
        ("MultiheadAttention", PAST, "broken"),
        ("MultiheadAttention", ~PAST, "order"),
        ("scaled_dot_product_attention", PAST, "order"),
        ("scaled_dot_product_attention", ~PAST, "broken"),
        ("MultiheadAttention", torch.eye(5, dtype=torch.bool), "nothing"),
        ("MultiheadAttention", PAST[:2, :2], "nothing"),
    ],
)
def test_causal_masks(function: str, mask: torch.Tensor, expected: str) -> None:
    assert said(sequences.causal, function=function, attn_mask=mask) == expected


def test_padding_masks() -> None:
    lengths = torch.tensor([9, 4, 6, 3])
    content = torch.arange(9)[None] < lengths[:, None]
    keys = torch.where(content[..., None], draw(4, 9, 8), torch.ones(8)) + draw(9, 8, seed=1)  # and positions
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    for mask, expected in ((content, "broken"), (~content, "order"), (torch.zeros_like(content), "nothing")):
        assert said(sequences.padding, module=layer, key=keys, key_padding_mask=mask) == expected
    noisy = F.dropout(keys, 0.2)
    assert said(sequences.padding, module=layer, key=noisy, key_padding_mask=content) == "nothing"


def test_layers() -> None:
    for value, expected in ((0.1, "order"), (0.99, "broken"), (None, "nothing"), (1.0, "order")):
        assert said(training.momentum, module=nn.BatchNorm2d(2, momentum=value)) == expected
    assert said(training.momentum, module=nn.BatchNorm2d(2, momentum=0.99).eval()) == "nothing"
    for value, expected in ((1e-5, "order"), (0.8, "broken")):
        assert said(training.eps, module=nn.BatchNorm2d(2, value)) == expected
    for chance, expected in ((0.5, "order"), (0.9, "broken"), (0.8, "order"), (1.0, "order")):
        assert said(training.dropped, module=nn.Dropout(chance)) == expected
    assert [isinstance(training.betas(one), Broken) for one in ((0.9, 0.999), (0.999, 0.9), (0.0, 0.9), None)] == [
        False,
        True,
        False,
        False,
    ]


def test_grids() -> None:
    notes: dict[Any, Any] = {}
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 8, 8], align_corners=True)
    said(training.grid_made, out=grid, align_corners=True, notes=notes)
    assert said(training.grid_read, grid=grid, align_corners=True, notes=notes) == "order"
    assert said(training.grid_read, grid=grid, notes=notes) == "broken"
    assert said(training.grid_read, grid=grid + 0.1, notes=notes) == "nothing"


@pytest.mark.parametrize(
    ("shape", "items", "expected"),
    [
        ((3, 32, 32), 8, "broken"),
        ((8, 32, 32), 8, "nothing"),
        ((2, 3, 32, 32), 2, "order"),
        ((3, 32, 20), 8, "nothing"),
    ],
)
def test_interpolated(shape: tuple[int, ...], items: int, expected: str) -> None:
    image = draw(*shape)
    out = F.interpolate(image, 16)
    assert said(training.whole_image, input=image, out=out, items=items) == expected


@pytest.mark.parametrize(
    ("dtype", "function", "expected"),
    [
        (torch.uint8, "sub", "broken"),
        (torch.int16, "sub", "order"),
        (torch.uint8, "mul", "broken"),
        (torch.uint8, "add", "broken"),
        (torch.float32, "sub", "nothing"),
    ],
)
def test_small_integers(dtype: torch.dtype, function: str, expected: str) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randint(0, 256, (9, 9), generator=generator).to(dtype) for _ in range(2))
    out = getattr(torch, function)(one, other)
    assert said(values.wraps, function=function, input=one, other=other, out=out) == expected
    masks = (one > 100).to(dtype), (one > 50).to(dtype)
    assert said(values.wraps, function="mul", input=masks[0], other=masks[1], out=masks[0] * masks[1]) != "broken"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (torch.arange(256.0).reshape(1, 1, 16, 16) / 255 / 255, "broken"),
        (torch.arange(256.0).reshape(1, 1, 16, 16) / 255, "order"),
        (draw(1, 1, 16, 16).abs().clamp(max=3) / 1000, "nothing"),  # dark in other steps
        (draw(1, 1, 16, 16), "order"),
        (torch.zeros(1, 1, 16, 16), "nothing"),
        (torch.arange(256.0).reshape(16, 16) / 255 / 255, "nothing"),
    ],
)
def test_scaled_twice(image: torch.Tensor, expected: str) -> None:
    assert said(values.scaled, image=image) == expected


@pytest.mark.parametrize(
    ("shape", "axis", "items", "depth", "expected"),
    [((6, 4), 0, 6, 0, "broken"), ((6, 4), 1, 6, 0, "order"), ((4, 4), 0, 4, 0, "nothing"),
     ((4, 9, 9), 0, 1, 0, "nothing"), ((6, 4), 0, 6, 1, "nothing"), ((6, 4), 0, 0, 0, "nothing")],
)  # fmt: skip
def test_decisions(shape: tuple[int, ...], axis: int, items: int, depth: int, expected: str) -> None:
    assert said(values.decided, input=draw(*shape), dim=axis, items=items, depth=depth) == expected


def test_lengths() -> None:
    ends = torch.tensor([9, 5, 6, 3])
    rows = draw(4, 9, 2) * (torch.arange(9)[None] < ends[:, None])[..., None]
    for first, given in ((True, rows), (False, rows.transpose(0, 1))):
        assert said(values.lengths, input=given, lengths=[9] * 4, batch_first=first) == "broken"
        assert said(values.lengths, input=given, lengths=ends, batch_first=first) == "order"
    assert said(values.lengths, input=draw(4, 9, 2), lengths=[9] * 4, batch_first=True) == "nothing"


@pytest.mark.parametrize(
    ("prediction", "classes", "expected"),
    [
        (SHARES, None, "broken"),
        ([SHARES], None, "broken"),
        ((SHARES > 0.3).float(), None, "order"),
        (torch.arange(4.0).reshape(1, 1, 2, 2), None, "broken"),
        (torch.arange(4.0).reshape(1, 1, 2, 2), 4, "order"),
        (torch.zeros(1, 1, 2, 2), None, "order"),
    ],
)
def test_masks_of_metrics(prediction: Any, classes: int | None, expected: str) -> None:
    metric = SimpleNamespace(num_classes=classes)
    assert said(values.binary, module=metric, y_pred=prediction) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [((60, 40), "order"), ((40, 60), "broken"), ((50, 50), "nothing"), ((60, 30), "nothing"), ((120, 80), "order"),
     ((80, 120), "broken")],
)  # fmt: skip
def test_sizes(size: tuple[int, int], expected: str) -> None:
    image = np.zeros((40, 60, 3), np.uint8)  # 40 rows
    assert said(arrays.columns_first, image=image, size=size) == expected
    assert said(arrays.columns_first, image=Image.fromarray(image), size=size) == expected
    assert said(arrays.rows_first, image=image, output_shape=size[::-1]) == expected
    assert said(arrays.columns_first, image=np.zeros((50, 50)), size=size) == "nothing"


@pytest.mark.parametrize(
    ("image", "out", "keeps", "expected"),
    [
        (np.arange(4).repeat(9).astype(np.uint8), np.arange(4) / 255, False, "broken"),
        (np.arange(4).repeat(9).astype(np.uint8), np.arange(4), True, "order"),
        (np.array([0, 255], np.uint8).repeat(9), np.array([0, 1.0]), False, "nothing"),
        (np.arange(200).astype(np.uint8), np.arange(200) / 255, False, "nothing"),  # an image
        (np.array([False, True]).repeat(9), np.array([0, 1.0]), False, "nothing"),
    ],
)
def test_labels(image: Any, out: Any, keeps: bool, expected: str) -> None:
    assert said(arrays.labels_kept, image=image, out=out, preserve_range=keeps) == expected


@pytest.mark.parametrize(
    ("high", "data_range", "expected"),
    [(1.0, 255, "broken"), (1.0, 1.0, "order"), (255.0, 255, "order"), (255.0, 1, "broken"), (0.3, 1.0, "order"),
     (0.0, 1.0, "nothing"), (1.0, None, "nothing")],
)  # fmt: skip
def test_ranges(high: float, data_range: float | None, expected: str) -> None:
    image = np.linspace(0, high, 400).reshape(20, 20)
    assert said(arrays.score_range, image_true=image, image_test=image, data_range=data_range) == expected


def test_colours() -> None:
    image, volume = np.zeros((20, 24, 3)), np.zeros((20, 24, 22))
    assert said(arrays.zoomed, input=image, out=np.zeros((10, 12, 2))) == "broken"
    assert said(arrays.zoomed, input=image, out=np.zeros((10, 12, 3))) == "order"
    assert said(arrays.zoomed, input=volume, out=np.zeros((10, 12, 11))) == "order"
    first = image.transpose(2, 0, 1)
    assert said(arrays.rotated, input=first, angle=10) == "broken"
    assert said(arrays.rotated, input=first, angle=10, axes=(1, 2)) == "order"
    assert said(arrays.rotated, input=image, angle=10) == "order"


def test_every_check_has_its_contract() -> None:
    named = {one.contract for one in (*FUNCTIONS, *MODULES)}
    named |= {check.contract for checks in arrays.BY_MODULE.values() for _, check in checks}
    named |= {values.ROOT.contract, values.PACK.contract, values.METRIC.contract}
    named |= {"text-as-bool", "betas-exchanged", "same-order-every-epoch", "fitted-again", "resampled-before-the-split"}
    named |= {"metric-never-reset", "truth-and-prediction-exchanged", "split-unpacked-in-other-order", "blue-first"}
    named |= {attention.INVERTED, attention.QUERIES, attention.OTHERS}
    assert named == set(CONTRACTS)
