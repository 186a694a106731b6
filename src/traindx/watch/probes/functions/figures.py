"""Figures by name: what do they make of a perfect prediction, and of half an error?"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed import PeakFromTarget
from traindx.evidence.probed_functions import MetricTried
from traindx.watch.probes.functions.common import as_tensor, like, number, words
from traindx.watch.probes.recorded import RecordedCall, returned_at

OVERLAP = {"dice": "Dice", "dsc": "Dice", "iou": "IoU", "jaccard": "Jaccard index", "miou": "IoU"}
STANDS_FOR = {"psnr": "PSNR", "ssim": "SSIM", **OVERLAP}
NOT_A_FIGURE = {"loss", "criterion", "box", "boxes", "giou", "diou", "nms", "matrix", "pairwise", "anchor", "anchors"}
LEAST_PEAKS, LEAST_FACTOR = 4, 2.0
SURE = 20.0  # a logit


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that is named for a figure, takes two images or masks of one shape, and gives one number."""
    yield from _peaks(torch, calls)
    done: set[Any] = set()
    for call in calls:
        parts = [*words(call.code.co_name)]
        if call.code in done or NOT_A_FIGURE & {*parts, *words(call.name)}:
            continue
        name = next((word for word in parts if word in STANDS_FOR), "")
        pair = _pair(torch, call)
        actual = number(torch, call.result)
        if not name or pair is None or actual is None or not math.isfinite(actual):
            continue
        try:
            record = _tried(torch, call, name, *pair, actual)
        except Exception:  # whatever the script's functions raise when they are given something else
            continue
        if record is not None:
            done.add(call.code)
            yield record


def _peaks(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Decibels of slices whose peak is the largest value of that slice; ``where`` is the line that hands slices over.

    A function that takes the largest value of what it is given is right for a volume, so its caller is the place. Of
    images of one scale, whose peaks differ by less than a factor, nothing is said.
    """
    seen: dict[Any, list[tuple[float, RecordedCall]]] = {}
    for call in calls:
        pair = _pair(torch, call) if "psnr" in words(call.code.co_name) else None
        value = number(torch, call.result)
        if pair is None or value is None:
            continue
        a, b = (as_tensor(torch, call.args[name]).double() for name in pair)  # type: ignore[union-attr]
        implied = float((a - b).square().mean().sqrt()) * 10 ** (value / 20)
        peaks = [float(one.max()) for one in (a, b)]
        if a.dim() == 2 and any(peak > 0 and abs(implied / peak - 1) < 1e-3 for peak in peaks):
            seen.setdefault(call.code, []).append((implied, call))
    for found in seen.values():
        peaks = [peak for peak, _ in found]
        caller = found[0][1].caller
        if len(found) >= LEAST_PEAKS and caller is not None and max(peaks) > LEAST_FACTOR * min(peaks):
            yield PeakFromTarget(peaks=tuple(peaks), phase="validation", where=caller.location())


def _pair(torch: Any, call: RecordedCall) -> tuple[str, str] | None:
    """Names of the first two arguments, if they are arrays of one shape."""
    names = [name for name in call.args if name not in ("self", "cls")][:2]
    tensors = [as_tensor(torch, call.args[name]) for name in names]
    if len(names) < 2 or any(one is None or one.dim() < 2 or one.is_complex() for one in tensors):
        return None
    return (names[0], names[1]) if tensors[0].shape == tensors[1].shape else None  # type: ignore[union-attr]


def _tried(torch: Any, call: RecordedCall, name: str, first: str, second: str, actual: float) -> Record | None:
    a, b = as_tensor(torch, call.args[first]), as_tensor(torch, call.args[second])
    assert a is not None
    assert b is not None

    def figure(one: Any, other: Any) -> float:
        given = {first: like(torch, one, call.args[first]), second: like(torch, other, call.args[second])}
        value = number(torch, call.again(torch, **given))
        return math.nan if value is None else value

    where = returned_at(call.code).location()
    if name == "psnr":
        error = a.double() - b.double()
        small, tenth = (figure(b + part * error, b) for part in (0.2, 0.1))
        if not (math.isfinite(small) and math.isfinite(tenth)) or float(error.abs().max()) == 0:
            return None
        return MetricTried(
            function=call.shown, stands_for=STANDS_FOR[name], perfect=0.0, actual=actual, best=0.0,
            gain=tenth - small, where=where,
        )  # fmt: skip
    perfect = []
    for target in (a, b):
        if name != "ssim":
            if not bool(((target == 0) | (target == 1)).all()) or not _both_everywhere(target):
                continue  # soft, or of several classes, or empty somewhere
        elif float(target.double().std()) == 0:
            continue
        perfect += [figure(target, target)]
        if name != "ssim":
            sure = SURE * (2 * target.double() - 1)
            perfect += [figure(sure, target), figure(target, sure)]
    perfect = [value / 100 if 1.5 < value <= 100.5 else value for value in perfect if math.isfinite(value)]
    if not perfect:
        return None
    nearest = min(perfect, key=lambda value: abs(value - 1))
    if any(abs(value - as_distance) < 0.03 for value in perfect for as_distance in (0.0, -1.0)):
        return None  # 1 minus it, or its negative
    return MetricTried(
        function=call.shown, stands_for=STANDS_FOR[name], perfect=nearest, actual=actual, best=1.0, where=where
    )


def _both_everywhere(mask: Any) -> bool:
    """Zeros and ones in every sample, and in every channel of it: a figure of nothing is a convention."""
    for axes in range(1, max(2, min(3, mask.dim() - 1))):
        shares = mask.double().flatten(axes).mean(-1)
        if bool(((shares == 0) | (shares == 1)).any()):
            return False
    return 0 < float(mask.double().mean()) < 1


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    return bool(set(STANDS_FOR) & set(words(node.name)))
