"""Functions that cut an image, run a network on the pieces and put them together: tried with a network that is local.

In a child process every network is replaced by one that acts voxel by voxel (:mod:`.stand_in`), and the image by random
codes (:mod:`.place_codes`). What the whole function gives must then be the same function of each voxel, everywhere:
however pieces are cut, padded, flipped, weighted and put together, and whatever is done to values before and after.
"""

from __future__ import annotations

import ast
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later
from traindx.evidence.base import Record
from traindx.evidence.probed_pieces import PiecesTried
from traindx.watch.probes.functions.common import as_tensor, parts_of
from traindx.watch.probes.live_calls import live_calls, names_in_code
from traindx.watch.probes.making import seed
from traindx.watch.probes.piece_arguments import Arrays, at_hand, layout_of, with_arrays
from traindx.watch.probes.piece_lines import Lines, place_of
from traindx.watch.probes.place_codes import CODES, Judged, codes, judged, solid
from traindx.watch.probes.recorded import EnoughError, arguments_for, function_with, own_copy, parameters_of
from traindx.watch.probes.stand_in import MARK, StandIn
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.syntax import walk

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

SECONDS = 4.0  # of processor time in all
TURN = 1.2  # of one expression, until its function is found
MOST_VOXELS = 3_000_000
MOST_PLANES = 4
UNSURE = -0.3  # logits of .43: two of them together are more than one half
LEAST_PIECES = 2


class _FoundError(BaseException):
    """A function of this kind returns; not an ``Exception``, so that the script does not swallow it."""


@dataclass(frozen=True)
class Candidate:
    """A function that was given an image, and gave a map of its size from pieces.

    Attributes:
        function: The function.
        args: What it was given, by name.
        sides: Size of the map.
        pieces: Pieces that the network was given, and their largest size.
        piece: That size.
        returns: The map is in what is returned; else in what local names hold at the end.
    """

    function: FunctionType
    args: dict[str, Any]
    sides: tuple[int, ...]
    pieces: int
    piece: tuple[int, ...]
    returns: bool

    @property
    def shown(self) -> str:
        """Its name for a message."""
        parts = [part for part in self.function.__code__.co_qualname.split(".") if not part.startswith("<")]
        return ".".join(parts[-2:]) if parts[-1] in ("__call__", "forward") else parts[-1]


def pieces_tried(torch: Any, frame: FrameType | None, seconds: float = SECONDS) -> Iterator[Record]:
    """Every function of this kind that the live frames run or call. In a child only.

    Args:
        torch: The script's torch.
        frame: Innermost frame of the user's.
        seconds: Of processor time that may be taken.
    """
    until = time.process_time() + seconds
    done: set[CodeType] = set()
    stand_in = StandIn(torch)
    for make in _makings(torch, frame):
        for _ in range(3):  # a function that several others call ends the first of them
            if time.process_time() > until:
                return
            candidate = _found(torch, make, stand_in, done, min(until, time.process_time() + TURN))
            if candidate is None:
                break
            done.add(candidate.function.__code__)
            stand_in.until = until
            record = _tried(torch, candidate, stand_in)
            if record is not None:
                yield record
                break


# -- which functions ---------------------------------------------------------------------------------------------------


def _makings(torch: Any, frame: FrameType | None) -> Iterator[Callable[[], Any]]:
    """Calls that may lead to one: of functions that run already, and of what the source of the live frames calls."""
    above = frame
    while above is not None:
        code = above.f_code
        if users(code.co_filename) and not code.co_name.startswith("<"):
            function = function_with(code, above.f_globals)
            names = above.f_locals
            if function is not None and all(name in names for name in parameters_of(code)):
                values = {name: names[name] for name in parameters_of(code)}
                if at_hand(torch, function, values):
                    yield lambda function=function, values=values: _called(torch, function, values)  # type: ignore[misc]
        above = above.f_back
    for live in live_calls(frame):
        values = {name: live.names[name] for name in names_in_code(live.expression) if name in live.names}
        if any(at_hand(torch, value, {name: value}) for name, value in values.items()):
            yield lambda live=live: eval(live.expression, live.names)  # type: ignore[misc]


def _found(
    torch: Any, make: Callable[[], Any], stand_in: StandIn, done: set[CodeType], until: float
) -> Candidate | None:
    """The first function that returns such a map while a call is made again; None where none does."""
    finder = _Finder(torch, stand_in, done, until)
    stand_in.begin()
    stand_in.reads, stand_in.until = False, until
    seed(torch, 0)
    try:
        with stand_in.in_place(), torch.no_grad():
            sys.settrace(finder)
            try:
                make()
            finally:
                sys.settrace(None)
    except BaseException:  # whatever the script's code raises; it must not go on as the script
        return finder.found
    finally:
        stand_in.reads = True
    return finder.found


class _Finder:
    """A trace function that looks at functions of the user's as they return."""

    def __init__(self, torch: Any, stand_in: StandIn, done: set[CodeType], until: float) -> None:
        self.torch = torch
        self.stand_in = stand_in
        self.done = done
        self.until = until
        self.found: Candidate | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        if time.process_time() > self.until:
            raise EnoughError
        code = frame.f_code
        special = code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE)
        if not users(code.co_filename) or special or code.co_name.startswith("<") or code in self.done:
            return None
        args = {name: frame.f_locals[name] for name in parameters_of(code) if name in frame.f_locals}
        before = len(self.stand_in.pieces)
        frame.f_trace_lines = False

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "return" and len(self.stand_in.pieces) - before >= LEAST_PIECES:
                self.found = self._of(frame, args, arg, self.stand_in.pieces[before:])
                if self.found is not None:
                    raise _FoundError
            return local

        return local

    def _of(
        self, frame: FrameType, args: dict[str, Any], result: Any, pieces: list[tuple[int, ...]]
    ) -> Candidate | None:
        function, names = function_with(frame.f_code, frame.f_globals), dict(frame.f_locals)
        if function is None:
            return None
        piece = max(pieces, key=lambda one: int(np.prod(one)))
        given = Arrays(self.torch, args)
        for returns, values in ((True, result), (False, _own(names, args))):
            shapes = [tuple(one.shape) for _, one in parts_of(values) if as_tensor(self.torch, one) is not None]
            sides = layout_of(given.shapes, shapes, piece)
            if sides is not None and int(np.prod(sides)) <= MOST_VOXELS:
                return Candidate(function, args, sides, len(pieces), piece, returns)
        return None


def _own(names: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if name not in args}


def _called(torch: Any, function: FunctionType, values: dict[str, Any]) -> Any:
    positional, named = arguments_for(function, values)
    return function(*positional, **named)


# -- the experiment ----------------------------------------------------------------------------------------------------


def _tried(torch: Any, candidate: Candidate, stand_in: StandIn) -> PiecesTried | None:
    try:
        return _Trial(torch, candidate, stand_in).record()
    except (Exception, EnoughError):  # whatever the script's functions raise when they are given something else
        return None


class _Trial:
    """One function, called again with codes."""

    def __init__(self, torch: Any, candidate: Candidate, stand_in: StandIn) -> None:
        self.torch = torch
        self.candidate = candidate
        self.stand_in = stand_in
        self.codes = codes(candidate.sides)

    def record(self) -> PiecesTried | None:
        """What came out; None where it cannot be compared."""
        runs = [self.run(code) for code in self.codes]
        channels = self.stand_in.channels
        pieces = len(self.stand_in.pieces)
        level = [self.run(code, -MARK) for code in self.codes[:2]]
        drawn = self.run(self.codes[0], number=1)
        found: list[tuple[str, int, Judged, Any]] = []
        for name in runs[0]:
            if any(name not in one or one[name].shape != runs[0][name].shape for one in (*runs, *level, drawn)):
                continue
            if not np.array_equal(level[0][name], level[1][name], equal_nan=True):
                continue  # made of the image itself
            if not np.array_equal(drawn[name], runs[0][name], equal_nan=True):
                continue  # pieces are drawn
            for plane in range(min(MOST_PLANES, len(runs[0][name]))):
                values = np.stack([one[name][plane] for one in runs])
                one = judged(values, self.codes)
                if one is not None:
                    found.append((name, plane, one, values))
        if not found:
            return None
        name, plane, best, values = max(found, key=lambda one: one[2].faithful)
        if best.uneven and self._divided_by(runs, name, values):
            best = replace(best, faithful=best.faithful + best.uneven, uneven=0.0)
        uneven_at_half = self._uneven_at_half(name, plane, values)
        others = best.wrong > 0 and self._depends_on_others(name, plane, values)
        hold = best.uncovered > 0 and not solid(values.max(0) != values.min(0))
        lines = self._lines() if best.wrong > 0 or uneven_at_half else None
        candidate = self.candidate
        place = place_of(candidate.function.__code__, lines, best)
        return PiecesTried(
            function=candidate.shown,
            size=candidate.sides,
            piece=candidate.piece,
            pieces=pieces,
            channels=channels,
            returned=candidate.returns,
            faithful=best.faithful,
            moved=best.moved,
            shift=best.shift,
            shifts=best.shifts,
            explained=best.explained,
            turned=best.turned,
            uncovered=best.uncovered,
            scattered=hold,
            begins=best.begins,
            frame=best.frame,
            asked=bool(best.box) and self._is_given(best.box),
            uneven=best.uneven,
            factor=best.factor,
            whole_values=bool(np.equal(values, np.round(values)).all()),
            signed=bool((values < 0).any()),
            uneven_at_half=uneven_at_half,
            other_arrays=others,
            written=place.written,
            where=place.where.location(),
        )

    def run(
        self, code: Any, level: float | None = None, others: bool = False, trace: Any = None, number: int = 0
    ) -> dict[str, Any]:
        """Every map in the result, as (planes, *sides), by where it is.

        Args:
            code: What the image holds.
            level: What the network gives everywhere, instead of what it is given.
            others: Arrays of the same size that hold no image are filled with one value.
            trace: A trace function.
            number: Seed of the random numbers.
        """
        torch, candidate = self.torch, self.candidate
        values = dict(candidate.args)
        if "self" in values:
            values["self"] = own_copy(torch, values["self"])
        values = with_arrays(torch, values, candidate.sides, code, others)
        names: dict[str, Any] = {}
        trace = trace or (None if candidate.returns else _Last(candidate.function.__code__, names))
        self.stand_in.begin(level)
        seed(torch, number)
        positional, named = arguments_for(candidate.function, values)
        with self.stand_in.in_place(), torch.no_grad():
            sys.settrace(trace)
            try:
                result = candidate.function(*positional, **named)
            finally:
                sys.settrace(None)
        if not candidate.returns:
            result = _own(names, candidate.args)
        found: dict[str, Any] = {}
        for path, one in parts_of(result):
            tensor = as_tensor(torch, one)
            planes = _planes(tensor.cpu().numpy(), candidate.sides) if tensor is not None else None
            if planes is not None:
                found[path] = planes.copy()
        return found

    def _divided_by(self, runs: list[dict[str, Any]], name: str, values: Any) -> bool:
        """Weights come with the map, and the caller divides by them."""
        for other, planes in runs[0].items():
            if other == name or not all(other in one and np.array_equal(one[other], planes) for one in runs):
                continue
            weights = planes[0].astype(np.float32)
            if (weights > 0).all():
                divided = judged(values / weights, self.codes)
                if divided is not None and divided.uneven == 0:
                    return True
        return False

    def _uneven_at_half(self, name: str, plane: int, values: Any) -> float:
        """Share of voxels that are decided otherwise where the network says .43 everywhere."""
        decisions = np.unique(values)
        if len(decisions) != 2:
            return 0.0
        flat = self.run(self.codes[0], UNSURE)[name][plane]
        here = flat[values.max(0) > values.min(0)]
        if not here.size:
            return 0.0
        kinds, counts = np.unique(here, return_counts=True)
        return float(1 - counts.max() / counts.sum()) if np.array_equal(kinds, decisions) else 0.0

    def _depends_on_others(self, name: str, plane: int, values: Any) -> bool:
        """Something else of the same size decides what comes out: a mask of the body, a label."""
        found = [self.run(code, others=True).get(name) for code in self.codes[:2]]
        return any(
            one is None or not np.array_equal(one[plane], value, equal_nan=True)
            for one, value in zip(found, values[:2], strict=True)
        )

    def _is_given(self, box: tuple[int, ...]) -> bool:
        """Sides of the covered part are among the numbers in its arguments."""
        numbers = {
            value
            for name, one in self.candidate.args.items()
            if name != "self"
            for _, value in parts_of(one)
            if isinstance(value, int)
        }
        return any(own in numbers for own, side in zip(box, self.candidate.sides, strict=True) if own < side)

    def _lines(self) -> Lines:
        lines = Lines(self.torch, int(np.prod(self.candidate.sides)))
        for code in self.codes[:2]:
            lines.begin()
            self.run(code, trace=lines)
        return lines


class _Last:
    """A trace function that keeps what the local names of a function hold when it returns."""

    def __init__(self, code: CodeType, names: dict[str, Any]) -> None:
        self.code = code
        self.names = names

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        if frame.f_code is not self.code:
            return None
        frame.f_trace_lines = False

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "return":
                self.names.clear()
                self.names.update(frame.f_locals)
            return local

        return local


def _planes(array: Any, sides: tuple[int, ...]) -> Any | None:
    """A map with its sides last and everything else in one axis before; None where it has other sides."""
    count = len(sides)
    for first in range(array.ndim - count, -1, -1):
        if tuple(array.shape[first : first + count]) == sides:
            last = np.moveaxis(array, range(first, first + count), range(array.ndim - count, array.ndim))
            return last.reshape(-1, *sides)
    return None


def relevant(node: ast.AST) -> bool:
    """True if a function cuts along several axes or writes at places that it computes, as far as its source tells."""
    for one in walk(node):
        if isinstance(one, ast.Subscript):
            parts = one.slice.elts if isinstance(one.slice, ast.Tuple) else [one.slice]
            computed = any(isinstance(part, ast.Slice) and isinstance(part.upper, ast.BinOp) for part in parts)
            if computed and (len(parts) > 1 or isinstance(one.ctx, ast.Store)):
                return True
        elif isinstance(one, ast.Call):
            name = getattr(one.func, "attr", getattr(one.func, "id", ""))
            if name in ("fold", "Fold") or (name == "slice" and any(isinstance(arg, ast.BinOp) for arg in one.args)):
                return True
    return False


def any_pieces(trees: list[ast.Module]) -> bool:
    """True if some function in these sources does."""
    return any(relevant(tree) for tree in trees)


__all__ = ["CODES", "any_pieces", "pieces_tried"]
