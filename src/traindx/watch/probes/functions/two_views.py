"""Losses on two views of every sample: do they ask the two views of one sample to be alike?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import PairLossTried
from traindx.watch.probes.functions.common import as_tensor, number, words
from traindx.watch.probes.recorded import RecordedCall, returned_at

NAMES = {
    "contrastive", "contrast", "infonce", "nce", "ntxent", "xent", "nxent", "simclr", "clip", "moco", "itc", "supcon",
    "nt",
}  # fmt: skip
LEAST_SAMPLES = 4


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that is named for comparing views and takes two sets of vectors."""
    done: set[Any] = set()
    for call in calls:
        named = {*words(call.name), *words(call.code.co_name)}
        if call.code in done or not NAMES & named:
            continue
        views = _views(torch, call)
        if views is None:
            continue
        done.add(call.code)
        try:
            record = _tried(torch, call, *views)
        except Exception:  # whatever the script's functions raise when they are given something else
            continue
        if record is not None:
            yield record


def _views(torch: Any, call: RecordedCall) -> tuple[str, str] | None:
    """The first two arguments that are sets of vectors of one shape (or lists of such)."""
    shapes = {name: _shape(torch, value) for name, value in call.args.items() if name != "self"}
    names = [name for name, shape in shapes.items() if shape is not None]
    if len(names) < 2 or shapes[names[0]] != shapes[names[1]]:
        return None
    samples = sum(shape[0] for shape in shapes[names[0]] or ())
    for name, value in call.args.items():
        tensor = as_tensor(torch, value)
        if name not in names[:2] and tensor is not None and tensor.numel() >= samples:
            return None  # of which pairs are alike, perhaps
    return names[0], names[1]


def _shape(torch: Any, value: Any) -> tuple[tuple[int, ...], ...] | None:
    values = value if type(value) in (list, tuple) else [value]
    found = []
    for one in values:
        tensor = as_tensor(torch, one)
        if tensor is None or tensor.dim() != 2 or not tensor.is_floating_point() or tensor.shape[1] < 8:
            return None
        found.append(tuple(tensor.shape))
    return tuple(found) if found and sum(shape[0] for shape in found) >= LEAST_SAMPLES else None


def _tried(torch: Any, call: RecordedCall, first: str, second: str) -> Record | None:
    given = call.args[first]
    sizes = [len(one) for one in given] if type(given) in (list, tuple) else [len(given)]
    width = (given[0] if type(given) in (list, tuple) else given).shape[1]
    count = sum(sizes)
    made = torch.randn(count, width, generator=torch.Generator().manual_seed(0))
    made = made / made.norm(dim=1, keepdim=True)

    def view(vectors: Any) -> Any:
        pieces = vectors.split(sizes)
        return type(given)(pieces) if type(given) in (list, tuple) else vectors

    def loss(other: Any) -> float | None:
        result = call.again(torch, **{first: view(made.clone()), second: view(other)})
        return number(torch, result[0] if type(result) in (list, tuple) and result else result)

    together, apart = loss(made.clone()), loss(made.roll(1, 0))
    result = call.result[0] if type(call.result) in (list, tuple) and call.result else call.result
    actual = number(torch, result)
    if together is None or apart is None or actual is None:
        return None
    return PairLossTried(
        function=call.shown,
        samples=count,
        together=together,
        apart=apart,
        actual=actual,
        where=returned_at(call.code).location(),
    )


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    return bool(NAMES & set(words(node.name)))
