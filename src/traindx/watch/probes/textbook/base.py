"""What a property of a definition is, and how it is tried on recorded calls of the user's functions.

A function that is called ``kl_divergence`` must be 0 between equal distributions, whoever wrote it. An entry of the
textbook says which names it is about, what must hold, and how to make arguments for which the answer is known, in the
form in which the script gives them. Entries stand in one file a subject; see :func:`entry`.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from traindx.evidence.base import Record
from traindx.evidence.probed_definitions import DefinitionTried, Subject
from traindx.watch.probes.functions.common import as_tensor, like, number, parts_of, words
from traindx.watch.probes.recorded import RecordedCall, returned_at
from traindx.watch.probes.textbook.owners import with_settings
from traindx.watch.probes.textbook.samples import PartOfSample, taken_apart
from traindx.watch.runtime.syntax import walk

MOST_CALLS = 3  # of one function that are tried
SAME = 1e-5  # relative difference of two calls with the same arguments: round-off


class NotApplicableError(Exception):
    """The function does not take or give what the entry is about."""


@dataclass
class BreaksError(Exception):
    """A definition that does not hold.

    Attributes:
        given: What the function was given: ``"two equal distributions"``.
        got: What came of it, with numbers: ``"-1.386 came out"``.
        line: Line of the function where it shows; what it returns where this is not known.
    """

    given: str
    got: str
    line: int | None = None


Experiment = Callable[["Trial"], None]


@dataclass(frozen=True)
class Entry:
    """One property that a definition demands.

    Attributes:
        key: Its name, in kebab case.
        subject: What such functions are for.
        stands_for: What the name says: ``"Kullback-Leibler divergence"``.
        must: What any such function does, as a continuation of "it …".
        names: Words, or neighbouring words joined, of which a name has one: ``{"kl", "kldiv"}``.
        unless: Words with which it is something else.
        tried: The experiment: it ends where the property holds, and raises :class:`BreaksError` where it does not and
            anything else where that cannot be told.
        universal: It belongs to the definition, and a good number of public implementations were seen to keep it;
            otherwise its breaking is only suspected.
        remedy: What makes it right.
        source: Where it is written.
        random: The function draws random numbers, so that two calls may differ (they are seeded alike).
    """

    key: str
    subject: Subject
    stands_for: str
    must: str
    names: frozenset[str]
    unless: frozenset[str]
    tried: Experiment
    universal: bool
    remedy: str
    source: str
    random: bool

    def is_about(self, spoken: Iterable[str]) -> bool:
        """True if a name in words (see :func:`spoken`) is one of these."""
        known = set(spoken)
        return bool(self.names & known) and not self.unless & known


ENTRIES: list[Entry] = []


def entry(
    key: str,
    subject: Subject,
    stands_for: str,
    must: str,
    *,
    names: Iterable[str],
    unless: Iterable[str] = (),
    universal: bool = False,
    remedy: str = "",
    source: str = "",
    random: bool = False,
) -> Callable[[Experiment], Experiment]:
    """Enter a property into the textbook; the arguments are the fields of :class:`Entry`."""

    def add(tried: Experiment) -> Experiment:
        about = (frozenset(names), frozenset(unless))
        ENTRIES.append(Entry(key, subject, stands_for, must, *about, tried, universal, remedy, source, random))
        return tried

    return add


_NUMBERED = re.compile(r"([a-z]{3,})(v\d|\d)$")


def spoken(name: str) -> set[str]:
    """The words of a name, and each two or three neighbours joined: ``kl_div_loss`` has ``kldiv``, no ``klloss``.

    A version is left out: ``DiceLoss2`` and ``ModelEMAV2`` are what they are without it.
    """
    single = words(name)
    without = [numbered[1] if (numbered := _NUMBERED.fullmatch(word)) else word for word in single]
    return _joined(single) | _joined(without)


def _joined(single: list[str]) -> set[str]:
    return {"".join(single[i : i + size]) for size in (1, 2, 3) for i in range(len(single) - size + 1)}


class Trial:
    """A recorded call that an entry makes again with arguments of its own.

    Attributes:
        torch: The script's torch.
        call: The call.
    """

    def __init__(self, torch: Any, call: RecordedCall) -> None:
        self.torch = torch
        self.call = call

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """Arguments that are tensors or arrays, as plain tensors, in the order of the signature."""
        known = {name: as_tensor(self.torch, value) for name, value in self.call.args.items()}
        return {name: one for name, one in known.items() if one is not None and name not in ("self", "cls")}

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Arguments that are single numbers (and no tensors)."""
        known = {name: number(self.torch, value) for name, value in self.call.args.items() if name not in self.arrays}
        return {name: one for name, one in known.items() if one is not None}

    def named(self, *choices: str) -> str | None:
        """The only array argument whose name has one of these words; None where there is none or more than one."""
        found = [name for name in self.arrays if set(choices) & spoken(name)]
        return found[0] if len(found) == 1 else None

    def need(self, *choices: str) -> str:
        """The same.

        Raises:
            NotApplicableError: There is none or more than one.
        """
        found = self.named(*choices)
        self.require(found is not None)
        return found or ""

    def pair(self) -> tuple[str, str]:
        """The only two array arguments, which have one shape.

        Raises:
            NotApplicableError: There are others, or they differ in shape.
        """
        self.require(len(self.arrays) == 2)
        (first, a), (second, b) = self.arrays.items()
        self.require(a.shape == b.shape)
        return first, second

    def only(self) -> str:
        """The only array argument.

        Raises:
            NotApplicableError: There are none or others.
        """
        self.require(len(self.arrays) == 1)
        return next(iter(self.arrays))

    @staticmethod
    def require(fits: bool) -> None:
        """Go on only where the entry is about this function.

        Raises:
            NotApplicableError: It is not.
        """
        if not fits:
            raise NotApplicableError

    @staticmethod
    def expect(holds: bool, given: str, got: str, line: int | None = None) -> None:
        """State what must hold; see :class:`BreaksError` for the arguments.

        Raises:
            BreaksError: It does not.
        """
        if not holds:
            raise BreaksError(given, got, line)

    def result(self) -> Any:
        """What the recorded call returned, where that is one array: as a plain tensor.

        Raises:
            NotApplicableError: It is something else.
        """
        found = as_tensor(self.torch, self.call.result)
        self.require(found is not None)
        return found

    def again(self, **changes: Any) -> Any:
        """The call once more with some array arguments replaced by tensors, given in the form of the original ones.

        The result is as the function gave it. A change that is no tensor is passed on as it is.
        """
        given = {
            name: like(self.torch, value, self.call.args[name])
            if isinstance(value, self.torch.Tensor) and as_tensor(self.torch, self.call.args.get(name)) is not None
            else value
            for name, value in changes.items()
        }
        return self.call.again(self.torch, **given)

    def tensor(self, **changes: Any) -> Any:
        """The same, where the result is one array: as a plain tensor.

        Raises:
            NotApplicableError: It is something else.
        """
        found = as_tensor(self.torch, self.again(**changes))
        self.require(found is not None)
        return found

    def value(self, **changes: Any) -> float:
        """The same, where the result is one number (or a tuple that begins with one).

        Raises:
            NotApplicableError: It is something else, or not finite.
        """
        result = self.again(**changes)
        found = number(self.torch, result)
        if found is None and isinstance(result, tuple) and result:
            found = number(self.torch, result[0])
        if found is None or not math.isfinite(found):
            raise NotApplicableError
        return found

    def generator(self, seed: int = 0) -> Any:
        """A generator of random numbers for arguments."""
        return self.torch.Generator().manual_seed(seed)

    def steady(self) -> bool:
        """True if two calls with the recorded arguments give the same."""
        return self._same(self.again(), self.again())

    def undrawn(self) -> bool:
        """True if a call gives the same with other random numbers, those of a generator of its object's included."""
        return self._same(self.again(), self.call.with_other_numbers(self.torch))

    def _same(self, one: Any, other: Any) -> bool:
        first, second = dict(parts_of(one)), dict(parts_of(other))
        return first.keys() == second.keys() and all(_alike(self.torch, first[key], second[key]) for key in first)


def _alike(torch: Any, one: Any, other: Any) -> bool:
    a, b = as_tensor(torch, one), as_tensor(torch, other)
    if a is not None and b is not None:
        return a.shape == b.shape and bool(torch.allclose(a.double(), b.double(), rtol=SAME, equal_nan=True))
    x, y = number(torch, one), number(torch, other)
    return x is None or y is None or math.isclose(x, y, rel_tol=SAME) or (math.isnan(x) and math.isnan(y))


@lru_cache(maxsize=8192)  # the same names are asked for in every phase
def is_known(name: str, subject: Subject | None = None) -> bool:
    """True if something of this name could be one of these, of any subject or of one."""
    known = spoken(name)
    return any(one.is_about(known) for one in ENTRIES if subject in (None, one.subject))


def any_relevant(trees: Iterable[ast.Module], subject: Subject | None = None) -> bool:
    """True if a function or class in these sources could be one of these by its name."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and is_known(node.name, subject)
        for tree in trees
        for node in walk(tree)
    )


def any_figure(trees: Iterable[ast.Module]) -> bool:
    """True if a function in these sources could make a figure of what an evaluation has gathered."""
    return any_relevant(trees, "figure")


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that is something by its name, tried on what its definition demands.

    A property counts as broken only if every recorded call that it can be tried on breaks it.
    """
    by_code: dict[Any, list[RecordedCall]] = {}
    for call in [*calls, *taken_apart(torch, calls)]:
        by_code.setdefault((call.code, getattr(call, "part", "")), []).append(call)
    for known in by_code.values():
        name = spoken(known[0].name)
        of_data = isinstance(known[0], PartOfSample)  # what a loss or a layer is given belongs together
        for one in ENTRIES:
            if one.is_about(name) and (one.subject == "data" or not of_data):
                asked = known if one.subject != "figure" else [call for call in known if not _asked_by_a_loss(call)]
                yield from _record(asked[:MOST_CALLS], one, torch)


def _asked_by_a_loss(call: RecordedCall) -> bool:
    """A figure by its name, with the arguments that a loss gives it: no figure that anybody reads."""
    caller = call.caller.symbol.rpartition(".") if call.caller is not None else ("", "", "")
    telling = spoken(caller[0] if caller[2] in ("forward", "__call__") else caller[2])
    return bool(telling & {"loss", "losses", "criterion", "objective"})


def _record(calls: list[RecordedCall], one: Entry, torch: Any) -> Iterator[Record]:
    answers = [(call, answer) for call in calls if (answer := _answer(torch, call, one)) is not None]
    if not answers:
        return
    call, answer = next((pair for pair in answers if pair[1] == ""), answers[0])
    broken = answer if isinstance(answer, BreaksError) else None
    where = call.at(broken.line) if broken is not None and broken.line else returned_at(call.code)
    yield DefinitionTried(
        function=call.shown,
        subject=one.subject,
        key=one.key,
        stands_for=one.stands_for,
        must=one.must,
        holds=broken is None,
        given=broken.given if broken is not None else "",
        got=broken.got if broken is not None else "",
        universal=one.universal,
        remedy=one.remedy,
        where=where.location(),
    )


def _answer(torch: Any, call: RecordedCall, one: Entry) -> BreaksError | Literal[""] | None:
    """What breaks, "" where it holds, None where it cannot be told; with the settings of its object if need be."""
    answer = _said(torch, call, one)
    if answer is None and (more := with_settings(call)) is not None:
        return _said(torch, more, one)
    return answer


def _said(torch: Any, call: RecordedCall, one: Entry) -> BreaksError | Literal[""] | None:
    trial = Trial(torch, call)
    try:
        try:
            one.tried(trial)
        except BreaksError as broken:
            return broken if one.random or trial.steady() else None  # it depends on something besides its arguments
    except Exception:  # whatever the script's functions raise when they are given something else
        return None
    return ""
