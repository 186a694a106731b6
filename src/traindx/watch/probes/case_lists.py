"""What data sets keep of their items' names: is a case on both sides? In a child only, as it opens whatever is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from traindx.evidence.observed_items import SharedCases
from traindx.watch.probes.functions.case_names import KEYS, shared_cases
from traindx.watch.runtime.structure import known_length

DEEP = 4  # data sets inside data sets
MOST = 200_000


def cases_in_both(torch: Any, training: Any, other: Any) -> SharedCases | None:
    """Cases whose items are in both data sets; None where what they keep does not say which case an item is of."""
    for ours in lists_of(torch, training):
        for theirs in lists_of(torch, other):
            found = shared_cases(ours, theirs) if type(ours[0]) is type(theirs[0]) else None
            if found is not None:
                return SharedCases(
                    dataset=type(other).__name__,
                    cases=found.cases,
                    shared=found.shared,
                    members=found.parts,
                    neighbours=found.neighbours,
                    spoken=found.spoken,
                )
    return None


def lists_of(torch: Any, dataset: Any, depth: int = 0) -> Iterator[list[Any]]:
    """Lists with an entry an item that names it: texts, paths, tuples or dictionaries; columns of a table, too."""
    if depth > DEEP or not 4 <= (known_length(dataset) or 0) <= MOST:
        return
    if isinstance(dataset, torch.utils.data.Subset):
        for whole in lists_of(torch, dataset.dataset, depth + 1):
            yield [whole[int(index)] for index in dataset.indices]
        return
    count = known_length(dataset)
    try:
        fields = object.__getattribute__(dataset, "__dict__")
    except AttributeError:
        return
    for value in list(fields.values()):
        if type(value).__module__.startswith("pandas") and hasattr(value, "columns") and len(value) == count:
            columns = [name for name in value.columns if KEYS.fullmatch(str(name).lower())]
            yield from ([{"patient": one} for one in value[name].tolist()] for name in columns[:1])
            yield from (value[name].tolist() for name in value.columns if isinstance(value[name].iloc[0], str))
        elif isinstance(value, torch.utils.data.Dataset) and known_length(value) == count:
            yield from lists_of(torch, value, depth + 1)
        elif type(value).__name__ == "ndarray" and value.ndim == 1 and value.dtype.kind in "UO" and len(value) == count:
            yield value.tolist()
        elif type(value) in (list, tuple) and len(value) == count:
            first = value[0]
            if isinstance(first, str | tuple | list | dict) or hasattr(first, "__fspath__"):
                yield list(value)
