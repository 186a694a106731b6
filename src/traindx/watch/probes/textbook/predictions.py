"""Predictions and targets of a loss or a figure: which argument is which, and pairs that agree as far as one likes."""

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.textbook.base import BreaksError, NotApplicableError, Trial, spoken

TARGETS = {
    "target", "targets", "true", "truth", "label", "labels", "gt", "gts", "groundtruth", "y", "actual", "mask", "masks",
    "seg", "reference", "ref", "tgt", "annotation", "lbl",
}  # fmt: skip
PREDICTIONS = {
    "pred", "preds", "prediction", "predictions", "predict", "logit", "logits", "output", "outputs", "out", "prob",
    "probs", "probability", "probabilities", "score", "scores", "hat", "input", "inputs", "predicted", "recon",
    "reconstruction", "reconstructed", "x", "estimate", "est", "proba", "yhat", "ypred",
}  # fmt: skip
LOSSES = {"loss", "losses", "criterion", "objective", "cost"}
MOST_AXIS = 12  # along which a picture is made
LEAST_ROWS = 12  # of vectors and single numbers
SURE = 20.0  # a logit


@dataclass(frozen=True)
class Roles:
    """Names of the two arguments.

    Attributes:
        prediction: With what comes from a network.
        target: With what is known.
        certain: Names or gradients tell which is which; otherwise it is the order.
    """

    prediction: str
    target: str
    certain: bool


def roles(trial: Trial) -> Roles:
    """Which of the only two arrays is the prediction.

    Raises:
        NotApplicableError: There are others.
    """
    trial.require(len(trial.arrays) == 2)
    first, second = trial.arrays
    for prediction, target in ((first, second), (second, first)):
        learned = trial.call.learned
        if prediction in learned and target not in learned:
            return Roles(prediction, target, True)
    for prediction, target in ((first, second), (second, first)):
        said, known = spoken(prediction), spoken(target)
        sure = bool(PREDICTIONS & said) and not said & (TARGETS - {"y", "mask", "masks"})
        if sure and TARGETS & known and not known & (PREDICTIONS - {"x"}):
            return Roles(prediction, target, True)
    return Roles(first, second, False)


def is_loss(trial: Trial) -> bool:
    """True if the name says that less is better, and the caller does not turn it round."""
    if not LOSSES & spoken(trial.call.name):
        return False
    caller = trial.call.caller
    line = linecache.getline(caller.file, caller.line) if caller is not None else ""
    name = re.escape(trial.call.code.co_name if trial.call.code.co_name != "forward" else trial.call.name)
    return not re.search(rf"-\s*(?:[\w.]*\.)?{name}\s*\(", line)


def bare(call: Any) -> set[str]:
    """The words of a name without those that say nothing: what a loss consists of."""
    said = set(words(call.name))
    empty = {"loss", "losses", "criterion", "compute", "calc", "calculate", "get", "function", "fn", "my", "custom"}
    plain = {"with", "logits", "binary", "multiclass", "soft", "torch", "np", "numpy", "2d", "3d"}
    return said - empty - plain


@dataclass(frozen=True)
class Classes:
    """How a script gives predictions of classes, and classes.

    Attributes:
        roles: The arguments.
        kind: ``binary`` (zeros and ones in the form of the prediction), ``columns`` (one of several columns is 1),
            ``index`` (numbers of classes, without the axis of classes), ``index1`` (the same with an axis of length 1).
        logits: Predictions are any numbers; otherwise probabilities.
        log: Predictions are logarithms of probabilities.
        shape: Of predictions that are made.
        count: Classes; 2 where binary.
    """

    roles: Roles
    kind: Literal["binary", "columns", "index", "index1"]
    logits: bool
    log: bool
    shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    count: int

    @property
    def forms(self) -> list[Classes]:
        """The same, and with any numbers where binary predictions were recorded that may be logits by chance."""
        unsure = self.kind in ("binary", "columns") and not self.logits
        return [self, replace(self, logits=True)] if unsure else [self]

    @property
    def given(self) -> str:
        """In what form predictions are, for a sentence."""
        return "as logits" if self.logits else "as logarithms" if self.log else "as probabilities"

    def labels(self, trial: Trial, seed: int = 0) -> Any:
        """Classes in no order, every one as often, as whole numbers without the axis of classes."""
        torch = trial.torch
        shape = self.shape if self.kind == "binary" else (self.shape[0], *self.shape[2:])
        size = math.prod(shape)
        values = torch.arange(size) % self.count
        return values[torch.randperm(size, generator=trial.generator(seed))].reshape(shape)

    def target(self, trial: Trial, labels: Any) -> Any:
        """Labels in the form of the script's targets."""
        if self.kind == "binary":
            return labels.reshape(self.target_shape)
        if self.kind == "columns":
            return trial.torch.nn.functional.one_hot(labels, self.count).movedim(-1, 1)
        return labels.unsqueeze(1) if self.kind == "index1" else labels

    def prediction(self, trial: Trial, labels: Any, share: Any) -> Any:
        """Predictions that give these classes a probability of ``share`` (a number, or one for every label)."""
        torch = trial.torch
        share = torch.as_tensor(share, dtype=torch.float64).expand(labels.shape).clamp(1e-9, 1 - 1e-9)
        if self.kind == "binary":
            chance = torch.where(labels.bool(), share, 1 - share)
            return (torch.logit(chance) if self.logits else chance).float()
        rest = (1 - share) / (self.count - 1)
        hot = torch.nn.functional.one_hot(labels, self.count).movedim(-1, 1).bool()
        chance = torch.where(hot, share.unsqueeze(1), rest.unsqueeze(1))
        return (chance.log() if self.logits or self.log else chance).float()

    def sure(self, trial: Trial, labels: Any) -> Any:
        """Predictions that are sure of these classes, whether classes exclude each other or not."""
        if not self.logits:
            return self.prediction(trial, labels, 1.0)
        if self.kind == "binary":
            return (labels.float() * 2 - 1) * SURE
        return (trial.torch.nn.functional.one_hot(labels, self.count).movedim(-1, 1).float() * 2 - 1) * SURE

    def loss(self, trial: Trial, labels: Any, prediction: Any) -> float:
        """What the function makes of it: a number, or the mean of an array without an axis of its own choice."""
        given = {self.roles.prediction: prediction, self.roles.target: self.target(trial, labels)}
        return mean_of(trial, **given)


def in_one_form(form: Classes, experiment: Callable[[Classes], None]) -> None:
    """An experiment that holds in one of the forms in which predictions may be meant.

    Raises:
        BreaksError: It does not hold in any; said of the first one.
    """
    broken: Exception | None = None
    for one in form.forms:
        try:
            return experiment(one)
        except (BreaksError, NotApplicableError) as error:
            broken = broken or error
        except Exception as error:  # whatever the function raises for values out of its range
            broken = broken or NotApplicableError(str(error))
    raise broken or NotApplicableError


def result_of(trial: Trial, changes: dict[str, Any]) -> Any:
    """What :meth:`Trial.again` gives, where the object that the function belongs to may be replaced as well."""
    if "self" not in changes:
        return trial.again(**changes)
    others = {name: one for name, one in changes.items() if name != "self"}
    kept = trial.call.args["self"]
    trial.call.args["self"] = changes["self"]
    try:
        return trial.again(**others)
    finally:
        trial.call.args["self"] = kept


def mean_of(trial: Trial, **changes: Any) -> float:
    """The number that a function returns, or the mean of the array.

    Raises:
        NotApplicableError: It returns something else, or what is not finite.
    """
    result = result_of(trial, changes)
    if isinstance(result, tuple) and result:
        result = result[0]
    if isinstance(result, int | float) and not isinstance(result, bool):
        found = float(result)
    elif hasattr(result, "mean") and hasattr(result, "shape"):
        found = float(result.detach().double().mean()) if hasattr(result, "double") else float(result.mean())
    else:
        raise NotApplicableError
    if not math.isfinite(found):
        raise NotApplicableError
    return found


def classes(trial: Trial) -> Classes:
    """The form in which a recorded call has predictions of classes and classes.

    Raises:
        NotApplicableError: It is none of the known ones.
    """
    torch = trial.torch
    who = roles(trial)
    if not who.certain and _is_whole(trial.arrays[who.prediction]) and not _is_whole(trial.arrays[who.target]):
        who = Roles(who.target, who.prediction, False)
    given, target = trial.arrays[who.prediction], trial.arrays[who.target]
    trial.require(given.is_floating_point() and given.dim() >= 1 and target.dim() >= 1)
    trial.require(bool((target == target.round()).all()) and int(target.min()) >= 0)
    least, most = float(given.min()), float(given.max())
    logits = least < 0 or most > 1
    shape = tuple(given.shape)
    small = tuple(min(size, MOST_AXIS) for size in shape[2:])
    batch = max(shape[0], LEAST_ROWS) if len(shape) <= 2 else min(shape[0], 4)
    if given.shape == target.shape or (given.numel() == target.numel() and given.dim() == target.dim() + 1):
        trial.require(int(target.max()) <= 1)
        columns = given.dim() > 1 and shape[1] > 1 and given.shape == target.shape
        if len(shape) == 2 and shape[1] > 24:  # a picture, and no columns of classes
            trial.require(False)
        shape = (batch, *shape[1:2], *small)
        if columns and bool((target.double().sum(1) == 1).all()):
            return Classes(who, "columns", logits, False, shape, shape, shape[1])
        trial.require(not columns or len(shape) > 2)
        flat = tuple(one for i, one in enumerate(shape) if i != 1) if target.dim() < given.dim() else shape
        if target.dim() < given.dim() and given.shape[1] != 1:
            trial.require(given.shape[-1] == 1)
            flat = shape[:-1]
        return Classes(who, "binary", logits, False, shape, flat, 2)
    trial.require(given.dim() >= 2 and shape[1] > 1 and int(target.max()) < shape[1])
    count, whole = shape[1], (batch, shape[1], *small)
    log = most <= 0 and bool(torch.allclose(given.double().logsumexp(1), torch.zeros(()).double(), atol=1e-3))
    sums = least >= 0 and bool(torch.allclose(given.double().sum(1), torch.ones(()).double(), atol=1e-3))
    trial.require(logits or sums)
    if tuple(target.shape) == (shape[0], *shape[2:]):
        return Classes(who, "index", logits and not log, log, whole, (), count)
    trial.require(tuple(target.shape) == (shape[0], 1, *shape[2:]))
    return Classes(who, "index1", logits and not log, log, whole, (), count)


def _is_whole(tensor: Any) -> bool:
    return bool((tensor == tensor.round()).all())
