"""Padded sequences and a mask: does what is padding count, and does the last step reach the result?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import PaddingTried
from traindx.watch.probes.functions.common import as_tensor, like, number, parts_of, words
from traindx.watch.probes.recorded import RecordedCall, line_by_line, returned_at

NAMES = {"mask", "masks", "valid", "padding", "pad", "keep"}
LEAST_ROWS = 2


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function with padded sequences and their mask."""
    done: set[Any] = set()
    for call in calls:
        if call.code in done:
            continue
        found = _sequences(torch, call)
        if found is None:
            continue
        done.add(call.code)
        try:
            yield from _tried(torch, call, *found)
        except Exception:  # whatever the script's functions raise when they are given something else
            continue


def _sequences(torch: Any, call: RecordedCall) -> tuple[str, str, Any] | None:
    """Names of the sequences and of the mask, and the mask with 1 where content is; None where there is no padding."""
    for mask_name, value in call.args.items():
        mask = as_tensor(torch, value)
        if mask is None or mask.dim() != 2 or mask.is_complex() or not NAMES & set(words(mask_name)):
            continue
        ones = mask.double()
        if mask.shape[1] < 3 or not bool(((ones == 0) | (ones == 1)).all()):
            continue
        for content in (ones, 1 - ones):
            if not bool((content.cummin(1).values == content).all()) or not bool(content[:, 0].all()):
                continue  # content first, then padding
            if bool(content.all()):
                continue
            for name, given in call.args.items():
                x = as_tensor(torch, given)
                if name == mask_name or x is None or x.dim() < 2 or x.shape[:2] != mask.shape or x.is_complex():
                    continue
                padded = x[content == 0]
                if len(padded.unique()) == 1 and len(x[content == 1].unique()) > 2:
                    return name, mask_name, content
    return None


def _tried(torch: Any, call: RecordedCall, name: str, mask_name: str, content: Any) -> Iterator[Record]:
    given = call.args[name]
    x = as_tensor(torch, given)
    assert x is not None
    base = call.again(torch)
    if not _same(torch, base, call.again(torch)):
        return  # it is not a function of its arguments
    full = content.bool().all(1)
    if x.is_floating_point():
        yield from _influence(torch, call, name, mask_name, content)
    reach = [-1.0, -1.0]
    moved = _last_changed(torch, x, content)
    result = call.again(torch, **{name: like(torch, moved, given)})
    rows = _rows_changed(torch, base, result, len(content), content.shape[1])
    if rows is not None:
        reach = [float(rows[which].double().mean()) if bool(which.any()) else -1.0 for which in (full, ~full)]
    yield PaddingTried(
        function=call.shown,
        mask=mask_name,
        rows=int(full.sum()),
        rows_padded=int((~full).sum()),
        reach=reach[0],
        reach_padded=reach[1],
        where=returned_at(call.code).location(),
    )


def _last_changed(torch: Any, x: Any, content: Any) -> Any:
    """The last step of every sequence replaced by another of its steps that differs from it."""
    moved = x.clone()
    for row in range(len(x)):
        last = int(content[row].sum()) - 1
        for other in range(last):
            if not torch.equal(x[row, other], x[row, last]):
                moved[row, last] = x[row, other]
                break
    return moved


def _rows_changed(torch: Any, before: Any, after: Any, rows: int, steps: int) -> Any | None:
    """Which samples of a result without an axis of steps changed; None where there is no such result."""
    for (_, one), (_, other) in zip(parts_of(before), parts_of(after), strict=False):
        a, b = as_tensor(torch, one), as_tensor(torch, other)
        if a is None or b is None or not a.is_floating_point() or a.dim() < 2 or a.shape[0] != rows:
            continue
        if steps in a.shape[1:]:
            continue
        return (a != b).flatten(1).any(1)
    return None


def _influence(torch: Any, call: RecordedCall, name: str, mask_name: str, content: Any) -> Iterator[Record]:
    """The first value in the function that follows what is padding about as much as what is not."""
    given = call.args[name]
    x = as_tensor(torch, given)
    assert x is not None
    real = x[content == 1]
    scale = float(real.double().std())
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale
    where = content.reshape(*content.shape, *[1] * (x.dim() - 2))
    runs = [
        line_by_line(torch, call, **{name: like(torch, (x.double() + noise * one).to(x.dtype), given)})
        for one in (0.0 * where, 1.0 - where, where)
    ]
    steps = [(line, what) for line, what, _ in runs[0]]
    if any([(line, what) for line, what, _ in run] != steps for run in runs[1:]):
        return
    counts = float((content == 0).sum()), float((content == 1).sum())
    for index, (line, what) in enumerate(steps):
        base, padded, other = (number(torch, run[index][2]) for run in runs)
        if base is None or padded is None or other is None or what in call.args:
            tensor = as_tensor(torch, runs[0][index][2])
            if tensor is None or not tensor.is_floating_point() or tensor.shape != content.shape or what in call.args:
                continue
            values = [as_tensor(torch, run[index][2]).double() for run in runs]  # type: ignore[union-attr]
            kept = content == 1
            base, padded, other = 0.0, *(float((one - values[0])[kept].abs().mean()) for one in values[1:])
        padding, change = abs(padded - base) / counts[0], abs(other - base) / counts[1]
        if padding > 0:
            if not _reaches_result(torch, runs, content):
                return
            yield PaddingTried(
                function=call.shown,
                mask=mask_name,
                value=what,
                padding=padding,
                content=change,
                where=call.at(line).location(),
            )
            return


def _reaches_result(torch: Any, runs: list[list[tuple[int, str, Any]]], content: Any) -> bool:
    """True if anything that is returned changes with the padding, where it is not padding itself."""
    before, after = (next((value for _, what, value in reversed(run) if what == "return"), None) for run in runs[:2])
    for (_, one), (_, other) in zip(parts_of(before), parts_of(after), strict=False):
        a, b = as_tensor(torch, one), as_tensor(torch, other)
        if a is None or b is None or a.shape != b.shape:
            a, b = (torch.tensor(number(torch, value) or 0.0) for value in (one, other))
        if a.shape[:2] == content.shape:
            a, b = a[content == 1], b[content == 1]
        if float((a.double() - b.double()).abs().sum()) > 1e-6 * (1e-12 + float(a.double().abs().sum())):
            return True
    return False


def _same(torch: Any, one: Any, other: Any) -> bool:
    for (_, a), (_, b) in zip(parts_of(one), parts_of(other), strict=False):
        x, y = as_tensor(torch, a), as_tensor(torch, b)
        if x is not None and y is not None and not torch.equal(x, y):
            return False
    return True


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return any(NAMES & set(words(one.arg)) for one in arguments)
