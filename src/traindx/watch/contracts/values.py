"""Values that leave their type's range, images that are too dark, decisions over the batch, masks that are none."""

from __future__ import annotations

import math
from typing import Any

from traindx.watch.collectors.given_masks import ends_of
from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said
from traindx.watch.contracts.numbers import few_values
from traindx.watch.runtime.stats import plain, sample

MOST = 65536
LEAST_VALUES = 64
WRAPPED = 1e-3  # share of the values; overflow has no innocent cause in an image
BYTES = 255
WHOLE = 0.02  # by which a multiple of 1/255² may be off
DIFFERENT = 8  # values of an image, at least
ARITHMETIC = {"sub": 1, "subtract": 1, "rsub": -1, "add": 0, "mul": 2, "multiply": 2}


def wraps(given: Given) -> Said:
    """Arithmetic of two small integers, computed again in 64 bits."""
    torch, one, other = given.torch, given.tensor("input"), given.tensor("other")
    out = given.out
    if one is None or other is None or not isinstance(out, torch.Tensor) or one.shape != other.shape:
        return None
    if not small(torch, one) or not small(torch, other) or not small(torch, out) or one.numel() < LEAST_VALUES:
        return None
    parts = [plain(tensor).reshape(-1)[:MOST].long() for tensor in (one, other, out)]
    kind = ARITHMETIC[given.function]
    exact = parts[0] * parts[1] if kind == 2 else parts[0] + parts[1] if kind == 0 else kind * (parts[0] - parts[1])
    share = float((exact != parts[2]).double().mean())
    if share <= WRAPPED:
        return IN_ORDER
    kind_of = str(out.dtype).removeprefix("torch.")
    return Broken(f"two tensors of {kind_of}, and {100 * share:.0f} % of the results wrap round")


def small(torch: Any, tensor: Any) -> bool:
    """Integers of 8 or 16 bits."""
    return tensor.dtype in (torch.uint8, torch.int8, torch.int16)


def scaled(given: Given) -> Said:
    """Whole multiples of 1/255² that end at 1/255."""
    image = given.tensor("image")
    if image is None or image.dim() not in (4, 5) or not image.is_floating_point() or image.numel() < LEAST_VALUES:
        return None
    values = sample(image)
    high = float(values.max())
    if not math.isfinite(high) or high > 1.001 / BYTES:
        return IN_ORDER
    if high <= 0 or float(values.min()) < 0 or values.unique().numel() < DIFFERENT:
        return None
    steps = values.double() * BYTES**2
    if float(((steps - steps.round()).abs() <= WHOLE).double().mean()) < 0.95:
        return None
    return Broken(f"images from {float(values.min()):.2g} to {high:.2g}, in steps of 1/255²")


def decided(given: Given) -> Said:
    """One class a sample."""
    tensor, axis = given.tensor("input"), given.named.get("dim")
    if tensor is None or tensor.dim() != 2 or given.depth or not given.items or not isinstance(axis, int):
        return None
    if tensor.shape[0] != given.items or tensor.shape[1] in (1, given.items) or not tensor.is_floating_point():
        return None
    return Broken(f"{tuple(tensor.shape)} and dim=0", given.items) if axis % 2 == 0 else IN_ORDER


def lengths(given: Given) -> Said:
    """Not the padded length of all, where the sequences end in padding."""
    torch, rows, given_lengths = given.torch, given.tensor("input"), given.named.get("lengths")
    if rows is None or rows.dim() < 2 or given_lengths is None or not rows.is_floating_point():
        return None
    rows = plain(rows) if given.named.get("batch_first") else plain(rows).transpose(0, 1)
    counts = given_lengths.tolist() if isinstance(given_lengths, torch.Tensor) else list(given_lengths)
    if len(counts) < 2 or len(counts) != rows.shape[0]:
        return None
    if len(set(counts)) > 1:
        return IN_ORDER
    if counts[0] != rows.shape[1] or not ends_of(torch, rows):
        return None
    return Broken(f"a length of {counts[0]} for all {len(counts)} sequences, which end in padding of various lengths")


def binary(given: Given) -> Said:
    """Masks, one channel a class."""
    torch, prediction = given.torch, given.named.get("y_pred")
    first = prediction[0] if isinstance(prediction, list) and prediction else prediction
    if not isinstance(first, torch.Tensor) or not first.numel() or first.dim() < 3:
        return None
    if getattr(given.module, "num_classes", None) is not None:
        return IN_ORDER
    values = few_values(first, 2)
    if values and set(values) <= {0.0, 1.0}:
        return IN_ORDER
    part = sample(first)
    whole = bool((part == part.round()).all())
    low, high = float(part.min()), float(part.max())
    if whole:
        return Broken(f"class numbers from {low:g} to {high:g} in {first.shape[0]} channel(s)") if high > 1 else None
    return Broken(f"values from {low:.3g} to {high:.3g} that were not thresholded")


_F = "torch.nn.functional."
FUNCTIONS = (
    Check("small-integers-wrap", tuple(ARITHMETIC), ("input", "other"), wraps, after=True),
    Check("decision-over-the-batch", ("argmax",), ("input", "dim"), decided),
)
ROOT = Check("scaled-twice", (), ("image",), scaled)
PACK = Check("lengths-of-padding", (), ("input", "lengths", "batch_first"), lengths)
METRIC = Check("overlap-metric-of-no-mask", (), ("y_pred", "y"), binary)
OVERLAPS = (
    "DiceMetric",
    "MeanIoU",
    "HausdorffDistanceMetric",
    "SurfaceDistanceMetric",
    "SurfaceDiceMetric",
    "ConfusionMatrixMetric",
    "GeneralizedDiceScore",
)
