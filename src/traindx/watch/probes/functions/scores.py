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
from traindx.watch.probes.functions import made_up
from traindx.watch.probes.functions.common import as_tensor, like, number, parts_of, words
from traindx.watch.probes.functions.definitions import other_meaning
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.recorded import RecordedCall, called, copied, line_by_line, returned_at
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

NAMES = {
    "auc": "AUC", "auroc": "AUC", "rocauc": "AUC", "aucroc": "AUC",
    "auprc": "average precision", "aupr": "average precision", "prauc": "average precision",
    "f1": "F1", "fscore": "F1", "f1score": "F1",
    "sensitivity": "sensitivity", "sens": "sensitivity", "recall": "recall", "tpr": "sensitivity",
    "specificity": "specificity", "spec": "specificity", "tnr": "specificity",
    "precision": "precision", "ppv": "precision", "npv": "negative predictive value",
    "accuracy": "accuracy", "acc": "accuracy", "bacc": "balanced accuracy",
    "kappa": "kappa", "qwk": "kappa", "mcc": "correlation of Matthews", "dice": "Dice", "iou": "IoU", "miou": "IoU",
}  # fmt: skip
RANKS = ("AUC", "average precision")
NOT_A_SCORE = {
    "loss", "criterion", "threshold", "thresholds", "curve", "curves", "plot", "std", "ci", "num", "count", "at",
    "topk", "top5", "error", "err", "distance", "diff", "delta", "gap", "margin", "steps",
}  # fmt: skip
RESETS = ("reset", "reset_states", "clear", "zero", "initialize")
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
    """Everything that takes predictions and labels of as many samples and gives numbers named for a score."""
    done: set[Any] = set()
    for scorer in scorers(torch, calls):
        pair = pair_of(torch, scorer.takes.args)
        if scorer.gives.code in done or pair is None:
            continue
        try:
            records = list(_tried(torch, scorer, pair))
        except Exception:  # whatever the script's functions raise when they are given something else
            continue
        done.add(scorer.gives.code)
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
            spoken = _spoken(call)
        elif len(keys) == 1 and keys[0].isdigit() and int(keys[0]) < len(elements):
            spoken = words(elements[int(keys[0])])
        elif keys and keys[-1].isdigit():
            spoken = _spoken(call)
        score = score_of(spoken)
        if score:
            yield path, (score, one)


def _spoken(call: RecordedCall) -> list[str]:
    """The name of a function in words; of its class as well where it is only asked for what was gathered."""
    spoken = words(call.name)
    if set(call.args) == {"self"} and not score_of(spoken):
        spoken = [*words(type(call.args["self"]).__name__), *spoken]
    return spoken


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
    for one in walk(node) if node is not None else ():
        if isinstance(one, ast.Return) and isinstance(one.value, ast.Tuple):
            return [getattr(part, "id", "") for part in one.value.elts]
    return []


def pair_of(torch: Any, args: dict[str, Any]) -> Pair | None:
    """Which of the first arguments are predictions and labels of as many samples; None where that cannot be told."""
    arrays = {name: as_tensor(torch, value) for name, value in args.items() if name not in ("self", "cls")}
    known = {name: one for name, one in arrays.items() if one is not None and one.dim() and one.numel() >= LEAST}
    if len(known) != 2:
        return None
    (first, a), (second, b) = known.items()
    if len(a) != len(b) or (max(a.dim(), b.dim()) <= 2 and len(a) < LEAST):
        return None
    if any(holds_weights(torch, value) for value in args.values()):
        return None  # what it is given are inputs of a network
    for prediction, target in ((first, second), (second, first)):
        spoken = [set(words(name)) for name in (prediction, target)]
        if PREDICTIONS & spoken[0] and not PREDICTIONS & spoken[1] and not TARGETS & (spoken[0] - {"y"}):
            classes = _classes(known[prediction], known[target])
            return Pair(prediction, target, classes) if classes else None
    return None


def holds_weights(torch: Any, value: Any) -> bool:
    """A network, or an object that holds one."""
    inside = list(vars(value).values())[:64] if hasattr(value, "__dict__") and not isinstance(value, type) else []
    return any(
        isinstance(one, torch.nn.Module) and next(iter(one.parameters()), None) is not None for one in (value, *inside)
    )


def _soft(tensor: Any) -> bool:
    return bool(tensor.is_floating_point()) and bool((tensor != tensor.round()).any())


def _classes(prediction: Any, target: Any) -> int:
    """How many classes there are; 0 where the labels are none."""
    whole = target.double()
    if not bool((whole == whole.round()).all()) or float(whole.min()) < 0:
        return 0
    highest = int(whole.max()) + 1
    if target.dim() > 2 or prediction.dim() > 2:  # maps of classes, with scores of every class
        fits = prediction.dim() == target.dim() + 1 and prediction.shape[2:] == target.shape[1:]
        classes = int(prediction.shape[1]) if fits else 0
        return classes if classes > 1 and highest <= classes and _soft(prediction) else 0
    if target.dim() == 2 and target.shape[1] > 1:
        return 2 if highest <= 2 and prediction.shape == target.shape else 0
    if prediction.dim() == 2 and prediction.shape[1] > 1:
        return int(prediction.shape[1]) if highest <= prediction.shape[1] else 0
    if _soft(prediction):
        return 2 if highest <= 2 else 0
    return max(2, highest) if highest <= 64 else 0


@dataclass(frozen=True)
class Scorer:
    """Something that scores predictions.

    Attributes:
        takes: The call that is given predictions and labels.
        gives: The call whose result has the numbers; another one where an object gathers first.
        named: Its numbers by path: the score, and what the script got.
    """

    takes: RecordedCall
    gives: RecordedCall
    named: dict[str, tuple[str, float]]

    def of(self, torch: Any, given: dict[str, Any]) -> dict[str, tuple[str, float]]:
        """The numbers for other predictions and labels; objects are copied, and reset if they gather."""
        own = self.takes.args.get("self")
        values = {**{name: copied(torch, value) for name, value in self.takes.args.items()}, **given}
        if own is not None:
            values["self"] = copy.deepcopy(own)
        if self.gives is self.takes:
            return dict(_named(torch, self.takes, called(torch, self.takes.function, values)))
        reset = next(method for name in RESETS if callable(method := getattr(values["self"], name, None)))
        reset()
        called(torch, self.takes.function, values)
        return dict(_named(torch, self.gives, called(torch, self.gives.function, {"self": values["self"]})))


def scorers(torch: Any, calls: list[RecordedCall]) -> Iterator[Scorer]:
    """Functions that score what they are given, and objects that gather it and score it when they are asked."""
    for call in calls:
        if not NOT_A_SCORE & set(words(call.code.co_name)):
            named = dict(_named(torch, call, call.result))
            if not named:
                continue
            if pair_of(torch, call.args) is not None:
                yield Scorer(call, call, named)
            elif set(call.args) == {"self"}:
                kind = type(call.args["self"])
                for other in calls:
                    same = type(other.args.get("self")) is kind and any(hasattr(kind, name) for name in RESETS)
                    if same and len(other.args) > 2 and pair_of(torch, other.args) is not None:
                        yield Scorer(other, call, named)
                        break


def _tried(torch: Any, scorer: Scorer, pair: Pair) -> Iterator[Record]:
    call = scorer.takes
    prediction, target = (as_tensor(torch, call.args[name]) for name in (pair.prediction, pair.target))
    assert prediction is not None
    assert target is not None
    rows = len(target) if _keeps_length(call, len(target)) or target.dim() > 2 else ROWS
    labels = made_up.labels(torch, target, pair.classes, rows)
    perfect, sure = (made_up.perfect(torch, prediction, labels, sure=one) for one in (False, True))

    def given(one: Any) -> dict[str, Any]:
        return {
            pair.prediction: like(torch, one, call.args[pair.prediction]),
            pair.target: like(torch, labels, call.args[pair.target]),
        }

    best, certain = scorer.of(torch, given(perfect)), scorer.of(torch, given(sure))
    others = made_up.dealt(torch, labels)
    # an area under a curve that counts ties as lost is right, and far from a half where nearly all are ties
    chance, untied = (
        scorer.of(torch, given(made_up.perfect(torch, prediction, others, sure=one))) for one in (True, False)
    )
    wrong = labels if _one_hot(labels) else made_up.mistaken(torch, labels, pair.classes)
    mixed = scorer.of(torch, given(made_up.perfect(torch, prediction, wrong, sure=True)))
    said: set[tuple[str, str]] = set()
    for score in dict.fromkeys(score for score, _ in scorer.named.values()):
        ranks = score in RANKS
        paths = [path for path, (one, _) in scorer.named.items() if one == score]
        values = [_shares(found, paths) for found in ((best,) if ranks else (best, certain))]
        random = _shares(untied if ranks else chance, paths)
        flat = [value for one in values for value in one]
        if not flat or not random:
            continue
        nearest = min(flat, key=lambda value: abs(value - 1))
        if nearest < SPREAD:  # lower is better, or nearer is more alike
            continue
        place = None
        if abs(nearest - 1) > SPREAD:
            place = _place(torch, scorer.gives, paths[0], pair, given(perfect), labels)
        if (score, str(place)) in said:
            continue
        said.add((score, str(place)))
        uneven = _shares(mixed, paths) if len(paths) == 1 and wrong is not labels else []
        yield ScoreTried(
            function=scorer.gives.name if scorer.gives is call else f"{type(call.args['self']).__name__}",
            score=score,
            ranks=ranks,
            classes=pair.classes,
            samples=len(labels),
            perfect=nearest,
            random=sum(random) / len(random),
            actual=scorer.named[paths[0]][1],
            uneven=uneven[0] if uneven else -1.0,
            means=other_meaning(torch, score, uneven[0], wrong, labels, pair.classes) if uneven else "",
            where=(place or returned_at(scorer.gives.code)).location(),
        )


def _one_hot(known: Any) -> bool:
    return bool(known.dim() == 2 and known.shape[1] > 1 and (known.double().sum(1) == 1).all())


def _shares(found: dict[str, tuple[str, float]], paths: list[str]) -> list[float]:
    """Finite numbers as shares of 1: what is up to 100 is in percent."""
    values = [found[path][1] for path in paths if path in found and math.isfinite(found[path][1])]
    return [value / 100 if 1.5 < value <= 100.5 else value for value in values]


def _keeps_length(call: RecordedCall, length: int) -> bool:
    """Another argument says how many samples there are."""
    return any(type(value) is int and value == length for value in call.args.values())


def _place(
    torch: Any, call: RecordedCall, path: str, pair: Pair, given: dict[str, Any], labels: Any
) -> CallSite | None:
    """Where a wrong score comes from: the scores that no longer tell the classes apart, or the line that names it."""
    spot = _named_at(call, path)
    lines = line_by_line(torch, call, **given) if "self" not in call.args else []
    flat = labels.reshape(len(labels), -1)[:, 0].long()
    lines = lines if labels.dim() < 3 else []
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
    low, high = scores[~positive].sort().values, scores[positive]
    pairs = torch.searchsorted(low, high).sum() + torch.searchsorted(low, high, right=True).sum()
    above = float(pairs) / (2 * len(low) * len(high))  # share of pairs in order, equal ones half (Mann and Whitney)
    return above > 0.9 or above < 0.1


def _named_at(call: RecordedCall, path: str) -> CallSite | None:
    """The line of the function at which a key of its result gets its value."""
    keys = [key.strip("'\"") for key in path.replace("]", "").split("[") if key and not key.isdigit()]
    node = definition_of(call.code)
    for one in walk(node) if node is not None and keys else ():
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
        for one in walk(node)
    )
