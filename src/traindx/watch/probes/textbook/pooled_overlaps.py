"""Overlaps of several classes: does each class count, or are all voxels of all classes summed up before the division?

Of classes that exclude each other the pooled sums are the number of voxels, whatever is predicted: what is left is the
share of voxels that are right, and a prediction of nothing but background scores nearly 1. Said of functions that
do not say so: a micro average is a figure that some want.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from dataclasses import dataclass
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, number, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.predictions import (
    MOST_AXIS,
    Classes,
    classes,
    in_one_form,
    is_loss,
    mean_of,
    roles,
)
from traindx.watch.runtime.syntax import walk

NAMES = {
    "dice", "dsc", "iou", "jaccard", "miou", "softdice", "dicecoef", "meaniou", "meandice", "jaccardindex", "softiou",
}  # fmt: skip
UNLESS = {
    "micro", "global", "globally", "pooled", "overall", "weighted", "weight", "freq", "frequency", "fw", "fwiou",
    "fwdice", "generalized", "generalised", "gdl", "box", "boxes", "bbox", "giou", "diou", "ciou", "surface", "nsd",
    "boundary", "panoptic", "tversky", "matrix", "accuracy", "ce", "bce", "focal", "combo",
}  # fmt: skip
SAID = re.compile(r"micro|global|pool|overall|together|accuracy|flatten(ed)? over|over all classes|frequency", re.I)
ONE_CLASS = {"k", "c", "cls", "label", "lbl", "idx", "index", "id", "i", "channel", "ch", "organ", "category", "cat"}
COUNTS = {"num", "n", "number", "ignore", "ignored", "count", "nb", "many"}
SHARES = (0.94, 0.8)  # of the voxels: the class that is predicted everywhere
NEAR = 0.006  # a smoothing constant of one stays below
MUST = "counts each class by itself: where one of several is predicted everywhere, it is far below 1"
REMEDY = "Sum over the voxels of each class, keep the axis of the classes until after the division, then take the mean "
REMEDY += "(of all but the background, as is usual)."


@dataclass(frozen=True)
class _Maps:
    """Two arguments that hold numbers of classes."""

    prediction: str
    target: str
    shape: tuple[int, ...]
    count: int


@entry(
    "overlap-counts-each-class",
    "figure",
    "overlap of several classes",
    MUST,
    names=NAMES,
    unless={*UNLESS, "loss", "losses", "criterion"},
    remedy=REMEDY,
    source="Taha and Hanbury, Metrics for evaluating 3D medical image segmentation, 2015, section 2",
)
def counts_each_class(trial: Trial) -> None:
    """Predictions (N, C, ...) and one-hot or whole labels, or two maps of labels; one number or one a class."""
    trial.require(not is_loss(trial))
    _try(trial, turned=False)


@entry(
    "overlap-loss-counts-each-class",
    "loss",
    "overlap loss of several classes",
    "counts each class by itself: one that is predicted everywhere in the place of several costs far more than 0",
    names=NAMES,
    unless=UNLESS,
    remedy=REMEDY,
    source="Sudre et al., Generalised Dice overlap as a deep learning loss function, 2017, section 2",
)
def loss_counts_each_class(trial: Trial) -> None:
    """The same of one minus it, or minus it."""
    trial.require(is_loss(trial))
    _try(trial, turned=True)


def _try(trial: Trial, *, turned: bool) -> None:
    trial.require(not _says_so(trial) and not _is_of_one_class(trial))
    result = trial.call.result
    array = as_tensor(trial.torch, result)
    trial.require(number(trial.torch, result) is not None or (array is not None and array.dim() <= 2))
    maps = None if turned else _maps(trial)
    if maps is not None:
        _of_maps(trial, maps)
        return
    form = classes(trial)
    trial.require(form.kind != "binary" and len(form.shape) >= 4)
    in_one_form(form, lambda one: _of_form(trial, one, turned))


def _of_form(trial: Trial, form: Classes, turned: bool) -> None:
    shape = (form.shape[0], *form.shape[2:])

    def value(labels: Any, said: Any) -> float:
        found = form.loss(trial, labels, form.sure(trial, said))
        return found if not turned else 1 - found if found >= -NEAR else -found

    _expect(trial, shape, form.count, value, f" {form.given}", says="one minus it" if turned else "it")


def _maps(trial: Trial) -> _Maps | None:
    """Two arrays of whole numbers, of which some are larger than 1."""
    if len(trial.arrays) != 2:
        return None
    who = roles(trial)
    one, other = trial.arrays[who.prediction], trial.arrays[who.target]
    if one.shape != other.shape or one.dim() < 2:
        return None
    if not all(bool((each == each.round()).all()) and int(each.min()) >= 0 for each in (one, other)):
        return None
    count = int(max(one.max(), other.max())) + 1
    if not 3 <= count <= 32:
        return None
    shape = tuple(min(size, 2 * MOST_AXIS) for size in one.shape)
    return _Maps(who.prediction, who.target, shape, count)


def _of_maps(trial: Trial, maps: _Maps) -> None:
    def value(labels: Any, said: Any) -> float:
        return mean_of(trial, **{maps.prediction: said, maps.target: labels})

    _expect(trial, maps.shape, maps.count, value, "", whole=True)


def _expect(
    trial: Trial,
    shape: tuple[int, ...],
    count: int,
    value: Any,
    given: str,
    *,
    whole: bool = False,
    says: str = "it",
) -> None:
    """The class 0 predicted everywhere, of which there are more, and then fewer voxels."""
    torch = trial.torch
    samples = 1 if whole else shape[0]
    size = math.prod(shape) // samples
    trial.require(size >= 12 * count)
    found = []
    for share in SHARES:
        each = max(1, round(size * (1 - share) / (count - 1)))
        line = torch.zeros(size, dtype=torch.long)
        for label in range(1, count):
            line[(label - 1) * each : label * each] = label
        line = line[torch.randperm(size, generator=trial.generator())]
        labels = line.expand(samples, -1).reshape(shape).clone()
        right = 1 - each * (count - 1) / size
        best, worst = value(labels, labels), value(labels, (labels + 1) % count)
        trial.require(abs(best - 1) < 0.02 and abs(worst) < 0.1)  # a share of 1, of which more is better
        found.append((right, value(labels, torch.zeros_like(labels))))
    as_dice = all(abs(got - right) < NEAR for right, got in found)
    as_iou = all(abs(got - right / (2 - right)) < NEAR for right, got in found)
    right, got = found[0]
    trial.expect(
        not as_dice and not as_iou,
        f"predictions{given} that leave out every class but one, which has {100 * right:.0f} % of the voxels",
        f"{says} says {got:.2f} of 1, and of one with {100 * found[1][0]:.0f} % {found[1][1]:.2f}: the share of "
        f"voxels that are right{'' if as_dice else ', over that of right and wrong together'}, though {count - 1} of "
        f"{count} classes are missed altogether",
        _line_that_sums(trial),
    )


def _line_that_sums(trial: Trial) -> int | None:
    """The first line of the function that sums up a product or a comparison."""
    node = definition_of(trial.call.code)
    for one in walk(node) if node is not None else ():
        if isinstance(one, ast.Assign | ast.Return) and one.value is not None:
            parts = list(walk(one.value))
            sums = any(isinstance(part, ast.Attribute) and part.attr in ("sum", "mean") for part in parts)
            pairs = any(isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult | ast.BitAnd) for part in parts)
            if sums and (pairs or any(isinstance(part, ast.Compare) for part in parts)):
                return one.lineno
    return None


def _says_so(trial: Trial) -> bool:
    """The function, its class or an argument says that classes are pooled."""
    owner = trial.call.args.get("self")
    texts = [inspect.getdoc(trial.call.function) or "", inspect.getdoc(type(owner)) or "" if owner is not None else ""]
    held = {**getattr(owner, "__dict__", {}), **trial.call.args}
    texts += [value for value in held.values() if isinstance(value, str)]
    texts += [name for name, value in held.items() if value is True]
    return any(SAID.search(text) for text in texts)


def _is_of_one_class(trial: Trial) -> bool:
    """A number says which class is meant."""
    held = {**getattr(trial.call.args.get("self"), "__dict__", {}), **trial.call.args}
    for name, value in held.items():
        said = set(words(name))
        if isinstance(value, int) and not isinstance(value, bool) and said & ONE_CLASS and not said & COUNTS:
            return True
    return False
