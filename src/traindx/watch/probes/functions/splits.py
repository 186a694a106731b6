"""Functions that divide a data set: do the parts that they return have items in common?"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import SplitTried
from traindx.watch.probes.functions.case_names import shared_cases
from traindx.watch.probes.functions.common import as_tensor, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.recorded import RecordedCall, returned_at
from traindx.watch.runtime.source_text import statement_at
from traindx.watch.runtime.syntax import walk

DIVIDES = {"split", "splits", "splitter", "divide", "partition", "partitions", "fold", "folds", "kfold", "holdout"}
SIDES = {
    "train": "training", "training": "training", "tr": "training", "trn": "training", "fit": "training",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation", "va": "validation",
    "vl": "validation", "eval": "validation", "test": "test", "testing": "test", "holdout": "test", "te": "test",
}  # fmt: skip
NOT_SIDES = {"unlabeled", "unlabelled", "labels", "label", "y", "targets", "target", "bootstrap", "loss", "time", "lr"}
SECOND = ("validation", "test")
LEAST = 4  # items of a part
MOST = 200_000


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """The innermost function of each kind that returned parts for training and for something else."""
    done: set[Any] = set()
    for call in reversed(calls):  # a function that only passes on what another one returned was entered before
        if call.code in done:
            continue
        parts = _parts(torch, call)
        if "training" not in parts or len(parts) < 2:
            continue
        done.add(call.code)
        raw = {name: _members(torch, value) for name, value in _named(call) if name}
        cases = shared_cases(raw["training"], raw[next(one for one in SECOND if one in parts)])
        training = parts.pop("training")
        name, other = max(parts.items(), key=lambda one: len(one[1] & training) / len(one[1]))
        shared = len(other & training)
        if not shared and "test" in parts and "validation" in parts:
            between = len(parts["test"] & parts["validation"])
            if between:
                name, other, shared = "test and validation", parts["test"], between
        yield SplitTried(
            function=call.shown,
            part=name,
            items=len(other),
            training=len(training),
            shared=shared,
            cases=cases.cases if cases is not None else 0,
            shared_cases=cases.shared if cases is not None else 0,
            members=cases.parts if cases is not None else 0,
            neighbours=cases.neighbours if cases is not None else -1,
            spoken=cases is not None and cases.spoken,
            called=call.caller.location() if call.caller is not None else None,
            where=returned_at(call.code).location(),
        )


def _parts(torch: Any, call: RecordedCall) -> dict[str, frozenset[Any]]:
    """Items of each side that the names say a function returned."""
    found: dict[str, frozenset[Any]] = {}
    for side, value in _named(call):
        items = _items(torch, value)
        if not side or items is None:
            continue
        if side in found:
            return {}  # images and labels of a side, or folds: which belong together nobody says
        found[side] = items
    kinds = {type(next(iter(items))) for items in found.values()}
    return found if len(kinds) == 1 else {}


def _named(call: RecordedCall) -> Iterator[tuple[str, Any]]:
    """Everything a function returned, with the side that its name says it is of; empty where it says none."""
    result = call.result
    if hasattr(result, "_asdict"):
        result = result._asdict()
    named: list[tuple[Any, Any]] = []
    if isinstance(result, dict):
        named = list(result.items())
    elif type(result) in (list, tuple) and 2 <= len(result) <= 4:
        named = list(zip(_names(call, len(result)), result, strict=False))
    for name, value in named:
        spoken = words(str(name))
        sides = {SIDES[one] for one in spoken if one in SIDES}
        yield (sides.pop() if len(sides) == 1 and not NOT_SIDES & set(spoken) else ""), value


def _names(call: RecordedCall, count: int) -> list[str]:
    """What the parts are called where the function returns them, or where its result is unpacked."""
    node = definition_of(call.code)
    returns = [one.value for one in walk(node) if isinstance(one, ast.Return)] if node is not None else []
    choices: list[list[str]] = [
        [_spoken(one) for one in value.elts] for value in returns if isinstance(value, ast.Tuple | ast.List)
    ]
    statement = statement_at(call.caller.file, call.caller.line) if call.caller is not None else None
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Tuple | ast.List):
        choices.append([_spoken(one) for one in statement.targets[0].elts])
    for names in choices:
        if len(names) == count and any(SIDES.get(word) == "training" for name in names for word in words(name)):
            return names
    return [""] * count


def _spoken(node: ast.expr) -> str:
    """The names in an expression: ``Subset(data, train)`` is about training, ``rest[valid]`` about validation."""
    return "_".join(
        one.id if isinstance(one, ast.Name) else one.attr
        for one in walk(node)
        if isinstance(one, ast.Name | ast.Attribute)
    )


def _items(torch: Any, value: Any) -> frozenset[Any] | None:
    """What tells the items of a part apart: indices, names, or dictionaries of these; None for anything else."""
    members = _members(torch, value)
    if not LEAST <= len(members) <= MOST:
        return None
    keys = [_key(one) for one in members]
    if any(one is None for one in keys) or len({type(one) for one in keys}) != 1:
        return None
    items = frozenset(keys)
    return items if len(items) > 0.95 * len(keys) else None  # drawn with replacement, or values and no items


def _members(torch: Any, value: Any) -> list[Any]:
    """The items of a part, as they are listed; nothing for what lists none."""
    if isinstance(value, torch.utils.data.DataLoader):
        value = value.dataset
    if isinstance(value, torch.utils.data.Subset):
        value = value.indices
    tensor = as_tensor(torch, value)
    if tensor is not None:
        if tensor.dim() != 1 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            return []
        value = tensor.tolist()
    return list(value) if type(value) in (list, tuple, range) else []


def _key(value: Any) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | str):
        return value
    if isinstance(value, dict | list | tuple):
        try:
            return json.dumps(value, sort_keys=True, default=_text)
        except (TypeError, ValueError):
            return None
    return str(value) if hasattr(value, "__fspath__") else None


def _text(value: Any) -> str:
    if hasattr(value, "__fspath__") or type(value).__module__ == "numpy":
        return str(value)
    raise TypeError


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function's name says that it divides, or what it returns does."""
    if DIVIDES & set(words(node.name)):
        return True
    tuples = [one.value for one in walk(node) if isinstance(one, ast.Return) and isinstance(one.value, ast.Tuple)]
    for value in tuples:
        sides = {SIDES[word] for one in value.elts for word in words(_spoken(one)) if word in SIDES}
        if "training" in sides and len(sides) > 1:
            return True
    return False
