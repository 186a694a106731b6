"""Functions that go through a loader and return figures: does every batch count, and is an average one?

Only ever used in a child process. A function is called again with a few small batches of the same data set in the place
of its loader: in order, turned round by one, with one batch in the place of another, and with every item of a batch
twice. Where the order decides which batch counts, and what is in a batch does not, one is left out; what the same batch
four times makes two thirds of what it makes twice may be divided by one less than the batches.
"""

from __future__ import annotations

import ast
import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.probed_figures import LoaderFigure
from traindx.finding import Location
from traindx.watch.probes.functions.common import number, parts_of, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.loader_passes import LOADER, InlinePass, any_inline_pass
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, called, returned_at
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

BATCHES, ITEMS = 4, 3
SECONDS = 2.0  # of processor time for all of them
LONGEST = 0.4  # of one call
MOST_FIGURES = 8
SAME = 1e-4  # relative: sums in another order


class Passed(list[Any]):
    """Batches in the place of a loader; what else is asked of it is asked of the loader itself.

    Attributes:
        taken: Batches that were handed out.
    """

    def __init__(self, batches: list[Any], loader: Any, items: int, torch: Any) -> None:
        super().__init__(batches)
        self.torch = torch
        self.taken = 0
        self._loader = loader
        self.dataset = _Length(loader.dataset, items)
        self.sampler = _Length(getattr(loader, "sampler", None), items)
        self.batch_size = items // max(1, len(batches))

    def __iter__(self) -> Iterator[Any]:
        for batch in list.__iter__(self):
            self.taken += 1
            yield copy.deepcopy(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_loader"), name)


class _Length:
    """Something of another length."""

    def __init__(self, thing: Any, length: int) -> None:
        self._thing = thing
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_thing"), name)

    def __getitem__(self, index: Any) -> Any:
        return self._thing[index]


@dataclass
class _Subject:
    """A pass whose loader can be replaced.

    Attributes:
        shown: How it is called in a message.
        loader: Its loader.
        run: The figures by name, given what stands in the loader's place.
        names: What an optimiser may be among.
        place: The line of a figure, given whether batches are left out, and whether the last one alone counts.
    """

    shown: str
    loader: Any
    run: Callable[[Passed], dict[str, Any]]
    names: list[Any]
    place: Callable[[str, bool, bool], Location]


def loader_figures(torch: Any, calls: Iterable[RecordedCall], passes: Iterable[InlinePass] = ()) -> Iterator[Record]:
    """Every function that is given one loader and returns numbers, and every pass in lines of the script's own."""
    until, done = time.process_time() + SECONDS, set()
    found: list[LoaderFigure] = []
    for key, subject in chain(_functions(torch, calls), _inline(passes)):
        known = {(one.where.file, one.where.symbol) for one in found if one.where is not None and one.function}
        if key in done or time.process_time() > until or (shown_path(str(key[0])), key[1]) in known:
            continue
        done.add(key)
        try:
            found += _Experiment(torch, subject, until).records()
        except Exception:  # whatever the script's functions raise when they are given something else
            continue
    yield from found


def _functions(torch: Any, calls: Iterable[RecordedCall]) -> Iterator[tuple[tuple[Any, ...], _Subject]]:
    kind = torch.utils.data.DataLoader
    for call in calls:
        node = definition_of(call.code)
        if node is None or not goes_through(node):
            continue
        given = [(name, one) for name, one in call.args.items() if isinstance(one, kind)]
        fields = getattr(call.args.get("self"), "__dict__", {})
        own = [(name, fields[name]) for name in call.code.co_names if isinstance(fields.get(name), kind)]
        if len(given) == 1:
            yield (call.code, ""), _of_function(torch, call, *given[0], own=False)
        elif len(own) == 1 and not given:
            yield (call.code, ""), _of_function(torch, call, *own[0], own=True)


def _of_function(torch: Any, call: RecordedCall, name: str, loader: Any, *, own: bool) -> _Subject:
    def run(passed: Passed) -> dict[str, Any]:
        values = dict(call.args)
        if own:
            values["self"] = copy.copy(values["self"])
            object.__getattribute__(values["self"], "__dict__")[name] = passed
        else:
            values[name] = passed
        return dict(parts_of(called(torch, call.function, values)))

    def place(figure: str, left_out: bool, last_alone: bool) -> Location:
        return _place(call, left_out, last_alone).location()

    names = [*call.args.values(), *getattr(call.args.get("self"), "__dict__", {}).values()]
    return _Subject(call.shown, loader, run, names, place)


def _inline(passes: Iterable[InlinePass]) -> Iterator[tuple[tuple[Any, ...], _Subject]]:
    for one in passes:
        yield (one.file, one.symbol, min(one.lines.values())), _of_lines(one)


def _of_lines(one: InlinePass) -> _Subject:
    dataset = one.loader.dataset

    def run(passed: Passed) -> dict[str, Any]:
        length, names = len(dataset), dict(one.names)
        for name, value in one.names.items():
            if value is dataset:
                names[name] = passed.dataset
            elif type(value) is int and value == length and not {"batch", "epoch", "epochs"} & set(words(name)):
                names[name] = len(passed.dataset)
            elif type(value) is dict and 0 < len(value) <= MOST_FIGURES and all(type(v) is int for v in value.values()):
                names[name] = {key: len(passed.dataset) if v == length else v for key, v in value.items()}
        seed(passed.torch, 0)
        return one.call({**names, LOADER: passed})

    def place(figure: str, left_out: bool, last_alone: bool) -> Location:
        line = one.begins if left_out and not last_alone and one.begins else one.lines[figure]
        return Location(file=shown_path(one.file), line=line, symbol=one.symbol)

    return _Subject("", one.loader, run, list(one.names.values()), place)


class _Experiment:
    """The passes that are made of one subject."""

    def __init__(self, torch: Any, subject: _Subject, until: float) -> None:
        self.torch = torch
        self.subject = subject
        self.until = until
        self.steps = False

    def records(self) -> Iterator[LoaderFigure]:
        """One record a figure."""
        batches, twice = self._batches()
        turned = [*batches[1:], batches[0]]
        base, taken = self._figures(batches)
        if not base or taken < len(batches):
            return
        begun = time.process_time()  # the first call may load what later ones have
        repeated, _ = self._figures(batches)
        if time.process_time() - begun > LONGEST:
            return
        again, _ = self._figures(batches, 1)
        figures = [name for name in base if repeated.get(name) == base[name]]  # and no time, nor a sum over calls
        if not figures:
            return
        steady = {name for name in figures if _same(base[name], again.get(name))}  # with other random numbers, too
        other, _ = self._figures(turned)
        double, _ = self._figures(twice)
        four, _ = self._figures([batches[0]] * 4)
        two, _ = self._figures([batches[0]] * 2)
        moved = [name for name in figures if not _same(base[name], other.get(name))]
        without = self._places_without(batches, base) if moved else {}
        beside = self._places_without(turned, other) if any(without.values()) else {}
        for name in figures[:MOST_FIGURES]:
            silent = sorted(set(without.get(name, ())) & set(beside.get(name, ()))) if name in moved else []
            calm = name in steady and bool(base[name])
            ratio = double[name] / base[name] if calm and name in double else math.nan
            longer = four[name] / two[name] if calm and name in four and two.get(name) else math.nan
            yield LoaderFigure(
                function=self.subject.shown,
                figure=name,
                batches=len(batches),
                silent=tuple(silent),
                moved=name in moved,
                doubled=ratio,
                longer=longer,
                value=base[name],
                trains=self.steps,
                where=self.subject.place(name, bool(silent), len(silent) == len(batches) - 1),
            )

    def _batches(self) -> tuple[list[Any], list[Any]]:
        """A few batches, of items from all over the data set; the same ones with every item twice."""
        loader = self.subject.loader
        dataset, collate = loader.dataset, loader.collate_fn
        count = len(dataset)
        if loader.batch_size is None or count < BATCHES * ITEMS:
            return [], []
        step = max(1, count // (BATCHES * ITEMS))
        seed(self.torch, 0)
        items = [dataset[index * step] for index in range(BATCHES * ITEMS)]
        rows = [items[one * ITEMS : (one + 1) * ITEMS] for one in range(BATCHES)]
        return [collate(row) for row in rows], [collate([*row, *row]) for row in rows]

    def _figures(self, batches: list[Any], number_of_seed: int = 0) -> tuple[dict[str, float], int]:
        """What comes out of a pass over these batches, and how many were taken."""
        if not batches or time.process_time() > self.until:
            return {}, 0
        torch, subject = self.torch, self.subject
        passed = Passed(batches, subject.loader, sum(_length(torch, batch) for batch in batches), torch)
        for value in subject.names:
            if isinstance(value, torch.optim.Optimizer):
                self.steps = True
                value.step = _no_step
        kept = torch.manual_seed
        torch.manual_seed = lambda one: kept(one + number_of_seed)  # every call begins with the same seed otherwise
        try:
            result = subject.run(passed)
        finally:
            torch.manual_seed = kept
        found = {name: value for name, one in result.items() if (value := number(torch, one)) is not None}
        return {name: value for name, value in found.items() if math.isfinite(value)}, passed.taken

    def _places_without(self, batches: list[Any], base: dict[str, float]) -> dict[str, list[int]]:
        """By figure: the places where another batch makes no difference."""
        silent: dict[str, list[int]] = {name: [] for name in base}
        for place in range(len(batches)):
            changed = list(batches)
            changed[place] = batches[(place + 1) % len(batches)]
            found, _ = self._figures(changed)
            for name, value in base.items():
                if found.get(name) == value:
                    silent[name].append(place)
        return silent


def _no_step(closure: Callable[[], Any] | None = None, **_: Any) -> Any:
    return closure() if closure is not None else None


def _length(torch: Any, batch: Any) -> int:
    """Items of a batch."""
    return next((len(one) for _, one in parts_of(batch) if isinstance(one, torch.Tensor) and one.dim()), 1)


def _same(one: float, other: float | None) -> bool:
    return other is not None and math.isclose(one, other, rel_tol=SAME, abs_tol=1e-7)


def _place(call: RecordedCall, left_out: bool, last_alone: bool) -> CallSite:
    """Where a loop begins a sum that it also adds to; where it divides; else what is returned."""
    node = definition_of(call.code)
    for loop in walk(node) if node is not None else ():
        if not isinstance(loop, ast.For):
            continue
        inside = [one for statement in loop.body for one in walk(statement)]
        added = {ast.unparse(one.target) for one in inside if isinstance(one, ast.AugAssign)}
        for one in inside if left_out and not last_alone else ():
            if isinstance(one, ast.Assign) and any(ast.unparse(target) in added for target in one.targets):
                return call.at(one.lineno)
    if not left_out:
        for one in walk(node) if node is not None else ():
            if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) and "dataset" in ast.unparse(one.right):
                return call.at(one.lineno)
    return returned_at(call.code)


def goes_through(node: ast.AST) -> bool:
    """True if a function has a loop and returns something: a figure of a pass, perhaps."""
    nodes = list(walk(node))
    returns = any(isinstance(one, ast.Return) and one.value is not None for one in nodes)
    return returns and any(isinstance(one, ast.For | ast.comprehension) for one in nodes)


def any_pass(trees: Iterable[ast.Module]) -> bool:
    """True if some function, or some loop, of these sources could be one."""
    trees = list(trees)
    return any_inline_pass(trees) or any(
        goes_through(node) and any("loader" in one.arg or "batches" in one.arg for one in node.args.args)
        for tree in trees
        for node in walk(tree)
        if isinstance(node, ast.FunctionDef)
    )
