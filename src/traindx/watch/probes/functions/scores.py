"""Scores of a classification by name: what do they make of perfect predictions, and of predictions dealt at random?"""

from __future__ import annotations

import ast
import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import ScoreTried
from traindx.watch.probes.functions.common import as_tensor, like, number, parts_of, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.recorded import RecordedCall, line_by_line, returned_at
from traindx.watch.runtime.call_sites import CallSite

NAMES = {
    "auc": "AUC", "auroc": "AUC", "rocauc": "AUC", "aucroc": "AUC",
    "auprc": "average precision", "aupr": "average precision", "prauc": "average precision",
    "f1": "F1", "fscore": "F1", "f1score": "F1",
    "sensitivity": "sensitivity", "sens": "sensitivity", "recall": "recall", "tpr": "sensitivity",
    "specificity": "specificity", "spec": "specificity", "tnr": "specificity",
    "precision": "precision", "ppv": "precision", "npv": "negative predictive value",
    "accuracy": "accuracy", "acc": "accuracy", "bacc": "balanced accuracy",
    "kappa": "kappa", "qwk": "kappa", "mcc": "correlation of Matthews", "dice": "Dice", "iou": "IoU", "miou": "IoU",
    "cindex": "concordance index", "concordance": "concordance index",
}  # fmt: skip
RANKS = ("AUC", "average precision", "concordance index")
NOT_A_SCORE = {
    "loss",
    "criterion",
    "threshold",
    "thresholds",
    "curve",
    "curves",
    "plot",
    "std",
    "ci",
    "num",
    "count",
    "at",
    "topk",
    "top5",
}
TARGETS = {"true", "truth", "target", "targets", "label", "labels", "gt", "gts", "actual", "y", "references"}
PREDICTIONS = {
    "pred", "preds", "prediction", "predictions", "score", "scores", "prob", "probs", "probability", "probabilities",
    "logit", "logits", "output", "outputs", "hat", "activation", "activations", "risk", "hyp", "predicted", "proba",
}  # fmt: skip
LEAST = 8  # samples
ROWS = 96  # of what the function is tried on
SPREAD = 0.03


@dataclass(frozen=True)
class Pair:
    """Which arguments are what.

    Attributes:
        prediction: Name of the argument with the predictions.
        target: Name of the argument with the labels.
        classes: Classes; 2 for zeros and ones.
    """

    prediction: str
    target: str
    classes: int


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that takes predictions and labels of as many samples and gives numbers named for a score."""
    done: set[Any] = set()
    for call in calls:
        if call.code in done or NOT_A_SCORE & set(words(call.code.co_name)):
            continue
        named = dict(_named(torch, call, call.result))
        pair = pair_of(torch, call.args) if named else None
        if pair is None:
            continue
        try:
            records = list(_tried(torch, call, pair, named))
        except Exception:  # whatever the script's functions raise when they are given something else
            continue
        done.add(call.code)
        yield from records


def _named(torch: Any, call: RecordedCall, result: Any) -> Iterator[tuple[str, tuple[str, float]]]:
    """Numbers in a result that are named for a score: by path, the score and the number."""
    elements = returned_names(call)
    for path, value in parts_of(result):
        one = number(torch, value)
        if one is None:
            continue
        keys = [key for key in path.replace("]", "").split("[") if key]
        spoken = words(keys[-1]) if keys else []
        if path == "":
            spoken = words(call.name)
        elif len(keys) == 1 and keys[0].isdigit() and int(keys[0]) < len(elements):
            spoken = words(elements[int(keys[0])])
        elif keys and keys[-1].isdigit():
            spoken = words(call.name)
        score = score_of(spoken)
        if score:
            yield path, (score, one)


def score_of(spoken: list[str]) -> str:
    """The score that a name in words stands for, or ""."""
    if NOT_A_SCORE & set(spoken):
        return ""
    joined = [*spoken, *(a + b for a, b in itertools.pairwise(spoken))]
    found = {NAMES[word] for word in joined if word in NAMES}
    return found.pop() if len(found) == 1 else ""


def returned_names(call: RecordedCall) -> list[str]:
    """Names in the tuple that a function returns, as far as they are names."""
    node = definition_of(call.code)
    for one in ast.walk(node) if node is not None else ():
        if isinstance(one, ast.Return) and isinstance(one.value, ast.Tuple):
            return [getattr(part, "id", "") for part in one.value.elts]
    return []


def pair_of(torch: Any, args: dict[str, Any]) -> Pair | None:
    """Which of the first arguments are predictions and labels of as many samples; None where that cannot be told."""
    arrays = {name: as_tensor(torch, value) for name, value in args.items() if name not in ("self", "cls")}
    known = {name: one for name, one in arrays.items() if one is not None and one.dim() in (1, 2) and len(one) >= LEAST}
    if len(known) != 2:
        return None
    (first, a), (second, b) = known.items()
    if len(a) != len(b):
        return None
    spoken = {name: set(words(name)) for name in known}
    for prediction, target in ((first, second), (second, first)):
        called_so = PREDICTIONS & spoken[prediction] or TARGETS & spoken[target] - {"y"}
        reversed_so = PREDICTIONS & spoken[target] or TARGETS & spoken[prediction] - {"y"}
        if (called_so and not reversed_so) or (not called_so and not reversed_so and _soft(known[prediction])):
            classes = _classes(known[prediction], known[target])
            return Pair(prediction, target, classes) if classes else None
    return None


def _soft(tensor: Any) -> bool:
    return bool(tensor.is_floating_point()) and bool((tensor != tensor.round()).any())


def _classes(prediction: Any, target: Any) -> int:
    """How many classes there are; 0 where the labels are none."""
    whole = target.double()
    if not bool((whole == whole.round()).all()) or float(whole.min()) < 0:
        return 0
    highest = int(whole.max()) + 1
    if target.dim() == 2 and target.shape[1] > 1:
        return 2 if highest <= 2 and prediction.shape == target.shape else 0
    if prediction.dim() == 2 and prediction.shape[1] > 1:
        return int(prediction.shape[1]) if highest <= prediction.shape[1] else 0
    if _soft(prediction):
        return 2 if highest <= 2 else 0
    return max(2, highest) if highest <= 64 else 0


def _tried(torch: Any, call: RecordedCall, pair: Pair, named: dict[str, tuple[str, float]]) -> Iterator[Record]:
    prediction, target = (as_tensor(torch, call.args[name]) for name in (pair.prediction, pair.target))
    assert prediction is not None
    assert target is not None
    labels = _labels(torch, target, pair.classes, len(target) if _keeps_length(call, len(target)) else ROWS)
    perfect = _perfect(torch, prediction, labels, pair.classes)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))

    def given(one: Any) -> dict[str, Any]:
        return {
            pair.prediction: like(torch, one, call.args[pair.prediction]),
            pair.target: like(torch, labels, call.args[pair.target]),
        }

    def scores(one: Any) -> dict[str, tuple[str, float]]:
        own = call.args.get("self")
        more = {"self": copy.deepcopy(own)} if own is not None else {}
        result = call.again(torch, **given(one), **more)
        return dict(_named(torch, call, result))

    best, chance = scores(perfect), scores(perfect[order])
    said: set[tuple[str, str]] = set()
    for path, (score, actual) in named.items():
        if path not in best or path not in chance:
            continue
        values = [value / 100 if 1.5 < value <= 100.5 else value for value in (best[path][1], chance[path][1])]
        if not all(math.isfinite(value) for value in values):
            continue
        place = _place(torch, call, path, pair, given(perfect), labels) if abs(values[0] - 1) > SPREAD else None
        if (score, str(place)) in said:
            continue
        said.add((score, str(place)))
        yield ScoreTried(
            function=call.name,
            score=score,
            ranks=score in RANKS,
            classes=pair.classes,
            samples=len(labels),
            perfect=values[0],
            random=values[1],
            actual=actual,
            where=(place or returned_at(call.code)).location(),
        )


def _keeps_length(call: RecordedCall, length: int) -> bool:
    """Another argument says how many samples there are."""
    return any(type(value) is int and value == length for value in call.args.values())


def _labels(torch: Any, target: Any, classes: int, rows: int) -> Any:
    """Labels of which every class has as many samples, in no order, in the form of the script's."""
    if target.dim() == 2 and target.shape[1] > 1 and bool((target.double().sum(1) == 1).all()):  # one of several
        chosen = torch.arange(rows)[torch.randperm(rows, generator=torch.Generator().manual_seed(1))] % target.shape[1]
        return torch.nn.functional.one_hot(chosen, int(target.shape[1])).to(target.dtype)
    generator = torch.Generator().manual_seed(1)
    shape = (rows, *target.shape[1:])
    flat = torch.arange(rows)[(...,) + (None,) * (len(shape) - 1)].expand(shape) % classes
    if target.dim() == 2 and target.shape[1] > 1:
        flat = torch.stack([flat[torch.randperm(rows, generator=generator), c] for c in range(shape[1])], 1)
        return flat.to(target.dtype)
    return flat[torch.randperm(rows, generator=generator)].to(target.dtype)


def _perfect(torch: Any, prediction: Any, labels: Any, classes: int) -> Any:
    """Predictions of which each is right, no two equally sure, in the form of the script's."""
    generator = torch.Generator().manual_seed(2)
    hard = not _soft(prediction)
    flat = labels.reshape(len(labels), -1)[:, 0] if labels.dim() == 2 and labels.shape[1] == 1 else labels
    wide = prediction.dim() == 2 and prediction.shape[1] > 1
    right = flat
    if wide and flat.dim() == 1:
        right = torch.nn.functional.one_hot(flat.long(), int(prediction.shape[1]))
    if hard:
        one = right.double()
    else:
        noise = torch.rand(right.shape, generator=generator, dtype=torch.float64)
        likely = bool((prediction >= 0).all()) and bool((prediction <= 1).all())
        if likely and wide and bool((right.sum(1) == 1).all()):
            sure = 0.55 + 0.4 * noise[:, :1]
            rest = torch.rand(right.shape, generator=generator, dtype=torch.float64) * (1 - right) + 1e-3
            rest = rest * (1 - right)
            one = right * sure + (1 - sure) * rest / rest.sum(1, keepdim=True)
        elif likely:
            one = torch.where(right == 1, 0.55 + 0.4 * noise, 0.05 + 0.4 * noise)
        else:
            one = torch.where(right == 1, 3 + 3 * noise, -6 + 3 * noise)
    return one.reshape(len(labels), *prediction.shape[1:]).to(prediction.dtype)


def _place(
    torch: Any, call: RecordedCall, path: str, pair: Pair, given: dict[str, Any], labels: Any
) -> CallSite | None:
    """Where a wrong score comes from: the scores that no longer tell the classes apart, or the line that names it."""
    spot = _named_at(call, path)
    lines = line_by_line(torch, call, **given) if "self" not in call.args else []
    flat = labels.reshape(len(labels), -1)[:, 0].long()
    for line, name, value in lines:
        one = as_tensor(torch, value)
        if name in given or one is None or one.dim() != 1 or len(one) != len(labels) or not _soft(one):
            continue
        if spot is not None and line > spot.line:
            break
        if not any(_separates(torch, one.double(), flat == c) for c in range(pair.classes)):
            return call.at(line)
    return spot


def _separates(torch: Any, scores: Any, positive: Any) -> bool:
    if not bool(positive.any()) or bool(positive.all()):
        return False
    low, high = scores[~positive], scores[positive]
    above = float((high[:, None] > low[None]).double().mean() + 0.5 * (high[:, None] == low[None]).double().mean())
    return above > 0.9 or above < 0.1


def _named_at(call: RecordedCall, path: str) -> CallSite | None:
    """The line of the function at which a key of its result gets its value."""
    keys = [key.strip("'\"") for key in path.replace("]", "").split("[") if key and not key.isdigit()]
    node = definition_of(call.code)
    for one in ast.walk(node) if node is not None and keys else ():
        if isinstance(one, ast.Dict):
            for key, value in zip(one.keys, one.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == keys[-1]:
                    return call.at(value.lineno)
        if isinstance(one, ast.Assign) and any(
            isinstance(target, ast.Subscript)
            and isinstance(target.slice, ast.Constant)
            and target.slice.value == keys[-1]
            for target in one.targets
        ):
            return call.at(one.lineno)
    return None


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could give a score, as far as its source tells."""
    if score_of(words(node.name)) or {"metric", "metrics", "scores", "evaluate", "score"} & set(words(node.name)):
        return True
    return any(
        isinstance(one, ast.Constant)
        and isinstance(one.value, str)
        and one.value.isidentifier()
        and score_of(words(one.value))
        for one in ast.walk(node)
    )
